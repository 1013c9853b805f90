"""Appointments and tasks of the seeded content, as calendar files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backupng.engine.mailserver.sandbox.content.dice import Dice
from backupng.engine.mailserver.sandbox.content.people import (
    Person,
    any_person,
    escape,
    join_lines,
)
from backupng.engine.mailserver.sandbox.content.words import Language

_ZONES = {
    "Europe/Rome": ("+0100", "+0200", "CET", "CEST"),
    "Europe/Berlin": ("+0100", "+0200", "CET", "CEST"),
    "Europe/London": ("+0000", "+0100", "GMT", "BST"),
}
_RULES = (
    *("", "", "", "", "FREQ=WEEKLY;COUNT=10", "FREQ=DAILY;COUNT=5"),
    *("FREQ=MONTHLY;COUNT=6;BYMONTHDAY=15", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "FREQ=YEARLY"),
)
_ANSWERS = ("NEEDS-ACTION", "ACCEPTED", "TENTATIVE", "DECLINED")


def make_appointment(
    dice: Dice, language: Language, owner: Person, *, uid: str, near_s: int
) -> bytes:
    """Make an appointment of `owner`, or one that somebody else invites them to."""
    zone = dice.pick(tuple(_ZONES))
    day = datetime.fromtimestamp(near_s, UTC).replace(tzinfo=None) + timedelta(dice.below(28))
    start = day.replace(hour=dice.between(7, 18), minute=dice.pick((0, 15, 30)), second=0)
    rule = dice.pick(_RULES)
    if dice.chance(0.15):
        times = [f"DTSTART;VALUE=DATE:{start:%Y%m%d}", f"DTEND;VALUE=DATE:{_later(start, days=1)}"]
    else:
        length = timedelta(minutes=dice.pick((15, 30, 60, 90)))
        times = _timed(zone, start, start + length)
    lines = [*times, *([f"RRULE:{rule}"] if rule else []), *_people(dice, owner)]
    what = fill(dice, language, dice.pick(language.subjects))
    components = [_event(dice, language, uid, [*lines, f"SUMMARY:{escape(what)}"], near_s)]
    if rule == "FREQ=DAILY;COUNT=5" and ";TZID=" in times[0]:
        components.append(_exception(dice, language, (uid, what), (zone, start), near_s))
    return _calendar(zone, components)


def make_task(dice: Dice, language: Language, *, uid: str, near_s: int) -> bytes:
    """Make a task: to be done, half done or done."""
    due = datetime.fromtimestamp(near_s, UTC) + timedelta(dice.between(1, 60))
    percent = dice.pick((0, 0, 25, 50, 100))
    status = {0: "NEEDS-ACTION", 100: "COMPLETED"}.get(percent, "IN-PROCESS")
    what = fill(dice, language, dice.pick(language.sentences))
    lines = [
        *("BEGIN:VTODO", f"UID:{uid}", _stamp(near_s), f"SUMMARY:{escape(what)}"),
        *(f"STATUS:{status}", f"PERCENT-COMPLETE:{percent}", f"PRIORITY:{dice.pick((1, 5, 9))}"),
    ]
    if dice.chance(0.8):
        lines.append(f"DUE;VALUE=DATE:{due:%Y%m%d}")
    if percent == 100:
        lines.append(f"COMPLETED:{due:%Y%m%dT%H%M%SZ}")
    return _calendar("", [[*lines, "END:VTODO"]])


def fill(dice: Dice, language: Language, sentence: str) -> str:
    """Fill the slots of a sentence."""
    return sentence.format(
        thing=dice.pick(language.things),
        day=dice.pick(language.days),
        number=dice.between(10, 9999),
        place=dice.pick(language.places),
    )


def _later(start: datetime, *, days: int) -> str:
    return f"{start + timedelta(days=days):%Y%m%d}"


def _timed(zone: str, start: datetime, end: datetime) -> list[str]:
    moments = (("DTSTART", start), ("DTEND", end))
    return [f"{name};TZID={zone}:{moment:%Y%m%dT%H%M%S}" for name, moment in moments]


def _stamp(near_s: int) -> str:
    return f"DTSTAMP:{datetime.fromtimestamp(near_s, UTC):%Y%m%dT%H%M%SZ}"


def _people(dice: Dice, owner: Person) -> list[str]:
    """Return organizer and attendees; half of all appointments have none."""
    if dice.chance(0.5):
        return []
    others = [any_person(dice) for _ in range(dice.between(1, 4))]
    invited = dice.chance(0.4)
    organizer = others[0] if invited else owner
    guests = [owner, *others[1:]] if invited else others
    return [
        f"ORGANIZER;CN={_quoted(organizer)}:mailto:{organizer.address}",
        *(
            f"ATTENDEE;CN={_quoted(guest)};ROLE=REQ-PARTICIPANT;PARTSTAT={dice.pick(_ANSWERS)}"
            f";RSVP=TRUE:mailto:{guest.address}"
            for guest in guests
        ),
    ]


def _quoted(person: Person) -> str:
    return f'"{person.name}"'


def _event(dice: Dice, language: Language, uid: str, lines: list[str], near_s: int) -> list[str]:
    text = "\n".join(fill(dice, language, dice.pick(language.sentences)) for _ in range(3))
    place = dice.pick(language.places)
    event = ["BEGIN:VEVENT", f"UID:{uid}", _stamp(near_s), *lines]
    event += [f"LOCATION:{escape(place)}", f"DESCRIPTION:{escape(text)}"]
    if dice.chance(0.2):
        event += ["CLASS:PRIVATE", "TRANSP:TRANSPARENT"]
    if dice.chance(0.6):
        event += ["BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER;RELATED=START:-PT15M"]
        event += ["DESCRIPTION:Reminder", "END:VALARM"]
    return [*event, "END:VEVENT"]


def _exception(
    dice: Dice,
    language: Language,
    item: tuple[str, str],
    when: tuple[str, datetime],
    near_s: int,
) -> list[str]:
    """Move the second day of a series to the afternoon."""
    (uid, what), (zone, start) = item, when
    instance = start + timedelta(days=1)
    moved = instance.replace(hour=19)
    lines = [
        *_timed(zone, moved, moved + timedelta(minutes=30)),
        f"RECURRENCE-ID;TZID={zone}:{instance:%Y%m%dT%H%M%S}",
        f"SUMMARY:{escape(what)} (✓)",
    ]
    return _event(dice, language, uid, lines, near_s)


def _calendar(zone: str, components: list[list[str]]) -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Backup NG//sandbox//EN", "METHOD:PUBLISH"]
    if zone:
        lines += _zone_definition(zone)
    for component in components:
        lines += component
    return join_lines([*lines, "END:VCALENDAR"])


def _zone_definition(zone: str) -> list[str]:
    standard, daylight, standard_name, daylight_name = _ZONES[zone]
    return [
        *("BEGIN:VTIMEZONE", f"TZID:{zone}"),
        *("BEGIN:STANDARD", "DTSTART:19961027T030000", "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU"),
        *(f"TZOFFSETFROM:{daylight}", f"TZOFFSETTO:{standard}", f"TZNAME:{standard_name}"),
        *("END:STANDARD", "BEGIN:DAYLIGHT", "DTSTART:19810329T020000"),
        *("RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU", f"TZOFFSETFROM:{standard}"),
        *(f"TZOFFSETTO:{daylight}", f"TZNAME:{daylight_name}", "END:DAYLIGHT", "END:VTIMEZONE"),
    ]
