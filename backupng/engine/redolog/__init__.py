"""Zimbra's binary redo log, byte for byte."""
