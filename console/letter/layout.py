"""How the lines of a notification are set: wrapping, labels in a column, numbers, times. Pure.

Lines have at most 78 characters, but for lists of ids, the accounts above them and the single words
of a command.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Mapping
from datetime import timedelta

WIDTH = 78
_LABEL_WIDTH = 15
_UNSPEAKABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Control characters, line and direction marks, halves of characters, and what is none."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_IDS = re.compile(r"\d+(?:,\d+)+")
"""A list of ids, which is pasted as a whole."""
_GAP = re.compile("( {3,})")
_COMMAND_LAST = re.compile(r"(.+:) (backupng(?: (?:[\w./@:+,-]+|'[^']*'))+(?<!\.))")
"""Of words that a shell takes as they are, or that are quoted; the end of a sentence is none."""
_NO_BREAK_SPACE = "\u00a0"


def clean(text: str) -> str:
    """Return a text in one line, with a blank for whatever could break, turn or hide it."""
    return _UNSPEAKABLE.sub(" ", text)


def filled(text: str, *, first: str = "", rest: str = "") -> str:
    """Wrap a text; `first` and `rest` begin its first line and the others.

    Parts with three blanks or more between them, such as `name value`, stay whole where they can.
    """
    rows: list[str] = []
    parts = _GAP.split(clean(text))
    for gap, part in zip(("", *parts[1::2]), parts[::2], strict=True):
        indent = rest if rows[1:] else first
        if rows and len(indent) + len(rows[-1]) + len(gap) + len(part) <= WIDTH:
            rows[-1] += gap + part
        else:
            rows.append(part)
    indents = (first, *(rest for _ in rows[1:]))
    return "\n".join(
        _wrapped(row, first=indent, rest=rest) for indent, row in zip(indents, rows, strict=True)
    )


def _wrapped(text: str, *, first: str, rest: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=_IDS.search(text) is None,
    )


def block(fields: Mapping[str, str]) -> str:
    """Set labels in a column and their values beside it; those without a value are left out."""
    width = max((len(label) + 2 for label in fields), default=0)
    width = max(width, _LABEL_WIDTH)
    return "\n".join(
        filled(value, first=clean(label).ljust(width), rest=" " * width)
        for label, value in fields.items()
        if value
    )


def command(label: str, line: str) -> str:
    """Set a command so that it can be copied: what does not fit goes on below, as the shell has it.

    A single word is never broken.
    """
    indent = " " * _LABEL_WIDTH
    lines, current = [], f"{label} ".ljust(_LABEL_WIDTH)
    for word in shlex.split(clean(line)):
        quoted = shlex.quote(word)
        if current.strip() not in ("", label.strip()) and len(current) + len(quoted) + 2 > WIDTH:
            lines.append(f"{current}\\")
            current = indent
        current += f"{quoted} "
    return "\n".join((*lines, current.rstrip()))


def sentence(text: str, *, label: str) -> str:
    """Set a sentence beside its label; a command at its end gets lines of its own."""
    found = _COMMAND_LAST.fullmatch(text)
    told, line = (found[1], found[2]) if found else (text, "")
    set_text = filled(told, first=label.ljust(_LABEL_WIDTH), rest=" " * _LABEL_WIDTH)
    return f"{set_text}\n{command('', line)}" if line else set_text


def number(value: int) -> str:
    """Group the digits of a number."""
    return f"{value:,}".replace(",", _NO_BREAK_SPACE)


def items(value: int) -> str:
    """Return a number of items in words."""
    return "1 item" if value == 1 else f"{number(value)} items"


def size(size_bytes: int) -> str:
    """Spell a size, base 10."""
    amount, unit = float(size_bytes), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{size_bytes} B"


def duration(elapsed: timedelta) -> str:
    """Spell a duration in words: `6 minutes, 3 seconds`."""
    minutes, seconds = divmod(int(elapsed.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    said = [f"{value} {unit}{'' if value == 1 else 's'}" for value, unit in parts if value > 0]
    return ", ".join(said) or "less than a second"
