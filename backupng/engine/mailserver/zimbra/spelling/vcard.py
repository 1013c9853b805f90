"""vCard 3.0 of a contact: its fields as properties, its picture, the members of a group.

RFC 2426. Names of fields: Zimbra/zm-mailbox
`common/src/java/com/zimbra/common/mailbox/ContactConstants.java`; the members of a group:
`store/src/java/com/zimbra/cs/mailbox/ContactGroup.java`. A field without a property of its own
becomes `X-ZIMBRA-` and its name, so nothing is lost.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import getaddresses
from typing import Final

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.zimbra.metadata import decode
from backupng.engine.mailserver.zimbra.parsing.contacts import Photo, file_as
from backupng.engine.mailserver.zimbra.parsing.headers import decode_base64, parse_parameters
from backupng.engine.mailserver.zimbra.parsing.parts import read_parts
from backupng.engine.mailserver.zimbra.spelling import contentlines
from backupng.engine.mailserver.zimbra.spelling.contentlines import line, text

_NUMBERED: Final = re.compile(r"([A-Za-z]+?)([0-9]*)")
_EMAIL: Final = re.compile(r"(home|work|)email", re.IGNORECASE)
_PHONE: Final = re.compile(r"([a-z]+)(Phone|Fax|Mobile)|(pager)")
_URL: Final = re.compile(r"(home|work|other)URL")
_NAME: Final = ("lastName", "firstName", "middleName", "namePrefix", "nameSuffix")
_ADDRESS: Final = ("Street", "City", "State", "PostalCode", "Country")
_ADDRESSES: Final = re.compile(f"(home|work|other)({'|'.join(_ADDRESS)})")
_ORGANISATION: Final = ("company", "department")
_SIMPLE: Final = {
    "birthday": "BDAY",
    "jobTitle": "TITLE",
    "nickname": "NICKNAME",
    "notes": "NOTE",
    "anniversary": "X-ZIMBRA-ANNIVERSARY",
    "maidenName": "X-ZIMBRA-MAIDENNAME",
}
_PLACES: Final = {"home": "HOME", "work": "WORK"}
_NOT_SAID: Final = frozenset({"fullName", "fileAs", "type", "dlist", "groupMember", "image"})
"""Fields that other properties say."""
_INLINE: Final = "I"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One field: its name without the number behind it, that number, its value."""

    key: str
    base: str
    number: int
    value: str


def spell_vcard(
    fields: Mapping[str, str], *, tags: tuple[str, ...] = (), photo: Photo | None = None
) -> bytes:
    """Return the card of a contact; the same fields give the same bytes."""
    found = sorted(map(_field, fields.items()), key=lambda each: (each.base, each.number))
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"FN:{text(_full_name(fields))}"]
    lines += [*_names(fields), *_addresses(found), *(row for each in found for row in _row(each))]
    if tags:
        lines.append(f"CATEGORIES:{contentlines.parts(tags, ',')}")
    if fields.get("type") == "group" or "dlist" in fields or "groupMember" in fields:
        lines += ["X-ADDRESSBOOKSERVER-KIND:group", *_members(fields)]
    if photo is not None:
        kind = contentlines.name(photo.content_type.partition("/")[2]) or "JPEG"
        encoded = base64.b64encode(photo.content).decode("ascii")
        lines.append(line("PHOTO", encoded, {"ENCODING": "b", "TYPE": kind}))
    return contentlines.file_of([*lines, "END:VCARD"])


def photo_in(blob: bytes) -> Photo | None:
    """Return the picture that the blob of a contact holds; None if it holds none."""
    for part in read_parts(blob).walk():
        _, said = parse_parameters(part.headers.first("content-disposition") or "")
        if said.get("field") == "image":
            content = blob[part.start : part.end]
            encoding = (part.headers.first("content-transfer-encoding") or "").strip().lower()
            return Photo(
                name=said.get("filename", "image"),
                content_type=part.content_type,
                content=decode_base64(content) if encoding == "base64" else content,
            )
    return None


def _field(item: tuple[str, str]) -> _Field:
    key, value = item
    found = _NUMBERED.fullmatch(key)
    base, number = (found[1], int(found[2][:6] or 1)) if found else (key, 1)
    return _Field(key=key, base=base, number=number, value=value)


def _full_name(fields: Mapping[str, str]) -> str:
    """Return what a card must have: the name that people read."""
    order = ("namePrefix", "firstName", "middleName", "lastName", "nameSuffix")
    whole = " ".join(filter(None, (fields.get(name, "") for name in order)))
    explicit = file_as(dict(fields)) if fields.get("fileAs", "").startswith("8:") else ""
    others = (fields.get(name, "") for name in ("company", "nickname", "email"))
    return next(filter(None, (fields.get("fullName", ""), explicit, whole, *others)), "")


def _names(fields: Mapping[str, str]) -> Iterator[str]:
    yield f"N:{contentlines.parts(fields.get(name, '') for name in _NAME)}"
    if any(name in fields for name in _ORGANISATION):
        yield f"ORG:{contentlines.parts(fields.get(name, '') for name in _ORGANISATION)}"


def _addresses(found: list[_Field]) -> Iterator[str]:
    """Yield a line for each postal address: post office box and extension are empty."""
    grouped: dict[tuple[str, int], dict[str, str]] = {}
    for each in found:
        if matched := _ADDRESSES.fullmatch(each.base):
            grouped.setdefault((matched[1], each.number), {})[matched[2]] = each.value
    for (place, _), parts in sorted(grouped.items()):
        value = contentlines.parts(["", "", *(parts.get(name, "") for name in _ADDRESS)])
        yield _typed("ADR", value, _PLACES.get(place, ""))


def _row(each: _Field) -> Iterator[str]:
    """Yield the line of a field; none of what has been said already."""
    if each.base in _NOT_SAID or each.key in (*_NAME, *_ORGANISATION):
        return
    if _ADDRESSES.fullmatch(each.base):
        return
    if each.base in _SIMPLE:
        yield f"{_SIMPLE[each.base]}:{text(each.value)}"
    elif matched := _EMAIL.fullmatch(each.base):
        place = _PLACES.get(matched[1].lower(), "")
        yield _typed("EMAIL", text(each.value), "INTERNET", place)
    elif matched := _PHONE.fullmatch(each.base):
        yield _typed("TEL", text(each.value), *_phone_types(matched))
    elif matched := _URL.fullmatch(each.base):
        yield _typed("URL", contentlines.uri(each.value), _PLACES.get(matched[1], ""))
    elif name := contentlines.name(each.key):
        yield f"X-ZIMBRA-{name}:{text(each.value)}"


def _phone_types(matched: re.Match[str]) -> tuple[str, ...]:
    place, kind, pager = matched.groups()
    if pager:
        return ("PAGER",)
    if place == "car":
        return ("CAR", "VOICE")
    where = _PLACES.get(place, "")
    if kind == "Mobile" or place == "mobile":
        return (where, "CELL")
    return (where, "FAX" if kind == "Fax" else "VOICE")


def _typed(name: str, value: str, *words: str) -> str:
    """Return a line with its kinds; `contentlines.line` would quote their commas."""
    kinds = ",".join(filter(None, words))
    return f"{name};TYPE={kinds}:{value}" if kinds else f"{name}:{value}"


def _members(fields: Mapping[str, str]) -> Iterator[str]:
    """Yield the members of a group; a reference into an address book stays the text it is."""
    for kind, value in (*_listed(fields.get("dlist", "")), *_encoded(fields.get("groupMember"))):
        if kind == _INLINE:
            yield f"X-ADDRESSBOOKSERVER-MEMBER:mailto:{contentlines.uri(value)}"
        else:
            yield line("X-ZIMBRA-MEMBER", text(value), {"TYPE": contentlines.name(kind)})


def _listed(dlist: str) -> Iterator[tuple[str, str]]:
    for _, address in getaddresses([dlist]):
        if address:
            yield _INLINE, address


def _encoded(group: str | None) -> Iterator[tuple[str, str]]:
    try:
        members = decode(group).get("m", [])
    except BrokenItem:
        return
    for each in members if isinstance(members, list) else ():
        if isinstance(each, dict):
            kind, value = str(each.get("t", "")), str(each.get("v", ""))
            if kind == _INLINE:
                yield from _listed(value)
            else:
                yield kind, value
