"""Calendar files to test with: a meeting, a series with an exception, a task."""

from __future__ import annotations

from typing import Any, cast

from backupng.engine.mailserver.zimbra.parsing.calendar import CalendarFacts, read_ics

NOW_MS = 1_795_376_707_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MARIO = "mario.rossi@example.com"

ZONE = """\
BEGIN:VTIMEZONE
TZID:{name}
BEGIN:STANDARD
DTSTART:19701025T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZNAME:CET
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
TZNAME:CEST
END:DAYLIGHT
END:VTIMEZONE
"""
MEETING = """\
BEGIN:VEVENT
UID:{uid}
DTSTAMP:20260101T090000Z
DTSTART;TZID=Europe/Rome:{start}
DTEND;TZID=Europe/Rome:{end}
SUMMARY:{summary}
LOCATION:Sala Riunioni
DESCRIPTION:Ordine del giorno\\nuno\\, due
ORGANIZER;CN=Mario Rossi:mailto:mario.rossi@example.com
ATTENDEE;CN=Anna Bianchi;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mai
 lto:anna.bianchi@example.com
{more}STATUS:CONFIRMED
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER;RELATED=START:-PT15M
DESCRIPTION:Reminder
END:VALARM
END:VEVENT
"""
WEEKLY = MEETING.format(
    uid="riunione-1@example.com",
    start="20260210T100000",
    end="20260210T110000",
    summary="Riunione è",
    more="RRULE:FREQ=WEEKLY;COUNT=10;BYDAY=TU\n",
)
SERIES = MEETING.format(
    uid="serie-2@example.com",
    start="20260301T090000",
    end="20260301T093000",
    summary="Serie",
    more="RRULE:FREQ=DAILY;COUNT=5\n",
)
EXCEPTION = MEETING.format(
    uid="serie-2@example.com",
    start="20260302T150000",
    end="20260302T153000",
    summary="Serie (eccezione)",
    more="RECURRENCE-ID;TZID=Europe/Rome:20260302T090000\n",
)
TASK = """\
BEGIN:VTODO
UID:attivita-1@example.com
DTSTAMP:20260101T090000Z
DUE;VALUE=DATE:20260301
SUMMARY:Comprare latte
PRIORITY:1
PERCENT-COMPLETE:0
END:VTODO
"""


def calendar(*parts: str, method: str = "REQUEST") -> bytes:
    head = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\nMETHOD:{method}\n"
    return f"{head}{''.join(parts)}END:VCALENDAR\n".replace("\n", "\r\n").encode()


def event(*lines: str, start: str = "20260301T090000Z") -> bytes:
    rows = ("BEGIN:VEVENT", "UID:1", f"DTSTART:{start}", *lines, "END:VEVENT", "")
    return calendar("\n".join(rows), method="PUBLISH")


def todo(*lines: str) -> bytes:
    return calendar("\n".join(("BEGIN:VTODO", "UID:1", *lines, "END:VTODO", "")))


def read(raw: bytes, *, address: str = MARIO, first_invite_id: int = 300) -> CalendarFacts:
    return read_ics(raw, mailbox_address=address, now_ms=NOW_MS, first_invite_id=first_invite_id)


def invite(raw: bytes, *, address: str = MARIO) -> dict[str, Any]:
    found: dict[str, Any] = cast("Any", read(raw, address=address).metadata["inv0"])
    return found


def differences(ours: Any, theirs: Any, path: str = "") -> set[str]:
    """Return the paths where two maps are not the same."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return set() if ours == theirs else {path}
    return {
        found
        for key in ours.keys() | theirs.keys()
        for found in differences(ours.get(key), theirs.get(key), f"{path}/{key}")
    }
