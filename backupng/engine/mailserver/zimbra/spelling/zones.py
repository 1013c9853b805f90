"""Time zones of a calendar file: those that the metadata define, and those that everybody knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from icalendar import Timezone

from backupng.engine.mailserver.zimbra.spelling import values
from backupng.engine.mailserver.zimbra.spelling.contentlines import text
from backupng.engine.mailserver.zimbra.spelling.values import Map, number, string

_DAY: Final = re.compile(r"\d{8}T\d{6}")
_BEGINNING: Final = "19710101T000000"
_DAY_MS: Final = 24 * 60 * 60 * 1000
_UNKNOWN: Final = (ValueError, KeyError, LookupError, OSError, OverflowError)
"""What the library raises over a name that is no zone; OSError for one named like a folder."""


def spell_zones(zones: Iterable[Map]) -> Iterator[str]:
    """Yield the definitions of zones, as maps `tzm` hold them, each name once.

    A zone that neither the map nor the time zone database defines is left to its name.
    """
    seen: set[str] = set()
    for zone in zones:
        name = string(zone, "tzid")
        if name and name not in seen:
            seen.add(name)
            yield from _own(zone, name) if "so" in zone else _known(name)


def _own(zone: Map, name: str) -> Iterator[str]:
    standard = _clamped(number(zone, "so"))
    daylight = _clamped(number(zone, "do")) if string(zone, "s2ds") else standard
    yield from ("BEGIN:VTIMEZONE", f"TZID:{text(name)}")
    yield from _season("STANDARD", zone, (daylight, standard), ("d2ss", "d2sr", "sn"))
    if string(zone, "s2ds"):
        yield from _season("DAYLIGHT", zone, (standard, daylight), ("s2ds", "s2dr", "dn"))
    yield "END:VTIMEZONE"


def _season(
    kind: str, zone: Map, offsets: tuple[int, int], keys: tuple[str, str, str]
) -> Iterator[str]:
    start, rule, name = (string(zone, key) for key in keys)
    yield f"BEGIN:{kind}"
    yield f"DTSTART:{start if _DAY.fullmatch(start) else _BEGINNING}"
    yield f"TZOFFSETFROM:{_offset(offsets[0])}"
    yield f"TZOFFSETTO:{_offset(offsets[1])}"
    yield from values.rule("RRULE", rule)
    if name:
        yield f"TZNAME:{text(name)}"
    yield f"END:{kind}"


def _clamped(ms: int | None) -> int:
    return max(1 - _DAY_MS, min(ms or 0, _DAY_MS - 1))


def _offset(ms: int) -> str:
    minutes = int(abs(timedelta(milliseconds=ms)).total_seconds()) // 60
    return f"{'-' if ms < 0 else '+'}{minutes // 60:02d}{minutes % 60:02d}"


def _known(name: str) -> Iterator[str]:
    try:
        zone = Timezone.from_tzid(name)
        spelled = zone.to_ical().decode("utf-8")
    except _UNKNOWN:
        return
    # The lines are folded: joined again, they are folded with the others.
    yield from spelled.replace("\r\n ", "").split("\r\n")[:-1]
