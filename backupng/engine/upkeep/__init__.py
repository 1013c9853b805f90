"""Upkeep of a Backup Path: what is checked, repaired and removed in it."""
