"""One VEVENT or VTODO as the server understands it: what it is about, when it is, how it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from icalendar import Component, vRecur

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.parsing.moments import Moment
from backupng.engine.mailserver.zimbra.parsing.participants import bare_address
from backupng.engine.mailserver.zimbra.parsing.properties import Properties
from backupng.engine.mailserver.zimbra.parsing.recurrence import Occasion, Series

STATUSES = {
    "CANCELLED": "CANC",
    "COMPLETED": "COMP",
    "CONFIRMED": "CONF",
    "IN-PROCESS": "INPR",
    "NEEDS-ACTION": "NEED",
    "TENTATIVE": "TENT",
}
WAITING = frozenset({"WAITING", "DEFERRED"})
_LINE_ENDS = re.compile(r"[\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose mailbox an invite is for, under which id, by which method, and when it was read."""

    mailbox_address: str
    invite_id: int
    component: int
    method: str
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """A component with its times; a task may have none, an appointment has a start."""

    properties: Properties
    place: Place
    uid: str
    is_task: bool
    start: Moment | None
    end: Moment | None
    said_duration: timedelta | None
    replaces: Moment | None
    series: Series

    @property
    def subject(self) -> str:
        return _LINE_ENDS.sub(" ", self.properties.text("SUMMARY"))

    @property
    def duration(self) -> timedelta:
        """How long one instance lasts: as said, else up to the end, else a day or a second."""
        if self.start is None:
            return timedelta()
        shortest = _shortest(self.start)
        if self.said_duration:
            return self.said_duration
        if self.end is None or (self.is_task and self.series):
            return shortest
        return self.start.until(self.end)

    @property
    def effective_end(self) -> Moment | None:
        """When it ends, said or not; None for a task without a date."""
        if self.end or self.start is None:
            return self.end
        return self.start.plus(self.duration)

    @property
    def occasion(self) -> Occasion | None:
        """What recurrence needs to know of it; None for a task without a date."""
        start = self.start or self.end
        if start is None:
            return None
        return Occasion(
            invite_id=self.place.invite_id,
            component=self.place.component,
            start=start,
            duration=self.duration,
            replaces=self.replaces,
            cancelled=self.status == "CANC" or self.place.method == "CANCEL",
        )

    @property
    def moments(self) -> list[Moment]:
        """The moments whose zones the invite has to name."""
        named = [self.start, self.end, self.replaces]
        return [moment for moment in named if moment] + self.series.moments

    @property
    def status(self) -> str:
        """The code of its status; unless said a task is to be done, an appointment confirmed."""
        if self.is_task and self._is_done:
            return "COMP"
        code = STATUSES.get(self.properties.word("STATUS"))
        if code == "INPR":
            waiting = self.properties.parameter("STATUS", "X-ZIMBRA-STATUS")
            return waiting if waiting in WAITING else code
        return code or ("NEED" if self.is_task else "CONF")

    @property
    def _is_done(self) -> bool:
        everything = self.properties.number("PERCENT-COMPLETE", highest=100) == 100
        said = self.properties.word("STATUS") == "COMPLETED"
        return everything or said or self.properties.one("COMPLETED") is not None

    @property
    def priority(self) -> int:
        """-1 low, 0, 1 high."""
        number = self.properties.number("PRIORITY", highest=9) or 5
        return (number < 5) - (number > 5)

    @property
    def is_organizer(self) -> bool:
        """Whether the owner of the mailbox invited the others, or nobody else takes part."""
        organizer = self.properties.one("ORGANIZER")
        if organizer is not None:
            return self.is_mine(organizer)
        return all(self.is_mine(attendee) for attendee in self.properties.all("ATTENDEE"))

    def is_mine(self, person: object) -> bool:
        """Tell whether a person is the owner of the mailbox."""
        return bare_address(person).lower() == self.place.mailbox_address.lower()


def read_invite(source: Component, place: Place) -> Invite:
    """Read one component. Raises InvalidItem for what the real server would refuse."""
    properties = Properties(source)
    uid = properties.text("UID")
    if not uid:
        raise InvalidItem("The calendar item has no UID.")
    is_task = source.name == "VTODO"
    replaces = properties.moment("RECURRENCE-ID")
    series = Series() if replaces else _read_series(properties, uid)
    start = properties.moment("DTSTART")
    end = properties.moment("DUE" if is_task else "DTEND")
    if is_task:
        start = _task_start(start, end, recurs=bool(series))
    elif start and end and end.ms <= start.ms:
        end = start.plus(_shortest(start))
    if start is None and (series or not is_task):
        raise InvalidItem(f"The calendar item {uid} has no start.")
    said = getattr(properties.one("DURATION"), "dt", None)
    return Invite(
        properties=properties,
        place=place,
        uid=uid,
        is_task=is_task,
        start=start,
        end=end,
        said_duration=said if isinstance(said, timedelta) and said > timedelta() else None,
        replaces=replaces,
        series=series,
    )


def _shortest(start: Moment) -> timedelta:
    return timedelta(days=1) if start.is_day else timedelta(seconds=1)


def _task_start(start: Moment | None, end: Moment | None, *, recurs: bool) -> Moment | None:
    """Return a task's start: none without a due date, of a series one even if nobody said it."""
    if end is None:
        return start if recurs else None
    return end.plus(-_shortest(end)) if start is None and recurs else start


def _read_series(properties: Properties, uid: str) -> Series:
    return Series(
        rules=tuple(_rules(properties, "RRULE", uid)),
        excluding_rules=tuple(_rules(properties, "EXRULE", uid)),
        excluded=tuple(
            tuple(Moment.read(day, "EXDATE") for day in getattr(group, "dts", ()))
            for group in properties.all("EXDATE")
        ),
    )


def _rules(properties: Properties, name: str, uid: str) -> Iterator[vRecur]:
    if name not in properties.source:
        return
    rules = properties.all(name)
    if not rules or not all(isinstance(rule, vRecur) and rule.get("FREQ") for rule in rules):
        raise InvalidItem(f"The calendar item {uid} recurs by a rule that cannot be read.")
    yield from rules
