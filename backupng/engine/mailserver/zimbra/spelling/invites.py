"""One invite as the VEVENT or VTODO that it was made of: the way back of `parsing.invite_map`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from backupng.engine.mailserver.zimbra.metadata import Value
from backupng.engine.mailserver.zimbra.parsing import invite as reading
from backupng.engine.mailserver.zimbra.parsing import invite_map, participants
from backupng.engine.mailserver.zimbra.spelling import contentlines, values
from backupng.engine.mailserver.zimbra.spelling.contentlines import line, text
from backupng.engine.mailserver.zimbra.spelling.values import Map, maps, number, string

_TASK: Final = 15
_THIS_AND_FUTURE: Final = 2
_BY_RULE, _BY_DATES = 2, 6
_CANCELLED: Final = "CANC"
_PLACE: Final = re.compile(r"[+-]?\d{1,3}(?:\.\d{1,20})?;[+-]?\d{1,3}(?:\.\d{1,20})?")
_EDGES: Final = {"s": "START", "e": "END"}
_LISTS: Final = (("numCmt", "cmt", "COMMENT"), ("numContacts", "contact", "CONTACT"))


def _turned(table: Mapping[str, str]) -> dict[str, str]:
    return {code: word for word, code in table.items()}


_STATUSES: Final = _turned(reading.STATUSES)
_CLASSES: Final = _turned(invite_map.CLASSES)
_INTENDED: Final = _turned(invite_map.INTENDED)
_ALARMS: Final = _turned(invite_map.ALARMS)
_OF_ATTENDEES: Final = (
    ("cut", "CUTYPE", _turned(participants.KINDS)),
    ("r", "ROLE", _turned(participants.ROLES)),
    ("ptst", "PARTSTAT", _turned(participants.ANSWERS)),
)


def spell_invite(invite: Map, description: str) -> Iterator[str]:
    """Yield the lines of an invite; `description` is taken where the metadata have none."""
    component = "VTODO" if number(invite, "it") == _TASK else "VEVENT"
    yield f"BEGIN:{component}"
    yield from _about(invite, description)
    yield from _times(invite, is_task=component == "VTODO")
    yield from _standing(invite, is_task=component == "VTODO")
    yield from _people(invite)
    yield from _lists(invite)
    for alarm in maps(invite, "numAl", "al"):
        yield from _alarm(alarm, text_of=string(invite, "n"))
    yield f"END:{component}"


def _about(invite: Map, description: str) -> Iterator[str]:
    texts = (
        ("UID", string(invite, "u")),
        ("SUMMARY", string(invite, "n")),
        ("LOCATION", string(invite, "l")),
        ("DESCRIPTION", string(invite, "desc") or description),
    )
    yield from (f"{name}:{text(value)}" for name, value in texts if value)
    if markup := string(invite, "descH"):
        yield line("X-ALT-DESC", text(markup), {"FMTTYPE": "text/html"})
    if url := string(invite, "url"):
        yield f"URL:{contentlines.uri(url)}"


def _times(invite: Map, *, is_task: bool) -> Iterator[str]:
    yield from values.stamp("DTSTAMP", number(invite, "dts") or number(invite, "lastMod"))
    yield from values.stamp("LAST-MODIFIED", number(invite, "lastMod"))
    yield from values.moment("DTSTART", string(invite, "st"))
    # Only one of them may stand there.
    end = list(values.moment("DUE" if is_task else "DTEND", string(invite, "et")))
    yield from end or values.duration("DURATION", string(invite, "duration"))
    replaces = values.mapping(invite, "rid")
    later = number(replaces, "r") == _THIS_AND_FUTURE
    extent = {"RANGE": "THISANDFUTURE"} if later else {}
    yield from values.moment("RECURRENCE-ID", string(replaces, "dt"), **extent)
    recurrence = values.mapping(invite, "recurrence")
    for key, rule, dates in (("add", "RRULE", "RDATE"), ("sub", "EXRULE", "EXDATE")):
        for each in maps(values.mapping(recurrence, key), "nr", "r"):
            yield from _recurs(each, rule, dates)


def _recurs(each: Map, rule: str, dates: str) -> Iterator[str]:
    if number(each, "t") == _BY_RULE:
        yield from values.rule(rule, string(each, "recur"))
    elif number(each, "t") == _BY_DATES:
        group = values.mapping(each, "rexd")
        zone = string(group, "tzid")
        for moment in values.counted(group, "numV", "v"):
            spelled = f"TZID={zone}:{moment}" if zone else str(moment)
            yield from values.moment(dates, spelled)


def _standing(invite: Map, *, is_task: bool) -> Iterator[str]:
    yield f"SEQUENCE:{max(0, number(invite, 'seq') or 0)}"
    code = _CANCELLED if string(invite, "mthd") == "CANCEL" else string(invite, "status")
    if code in reading.WAITING:
        yield line("STATUS", "IN-PROCESS", {"X-ZIMBRA-STATUS": code})
    elif code in _STATUSES:
        yield f"STATUS:{_STATUSES[code]}"
    if secrecy := _CLASSES.get(string(invite, "cl")):
        yield f"CLASS:{secrecy}"
    if (priority := number(invite, "prio")) is not None and 0 <= priority <= 9:
        yield f"PRIORITY:{priority}"
    if not is_task:
        yield f"TRANSP:{'TRANSPARENT' if string(invite, 'tr') == 'T' else 'OPAQUE'}"
        if intended := _INTENDED.get(string(invite, "fb")):
            yield f"X-MICROSOFT-CDO-INTENDEDSTATUS:{intended}"
        return
    if (percent := number(invite, "pctcompl")) is not None and 0 <= percent <= 100:
        yield f"PERCENT-COMPLETE:{percent}"
    yield from values.stamp("COMPLETED", number(invite, "completed"))


def _people(invite: Map) -> Iterator[str]:
    organizer = values.mapping(invite, "org")
    if organizer:
        yield _person("ORGANIZER", organizer, {})
    for attendee in maps(invite, "numAt", "at"):
        codes = {
            name: words[string(attendee, key)]
            for key, name, words in _OF_ATTENDEES
            if string(attendee, key) in words
        }
        if string(attendee, "v") == "1":
            codes["RSVP"] = "TRUE"
        addresses = {
            name: f"mailto:{string(attendee, key)}"
            for key, name in participants.ADDRESSES.items()
            if string(attendee, key)
        }
        yield _person("ATTENDEE", attendee, codes | addresses)


def _person(name: str, person: Map, more: dict[str, str]) -> str:
    words = {"CN": "cn", "DIR": "dir", "LANGUAGE": "lang"}
    given = {parameter: string(person, key) for parameter, key in words.items()}
    if sent_by := string(person, "sentby"):
        given["SENT-BY"] = f"mailto:{sent_by}"
    extras = {extra: string(each, "v") for each, extra in _extras(person)}
    said = {key: value for key, value in (given | more | extras).items() if value}
    return line(name, f"mailto:{contentlines.uri(string(person, 'a'))}", said)


def _extras(invite: Map) -> Iterator[tuple[Map, str]]:
    """Yield the X- properties or parameters of a map with their names."""
    for each in maps(invite, "numX", "x"):
        name = contentlines.name(string(each, "n"))
        if name.startswith("X-"):
            yield each, name


def _lists(invite: Map) -> Iterator[str]:
    categories: list[Value] = list(values.counted(invite, "numCat", "cat"))
    if categories:
        yield f"CATEGORIES:{contentlines.parts(map(str, categories), ',')}"
    for count, key, name in _LISTS:
        yield from (f"{name}:{text(str(each))}" for each in values.counted(invite, count, key))
    geo = values.mapping(invite, "geo")
    place = f"{string(geo, 'lat')};{string(geo, 'lon')}"
    if _PLACE.fullmatch(place):
        yield f"GEO:{place}"
    for each, name in _extras(invite):
        parameters = {extra: string(below, "v") for below, extra in _extras(each)}
        yield line(name, text(string(each, "v")), parameters)


def _alarm(alarm: Map, *, text_of: str) -> Iterator[str]:
    """Yield the lines of an alarm that goes off; a text that must be there is the subject."""
    edge = _EDGES.get(string(alarm, "trd"))
    related = {"RELATED": edge} if edge else {}
    if string(alarm, "tt") == "a":
        trigger = list(values.moment("TRIGGER", string(alarm, "ta"), VALUE="DATE-TIME"))
    else:
        trigger = list(values.duration("TRIGGER", string(alarm, "tr"), **related))
    if not trigger:
        return
    action = _ALARMS.get(string(alarm, "ac"), "DISPLAY")
    yield from ("BEGIN:VALARM", f"ACTION:{action}", *trigger)
    pause = list(values.duration("DURATION", string(alarm, "rd")))
    if pause:
        yield from (*pause, f"REPEAT:{max(0, number(alarm, 'rc') or 0)}")
    if action != "AUDIO":
        yield f"DESCRIPTION:{text(string(alarm, 'ds') or text_of)}"
    if summary := string(alarm, "su") or (text_of if action == "EMAIL" else ""):
        yield f"SUMMARY:{text(summary)}"
    yield from (_person("ATTENDEE", each, {}) for each in maps(alarm, "numAt", "at"))
    yield "END:VALARM"
