"""Calendar files: from one series of a VEVENT or VTODO to the row of an appointment or task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from icalendar import Calendar, Component

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.metadata import Value
from backupng.engine.mailserver.zimbra.parsing import utf16
from backupng.engine.mailserver.zimbra.parsing.headers import decode_bytes
from backupng.engine.mailserver.zimbra.parsing.invite import Invite, Place, read_invite
from backupng.engine.mailserver.zimbra.parsing.invite_map import invite_map, keeps_description
from backupng.engine.mailserver.zimbra.parsing.moments import zone_map
from backupng.engine.mailserver.zimbra.parsing.participants import organizer_column
from backupng.engine.mailserver.zimbra.parsing.recurrence import recurrence_map, series_end_ms
from backupng.engine.model import ItemKind

MAX_ICS_BYTES = 4 * 1024 * 1024
MAX_COMPONENTS = 2000
"""Invites of one item: a series with that many exceptions."""
_SUBJECT_UNITS = 1024
_UNREADABLE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, RecursionError, OSError),
)
"""What the library raises over files that are none; OSError for zones named like a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarFacts:
    """What a calendar file says about itself.

    `metadata` has no next alarm (`ad`): the real server works it out from the clock. `needs_blob`:
    the real server writes a blob only for what the metadata has no room for. `end_ms` is that of
    the last instance, in the year 9000 for what never ends; a task without a due date has 0 twice.
    """

    kind: ItemKind
    uid: str
    subject: str
    organizer_column: str
    start_ms: int
    end_ms: int
    priority: int
    needs_blob: bool
    invite_ids: tuple[int, ...]
    metadata: dict[str, Value]


def read_ics(
    raw: bytes, *, mailbox_address: str, now_ms: int, first_invite_id: int
) -> CalendarFacts:
    """Read one appointment or task with its exceptions, for the mailbox of `mailbox_address`.

    Invites get ids from `first_invite_id` up, the series first. Raises InvalidItem for everything
    that is not exactly one such item.
    """
    calendar = _parse(raw)
    places = (
        Place(
            mailbox_address=mailbox_address,
            invite_id=invite_id,
            component=0,
            method=_method(calendar),
            now_ms=now_ms,
        )
        for invite_id in count(first_invite_id)
    )
    try:
        invites = list(map(read_invite, _components(calendar), places))
        return _facts(invites, _zone_definitions(calendar))
    except _UNREADABLE as error:
        raise InvalidItem(f"The calendar file cannot be understood: {error}") from error


def calendar_blob(raw: bytes, invite_ids: Sequence[int]) -> bytes:
    """Return the blob of a calendar item: a digest with one message for each of its invites.

    The same file with the same ids gives the same bytes. Raises InvalidItem as `read_ics` does.
    """
    calendar = _parse(raw)
    boundary = f"=_{hashlib.sha256(raw).hexdigest()[:32]}"
    lines = ["MIME-Version: 1.0", f'Content-Type: multipart/digest; boundary="{boundary}"', ""]
    content = ["\r\n".join(lines).encode()]
    for invite_id, component in zip(invite_ids, _components(calendar), strict=True):
        head = (
            f"--{boundary}",
            "Content-Type: message/rfc822",
            f"invId: {invite_id}",
            "",
            "MIME-Version: 1.0",
            f"Content-Type: text/calendar; method={_method(calendar)}; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
        )
        content += ["\r\n".join(head).encode(), _alone(calendar, component)]
    return b"\r\n".join([*content, f"--{boundary}--\r\n".encode()])


def _parse(raw: bytes) -> Calendar:
    if len(raw) > MAX_ICS_BYTES:
        raise InvalidItem(f"The calendar file has more than {MAX_ICS_BYTES // 1024**2} MiB.")
    try:
        found = Component.from_ical(decode_bytes(raw))
    except _UNREADABLE as error:
        raise InvalidItem("The file is no calendar.") from error
    if not isinstance(found, Calendar):
        raise InvalidItem("The file is no calendar.")
    return found


def _method(calendar: Calendar) -> str:
    return str(calendar.get("METHOD", "PUBLISH")).strip().upper()


def _components(calendar: Calendar) -> list[Component]:
    """Return the components of the one item in the file, the series before its exceptions."""
    found = [part for part in calendar.subcomponents if part.name in ("VEVENT", "VTODO")]
    if not found:
        raise InvalidItem("The calendar file holds no appointment and no task.")
    if len(found) > MAX_COMPONENTS:
        raise InvalidItem(f"The calendar file has more than {MAX_COMPONENTS} exceptions.")
    if len({(part.name, str(part.get("UID"))) for part in found}) > 1:
        raise InvalidItem("The calendar file holds more than one appointment or task.")
    found.sort(key=lambda part: "RECURRENCE-ID" in part)
    if sum("RECURRENCE-ID" not in part for part in found) > 1:
        raise InvalidItem("The calendar file holds the same appointment or task twice.")
    return found


def _zone_definitions(calendar: Calendar) -> dict[str, Component]:
    zones = [part for part in calendar.subcomponents if part.name == "VTIMEZONE"]
    return {str(zone.get("TZID", "")): zone for zone in zones}


def _alone(calendar: Calendar, component: Component) -> bytes:
    """Return a calendar file with this one component of the given one."""
    alone = Calendar()
    for name in ("PRODID", "VERSION", "METHOD"):
        if name in calendar:
            alone[name] = calendar[name]
    zones = [part for part in calendar.subcomponents if part.name == "VTIMEZONE"]
    alone.subcomponents = [*zones, component]
    return bytes(alone.to_ical(sorted=False))


def _facts(invites: list[Invite], zones: dict[str, Component]) -> CalendarFacts:
    first = invites[0]
    start_ms, end_ms = _extent(invites)
    moments = [moment for invite in invites for moment in invite.moments]
    metadata: dict[str, Value] = {
        "u": first.uid,
        "aps": start_ms,
        "ape": end_ms,
        "nc": len(invites),
        "rl": {"n": 0},
        "tzm": zone_map(moments, zones),
    }
    for number, invite in enumerate(invites):
        own_zones = zone_map(invite.moments, zones)
        metadata[f"inv{number}"] = invite_map(invite, own_zones, _recurrence(invite))
    whole = _recurrence(first, invites[1:])
    if whole:
        metadata["apptRecur"] = whole
    return CalendarFacts(
        kind=ItemKind.TASK if first.is_task else ItemKind.APPOINTMENT,
        uid=first.uid,
        subject=utf16.column(first.subject, _SUBJECT_UNITS),
        organizer_column=organizer_column(first.properties.one("ORGANIZER")),
        start_ms=start_ms,
        end_ms=end_ms,
        priority=first.priority,
        needs_blob=not all(map(keeps_description, invites)),
        invite_ids=tuple(invite.place.invite_id for invite in invites),
        metadata=metadata,
    )


def _recurrence(invite: Invite, exceptions: Sequence[Invite] = ()) -> dict[str, Value]:
    """Return the map of a series; empty for what happens once."""
    if not invite.series or invite.occasion is None:
        return {}
    occasions = [exception.occasion for exception in exceptions]
    return recurrence_map(invite.series, invite.occasion, [each for each in occasions if each])


def _extent(invites: list[Invite]) -> tuple[int, int]:
    """Return when the item begins and ends, exceptions aside where there is a series."""
    first = invites[0]
    if first.series and first.start:
        end_ms = series_end_ms(first.series, first.start, first.duration)
        return first.start.ms, end_ms
    counted = invites if first.replaces else invites[:1]
    starts = [invite.start.ms for invite in counted if invite.start]
    ends = [invite.effective_end.ms for invite in counted if invite.effective_end]
    return min(starts, default=0), max(ends, default=0)
