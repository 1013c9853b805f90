"""The engine: reads mail servers, writes Backup Paths, restores. No Django here."""
