"""Dates, durations and time zones of iCalendar as the metadata of calendar items spells them.

`20240102T090000Z`, `TZID=Europe/Rome:20240102T090000`, `VALUE=DATE:20240102`; durations in the
words of iCalendar; a well-known zone is its name alone, any other one carries its rules
(Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/mailbox/calendar/Util.java`).
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Self
from zoneinfo import ZoneInfo

from icalendar import Component

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.metadata import Value

FAR_FUTURE_MS = calendar.timegm((9000, 1, 1, 0, 0, 0)) * 1000
"""End of what never ends: the last moment that calendars of the real server know."""

_DAY_SECONDS = 24 * 60 * 60
_WEEK_SECONDS = 7 * _DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Moment:
    """A day, or a wall-clock time in a named zone; `zone` is None for UTC and for days."""

    wall: datetime
    zone: str | None
    rules: tzinfo
    is_day: bool = False

    @classmethod
    def read(cls, value: Any, name: str) -> Self:
        """Read a date property. Raises InvalidItem if it holds none.

        A time without a zone, or in one nobody knows, is taken as UTC.
        """
        when = getattr(value, "dt", None)
        if isinstance(when, datetime):
            zone = _zone_name(value, when.tzinfo)
            return cls(when.replace(tzinfo=None, microsecond=0), zone, when.tzinfo or UTC)
        if isinstance(when, date):
            return cls(datetime(when.year, when.month, when.day), None, UTC, is_day=True)  # noqa: DTZ001  # a day has no zone
        raise InvalidItem(f"The calendar item has no date where {name} should give one.")

    @property
    def text(self) -> str:
        """The moment as metadata spells it."""
        if self.is_day:
            return f"VALUE=DATE:{self.wall:%Y%m%d}"
        return f"TZID={self.zone}:{self.compact}" if self.zone else self.compact

    @property
    def compact(self) -> str:
        """Day and time without the zone's name."""
        if self.is_day:
            return f"{self.wall:%Y%m%d}"
        return f"{self.wall:%Y%m%dT%H%M%S}{'' if self.zone else 'Z'}"

    @property
    def ms(self) -> int:
        """Milliseconds since the epoch; a day begins at midnight UTC."""
        offset = self.wall.replace(tzinfo=self.rules).utcoffset() or timedelta()
        return calendar.timegm((self.wall - offset).timetuple()) * 1000

    def plus(self, duration: timedelta) -> Self:
        """Return the moment a duration later by the same clock. Raises InvalidItem after 9999."""
        try:
            return type(self)(self.wall + duration, self.zone, self.rules, self.is_day)
        except OverflowError as error:
            raise InvalidItem("The calendar item lasts beyond the year 9999.") from error

    def until(self, end: Moment) -> timedelta:
        """Return the time from this moment to another one, by this one's clock if both share it."""
        if self.zone == end.zone:
            return end.wall - self.wall
        return timedelta(milliseconds=end.ms - self.ms)


def _zone_name(value: Any, rules: tzinfo | None) -> str | None:
    """Return the zone's name, of the well-known ones the name in the time zone database."""
    if isinstance(rules, ZoneInfo):
        return None if rules.key == "UTC" else rules.key
    named = value.params.get("TZID") if rules is not None and rules is not UTC else None
    return str(named) if named else None


def spell_duration(duration: timedelta) -> str:
    """Spell a duration in the words of iCalendar: PT1H, P1D, -PT15M, P2W."""
    seconds = int(abs(duration).total_seconds())
    sign = "-P" if duration < timedelta() else "P"
    if seconds and seconds % _WEEK_SECONDS == 0:
        return f"{sign}{seconds // _WEEK_SECONDS}W"
    days, rest = divmod(seconds, _DAY_SECONDS)
    units = ((rest // 3600, "H"), (rest // 60 % 60, "M"), (rest % 60, "S"))
    time = "".join(f"{number}{unit}" for number, unit in units if number)
    if days and not time:
        return f"{sign}{days}D"
    return f"{sign}{f'{days}D' if days else ''}T{time or '0S'}"


def zone_map(moments: list[Moment], zones: dict[str, Component]) -> dict[str, Value]:
    """Return the map `tzm` of the zones that the moments use, in order of first use."""
    used = {moment.zone: moment.rules for moment in moments if moment.zone}
    return {
        f"#{number}": _zone(name, None if isinstance(rules, ZoneInfo) else zones.get(name))
        for number, (name, rules) in enumerate(used.items())
    }


def _zone(name: str, definition: Component | None) -> dict[str, Value]:
    found: dict[str, Value] = {"tzid": name}
    if definition is None:
        return found
    standard = _latest(definition, "STANDARD") or _latest(definition, "DAYLIGHT")
    daylight = _latest(definition, "DAYLIGHT") or standard
    if standard is None or daylight is None:
        return found
    found |= _season(standard, offset="so", start="d2ss", rule="d2sr", name="sn")
    return found | _season(daylight, offset="do", start="s2ds", rule="s2dr", name="dn")


def _latest(definition: Component, kind: str) -> Component | None:
    """Return the most recent definition of a season; the real server keeps no history of zones."""
    seasons = [season for season in definition.subcomponents if season.name == kind]
    return max(seasons, key=lambda season: _raw(season, "DTSTART"), default=None)


def _season(
    season: Component, *, offset: str, start: str, rule: str, name: str
) -> dict[str, Value]:
    shift = getattr(season.get("TZOFFSETTO"), "td", timedelta())
    words = {
        start: _raw(season, "DTSTART"),
        rule: _raw(season, "RRULE"),
        name: _raw(season, "TZNAME"),
    }
    found: dict[str, Value] = {offset: int(shift.total_seconds()) * 1000}
    return found | {key: word for key, word in words.items() if word}


def _raw(component: Component, name: str) -> str:
    """Return a property as it stands in the file; of several the first; "" if there is none."""
    value = component.get(name)
    value = value[0] if isinstance(value, list) else value
    if value is None:
        return ""
    raw = value.to_ical()
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
