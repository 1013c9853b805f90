"""Inward: what the mail server holds becomes item states in the Backup Path."""
