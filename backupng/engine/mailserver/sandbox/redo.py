"""The operations a sandbox logs: their fields, as the real server fills them in.

What a field means is said at its layout (`redolog/ops_mail.py`, `ops_items.py`); constants follow
`zimbra-redolog.md` §11 and what genuine logs hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.mailserver.zimbra.metadata import Value, as_int, decode_column, encode
from backupng.engine.redolog import ops
from backupng.engine.redolog.layouts import Layout
from backupng.engine.redolog.ops_mail import INLINE

ANY_TYPE: Final = -1
STREAMED: Final = ":streamed:"
LINK: Final = 2
"""The body type of a message whose bytes are in a StoreIncomingBlob."""
OWN_CALL: Final = ":API:"
"""The recipient of what nobody delivered."""
_NO_ID: Final = -1
_NO_PARTICIPATION: Final = "NE"
_NO_ALARM: Final = -2
_UTC: Final = encode({"tzid": "UTC", "so": 0, "do": 0, "sn": "UTC", "dn": "UTC"})
# Of several layouts with one name the first is what a server of today writes.
_LAYOUTS: Final = {each.op: each for each in reversed(ops.LAYOUTS)}
_USUAL: Final[Mapping[str, Any]] = {
    "legacyId": -1,
    "legacySrcId": -1,
    "legacyDestId": -1,
    "unused": -1,
    "unused2": -1,
    "hasConstraint": False,
    "hasDate": False,
    "customKey": None,
    "uidNext": -1,
    "fromDumpster": False,
    "attrs": 0,
    "url": "",
}


@dataclass(frozen=True, slots=True)
class Op:
    """One operation with all its fields."""

    layout: Layout
    fields: dict[str, Any]


def op(name: str, /, **fields: Any) -> Op:
    """Return an operation; fields that always say the same may be left out."""
    layout = _LAYOUTS[name]
    usual = {field: value for field, value in _USUAL.items() if field in layout.slots}
    return Op(layout, usual | fields)


def message(
    row: Mapping[str, Any],
    data: bytes,
    *,
    flags: int,
    recipient: str = OWN_CALL,
    path: str = STREAMED,
    **more: Any,
) -> dict[str, Any]:
    """Return what CreateMessage and its kin say of a message or document with that row.

    `data` are the bytes as they lie on the volume; none of them are logged for a `path` of a blob
    that was stored before.
    """
    is_link = path != STREAMED
    body = {"bodyType": LINK} if is_link else {"bodyType": INLINE, "data": data}
    return {
        "rcptEmail": recipient,
        "receivedDate": row["date"] * 1000,
        "shared": is_link,
        "digest": row["blob_digest"] or "",
        "msgSize": row["size"],
        "msgId": row["id"],
        "folderId": row["folder_id"],
        "convId": _NO_ID,
        "convFirstMsgId": _NO_ID,
        "mergedConvIds": [],
        "calItemId": 0,
        "calPartStat": _NO_PARTICIPATION,
        "flags": int(flags) | (Flag.UNREAD if row["unread"] else 0),
        "noICal": True,
        "tags": list(codes.split_tags(row["tag_names"])),
        "path": path,
        **body,
        **more,
    }


NO_THREAD: Final = {"convId": 0, "convFirstMsgId": 0}
"""What a message says of its conversation when that is not in question."""


def document(row: Mapping[str, Any], data: bytes, **more: Any) -> dict[str, Any]:
    """Return what SaveDocument and its kin say of a document with that row."""
    values = decode_column(row["metadata"])
    flags = row["flags"] & codes.CLIENT_BITS
    described = values.get("de")
    about = {
        "filename": row["name"],
        "mimeType": str(values.get("ct", "")),
        "author": str(values.get("cr", "")),
        "type": row["type"],
        "description": None if described is None else str(described),
        "descEnabled": values.get("dee", "true") in ("true", "1", 1),
        "uuid": row["uuid"],
    }
    return about | message(row, data, flags=flags, **{**NO_THREAD, "tags": [], **more})


def contact(row: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Return what CreateContact and ModifyContact say alike."""
    values = decode_column(row["metadata"]).get("fld")
    fields = values.items() if isinstance(values, dict) else ()
    return {
        "contactId": row["id"],
        "fields": [{"k": name, "v": str(value)} for name, value in fields],
        "data": data,
    }


def folder(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what CreateFolder and its kin say alike of a folder with that row."""
    values = decode_column(row["metadata"])
    return {
        "view": as_int(values.get("vt", ANY_TYPE)),
        "flags": row["flags"],
        "color": as_int(values.get("c", 0)),
    }


def items(ids: Iterable[int], item_type: int = ANY_TYPE, **more: Any) -> dict[str, Any]:
    """Return what operations on items say alike."""
    return {"type": item_type, "ids": list(ids), **more}


def copies(pairs: Sequence[tuple[int, int, str | None]]) -> list[dict[str, Any]]:
    """Return the list of a CopyItem: source, destination, UUID."""
    return [{"srcId": old, "destId": new, "destUuid": uuid} for old, new, uuid in pairs]


def calendar_item(row: Mapping[str, Any], parts: Mapping[int, bytes]) -> dict[str, Any]:
    """Return what SetCalendarItem says of a calendar item; `parts` are messages by invite id."""
    values = decode_column(row["metadata"])
    count = as_int(values.get("nc", 0))
    invites = [found for n in range(count) if isinstance(found := values.get(f"inv{n}"), dict)]
    first, *others = invites or [{}]
    alarm = values.get("ad")
    return {
        "folderId": row["folder_id"],
        "calItemId": row["id"],
        "calPartStat": str(first.get("ptst", _NO_PARTICIPATION)),
        "attachIndex": True,
        "flags": row["flags"] & codes.CLIENT_BITS,
        "tags": list(codes.split_tags(row["tag_names"])),
        "hasDefault": bool(invites),
        "default": _invite(first, row, parts),
        "exceptions": [_invite(each, row, parts) for each in others],
        "replies": None,
        "nextAlarm": as_int(alarm["na"])
        if isinstance(alarm, dict) and "na" in alarm
        else _NO_ALARM,
    }


def _invite(
    invite: Mapping[str, Value], row: Mapping[str, Any], parts: Mapping[int, bytes]
) -> dict[str, Any]:
    data = parts.get(as_int(invite.get("mid", 0)))
    found = {"force": True, "localTz": _UTC, "invite": encode(dict(invite))}
    if data is None:
        return found | {"hasMessage": False}
    return found | {"hasMessage": True, "receivedDate": row["date"] * 1000, "data": data}
