"""Text as the mail server counts it: in UTF-16 code units, and without them in its columns.

The server is written in Java and its database keeps three bytes a character. Limits of columns and
fragments therefore count units, and a character above U+FFFF becomes one question mark.
"""

from __future__ import annotations

import re

_HIGH = re.compile("[\U00010000-\U0010ffff]")
_UNSTORABLE = re.compile("[\ud800-\udfff\U00010000-\U0010ffff]")
_BLANKS = "".join(map(chr, range(0x21)))
"""What Java's `String.trim` takes off."""


def trim(text: str) -> str:
    """Take blanks and control characters off both ends."""
    return text.strip(_BLANKS)


def to_units(text: str) -> str:
    """Spell every character above U+FFFF as its two surrogates, so that indexes count units."""
    return _HIGH.sub(_pair, text)


def from_units(units: str) -> str:
    """Join surrogates again; half a pair becomes a question mark."""
    return clean(_join(units))


def clean(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 can spell, by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def column(text: str, limit: int) -> str:
    """Fit text into a column of `limit` units: cut, then replace what the database cannot store."""
    units = to_units(text)
    if len(units) > limit:
        text = trim(_join(units[:limit]))
    return _UNSTORABLE.sub("?", text)


def _join(units: str) -> str:
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _pair(match: re.Match[str]) -> str:
    code = ord(match[0]) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))
