"""Seeded content of a new sandbox: an invented office, the same for the same arguments."""
