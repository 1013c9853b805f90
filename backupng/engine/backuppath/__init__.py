"""The Backup Path: everything we ever write to disk. FORMAT.md is the norm."""
