"""The fragment: the first words of a text, as lists of messages show them below the subject.

Quoted text, signatures and the block of a forwarded message are passed over; blanks are folded.
Lengths are UTF-16 code units, as the real server counts them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from backupng.engine.mailserver.zimbra.parsing import utf16

FRAGMENT_UNITS = 150
_LINE_UNITS = FRAGMENT_UNITS + 5
_ELLIPSIS = " ..."

_BLANK = re.compile("[\t-\r\x1c-\x20\u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000]+")
_UNSPEAKABLE = re.compile("[\x00-\x1f\ufffc\ufffe\uffff]")
_RULE = re.compile(r"([=-])\1{2,}")
_INVITATION_RULE = "*~*~*~*~*~*~*~*~*~*"
_MAX_INVITATION_LINES = 50
_FORWARD_LINES = frozenset(
    {
        "--original message--",
        "-- original message --",
        "--original invite--",
        "--forwarded message--",
        "-- forwarded message --",
        "________________________________",
    }
)


def make_fragment(text: str, *, invitation: bool = False) -> str:
    """Shorten a text to at most 150 units at a word; an ellipsis says that it goes on.

    The text of an invitation begins with When: and Where: lines up to a rule; they are passed over.
    """
    units = utf16.trim(utf16.to_units(text))
    lines = units.split("\n")
    if invitation:
        lines = _after_rule(lines)
    result = ""
    for line in _visible(lines):
        result = f"{result} {line}" if result else line
        if len(result) > FRAGMENT_UNITS:
            break
    return utf16.from_units(_cut(result.removeprefix("... ") or _fold(units)))


def _cut(text: str) -> str:
    if len(text) <= FRAGMENT_UNITS:
        return text
    text = text[:FRAGMENT_UNITS]
    blank = text.rfind(" ")
    if blank >= 0:
        text = text[:blank].rstrip()
    return text if text.endswith(_ELLIPSIS) else text + _ELLIPSIS


def _fold(line: str) -> str:
    """Fold blanks, drop what XML cannot carry, shorten drawn lines to two characters."""
    line = _UNSPEAKABLE.sub("", _BLANK.sub(" ", line))
    return _RULE.sub(r"\1\1", line)[:_LINE_UNITS].strip()


def _after_rule(lines: list[str]) -> list[str]:
    for number, line in enumerate(lines[:_MAX_INVITATION_LINES]):
        if line.strip() == _INVITATION_RULE and any(map(str.strip, lines[number + 1 :])):
            return lines[number + 1 :]
    return lines


def _visible(lines: Sequence[str]) -> Iterator[str]:
    """Yield the folded lines that somebody wrote; a passed over quotation leaves an ellipsis."""
    position = 0
    started = False
    while position < len(lines):
        end = _end_of_quotation(lines, position)
        if end > position:
            position = end
            if started and any(map(str.strip, lines[position : position + 100])):
                yield _ELLIPSIS.strip()
            continue
        if started and lines[position] in ("-- ", "-- \r"):
            return
        line = _fold(lines[position])
        if line.lower() in _FORWARD_LINES and started:
            return
        if line:
            started = True
            yield line
        position += 1


def _end_of_quotation(lines: Sequence[str], position: int) -> int:
    """Return the line after the quotation that begins here, with or without "… wrote:"."""
    start = position
    if lines[start].rstrip().endswith(":"):
        start = _next_written(lines, start + 1)
    end = start
    while end < len(lines) and lines[end].lstrip().startswith((">", "|")):
        end = _next_written(lines, end + 1)
    return end if end > start else position


def _next_written(lines: Sequence[str], position: int) -> int:
    while position < len(lines) and not lines[position].strip():
        position += 1
    return position


def html_to_text(source: str) -> str:
    """Return the words of an HTML text: tags, comments, styles and scripts are left out."""
    lowered = source.lower()
    pieces: list[str] = []
    position = 0
    while 0 <= position < len(source):
        tag = source.find("<", position)
        pieces.append(source[position : tag if tag >= 0 else len(source)])
        if tag < 0:
            break
        position = _after_tag(lowered, tag)
    words = (_BLANK.sub(" ", html.unescape(piece)).lstrip(" \xa0") for piece in pieces)
    return " ".join(filter(None, words))


def _after_tag(lowered: str, tag: int) -> int:
    """Return where the text goes on after the tag, comment or script at `tag`; -1: nowhere."""
    if lowered.startswith("<!--", tag):
        end = lowered.find("-->", tag)
        return end + 3 if end >= 0 else -1
    for name in ("style", "script", "title"):
        if lowered.startswith(name, tag + 1):
            end = lowered.find(f"</{name}", tag)
            if end < 0:
                return -1
            tag = end
            break
    end = lowered.find(">", tag)
    return end + 1 if end >= 0 else -1
