"""The Real-Time Scanner as the console sees it: its switch, its process, its record, its alerts."""
