"""What an import of another server's backup does besides restoring items: entries and shares."""
