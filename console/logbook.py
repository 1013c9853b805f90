"""The end of an operation's log, in lines that are safe to show.

A log may grow for hours, so it is read backwards from its end, and no more of it than is shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from backupng.engine.operations.base import Level
from console import hosting

SHOWN_LINES = 200
_READ_BYTES = 1 << 20
_ENTRY = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (INFO|WARNING) (.*)", re.DOTALL)
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What could move a cursor, hide, or turn the direction of what follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; `offset` is its place in the file in bytes, `at` None for what has no time."""

    offset: int
    at: datetime | None
    level: str
    text: str

    @property
    def clock(self) -> str:
        """Its time of day in the user's zone, with milliseconds; empty without a time."""
        if self.at is None:
            return ""
        return timezone.localtime(self.at).strftime("%H:%M:%S.%f")[:-3]

    @property
    def is_warning(self) -> bool:
        """True for what asks for attention."""
        return self.level != Level.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The last lines, oldest first; `size` is that of the whole file in bytes."""

    lines: tuple[Line, ...] = ()
    size: int = 0
    is_whole: bool = True


def size(operation: UUID) -> int | None:
    """Return the size of a log in bytes; None if it is not on this host."""
    try:
        return hosting.log_file(operation).stat().st_size
    except OSError:
        return None


def tail(operation: UUID, *, warnings_only: bool = False) -> Tail | None:
    """Return the last lines of a log; None if it is not on this host, or nothing was logged."""
    try:
        with hosting.log_file(operation).open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            start = max(0, end - _READ_BYTES)
            file.seek(start)
            data = file.read(end - start)
    except OSError:
        return None
    if start:
        # The first line is a piece of one.
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    lines = [each for each in _lines(data, start) if each.is_warning or not warnings_only]
    return Tail(
        lines=tuple(lines[-SHOWN_LINES:]),
        size=end,
        is_whole=not start and len(lines) <= SHOWN_LINES,
    )


def visible(text: str) -> str:
    """Spell what cannot be seen, or would do something, by its number."""
    return _UNSEEN.sub(lambda found: _escape(ord(found[0])), text)


def _lines(data: bytes, offset: int) -> Iterator[Line]:
    """Read entries; a line that is none was printed as it is, such as the trace of a defect."""
    for raw in data.splitlines(keepends=True):
        text = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
        if entry := _ENTRY.fullmatch(text):
            yield Line(
                offset=offset,
                at=datetime.fromisoformat(entry[1]),
                level=entry[2],
                text=visible(entry[3]),
            )
        else:
            yield Line(offset=offset, at=None, level=Level.WARNING, text=visible(text))
        offset += len(raw)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
