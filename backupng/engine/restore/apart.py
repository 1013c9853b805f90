"""Apart: another name or UID for what comes back beside an item that has its own now (pure).

A document gets the next free name; so does a folder where something else than a folder has its own,
and a search folder or mountpoint beside one of another aim. A calendar item's UID stands in its
row, in its metadata, once per invitation too, and in the iCalendar parts of its blob: all of them
say the new one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.zimbra.metadata import Value, decode_column, encode_column
from backupng.engine.mailserver.zimbra.parsing.headers import decode_base64
from backupng.engine.mailserver.zimbra.parsing.parts import Part, read_parts
from backupng.engine.model import Digest, ItemId, ItemKind, ItemState, spell_digest

CALENDAR: Final = frozenset({ItemKind.APPOINTMENT, ItemKind.TASK})
_PAPERS: Final = frozenset({ItemKind.DOCUMENT, ItemKind.WIKI})
NAMED: Final = _PAPERS | {ItemKind.SEARCH, ItemKind.MOUNTPOINT}
"""Kinds that are not one with another of their name."""
_NAMESPACE: Final = uuid.UUID("5a5a3f0e-6d0c-4f0b-9d0e-1f6f2f7f0c55")
_NUMBERED: Final = re.compile(r"(.*) \(([1-9][0-9]{0,3})\)", re.DOTALL)
_ICALENDAR: Final = frozenset({"text/calendar", "application/ics"})
_UID: Final = re.compile(
    rb"^(UID(?:;[^:\r\n]*)?:)([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_FOLD: Final = re.compile(rb"\r?\n[ \t]")


def can_stand_apart(state: ItemState, refusal: InvalidItem) -> bool:
    """Say whether an item was refused because something else has its name or UID, and has one that
    could be another.
    """
    has_one = state.name if state.kind in NAMED | {ItemKind.FOLDER} else _uid_of(state)
    return refusal.code == "already_exists" and bool(has_one)


def apart(
    state: ItemState, read: Callable[[Digest], bytes], *, folder: ItemId | None = None
) -> tuple[ItemState, bytes | None]:
    """Return an item under its next name or UID, and its bytes if those are not the backup's.

    The same state gives the same name or UID each time, in each folder another one if that is
    said. Raises BrokenItem or what `read` raises.
    """
    if state.kind not in CALENDAR:
        return renamed(state), None
    old = _uid_of(state)
    where = "" if folder is None else f"\n{folder}"
    new = str(uuid.uuid5(_NAMESPACE, f"{old}\n{state.item_id}\n{state.mod}{where}"))
    times = tuple({**row, "uid": new} for row in state.side_rows.get("appointment", ()))
    row = {**state.row, "metadata": _with_uid(state, new)}
    state = replace(state, row=row, side_rows={**state.side_rows, "appointment": times})
    if state.digest is None:
        return state, None
    blob = _rewritten(read(state.digest), old, new)
    digest = spell_digest(hashlib.sha256(blob).digest())
    row |= {"size": len(blob), "blob_digest": digest}
    return replace(state, digest=digest, size=len(blob), row=row), blob


def renamed(state: ItemState) -> ItemState:
    """Return an item under the next name that tells it from one of its own: `plan (2).txt`."""
    stem, dot, ending = (state.name or "").rpartition(".")
    has_ending = stem and state.kind in _PAPERS
    stem, ending = (stem, dot + ending) if has_ending else (stem + dot + ending, "")
    found = _NUMBERED.fullmatch(stem)
    stem, number = (found[1], int(found[2]) + 1) if found else (stem, 2)
    name = f"{stem} ({number}){ending}"
    return replace(state, name=name, subject=name, row={**state.row, "name": name, "subject": name})


def _uid_of(state: ItemState) -> str:
    return str(next((row.get("uid") for row in state.side_rows.get("appointment", ())), None) or "")


def _with_uid(state: ItemState, new: str) -> str:
    """Return the metadata of a calendar item and of its invitations with another UID."""
    values = decode_column(state.row.get("metadata"))
    invites: dict[str, Value] = {
        key: {**value, "u": new}
        for key, value in values.items()
        if key.startswith("inv") and isinstance(value, dict) and "u" in value
    }
    return encode_column({**values, **invites, "u": new})


def _rewritten(blob: bytes, old: str, new: str) -> bytes:
    """Return a blob whose iCalendar parts say the new UID where they said the old one."""
    for part in reversed(list(_calendars(read_parts(blob)))):
        body = _replaced(blob[part.start : part.end], part, old, new)
        blob = blob[: part.start] + body + blob[part.end :]
    return blob


def _calendars(root: Part) -> Iterator[Part]:
    return (part for part in root.walk() if part.content_type in _ICALENDAR)


def _replaced(body: bytes, part: Part, old: str, new: str) -> bytes:
    """Return the body of a part, encoded as it was; one without that UID stays as it is."""

    def say(found: re.Match[bytes]) -> bytes:
        said = _FOLD.sub(b"", found[2]).strip().decode("utf-8", "replace")
        return found[1] + new.encode() if said == old else found[0]

    encoding = (part.headers.first("content-transfer-encoding") or "").strip().lower()
    plain = body
    if encoding == "base64":
        plain = decode_base64(body)
    elif encoding == "quoted-printable":
        plain = binascii.a2b_qp(body)
    told = _UID.sub(say, plain)
    if told == plain:
        return body
    if encoding == "base64":
        return base64.encodebytes(told).replace(b"\n", b"\r\n").rstrip(b"\r\n")
    return binascii.b2a_qp(told) if encoding == "quoted-printable" else told
