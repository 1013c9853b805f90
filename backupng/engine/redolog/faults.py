"""What can be wrong with a redo log: the errors of this room.

RedoLogError
├── NotARedoLog      the file as a whole is none
├── FutureRedoLog    the file was written by a version that is not known here
├── UnreadableLog    the disk or its permissions refuse
├── BadPosition      a place that was kept is none
└── BadRecord        one record cannot be read
    ├── Torn         the file ends before the record does
    └── Broken       its bytes cannot be what they claim to be

ForeignRedoLog       a MailServerError: the log is good, and that of another server
"""

from __future__ import annotations

from typing import Any, ClassVar

from backupng.engine.errors import MailServerError, OperationError


class RedoLogError(OperationError):
    """Something about a redo log file."""


class NotARedoLog(RedoLogError):
    """The file does not begin with a whole header of a redo log."""

    code = "bad_value"


class FutureRedoLog(RedoLogError):
    """The header names a version above the highest known one."""

    code = "unsupported_format"


class UnreadableLog(RedoLogError):
    """The file cannot be opened, or not read on: rights and disks are put right meanwhile."""

    code = "path_not_readable"
    transient: ClassVar[bool] = True


class BadPosition(RedoLogError):
    """What was kept as a place in a redo log is none."""

    code = "bad_value"


class BadRecord(RedoLogError):
    """One record cannot be read; `in_body` when that shows in its bulk data, or behind it."""

    def __init__(self, message: str, *, in_body: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.in_body = in_body


class Torn(BadRecord):
    """The file ends before the record does: wait for more, or take it for a torn tail."""


class Broken(BadRecord):
    """The bytes cannot be what they claim to be."""


class ForeignRedoLog(MailServerError):
    """The redo log is that of another mail server."""

    code = "bad_value"
