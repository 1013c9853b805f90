"""Processes of the console."""
