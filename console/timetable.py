"""When something runs by itself: switched on or off, and a pattern of five cron fields. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Self

from cronsim import CronSim, CronSimError

from backupng.engine.errors import BadRequest

_FIELDS = 5
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_SWITCHES = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Timetable:
    """Minute, hour, day of the month, month and day of the week, in the zone of a server.

    A time that the clocks skip in spring is taken at the end of the gap, one that comes twice in
    autumn counts once.
    """

    enabled: bool
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `true 0 4 * * *`. Raises BadRequest."""
        word, _, pattern = text.strip().partition(" ")
        if word.lower() not in _SWITCHES:
            raise BadRequest(
                f"{text!r} is no timetable.",
                hint="Expected: true or false, then five cron fields, such as true 0 4 * * *.",
            )
        return cls(_SWITCHES[word.lower()], check_pattern(pattern))

    def spell(self) -> str:
        """Write it; `parse` reads it back."""
        return f"{str(self.enabled).lower()} {self.pattern}"

    def next_run(self, after: datetime, zone: tzinfo) -> datetime | None:
        """Return the first time after a moment; None while switched off, or if none comes."""
        if not self.enabled:
            return None
        return next(CronSim(self.pattern, after.astimezone(zone)), None)

    def last_run(self, since: datetime, until: datetime, zone: tzinfo) -> datetime | None:
        """Return the latest time after `since` and not after `until`; None if there is none."""
        found, at = None, self.next_run(since, zone)
        while at is not None and at <= until:
            found, at = at, self.next_run(at, zone)
        return found


def check_pattern(text: str) -> str:
    """Return a pattern with one blank between its fields. Raises BadRequest."""
    fields = text.split()
    pattern = " ".join(fields)
    try:
        if len(fields) != _FIELDS:
            raise CronSimError(f"it has {len(fields)} fields")
        if next(CronSim(pattern, _ANY_DAY), None) is None:
            raise CronSimError("no day ever matches it")
    except CronSimError as error:
        raise BadRequest(
            f"{text!r} is no cron pattern: {error}.",
            hint="Expected: five fields, minute hour day month weekday, such as 0 4 * * *.",
            parameter="pattern",
            value=text,
        ) from error
    return pattern


def is_timetable(text: str) -> bool:
    """Say whether `Timetable.parse` takes a text."""
    try:
        Timetable.parse(text)
    except BadRequest:
        return False
    return True
