"""Reads one record of a file forward, and never past the end that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from backupng.engine.redolog.faults import Broken, Torn, UnreadableLog

HEAD_BYTES = 64 << 20
"""More than this outside bulk data no record has: two of the longest strings."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bulk bytes of a record, left where they are in the file."""

    offset: int
    length: int


class Cursor:
    """A place in a file whose first `end` bytes count; one cursor reads one record."""

    def __init__(self, file: BinaryIO, position: int, *, end: int) -> None:
        """Begin at `position`. Raises Torn or UnreadableLog."""
        if position > end:
            raise Torn("the file ends before that place")
        self.position = position
        self.end = end
        self.has_skipped = False
        self._file = file
        self._budget_bytes = HEAD_BYTES
        self._go(position)

    @property
    def left(self) -> int:
        """How many bytes there are until the end."""
        return self.end - self.position

    def take(self, count: int) -> bytes:
        """Return the next bytes. Raises Torn, Broken or UnreadableLog."""
        behind = self.position + count
        if behind > self.end:
            raise Torn("the file ends within the record")
        self._budget_bytes -= count
        if self._budget_bytes < 0:
            raise Broken(f"it would hold more than {HEAD_BYTES} bytes outside bulk data")
        try:
            taken = self._file.read(count)
        except OSError as error:
            raise _unreadable(error) from error
        if len(taken) < count:
            raise Torn("the file was cut while it was read")
        self.position = behind
        return taken

    def skip(self, count: int) -> Span:
        """Pass over bulk data, unread. Raises Torn or UnreadableLog."""
        if count > self.left:
            raise Torn("the file ends within the body", in_body=True)
        passed = Span(self.position, count)
        self.has_skipped = True
        self._go(self.position + count)
        return passed

    def _go(self, position: int) -> None:
        try:
            self._file.seek(position)
        except OSError as error:
            raise _unreadable(error) from error
        self.position = position


def _unreadable(error: OSError) -> UnreadableLog:
    return UnreadableLog(f"The redo log cannot be read on: {error.strerror or error}.")
