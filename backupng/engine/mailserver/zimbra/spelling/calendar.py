"""iCalendar files of appointments and tasks, from the metadata of the item.

RFC 5545. The metadata say all of an invite but a long description, which its blob holds
(`zimbra-store.md` §8.9). What is not of the form that it has to have is left out: a value from a
damaged or hostile row ends no line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from icalendar import Component

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.zimbra.parsing.parts import Part, decoded_text, read_parts
from backupng.engine.mailserver.zimbra.spelling import contentlines, zones
from backupng.engine.mailserver.zimbra.spelling.invites import spell_invite
from backupng.engine.mailserver.zimbra.spelling.values import Map, mapping, maps, number

_HEAD: Final = (
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Backup NG//export-item//EN",
    "CALSCALE:GREGORIAN",
    "METHOD:PUBLISH",
)
_ID: Final = re.compile(r"[0-9]{1,10}")
_UNREADABLE: Final = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, RecursionError, OSError),
)
"""What the library raises over files that are none."""


def needs_blob(values: Map) -> bool:
    """Say whether the metadata lack a description, which then stands in the blob."""
    return any(invite.get("dinM") != "true" for invite in maps(values, "nc", "inv"))


def spell_calendar(values: Map, blob: bytes = b"") -> bytes:
    """Return the file of an item with that metadata and blob, its exceptions behind the series.

    The same values give the same bytes. Raises BrokenItem for metadata without an invite.
    """
    invites = sorted(maps(values, "nc", "inv"), key=lambda invite: "rid" in invite)
    if not invites:
        raise BrokenItem("its metadata hold no appointment and no task")
    used = [zone for source in (values, *invites) for zone in _zones(source)]
    lines = [*_HEAD, *zones.spell_zones(used)]
    found = _descriptions(blob)
    for invite in invites:
        lines += spell_invite(invite, found.get(number(invite, "mid") or 0, ""))
    return contentlines.file_of([*lines, "END:VCALENDAR"])


def _zones(source: Map) -> Iterator[Map]:
    """Yield the zones of a map; its other keys are further names of them."""
    found = mapping(source, "tzm")
    yield from (mapping(found, key) for key in sorted(found) if key.startswith("#"))


def _descriptions(blob: bytes) -> Mapping[int, str]:
    """Return the descriptions that a blob holds, by the ids of the invites."""
    found: dict[int, str] = {}
    for part in read_parts(blob).children if blob else ():
        said = part.headers.first("invid") or ""
        if _ID.fullmatch(said.strip()):
            found[int(said)] = _description(blob, part)
    return found


def _description(blob: bytes, part: Part) -> str:
    """Return what an invite's message says: the property of its calendar, else its plain text."""
    plain = ""
    for each in part.walk():
        if each.content_type == "text/calendar":
            if said := _property(decoded_text(blob, each)):
                return said
        elif each.content_type == "text/plain":
            plain = plain or decoded_text(blob, each).strip()
    return plain


def _property(raw: str) -> str:
    try:
        calendar = Component.from_ical(raw)
        events = calendar.walk("VEVENT") + calendar.walk("VTODO")
    except _UNREADABLE:
        return ""
    return next((str(event["DESCRIPTION"]) for event in events if "DESCRIPTION" in event), "")
