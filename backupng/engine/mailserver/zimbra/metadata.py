"""Codec of the `metadata` column: bencode in text, lengths in UTF-16 code units.

    value  = dict / list / int / string
    dict   = "d" *( string value ) "e"      keys sorted by UTF-16 code unit
    list   = "l" *value "e"
    int    = "i" ["-"] 1*DIGIT "e"
    string = 1*DIGIT ":" chars              counted in UTF-16 code units, not bytes

The outermost dict carries `1:vi10e`, the version of the format; booleans are the strings "true" and
"false". Zimbra/zm-mailbox `common/src/java/com/zimbra/common/util/BEncoding.java`,
`store/src/java/com/zimbra/cs/mailbox/Metadata.java` and, for the encoded word around text that a
3-byte column cannot hold, `store/src/java/com/zimbra/cs/db/DbMailItem.java`.

Columns of items and revisions go through `decode_column` and `encode_column`; sections of
`mailbox_metadata`, policies, volumes and strings nested in metadata through `decode` and `encode`.
Whatever is wrong with the input is a `BrokenItem`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from backupng.engine.errors import BrokenItem

Value: TypeAlias = "int | str | list[Value] | dict[str, Value]"

MAX_BYTES: Final = 16 * 1024 * 1024
"""Longest text the server stores, in bytes of UTF-8."""
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 500_000
"""Real metadata has at most some thousands; without a limit 16 MiB of `le` take half a GiB."""
MAX_ANCIENT_CHARACTERS: Final = 1024 * 1024

_VERSION_KEY: Final = "v"
_VERSION: Final = 10
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**63 - 1

_INT = re.compile(r"i(-?[0-9]{1,19})e")
_LENGTH = re.compile(r"([0-9]{1,8}):")
_ANCIENT = re.compile(r"([^=]*)=([0-9]{1,8}):")
_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")
_ENCODED_WORD = re.compile(r"=\?utf-8\?b\?([a-z0-9+/]*={0,2})\?=", re.IGNORECASE | re.ASCII)


def decode(text: str | None) -> dict[str, Value]:
    """Return the map of a metadata text without its version; NULL and "" are the empty map."""
    if not text:
        return {}
    _check_size(text)
    values = _read(text)
    values.pop(_VERSION_KEY, None)
    return values


def encode(values: Mapping[str, Value]) -> str:
    """Return the metadata text of a map, with the version that every outermost map carries."""
    parts: list[str] = []
    _write({**values, _VERSION_KEY: _VERSION}, parts, depth=0)
    text = "".join(parts)
    _check_size(text)
    return text


def decode_column(column: str | None) -> dict[str, Value]:
    """Return the map of an item's or revision's `metadata` column."""
    return decode(_unwrap(column) if column and column.startswith("=?") else column)


def encode_column(values: Mapping[str, Value]) -> str:
    """Return a map as an item's or revision's `metadata` column holds it."""
    text = encode(values)
    if text.isascii() or not _BEYOND_16_BITS.search(text):
        return text
    column = f"=?UTF-8?B?{base64.b64encode(text.encode()).decode('ascii')}?="
    _check_size(column)
    return column


def as_bool(value: Value) -> bool:
    """Read a boolean: 1, 0, true or false, in any case and as number or string."""
    word = value.lower() if isinstance(value, str) else value
    if word in (1, "1", "true"):
        return True
    if word in (0, "0", "false"):
        return False
    raise BrokenItem("A value in the metadata should be true or false and is neither.")


def as_int(value: Value) -> int:
    """Read a number of 64 bits, written as number or as digits."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and _MIN_INT <= value <= _MAX_INT:
        return int(value)
    raise BrokenItem("A value in the metadata should be a number and is none.")


def _read(text: str) -> dict[str, Value]:
    try:
        return _read_bencode(text)
    except BrokenItem:
        values = _read_as_latin1(text) or _read_as_ancient(text)
        if not values:
            raise
        return values


def _read_bencode(text: str) -> dict[str, Value]:
    reader = _Reader(text)
    values = reader.value(depth=0)
    if not isinstance(values, dict):
        raise _unreadable("no map", 0)
    if reader.at != len(reader.units):
        raise _unreadable("text after the end", reader.at)
    return values


def _read_as_latin1(text: str) -> dict[str, Value] | None:
    """Read text whose UTF-8 was once taken for Latin-1; None if it was not.

    The server tries this only where a length is no number. Here every failure counts: a text that
    fits as a whole, all lengths included, is what was meant.
    """
    if not text.isascii():
        with suppress(UnicodeError, BrokenItem):
            return _read_bencode(text.encode("latin-1").decode("utf-8"))
    return None


def _read_as_ancient(text: str) -> dict[str, Value] | None:
    """Read `name=length:value;…`, the format before bencode; None if it is something else."""
    if len(text) <= MAX_ANCIENT_CHARACTERS:
        with suppress(BrokenItem):
            return _ancient_map(_as_units(text), depth=0)
    return None


def _ancient_map(units: str, *, depth: int) -> dict[str, Value]:
    if depth > MAX_DEPTH:
        raise _unreadable("too many levels", 0)
    values: dict[str, Value] = {}
    at = 0
    while at < len(units):
        head = _ANCIENT.match(units, at)
        end = head.end() + int(head[2]) if head else at
        if head is None or not units.startswith(";", end):
            raise _unreadable("no name and value", at)
        values[_as_text(head[1])] = _ancient_value(units[head.end() : end], depth=depth)
        at = end + 1
    return values


def _ancient_value(units: str, *, depth: int) -> Value:
    if len(units) > 5 and "=" in units:
        with suppress(BrokenItem):
            return _ancient_map(units, depth=depth + 1)
    return _as_text(units)


class _Reader:
    """Reads bencode from the front to the back, once."""

    __slots__ = ("at", "count", "units")

    def __init__(self, text: str) -> None:
        self.units = _as_units(text)
        self.at = 0
        self.count = 0

    def value(self, *, depth: int) -> Value:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise _unreadable("too many levels or values", self.at)
        match self.units[self.at : self.at + 1]:
            case "d":
                return self._dict(depth=depth)
            case "l":
                return self._list(depth=depth)
            case "i":
                return self._int()
        return self._string()

    def _dict(self, *, depth: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        self.at += 1
        while not self._end():
            key = self._string()
            values[key] = self.value(depth=depth + 1)
        return values

    def _list(self, *, depth: int) -> list[Value]:
        values: list[Value] = []
        self.at += 1
        while not self._end():
            values.append(self.value(depth=depth + 1))
        return values

    def _end(self) -> bool:
        ended = self.units.startswith("e", self.at)
        self.at += ended
        return ended

    def _int(self) -> int:
        number = _INT.match(self.units, self.at)
        value = int(number[1]) if number else _MAX_INT + 1
        if number is None or not _MIN_INT <= value <= _MAX_INT:
            raise _unreadable("no number", self.at)
        self.at = number.end()
        return value

    def _string(self) -> str:
        length = _LENGTH.match(self.units, self.at)
        if length is None:
            raise _unreadable("no length", self.at)
        start = length.end()
        end = start + int(length[1])
        if end > len(self.units):
            raise _unreadable("a string longer than the text", self.at)
        self.at = end
        return _as_text(self.units[start:end])


def _write(value: Value, parts: list[str], *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BrokenItem("The metadata cannot be written: it has too many levels.")
    if isinstance(value, bool):
        parts.append("4:true" if value else "5:false")
    elif isinstance(value, int) and _MIN_INT <= value <= _MAX_INT:
        parts.append(f"i{value}e")
    elif isinstance(value, str):
        parts.append(f"{_count_units(value)}:{value}")
    elif isinstance(value, list):
        parts.append("l")
        for element in value:
            _write(element, parts, depth=depth + 1)
        parts.append("e")
    elif isinstance(value, dict):
        _write_dict(value, parts, depth=depth)
    else:
        raise BrokenItem("The metadata cannot be written: it has a value that it cannot hold.")


def _write_dict(values: dict[str, Value], parts: list[str], *, depth: int) -> None:
    parts.append("d")
    for key in sorted(values, key=_utf16):
        parts.append(f"{_count_units(key)}:{key}")
        _write(values[key], parts, depth=depth + 1)
    parts.append("e")


def _count_units(text: str) -> int:
    return len(text) if text.isascii() else len(_utf16(text)) // 2


def _utf16(text: str) -> bytes:
    try:
        return text.encode("utf-16-be")
    except (UnicodeEncodeError, AttributeError) as error:
        raise BrokenItem("The metadata has a name or text of broken characters.") from error


def _as_units(text: str) -> str:
    """Return the text with one character per UTF-16 code unit, so that slices count as Zimbra does.

    Only text with characters above U+FFFF changes; `_as_text` puts its pieces together again.
    """
    if text.isascii():
        return text
    return _BEYOND_16_BITS.sub(_surrogates, text)


def _surrogates(character: re.Match[str]) -> str:
    offset = ord(character[0]) - 0x10000
    return chr(0xD800 + (offset >> 10)) + chr(0xDC00 + (offset & 0x3FF))


def _as_text(units: str) -> str:
    if units.isascii() or not _SURROGATE.search(units):
        return units
    try:
        return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise BrokenItem("The metadata has half a character.") from error


def _unwrap(column: str) -> str:
    word = _ENCODED_WORD.fullmatch(column)
    if word is None:
        raise BrokenItem("The metadata begins as an encoded word and is none.")
    try:
        return base64.b64decode(word[1]).decode("utf-8")
    except ValueError as error:
        raise BrokenItem("The metadata is an encoded word that cannot be decoded.") from error


def _check_size(text: str) -> None:
    # Only text that could be too long is encoded to be counted.
    longest = len(text) if text.isascii() else 4 * len(text)
    if longest > MAX_BYTES and len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise BrokenItem("The metadata is longer than 16 MiB.")


def _unreadable(what: str, at: int) -> BrokenItem:
    return BrokenItem(f"The metadata cannot be read: {what} at position {at}.")
