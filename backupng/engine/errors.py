"""Every error the engine raises on purpose.

BackupError                    hint: what the admin can do; code: the word of `cli.md` §6
├── OperationError             ends the operation; one sentence for the admin
│   ├── BadRequest             the request itself cannot be met: refused before anything starts
│   ├── BackupPathError        NotABackupPath, UnsupportedFormat, BackupPathBroken,
│   │                          BackupPathUnwritable, BackupPathBusy
│   ├── MailServerError        MailServerUnreachable (transient), MailServerRefused
│   └── Stopped                an admin asked; not a failure
└── ItemError                  skips one item, counted in the Report with its cause
    ├── ReadError              metadata or blob cannot be read; LostBlob
    ├── BrokenItem             read, but corrupted; DamagedBackup
    ├── InvalidItem            intact, but the server refuses it; NoRoom
    └── ServerFault            intact, and the server failed over it
"""

from __future__ import annotations

from typing import Any, ClassVar


class BackupError(Exception):
    """Base of all; `str()` is one sentence that names the account or path it happened to."""

    code: str = "failed"
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str = "", hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.hint = hint
        self.details = details


class OperationError(BackupError):
    """Ends the operation."""


class BadRequest(OperationError):
    """The request cannot be met; nothing was started and nothing changed. Its `code` says why."""

    code = "bad_value"


class BackupPathError(OperationError):
    """Something about the Backup Path as a whole."""


class NotABackupPath(BackupPathError):
    """The folder holds no `format` file."""

    code = "path_not_a_backup"


class UnsupportedFormat(BackupPathError):
    """The tree was written by a version, or with a feature, that this one does not know."""

    code = "unsupported_format"


class BackupPathBroken(BackupPathError):
    """A file that the whole tree depends on is damaged."""

    code = "path_damaged"


class BackupPathUnwritable(BackupPathError):
    """The disk below the tree refused a write: nothing more may be written now."""

    code = "path_not_writable"


class BackupPathBusy(BackupPathError):
    """Someone else holds the lock that this work needs."""

    code = "path_in_use"


class MailServerError(OperationError):
    """Something about the mail server as a whole."""

    code = "server_error"


class MailServerUnreachable(MailServerError):
    """Database, directory or disk of the mail server does not answer."""

    code = "server_unreachable"
    transient = True


class MailServerRefused(MailServerError):
    """The mail server understood and said no."""


class Stopped(OperationError):
    """An admin asked for the end; not a failure."""

    code = "stopped"


class ItemError(BackupError):
    """Skips one item; `cause` is the word under which the Report counts it."""

    cause: ClassVar[str] = "item error"


class ReadError(ItemError):
    """Metadata or blob cannot be read: permission, input/output, missing file."""

    cause = "read error"


class BrokenItem(ItemError):
    """Metadata or blob was read and is not what it claims to be."""

    cause = "broken item"


class DamagedBackup(BrokenItem):
    """What the Backup Path holds of it is damaged: a Coherency Check is due."""


class LostBlob(ReadError):
    """A blob that its metadata name is not in the Backup Path: a Coherency Check is due."""

    cause = "missing blob"


class InvalidItem(ItemError):
    """The item is intact; the destination refuses it."""

    code = "bad_value"
    cause = "invalid item"


class NoRoom(InvalidItem):
    """The item is larger than the server takes, or than the mailbox has room for."""

    code = "quota_exceeded"
    cause = "quota or size limit"


class ServerFault(ItemError):
    """The item is intact; the destination failed over this one and goes on."""

    cause = "server error"
