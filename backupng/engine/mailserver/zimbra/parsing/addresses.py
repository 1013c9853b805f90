"""Address headers, and the text under which the mail server sorts an address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from backupng.engine.mailserver.zimbra.parsing.headers import decode_words

MAX_ADDRESSES = 200
_MAX_LENGTH = 64 * 1024
"""Characters of one header that are looked at."""

_SEPARATED = re.compile(r'"(?:[^"\\]|\\.)*"?|[(),;:]|[^"(),;:]+', re.DOTALL)
_PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"?|([()])|<([^>]*)>?|[^"()<]+', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_BLANK = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of a header; either part may be missing. Of a group only the name is kept."""

    display: str | None
    email: str | None

    @property
    def sort_text(self) -> str:
        """The display name; without one the words of the local part, or the whole address."""
        display = _BLANK.sub(" ", self.display or "").strip()
        if len(display) > 1 and display[0] == display[-1] == '"':
            display = display[1:-1].strip()
        email = self.email or ""
        if display and display != email:
            return display
        words = email.partition("@")[0].replace(".", " ").replace("_", " ")
        return words if " " in words else email


def parse_address(text: str) -> Address:
    """Read text as one single address, commas included, the way the server reads a From header."""
    words: list[str] = []
    comment: list[str] = []
    email = None
    depth = 0
    for match in _PIECE.finditer(text[:_MAX_LENGTH]):
        quoted, bracket, angle = match.groups()
        if bracket:
            depth = max(0, depth + (1 if bracket == "(" else -1))
        elif depth:
            comment.append(match[0])
        elif email is None and angle is not None:
            email = _BLANK.sub("", angle)
        elif email is None:
            words.append(match[0] if quoted is None else _ESCAPED.sub(r"\1", quoted))
    plain = "".join(words)
    if email is None and "@" in plain:
        return Address(display=_phrase(comment), email=_BLANK.sub("", plain))
    return Address(display=_phrase(words) or _phrase(comment), email=email or None)


def _phrase(words: list[str]) -> str | None:
    return decode_words("".join(words)).strip() or None


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Read an address list; commas and semicolons separate."""
    found: list[Address] = []
    for word, is_group in _split(text[:_MAX_LENGTH]):
        address = parse_address(word)
        if is_group:
            address = Address(display=address.display or address.email, email=None)
        found.append(address)
        if len(found) == MAX_ADDRESSES:
            break
    return tuple(found)


def _split(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each address, and each group's name instead of its members."""
    pending: list[str] = []
    depth = 0
    in_group = False
    for match in _SEPARATED.finditer(text):
        mark = match[0]
        if mark in "()":
            depth = max(0, depth + (1 if mark == "(" else -1))
        if depth or mark not in ",;:" or (mark == ":" and in_group):
            pending.append(mark)
            continue
        word = "".join(pending)
        pending = []
        if word.strip() and not in_group:
            yield word, mark == ":"
        in_group = mark == ":" or (in_group and mark != ";")
    if "".join(pending).strip() and not in_group:
        yield "".join(pending), False
