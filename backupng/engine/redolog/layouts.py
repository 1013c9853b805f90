"""What a layout is: the body of one operation, field by field, under its name and number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backupng.engine.redolog.cursor import Cursor
from backupng.engine.redolog.kinds import Fields, Group, Kind, Piece, Slot, slots


@dataclass(frozen=True, slots=True)
class Layout:
    """The body of one operation; several may share a number."""

    opcode: int
    op: str
    slots: Mapping[str, Slot]

    def read(self, cursor: Cursor, minor: int) -> dict[str, Any]:
        """Return the fields at the cursor, in file order. Raises BadRecord."""
        return Group(self.slots).read(cursor, minor, {})

    def write(self, fields: Fields, minor: int) -> Iterator[Piece]:
        """Yield the bytes of a body; bulk data as it is given, bytes or a Span."""
        return Group(self.slots).write(fields, minor, {})


def layout(opcode: int, op: str, /, **kinds: Kind | Slot) -> Layout:
    """Return a layout of named kinds, in file order."""
    return Layout(opcode, op, slots(**kinds))
