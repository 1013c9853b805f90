"""Contacts and calendar items spelled as the files that other programs read."""
