"""Outward: chosen states go from the Backup Path to a mail server: select, rename, inject."""
