"""A body <-> the values it spells: JSON on one line, read strictly (pure).

Nothing that was read is believed: a body passes `load_body`, each of its values one of the small
functions below, which raise ValueError for another type. FORMAT.md §3 is the norm.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backupng.engine.errors import BrokenItem
from backupng.engine.model import Row, from_ms

LONGEST_BODY = 1 << 20
"""Bytes of a body at most; what is longer moves its bulk into a blob (key `more`)."""
LONGEST_FILE = 64 << 20
"""Bytes of a history at most, and of all that its bodies' `more` name together."""
LONGEST_CHECKPOINT = 64 << 10
"""Bytes of a server's checkpoint file at most."""
LONGEST_SCANNER = 16 << 20
"""Bytes of the Real-Time Scanner's checkpoint file at most."""
MORE = "more"

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONG_TEXT = 1024
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19
_OF_ROWS = {str, int, float}
_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DEEPEST = 32
_EARLIEST_MS, _LATEST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999


def dump_body(values: Mapping[str, Any]) -> bytes:
    """Spell one body: JSON on one line, readable by grep, lone surrogates escaped.

    Raises BrokenItem for a value that JSON cannot say.
    """
    try:
        text = _ENCODER.encode(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise BrokenItem(f"a state holds a value that cannot be written: {error}") from error
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; JSON can say it as an escape.
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("utf-8")


def load_body(
    data: bytes, *, longest: int = LONGEST_BODY, spelled: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Read one body strictly: an object, no doubled keys, no NaN, 64-bit integers, bounded.

    `spelled`: what `dump_body` has just made it of. Raises BrokenItem.
    """
    if len(data) > longest:
        raise BrokenItem(f"a body of {len(data)} bytes is longer than the format allows")
    try:
        text = data.decode("utf-8")
        if (written := _as_written(text, data, spelled)) is not None:
            return written
        values = json.loads(
            text,
            object_pairs_hook=_single_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except (ValueError, RecursionError) as error:
        raise BrokenItem("a body is not the JSON that the format asks for") from error
    if not isinstance(values, dict) or _depth(values) > _DEEPEST:
        raise BrokenItem("a body is not a JSON object of reasonable depth")
    return values


def split_bulk(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a body that is too long: its head, and its bulk, which is objects, lists, long texts."""
    bulk = {key: value for key, value in values.items() if _is_bulky(value)}
    return {key: value for key, value in values.items() if key not in bulk}, bulk


def integer(value: object) -> int:
    """Return a whole number; `true` is none."""
    if type(value) is not int:
        raise ValueError(value)
    return value


def text(value: object) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def optional_text(value: object) -> str | None:
    """Return a text, or None where there is none."""
    return None if value is None else text(value)


def flag(value: object) -> bool:
    """Return true or false; numbers are neither."""
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def moment(value: object) -> datetime:
    """Return the moment of a number of milliseconds since the epoch, aware, UTC."""
    if not _EARLIEST_MS <= integer(value) <= _LATEST_MS:
        raise ValueError(value)
    return from_ms(integer(value))


def array(value: object) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise ValueError(value)
    return value


def mapping(value: object) -> dict[str, Any]:
    """Return an object."""
    if not isinstance(value, dict):
        raise ValueError(value)
    return value


def texts(value: object) -> dict[str, str]:
    """Return an object whose values are texts."""
    return {key: text(each) for key, each in mapping(value).items()}


def row(value: object) -> Row:
    """Return a database row: an object whose values are texts and numbers."""
    if not _OF_ROWS.issuperset(map(type, mapping(value).values())):
        raise ValueError(value)
    return mapping(value)


def _as_written(text: str, data: bytes, spelled: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a text says that spells it as we do; None for any other: it is read with care.

    Written again it would not be the same if a key stood twice in it or a number was none; nor
    would it be what it was `spelled` of. Of few braces no deep nesting can be made, of few digits
    no large integer.
    """
    if data.count(b"{") + data.count(b"[") >= _DEEPEST or _LONG in data.translate(_ZEROS):
        return None
    try:
        found, end = _DECODER.raw_decode(text)
        if not isinstance(found, dict) or end != len(text):
            return None
        same = _ENCODER.encode(found) == text if spelled is None else found == spelled
    except (ValueError, RecursionError):
        return None
    return found if same else None


def _is_bulky(value: object) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and len(value) > _LONG_TEXT)


def _single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return values


def _no_constant(word: str) -> Any:
    raise ValueError(word)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(digits)
    return value


def _bounded(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else 2**63
    if not -(2**63) <= value < 2**63:
        raise ValueError(digits)
    return value


def _depth(value: object) -> int:
    deepest, level = 0, [value]
    while level and deepest <= _DEEPEST:
        deepest += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return deepest
