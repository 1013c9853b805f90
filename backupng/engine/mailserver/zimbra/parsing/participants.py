"""Organizer and attendees of a calendar item, and the X- names beside them, as metadata maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from backupng.engine.mailserver.zimbra.metadata import Value
from backupng.engine.mailserver.zimbra.parsing import utf16
from backupng.engine.mailserver.zimbra.parsing.addresses import parse_address

_ORGANIZER_UNITS = 128
"""Length of the column `sender`."""
KINDS = {
    "INDIVIDUAL": "IND",
    "GROUP": "GRO",
    "RESOURCE": "RES",
    "ROOM": "ROO",
    "UNKNOWN": "UNK",
}
ROLES = {
    "CHAIR": "CHA",
    "REQ-PARTICIPANT": "REQ",
    "OPT-PARTICIPANT": "OPT",
    "NON-PARTICIPANT": "NON",
}
ANSWERS = {
    "ACCEPTED": "AC",
    "COMPLETED": "CO",
    "DECLINED": "DE",
    "DELEGATED": "DG",
    "IN-PROCESS": "IN",
    "NEEDS-ACTION": "NE",
    "TENTATIVE": "TE",
}
ADDRESSES = {
    "member": "MEMBER",
    "delto": "DELEGATED-TO",
    "delfrom": "DELEGATED-FROM",
}


def bare_address(person: object) -> str:
    """Return an address without `mailto:`."""
    text = str(person).strip()
    return text[7:] if text.lower().startswith("mailto:") else text


def person_map(person: Any) -> dict[str, Value]:
    """Return the map of an organizer; of an attendee its first half."""
    found: dict[str, Value] = {"a": bare_address(person)}
    words = {"cn": "CN", "dir": "DIR", "lang": "LANGUAGE", "sentby": "SENT-BY"}
    for key, name in words.items():
        word = _parameter(person, name)
        if word:
            found[key] = bare_address(word) if key == "sentby" else word
    extras = (item for item in person.params.items() if item[0].startswith("X-"))
    return found | extra_maps((name, str(value), {}) for name, value in extras)


def attendee_map(person: Any) -> dict[str, Value]:
    """Return the map of an attendee."""
    found = person_map(person)
    codes = (("cut", "CUTYPE", KINDS), ("r", "ROLE", ROLES), ("ptst", "PARTSTAT", ANSWERS))
    for key, name, words in codes:
        code = words.get(_parameter(person, name).upper())
        if code:
            found[key] = code
    if _parameter(person, "RSVP").upper() == "TRUE":
        found["v"] = "1"
    for key, name in ADDRESSES.items():
        word = _parameter(person, name)
        if word:
            found[key] = bare_address(word)
    return found


def _parameter(person: Any, name: str) -> str:
    value = person.params.get(name, "")
    return str(value[0] if isinstance(value, list) and value else value)


def extra_maps(extras: Iterable[tuple[str, str, Mapping[str, Any]]]) -> dict[str, Value]:
    """Return `numX`, `x0`… of X- properties with their parameters, or of X- parameters."""
    found: dict[str, Value] = {}
    for number, (name, value, parameters) in enumerate(extras):
        below: dict[str, Value] = {"n": name, "v": value}
        below |= extra_maps((key, str(word), {}) for key, word in parameters.items())
        found[f"x{number}"] = below
        found["numX"] = number + 1
    return found


def organizer_column(organizer: Any) -> str:
    """Return the sort text of an organizer.

    The real server reads name and address, put together for its index, as one address: of Mario
    Rossi it makes `MarioRossimario rossi`.
    """
    if organizer is None:
        return ""
    index_text = f"{_parameter(organizer, 'CN')} {bare_address(organizer)}"
    return utf16.column(parse_address(index_text).sort_text, _ORGANIZER_UNITS)
