"""The embedded mail server: the formats of a real one, on SQLite, without a process of its own."""
