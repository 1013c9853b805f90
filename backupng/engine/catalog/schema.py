"""The tables of a catalog. Another number, or another tree's id, and the catalog is made anew.

`account.stamp` is that of the account's folder (`backuppath.telling`) up to which all is in here; 0
if that is not known. Times are ms since the epoch, digests the 32 bytes themselves. `state.t` is
the time that counts, `until` that of the next state, `FOREVER` for the last one; `scanned` says
that a scan saw it, not the redo log. Texts with halves of characters, which SQLite does not take,
are bytes. `history` tells of each file what it was when it was read, so that only what has changed
since is read again.
"""

from __future__ import annotations

from typing import Final

NUMBER: Final = 3
FOREVER: Final = 2**63 - 1
BUCKETS: Final = 100

TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE account (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, stamp INTEGER NOT NULL, problem TEXT
);
CREATE TABLE entry (
    account INTEGER, n INTEGER, t INTEGER, name, status, host, created, deleted INTEGER, reason,
    PRIMARY KEY (account, n)
) WITHOUT ROWID;
CREATE TABLE scan (
    account INTEGER, n INTEGER, t INTEGER, mod INTEGER, unread INTEGER,
    PRIMARY KEY (account, n)
) WITHOUT ROWID;
CREATE TABLE history (
    account INTEGER, bucket INTEGER, item INTEGER, length INTEGER, changed INTEGER,
    lines INTEGER, first INTEGER, last INTEGER, problem TEXT,
    PRIMARY KEY (account, bucket, item)
) WITHOUT ROWID;
CREATE TABLE state (
    account INTEGER, item INTEGER, n INTEGER, t INTEGER, until INTEGER, mod INTEGER, kind TEXT,
    deleted INTEGER, folder INTEGER, name, subject, sender, recipients, flags TEXT, tags,
    parent INTEGER, date INTEGER, size INTEGER, scanned INTEGER, digest BLOB, others BLOB,
    PRIMARY KEY (account, item, n)
) WITHOUT ROWID;
CREATE INDEX inside ON state (account, folder, date, item, until, t, deleted, kind)
    WHERE folder IS NOT NULL;
CREATE INDEX begun ON state (account, t, deleted, scanned);
CREATE INDEX folderlike ON state (account, item, n)
    WHERE kind IN ('folder', 'mountpoint', 'search');
CREATE TABLE reference (
    digest BLOB, account INTEGER, item INTEGER, n INTEGER,
    PRIMARY KEY (digest, account, item, n)
) WITHOUT ROWID;
"""
