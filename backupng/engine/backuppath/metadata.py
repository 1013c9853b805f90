r"""Text of a history file <-> its states (pure).

A history is a text file, one state a line, only ever appended to:

    <body> #<8 hex digits>\n

`body` is one JSON object; the digits are the CRC-32 over the digits of the line before (of the
first line: the CRC-32 of the file's seed) and the body. FORMAT.md §3 and §4 are the norm.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.backuppath import values
from backupng.engine.backuppath.layout import is_digest
from backupng.engine.errors import BrokenItem
from backupng.engine.model import Digest, ItemId, ItemKind, ItemState, Row, to_ms

SEAL_LENGTH = len(" #00000000")
_QUOTED: Final = re.compile(rb'"([A-Za-z0-9+,]{43}=)"')


@dataclass(frozen=True, slots=True)
class Lines:
    """What a history file holds: its bodies up to the first flaw, and which flaw.

    `good` is the length in bytes of the intact part, `digits` the sum its last line ends with.
    `torn` is true when only the last line is cut short, as a killed writer leaves it; `damage` is a
    sentence when anything else is wrong.
    """

    bodies: tuple[bytes, ...]
    good: int
    digits: str
    torn: bool = False
    damage: str = ""


def first_digits(seed: str) -> str:
    """Return the digits that the first line of a history chains to."""
    return f"{zlib.crc32(seed.encode('utf-8')):08x}"


def seal(digits: str, body: bytes) -> tuple[bytes, str]:
    """Return the line for `body` after a line that ended in `digits`, and its own digits."""
    own = f"{zlib.crc32(body, zlib.crc32(digits.encode('ascii'))):08x}"
    return body + b" #" + own.encode("ascii") + b"\n", own


def quoted_digests(data: bytes) -> set[bytes]:
    """Return what bodies may name as a blob: whatever text in quotes has the form of a digest."""
    return set(_QUOTED.findall(data))


def read_lines(data: bytes, seed: str) -> Lines:
    """Read a whole history; never raises: what is wrong with it is part of the answer."""
    bodies: list[bytes] = []
    digits, good, damage = first_digits(seed), 0, ""
    while (end := data.find(b"\n", good)) >= 0:
        body, own = _unseal(data[good:end], digits)
        if body is None:
            damage = f"line {len(bodies) + 1} fails its checksum"
            break
        bodies.append(body)
        digits, good = own, end + 1
    # No kill leaves a byte behind a whole line: one that stands there was the line break.
    if end < 0 and _unseal(data[good:-1], digits)[0] is not None:
        damage = f"line {len(bodies) + 1} has lost its line break"
    torn = not damage and good < len(data)
    return Lines(tuple(bodies), good, digits, torn=torn, damage=damage)


def whole_bodies(data: bytes, seed_sum: int) -> list[bytes] | None:
    """Return all bodies of a history that is whole; None for any other: `read_lines` tells why.

    `seed_sum` is the CRC-32 of the file's seed.
    """
    lines = data.split(b"\n")
    if lines.pop():
        return None
    before, bodies = b"%08x" % seed_sum, []
    for line in lines:
        body = line[:-SEAL_LENGTH]
        if line[-SEAL_LENGTH:] != b" #%08x" % zlib.crc32(body, zlib.crc32(before)):
            return None
        before = line[-8:]
        bodies.append(body)
    return bodies


def _unseal(line: bytes, digits: str) -> tuple[bytes | None, str]:
    """Return the body of a line without its break, None if it fails its sum, and its digits."""
    body = line[:-SEAL_LENGTH]
    sealed, own = seal(digits, body)
    return (body if sealed[:-1] == line else None), own


def spell_state(state: ItemState, number: int) -> dict[str, Any]:
    """Return the body of `state` as line `number` of its history; empty fields are left out."""
    body: dict[str, Any] = {
        "n": number,
        "mod": state.mod,
        "t": to_ms(state.start),
        "pos": state.source,
        "type": state.kind.value,
    }
    if state.deleted:
        return body | {"deleted": True}
    readable: dict[str, Any] = {
        "folder": state.folder_id,
        "name": state.name,
        "subject": state.subject,
        "from": state.sender,
        "to": state.recipients,
        "flags": state.flags or None,
        "unread": state.unread or None,
        "tags": list(state.tags) or None,
        "color": state.color or None,
        "date": state.date or None,
        "size": state.size,
        "digest": state.digest,
        "fields": dict(state.fields) or None,
        "row": dict(state.row) or None,
        "side": {table: [dict(row) for row in rows] for table, rows in state.side_rows.items()}
        or None,
        "kept_as": dict(state.kept_as) or None,
    }
    return body | {key: value for key, value in readable.items() if value is not None}


def parse_state(item: ItemId, body: Mapping[str, Any]) -> ItemState:
    """Return the state that `body` spells.

    Raises BrokenItem for a body that no writer of this format can have written.
    """
    try:
        given: dict[str, Any] = {
            name: read(body[key]) for key, name, read in _READABLE if key in body
        }
        return ItemState(
            item_id=item,
            kind=ItemKind(body["type"]),
            mod=values.integer(body["mod"]),
            start=values.moment(body["t"]),
            **given,
        )
    except (KeyError, ValueError) as error:
        raise BrokenItem(f"a state of item {item} has missing or impossible values") from error


def _item(value: object) -> ItemId:
    if values.integer(value) < 0:
        raise ValueError(value)
    return ItemId(values.integer(value))


def _tags(value: object) -> tuple[str, ...]:
    return tuple(map(values.text, values.array(value)))


def _side_rows(value: object) -> dict[str, tuple[Row, ...]]:
    return {
        table: tuple(map(values.row, values.array(rows)))
        for table, rows in values.mapping(value).items()
    }


def _kept_as(value: object) -> dict[Digest, Digest]:
    return {Digest(old): _digest(kept) for old, kept in values.mapping(value).items()}


def _digest(value: object) -> Digest:
    if not is_digest(value):
        raise ValueError(value)
    return Digest(values.text(value))


_READABLE: Final = (
    ("pos", "source", values.text),
    ("deleted", "deleted", values.flag),
    ("folder", "folder_id", _item),
    ("name", "name", values.optional_text),
    ("subject", "subject", values.optional_text),
    ("from", "sender", values.optional_text),
    ("to", "recipients", values.optional_text),
    ("flags", "flags", values.text),
    ("unread", "unread", values.flag),
    ("tags", "tags", _tags),
    ("color", "color", values.integer),
    ("date", "date", values.integer),
    ("size", "size", values.integer),
    ("digest", "digest", _digest),
    ("fields", "fields", values.texts),
    ("row", "row", values.row),
    ("side", "side_rows", _side_rows),
    ("kept_as", "kept_as", _kept_as),
)
"""A key, the field of the state that it gives, and how it is read; an absent one is the default."""
