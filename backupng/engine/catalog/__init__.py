"""The derived index of one Backup Path: it may be deleted at any time, and never decides."""
