"""The primitives of a redo log and how they make up a body: bytes <-> values.

    integers      big-endian, two's complement
    text          i32 length in bytes (-1: null), UTF-8
    texts         i32 count (-1: null), then each as text
    bulk          i32 length, then the bytes: read as a Span, written from a Span or from bytes

Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/redolog/RedoLogInput.java`, `RedoLogOutput.java`,
`common/src/java/com/zimbra/common/util/ByteUtil.java`.

A layout says field by field what a body holds. Which fields are there depends on the record's
version and on earlier fields; where the reading and the writing side of a class differ for old
versions, the layouts follow the reading one. Bytes that are no UTF-8 become lone surrogates, so
that they are written back as they were.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from backupng.engine.redolog.cursor import Cursor, Span
from backupng.engine.redolog.faults import Broken

Fields = Mapping[str, Any]
Piece = bytes | Span

MAX_TEXT_BYTES = 32 << 20
MAX_COUNT = 1_000_000
"""The longest list that the server's own reader accepts anywhere."""
_FIRST = -1
"""Below every minor version: what is older than 1.0 counts as this."""
_LAST = 1 << 15


class Kind(Protocol):
    """A primitive, or what is made of primitives; `minor` is the version of the record."""

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> Any:
        """Return the value at the cursor; `seen` are the fields before it. Raises BadRecord."""

    def write(self, value: Any, minor: int, seen: Fields) -> Iterator[Piece]:
        """Yield the bytes of a value."""


@dataclass(frozen=True, slots=True)
class Number:
    """An integer or a boolean, as `struct` spells it; any byte but 0 is true."""

    form: struct.Struct

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> Any:
        return self.form.unpack(cursor.take(self.form.size))[0]

    def write(self, value: Any, minor: int, seen: Fields) -> Iterator[Piece]:
        yield self.form.pack(value)


@dataclass(frozen=True, slots=True)
class Grown:
    """A number that became longer with a version."""

    minor: int
    older: Number
    newer: Number

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> Any:
        return self._of(minor).read(cursor, minor, seen)

    def write(self, value: Any, minor: int, seen: Fields) -> Iterator[Piece]:
        return self._of(minor).write(value, minor, seen)

    def _of(self, minor: int) -> Number:
        return self.newer if minor >= self.minor else self.older


@dataclass(frozen=True, slots=True)
class Text:
    """A string, or None."""

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> str | None:
        length = I32.read(cursor, minor, seen)
        if length == -1:
            return None
        if not 0 <= length <= MAX_TEXT_BYTES:
            raise Broken(f"a text of {length} bytes")
        return cursor.take(length).decode("utf-8", "surrogateescape")

    def write(self, value: str | None, minor: int, seen: Fields) -> Iterator[Piece]:
        if value is None:
            yield struct.pack(">i", -1)
        else:
            encoded = value.encode("utf-8", "surrogateescape")
            yield struct.pack(">i", len(encoded)) + encoded


@dataclass(frozen=True, slots=True)
class Many:
    """A count and as many values; the count -1 is None where `nullable`."""

    kind: Kind
    count: Number
    nullable: bool = False

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> list[Any] | None:
        count = self.count.read(cursor, minor, seen)
        if count == -1 and self.nullable:
            return None
        return read_values(self.kind, count, cursor, minor=minor, seen=seen)

    def write(self, value: list[Any] | None, minor: int, seen: Fields) -> Iterator[Piece]:
        values = value or []
        yield from self.count.write(-1 if value is None else len(values), minor, seen)
        for each in values:
            yield from self.kind.write(each, minor, seen)


@dataclass(frozen=True, slots=True)
class AsManyAs:
    """Values without a count of their own: as many as an earlier list has."""

    name: str
    kind: Kind

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> list[Any]:
        return read_values(self.kind, len(seen[self.name]), cursor, minor=minor, seen=seen)

    def write(self, value: list[Any], minor: int, seen: Fields) -> Iterator[Piece]:
        for each in value:
            yield from self.kind.write(each, minor, seen)


@dataclass(frozen=True, slots=True)
class Bulk:
    """A length and as many bytes, which stay in the file."""

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> Span:
        length = I32.read(cursor, minor, seen)
        if length < 0:
            raise Broken(f"bulk data of {length} bytes")
        return cursor.skip(length)

    def write(self, value: Span | bytes, minor: int, seen: Fields) -> Iterator[Piece]:
        yield struct.pack(">i", value.length if isinstance(value, Span) else len(value))
        yield value


def read_values(kind: Kind, count: int, cursor: Cursor, *, minor: int, seen: Fields) -> list[Any]:
    """Return `count` values one behind the other. Raises BadRecord."""
    if not 0 <= count <= MAX_COUNT:
        raise Broken(f"a list of {count} values")
    return [kind.read(cursor, minor, seen) for _ in range(count)]


# What a body is made of

Condition = Callable[[Fields], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A kind at its place in a layout, and when it is there at all."""

    kind: Kind
    since: int = _FIRST
    before: int = _LAST
    when: Condition | None = None

    def is_there(self, minor: int, fields: Fields) -> bool:
        """Say whether records of that version, with these earlier fields, have it."""
        return self.since <= minor < self.before and (self.when is None or self.when(fields))


@dataclass(frozen=True, slots=True)
class Group:
    """Named values one behind the other."""

    slots: Mapping[str, Slot]

    def read(self, cursor: Cursor, minor: int, seen: Fields) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, slot in self.slots.items():
            if slot.is_there(minor, fields):
                fields[name] = slot.kind.read(cursor, minor, fields)
        return fields

    def write(self, value: Fields, minor: int, seen: Fields) -> Iterator[Piece]:
        for name, slot in self.slots.items():
            if slot.is_there(minor, value):
                yield from slot.kind.write(value[name], minor, value)


def slots(**kinds: Kind | Slot) -> dict[str, Slot]:
    """Return named kinds as the slots of a layout, in order."""
    return {name: _slot(kind) for name, kind in kinds.items()}


def group(**kinds: Kind | Slot) -> Group:
    """Return a group of named kinds, in order."""
    return Group(slots(**kinds))


def since(minor: int, kind: Kind | Slot) -> Slot:
    """Say that a kind is there from version 1.`minor` on."""
    return replace(_slot(kind), since=minor)


def before(minor: int, kind: Kind | Slot) -> Slot:
    """Say that a kind is there in versions before 1.`minor`."""
    return replace(_slot(kind), before=minor)


def only(when: Condition, kind: Kind) -> Slot:
    """Say that a kind is there only after certain earlier fields."""
    return Slot(kind=kind, when=when)


def _slot(kind: Kind | Slot) -> Slot:
    return kind if isinstance(kind, Slot) else Slot(kind=kind)


I8, I16, I32, I64, BOOL = (Number(struct.Struct(f">{letter}")) for letter in "bhiq?")
TYPE = I8
"""An item's type; -1: any."""
COLOR = Grown(27, I8, I64)
MAILBOX_ID = Grown(26, I32, I64)
TEXT = Text()
TEXTS = Many(TEXT, I32, nullable=True)
BULK = Bulk()


def many(kind: Kind, count: Number = I32) -> Many:
    """Return a list of a kind that is never null."""
    return Many(kind, count)
