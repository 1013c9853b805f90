"""Subjects: what the server strips before it stores one in its column, and how it gets it back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from backupng.engine.mailserver.zimbra.parsing import utf16

SUBJECT_UNITS = 1024
"""Length of the column `subject`."""
_MAX_ROUNDS = 200
"""Prefixes taken off one subject; the real server has no limit, and no need for more."""

_CALENDAR_PREFIXES = frozenset(
    {
        "accept:",
        "accepted:",
        "cancelled:",
        "decline:",
        "declined:",
        "new time proposed:",
        "read-receipt:",
        "share accepted:",
        "share created:",
        "tentative:",
    }
)
_PREFIX = re.compile(r"[^\W\d_]{1,3}(?:[(\[][0-9]+[)\]])?:")
"""Re: AW: R: Fwd: and numbered ones such as Re(2): or Fwd[5]:"""
_LIST_NAME = re.compile(r"\[[^\[\]]*\]")
_FORWARDED = re.compile(r"\(fwd\)\Z", re.IGNORECASE)
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_BLANKS = re.compile("[\x00-\x20]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A subject as users read it, as the column holds it, and the way from there to here.

    `column` needs `prefix` put in front of it, or `raw` in its place; neither when they are equal.
    """

    full: str
    column: str
    prefix: str | None
    raw: str | None


def describe_subject(text: str | None) -> Subject:
    """Describe a decoded subject; None, no such header, is an empty one."""
    full = _UNSPEAKABLE.sub("", text or "")
    column = normalise(full)
    if full == column:
        return Subject(full=full, column=column, prefix=None, raw=None)
    if full.endswith(column):
        prefix = full[: len(full) - len(column)]
        return Subject(full=full, column=column, prefix=prefix, raw=None)
    return Subject(full=full, column=column, prefix=None, raw=full)


def normalise(subject: str) -> str:
    """Strip reply, forward, answer and list prefixes, fold blanks, and fit it into the column."""
    text = utf16.trim(subject)
    for _ in range(_MAX_ROUNDS):
        shorter = _shorten(text)
        if shorter == text:
            break
        text = utf16.trim(shorter)
    return utf16.column(_BLANKS.sub(" ", text), SUBJECT_UNITS)


def _shorten(text: str) -> str:
    """Take one prefix or suffix off, if there is one."""
    if _FORWARDED.search(text[-5:]):
        return text[:-5]
    braced = text.startswith("[")
    start = 1 if braced else 0
    colon = text.find(":", start)
    if colon > start and _is_prefix(text[start : colon + 1]):
        end = len(text) - 1 if braced and text.endswith("]") else len(text)
        return text[colon + 1 : end]
    name = _LIST_NAME.match(text)
    rest = utf16.trim(text[name.end() :]) if name else ""
    return rest or text


def _is_prefix(text: str) -> bool:
    return text.lower() in _CALENDAR_PREFIXES or _PREFIX.fullmatch(text) is not None
