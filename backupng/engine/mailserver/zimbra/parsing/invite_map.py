"""The map of one invite: `inv0`… in the metadata of a calendar item (`zimbra-store.md` §8.9)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from icalendar import Component

from backupng.engine.mailserver.zimbra.metadata import Value
from backupng.engine.mailserver.zimbra.parsing.fragment import make_fragment
from backupng.engine.mailserver.zimbra.parsing.invite import Invite
from backupng.engine.mailserver.zimbra.parsing.moments import Moment, spell_duration
from backupng.engine.mailserver.zimbra.parsing.participants import (
    attendee_map,
    extra_maps,
    person_map,
)
from backupng.engine.mailserver.zimbra.parsing.properties import Properties, with_crlf

MAX_DESCRIPTION_UNITS = 4096
"""Length of a description that the metadata has room for; of its HTML three times as much."""

_EVENT, _ALL_DAY, _RECURS = 2, 4, 32
"""Bits of `af`; the server sets the first one for tasks, too."""
CLASSES = {"PRIVATE": "PRI", "CONFIDENTIAL": "CON"}
INTENDED = {"FREE": "F", "BUSY": "B", "TENTATIVE": "T", "OOF": "O"}
ALARMS = {"DISPLAY": "d", "AUDIO": "a", "EMAIL": "e", "PROCEDURE": "p", "NONE": "n"}
_METHODS = frozenset(
    {"REQUEST", "PUBLISH", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"}
)
_UNDERSTOOD = frozenset(
    {
        "X-ALT-DESC",
        "X-MICROSOFT-CDO-ALLDAYEVENT",
        "X-MICROSOFT-CDO-INTENDEDSTATUS",
        "X-ZIMBRA-CHANGES",
        "X-ZIMBRA-LOCAL-ONLY",
    }
)
"""X- properties that other keys already say."""
_MAX_SEQUENCE = 2**31 - 1


def invite_map(
    invite: Invite, zones: dict[str, Value], recurrence: dict[str, Value]
) -> dict[str, Value]:
    """Return the map of an invite; `recurrence` is empty for what happens once."""
    found = _about(invite) | _standing(invite) | _times(invite) | _people(invite)
    found |= _description(invite) | _lists(invite.properties) | _alarms(invite)
    found["tzm"] = zones
    if recurrence:
        found["recurrence"] = recurrence
    if invite.replaces and invite.occasion:
        found["rid"] = invite.occasion.recurrence_id
    return found


def keeps_description(invite: Invite) -> bool:
    """Tell whether the metadata has room for the description; if not, the item needs a blob."""
    text, markup = _descriptions(invite.properties)
    return len(text) <= MAX_DESCRIPTION_UNITS and len(markup) <= 3 * MAX_DESCRIPTION_UNITS


def _about(invite: Invite) -> dict[str, Value]:
    method = invite.place.method
    found: dict[str, Value] = {
        "it": 15 if invite.is_task else 11,
        "u": invite.uid,
        "mid": invite.place.invite_id,
        "comp": invite.place.component,
        "mthd": method if method in _METHODS else "PUBLISH",
        "n": invite.subject,
        "l": invite.properties.text("LOCATION"),
        "seq": invite.properties.number("SEQUENCE", highest=_MAX_SEQUENCE) or 0,
        "lfseq": 0,
    }
    url = invite.properties.text("URL")
    return found | ({"url": url} if url else {})


def _standing(invite: Invite) -> dict[str, Value]:
    """Return status, urgency and what others see of it."""
    properties = invite.properties
    found: dict[str, Value] = {"status": invite.status, "tr": "O"}
    priority = properties.number("PRIORITY", highest=9)
    if priority is not None:
        found["prio"] = str(priority)
    secrecy = CLASSES.get(properties.word("CLASS"))
    if secrecy:
        found["cl"] = secrecy
    if invite.is_task:
        percent = properties.number("PERCENT-COMPLETE", highest=100)
        percent = 100 if invite.status == "COMP" else percent
        return found if percent is None else found | {"pctcompl": str(percent)}
    free_busy = INTENDED.get(properties.word("X-MICROSOFT-CDO-INTENDEDSTATUS"))
    if free_busy is None and properties.word("TRANSP") == "TRANSPARENT":
        free_busy = "F"
    if free_busy:
        found |= {"fb": free_busy, "tr": "T" if free_busy == "F" else "O"}
    return found


def _times(invite: Invite) -> dict[str, Value]:
    now = invite.place.now_ms // 1000 * 1000
    stamp = invite.properties.ms("DTSTAMP") or now
    found: dict[str, Value] = {
        "dts": stamp,
        "lastMod": invite.properties.ms("LAST-MODIFIED") or stamp,
        "af": _flags(invite),
    }
    for key, moment in (("st", invite.start), ("et", invite.end)):
        if moment:
            found[key] = moment.text
    if invite.said_duration:
        found["duration"] = spell_duration(invite.said_duration)
    if invite.status == "COMP":
        found["completed"] = invite.properties.ms("COMPLETED") or now
    return found


def _flags(invite: Invite) -> int:
    first = invite.start or invite.end
    all_day = first is not None and (first.is_day or _is_marked_all_day(invite, first))
    return _EVENT | (_ALL_DAY if all_day else 0) | (_RECURS if invite.series else 0)


def _is_marked_all_day(invite: Invite, first: Moment) -> bool:
    """Tell whether a program that knows no days gave midnight and a mark instead."""
    marked = invite.properties.word("X-MICROSOFT-CDO-ALLDAYEVENT") == "TRUE"
    at_midnight = first.wall == datetime.combine(first.wall, datetime.min.time())
    return marked and at_midnight and not invite.is_task


def _people(invite: Invite) -> dict[str, Value]:
    attendees = invite.properties.all("ATTENDEE")
    organizer = invite.properties.one("ORGANIZER")
    mine = _word(invite.is_organizer)
    found: dict[str, Value] = {"isOrg": mine, "byme": mine, "clSetByMe": "false"}
    found["numAt"] = str(len(attendees))
    if organizer is not None:
        found["org"] = person_map(organizer)
    for number, attendee in enumerate(attendees):
        found[f"at{number}"] = attendee_map(attendee)
    return found | _answer(invite, next(filter(invite.is_mine, attendees), None))


def _answer(invite: Invite, me: Any) -> dict[str, Value]:
    """Return the owner's own part; who is not among the attendees may answer."""
    if invite.is_organizer:
        return {"ptst": "AC", "rsvp": "false"}
    if me is None:
        return {"ptst": "NE", "rsvp": "true"}
    own = attendee_map(me)
    return {"ptst": own.get("ptst", "NE"), "rsvp": _word("v" in own)}


def _word(value: bool) -> str:  # noqa: FBT001  # a boolean of the metadata is the value itself
    return "true" if value else "false"


def _description(invite: Invite) -> dict[str, Value]:
    text, markup = _descriptions(invite.properties)
    found: dict[str, Value] = {"frag": make_fragment(text, invitation=True)}
    if not keeps_description(invite):
        return found
    found["dinM"] = "true"
    return found | {key: words for key, words in (("desc", text), ("descH", markup)) if words}


def _descriptions(properties: Properties) -> tuple[str, str]:
    """Return the description as plain text and as HTML."""
    is_html = properties.parameter("X-ALT-DESC", "FMTTYPE") == "TEXT/HTML"
    return properties.text("DESCRIPTION"), properties.text("X-ALT-DESC") if is_html else ""


def _lists(properties: Properties) -> dict[str, Value]:
    categories = [str(word) for group in properties.all("CATEGORIES") for word in group.cats]
    lists = (
        ("numCat", "cat", categories),
        ("numCmt", "cmt", list(map(with_crlf, properties.all("COMMENT")))),
        ("numContacts", "contact", list(map(with_crlf, properties.all("CONTACT")))),
    )
    found: dict[str, Value] = {}
    for count, key, words in lists:
        found |= {f"{key}{number}": word for number, word in enumerate(words)}
        found |= {count: len(words)} if words else {}
    geo = properties.one("GEO")
    if geo is not None:
        found["geo"] = {"lat": str(geo.latitude), "lon": str(geo.longitude)}
    return found | extra_maps(entry for entry in properties.extras() if entry[0] not in _UNDERSTOOD)


def _alarms(invite: Invite) -> dict[str, Value]:
    parts = invite.properties.source.subcomponents
    alarms = [alarm for part in parts if part.name == "VALARM" and (alarm := _alarm(part))]
    found: dict[str, Value] = {f"al{number}": alarm for number, alarm in enumerate(alarms)}
    return found | ({"numAl": len(alarms)} if alarms else {})


def _alarm(source: Component) -> dict[str, Value]:
    """Return the map of an alarm; empty if it never goes off."""
    properties = Properties(source)
    trigger = getattr(properties.one("TRIGGER"), "dt", None)
    found: dict[str, Value] = {"ac": ALARMS.get(properties.word("ACTION"), "d")}
    if isinstance(trigger, timedelta):
        found |= {"tt": "r", "tr": spell_duration(trigger)}
        related = properties.parameter("TRIGGER", "RELATED")
        found |= {"trd": "e" if related == "END" else "s"} if related else {}
    elif isinstance(trigger, datetime):
        found |= {"tt": "a", "ta": Moment.read(properties.one("TRIGGER"), "TRIGGER").compact}
    else:
        return {}
    pause = getattr(properties.one("DURATION"), "dt", None)
    if isinstance(pause, timedelta):
        found["rd"] = spell_duration(pause)
        found["rc"] = properties.number("REPEAT", highest=_MAX_SEQUENCE) or 0
    words = {"ds": properties.text("DESCRIPTION"), "su": properties.text("SUMMARY")}
    return found | {key: text for key, text in words.items() if text}
