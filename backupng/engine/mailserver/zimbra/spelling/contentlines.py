"""Content lines of vCard and iCalendar: escaped, quoted, folded, so that no value ends its line.

RFC 2425 §5.8, RFC 2426 §2.4 and §4, RFC 5545 §3.1 and §3.3.11. Control characters have no place in
a line and are left out; whatever some reader takes for a line end becomes the escape for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_LONGEST: Final = 75
"""Octets of a line without its end, the blank of a continuation counted."""
_LINE_END: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ESCAPED: Final = re.compile(r"([\\;,])")
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9-]+")
_NEEDS_QUOTES: Final = re.compile("[:;,]")
Parameters = Mapping[str, str]


def text(value: str) -> str:
    """Escape a text; what has several lines keeps them."""
    escaped = _ESCAPED.sub(r"\\\1", value)
    return _CONTROL.sub("", _LINE_END.sub(r"\\n", escaped))


def parts(values: Iterable[str], separator: str = ";") -> str:
    """Join texts to one structured value."""
    return separator.join(map(text, values))


def uri(value: str) -> str:
    """Return an address or link as a value: it has no escapes, and no room for a line end."""
    return _CONTROL.sub("", _LINE_END.sub("", value))


def name(word: str) -> str:
    """Return what of a word can be the name of a property; empty if nothing can."""
    return _NOT_A_NAME.sub("-", word).strip("-").upper()


def line(property_name: str, value: str, parameters: Parameters | None = None) -> str:
    """Return a line, not yet folded; `value` is spelled already, parameters are not."""
    given = "".join(f";{key}={_parameter(word)}" for key, word in (parameters or {}).items())
    return f"{property_name}{given}:{value}"


def file_of(lines: Iterable[str]) -> bytes:
    """Return the bytes of a file of these lines: folded, in UTF-8, each ended by CR LF."""
    return b"".join(map(_folded, lines))


def _parameter(word: str) -> str:
    """Spell a parameter's value; it has no way to hold a quotation mark or a line end."""
    plain = _CONTROL.sub("", _LINE_END.sub(" ", word)).replace('"', "'")
    return f'"{plain}"' if _NEEDS_QUOTES.search(plain) else plain


def _folded(whole: str) -> bytes:
    rest, rows = whole.encode("utf-8", "replace"), []
    room = _LONGEST
    while len(rest) > room:
        end = room
        # A character of several octets stays whole: its following ones begin with the bits 10.
        while rest[end] & 0xC0 == 0x80:
            end -= 1
        rows.append(rest[:end])
        rest, room = rest[end:], _LONGEST - 1
    return b"\r\n ".join([*rows, rest]) + b"\r\n"
