"""Values of metadata as the values of iCalendar: each of its form, or not there at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.zimbra.metadata import Value, as_int
from backupng.engine.mailserver.zimbra.spelling.contentlines import line
from backupng.engine.model import from_ms

Map = Mapping[str, Value]

_MOMENT: Final = re.compile(r"(?:TZID=(?P<zone>.+):|VALUE=DATE:|)(?P<value>\d{8}(?:T\d{6}Z?)?)")
_DURATION: Final = re.compile(r"[+-]?P(?:\d{1,9}[WD])?(?:T(?:\d{1,9}[HMS]){1,3})?")
_RULE: Final = re.compile(r"[A-Z0-9=;,+-]{1,4096}", re.IGNORECASE)
_LATEST_MS: Final = 253_402_300_799_999


def string(values: Map, key: str) -> str:
    """Return a text of a map; empty if there is none."""
    found = values.get(key)
    return found if isinstance(found, str) else ""


def number(values: Map, key: str) -> int | None:
    """Return a number of a map; None if there is none."""
    try:
        return as_int(values.get(key, ""))
    except BrokenItem:
        return None


def mapping(values: Map, key: str) -> Map:
    """Return a map of a map; empty if there is none."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def counted(values: Map, count: str, key: str) -> Iterator[Value]:
    """Yield `key0`, `key1`… of which there are as many as the map says; those there are."""
    for place in range(min(number(values, count) or 0, len(values))):
        if f"{key}{place}" in values:
            yield values[f"{key}{place}"]


def maps(values: Map, count: str, key: str) -> Iterator[Map]:
    """Yield the maps among `counted`."""
    yield from (each for each in counted(values, count, key) if isinstance(each, dict))


def moment(name: str, text: str, **parameters: str) -> Iterator[str]:
    """Yield the line of a moment as metadata spell it; none for anything else."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return
    given = {"TZID": found["zone"]} if found["zone"] else {}
    if "T" not in found["value"]:
        given = {"VALUE": "DATE"}
    yield line(name, found["value"], parameters | given)


def stamp(name: str, ms: int | None) -> Iterator[str]:
    """Yield the line of a moment in UTC, given in ms since the epoch."""
    if ms is not None and 0 < ms <= _LATEST_MS:
        yield f"{name}:{from_ms(ms):%Y%m%dT%H%M%SZ}"


def duration(name: str, text: str, **parameters: str) -> Iterator[str]:
    """Yield the line of a duration; none for what is not spelled as one."""
    if _DURATION.fullmatch(text) and text[-1] not in "PT":
        yield line(name, text, parameters)


def rule(name: str, text: str) -> Iterator[str]:
    """Yield the line of a rule of recurrence; none for what cannot be one."""
    if _RULE.fullmatch(text) and "FREQ=" in text.upper():
        yield f"{name}:{text}"
