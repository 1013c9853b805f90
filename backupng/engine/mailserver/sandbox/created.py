"""What a change logs of the item it made: the operation, its fields taken from the new row.

Each function is told the item's plain bytes where it has some; they are logged as the volume holds
them, compressed or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from backupng.engine.mailserver.sandbox import redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.threads import Thread
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.metadata import as_int, decode_column
from backupng.engine.model import ItemKind

_CREATES: Final = {ItemKind.MESSAGE: "CreateMessage", ItemKind.CHAT: "CreateChat"}
_SEARCH_KEYS: Final = {"query": "q", "types": "t", "sort": "s"}
_INVITE_PART: Final = re.compile(rb"\r?\ninvId: (\d+)\r?\n\r?\n(.*?)\r?\n--=_", re.DOTALL)
"""One message of a calendar item's blob, as `calendar_blob` writes it."""


def folder(change: Change, row: dict[str, Any], kind: ItemKind, *, has_date: bool) -> None:
    """Log a folder, search folder or mountpoint."""
    values = decode_column(row["metadata"])
    looks = {"name": row["name"], "uuid": row["uuid"], **redo.folder(row)}
    if kind is ItemKind.SEARCH:
        terms = {word: str(values.get(key, "")) for word, key in _SEARCH_KEYS.items()}
        del looks["view"]
        place = {"searchId": row["id"], "folderId": row["folder_id"]}
        change.log("CreateSavedSearch", **place, **looks, **terms)
    elif kind is ItemKind.MOUNTPOINT:
        change.log(
            "CreateMountpoint",
            id=row["id"],
            folderId=row["folder_id"],
            ownerId=str(values.get("aid", "")),
            remoteId=as_int(values.get("id", 0)),
            remoteUuid=str(values["ruuid"]) if "ruuid" in values else None,
            reminder=values.get("rem") == "true",
            **looks,
        )
    else:
        place = {"folderId": row["id"], "parentId": row["folder_id"]}
        looks |= {"url": str(values.get("url", "")), "hasDate": has_date}
        change.log("CreateFolder", **place, **looks, date=row["date"] * 1000)


def message(
    change: Change,
    item: int,
    raw: bytes,
    *,
    kind: ItemKind,
    thread: Thread,
    path: str = redo.STREAMED,
) -> None:
    """Log a message or chat that was added."""
    row = change.row(item)
    fields = redo.message(
        row,
        change.blobs.packed(raw),
        flags=row["flags"] & codes.CLIENT_BITS,
        recipient=redo.OWN_CALL if kind is ItemKind.CHAT else change.address,
        path=path,
        convId=thread.conversation,
        convFirstMsgId=thread.first,
    )
    change.log(_CREATES[kind], **fields)


def contact(change: Change, item: int, blob: bytes) -> None:
    """Log a contact that was added."""
    row = change.row(item)
    tags = list(codes.split_tags(row["tag_names"]))
    fields = redo.contact(row, change.blobs.packed(blob))
    change.log("CreateContact", folderId=row["folder_id"], tags=tags, **fields)


def calendar_item(change: Change, item: int, blob: bytes) -> None:
    """Log a calendar item that was added."""
    parts = {int(found[1]): found[2] for found in _INVITE_PART.finditer(blob)}
    change.log("SetCalendarItem", **redo.calendar_item(change.row(item), parts))


def document(change: Change, item: int, raw: bytes) -> None:
    """Log a document that was added."""
    row = change.row(item)
    change.log("SaveDocument", **redo.document(row, change.blobs.packed(raw)))


def item(
    change: Change, made: int, kind: ItemKind, data: bytes, *, thread: Thread | None = None
) -> None:
    """Log an item of any kind but folders and tags."""
    if kind in _CREATES:
        message(change, made, data, kind=kind, thread=thread or Thread(0, 0))
    elif kind is ItemKind.WIKI:
        row = change.row(made)
        fields = redo.document(row, change.blobs.packed(data))
        change.log("SaveWiki", wikiWord=row["name"] or "", **fields)
    elif kind in _OF_BYTES:
        _OF_BYTES[kind](change, made, data)
    else:
        _OF_ROW[kind](change, made)


def revision(change: Change, item: int, raw: bytes) -> None:
    """Log a new version of a document."""
    row = change.row(item)
    places = {"msgId": 0, "folderId": 0, "uuid": None, "flags": 0}
    fields = redo.document(row, change.blobs.packed(raw)) | places
    change.log("AddDocumentRevision", docId=item, **fields)


def note(change: Change, item: int) -> None:
    """Log a note that was added."""
    row = change.row(item)
    values = decode_column(row["metadata"])
    numbers = [int(each) for each in re.findall(r"-?\d{1,9}", str(values.get("l", "")))]
    x, y, w, h = (*numbers, 0, 0, 0, 0)[:4]
    change.log(
        "CreateNote",
        noteId=item,
        folderId=row["folder_id"],
        content=row["subject"] or "",
        color=as_int(values.get("c", 0)),
        x=x,
        y=y,
        w=w,
        h=h,
    )


def comment(change: Change, item: int) -> None:
    """Log a comment that was added."""
    row = change.row(item)
    change.log(
        "CreateComment",
        itemId=item,
        uuid=row["uuid"],
        parentId=row["parent_id"],
        creatorId=str(decode_column(row["metadata"]).get("cr", "")),
        text=row["subject"] or "",
    )


_OF_BYTES: Final[Mapping[ItemKind, Callable[[Change, int, bytes], None]]] = {
    ItemKind.CONTACT: contact,
    ItemKind.DOCUMENT: document,
    ItemKind.APPOINTMENT: calendar_item,
    ItemKind.TASK: calendar_item,
}
_OF_ROW: Final[Mapping[ItemKind, Callable[[Change, int], None]]] = {
    ItemKind.NOTE: note,
    ItemKind.COMMENT: comment,
}
