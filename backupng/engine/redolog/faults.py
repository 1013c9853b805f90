"""What can be wrong with a redo log: the errors of this room.

RedoLogError
├── NotARedoLog      the file as a whole is none
├── FutureRedoLog    the file was written by a version that is not known here
├── UnreadableLog    the disk or its permissions refuse
└── BadRecord        one record cannot be read
    ├── Torn         the file ends before the record does
    └── Broken       its bytes cannot be what they claim to be
"""

from __future__ import annotations

from typing import Any

from backupng.engine.errors import OperationError


class RedoLogError(OperationError):
    """Something about a redo log file."""


class NotARedoLog(RedoLogError):
    """The file does not begin with a whole header of a redo log."""

    code = "bad_value"


class FutureRedoLog(RedoLogError):
    """The header names a version above the highest known one."""

    code = "unsupported_format"


class UnreadableLog(RedoLogError):
    """The file cannot be opened, or not read on."""

    code = "path_not_readable"


class BadRecord(RedoLogError):
    """One record cannot be read; `in_body` when that shows in its bulk data, or behind it."""

    def __init__(self, message: str, *, in_body: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.in_body = in_body


class Torn(BadRecord):
    """The file ends before the record does: wait for more, or take it for a torn tail."""


class Broken(BadRecord):
    """The bytes cannot be what they claim to be."""
