"""What comes into a sandbox mailbox: mail, contacts, calendar items, documents, folders.

Each function makes up a `Change`, what it logs included, and returns the id of the new item.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import created, redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.threads import Thread, join_thread
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder
from backupng.engine.mailserver.zimbra.metadata import (
    Value,
    as_int,
    decode_column,
    encode_column,
)
from backupng.engine.mailserver.zimbra.parsing import mime
from backupng.engine.mailserver.zimbra.parsing.calendar import calendar_blob, read_ics
from backupng.engine.mailserver.zimbra.parsing.contacts import read_vcard
from backupng.engine.model import ItemId, ItemKind, from_ms

_REVISED: Final = (
    "date",
    "size",
    "locator",
    "blob_digest",
    "name",
    "metadata",
    "mod_metadata",
    "change_date",
    "mod_content",
)
"""Columns of an item's row that its revision keeps."""
_PRIORITIES: Final = {1: Flag.HIGH_PRIORITY, -1: Flag.LOW_PRIORITY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How an item looks to its owner."""

    unread: bool = False
    flags: str = ""
    tags: tuple[str, ...] = ()


def folder_id(change: Change, path: str) -> ItemId:
    """Return the folder at an absolute path such as `/Inbox/Work`. Raises InvalidItem."""
    found = int(SystemFolder.USER_ROOT)
    for name in _parts(path):
        rows = change.rows("parent_id = ? AND name = ? AND type IN (1, 2, 13)", found, name)
        if not rows:
            raise InvalidItem(f"The mailbox has no folder {path}.", code="no_such_item")
        found = rows[0]["id"]
    return ItemId(found)


def make_folder(
    change: Change,
    path: str,
    *,
    color: int = 0,
    view: ItemKind | None = None,
    flags: str = "",
) -> ItemId:
    """Make the folder at a path, missing parents with it. Raises InvalidItem if it is there."""
    values: dict[str, Value] = {"c": color} if color else {}
    bits = codes.bits_of(flags)
    *above, name = _parts(path) or [""]
    missing = missing_parents(change, path)
    parent = int(SystemFolder.USER_ROOT)
    made: list[dict[str, Any]] = []
    for number, each in enumerate(above):
        known = number < len(above) - len(missing)
        rows = change.rows("parent_id = ? AND name = ? AND type = 1", parent, each) if known else []
        folder = rows[0]["id"] if rows else _put_folder(change, parent, each)
        parent = int(folder)
        made.append(change.row(parent))
    if not missing:
        return new_folder(change, parent, name, view=view, flags=bits, values=values)
    item = _put_folder(change, parent, name, view=view, flags=bits, values=values)
    made.append(change.row(item))
    folders = [{"id": row["id"], "uuid": row["uuid"]} for row in made]
    change.log("CreateFolderPath", path=path, folders=folders, **redo.folder(made[-1]))
    return item


def missing_parents(change: Change, path: str) -> list[str]:
    """Return the names of those parents of a path that have to be made first, from above down."""
    parent, above = int(SystemFolder.USER_ROOT), _parts(path)[:-1]
    for number, each in enumerate(above):
        rows = change.rows("parent_id = ? AND name = ? AND type = 1", parent, each)
        if not rows:
            return above[number:]
        parent = rows[0]["id"]
    return []


def new_folder(
    change: Change,
    parent: int,
    name: str,
    *,
    kind: ItemKind = ItemKind.FOLDER,
    view: ItemKind | None = None,
    flags: int = 0,
    values: dict[str, Value] | None = None,
    date: int | None = None,
) -> ItemId:
    """Make a folder, search folder or mountpoint below `parent`; `date` in seconds."""
    item = _put_folder(change, parent, name, kind=kind, view=view, flags=flags, values=values)
    if date is not None:
        change.update(item, date=date)
    created.folder(change, change.row(item), kind, has_date=date is not None)
    return item


def _put_folder(
    change: Change,
    parent: int,
    name: str,
    *,
    kind: ItemKind = ItemKind.FOLDER,
    view: ItemKind | None = None,
    flags: int = 0,
    values: dict[str, Value] | None = None,
) -> ItemId:
    if view is not None:
        values = {**(values or {}), "vt": codes.TYPE_OF_KIND[view]}
    if kind is ItemKind.FOLDER:
        values = {
            "das": "false",
            "mseq": change.number,
            "unxt": change.next_id + 1,
            **(values or {}),
        }
    return change.insert(
        kind,
        folder=parent,
        parent_id=parent,
        name=name,
        subject=name,
        unread=0,
        flags=flags,
        metadata=encode_column(values or {}),
    )


def deliver(
    change: Change,
    raw: bytes,
    *,
    folder: int,
    date: int,
    look: Look = Look(unread=True),
    kind: ItemKind = ItemKind.MESSAGE,
    path: str = redo.STREAMED,
) -> ItemId:
    """Add a message or chat; `date` is its received date in seconds, never in the future.

    `path` is that of a message which `Sandbox.store_incoming` has logged already.
    """
    facts = mime.describe(raw)
    bits = codes.bits_of(look.flags) | server_flags(facts)
    item = change.new_id()
    change.insert(
        kind,
        id=item,
        folder=folder,
        index_id=item,
        imap_id=item,
        date=date if 0 <= date <= change.date else change.date,
        unread=int(look.unread),
        flags=int(bits),
        tag_names=codes.join_tags(look.tags),
        sender=facts.sender_column,
        recipients=facts.recipients_column,
        subject=facts.subject_column,
        metadata=encode_column(dict(mime.message_metadata(facts))),
        **change.put_blob(item, raw),
    )
    thread = join_thread(change, item, facts) if kind is ItemKind.MESSAGE else Thread(0, 0)
    created.message(change, item, raw, kind=kind, thread=thread, path=path)
    return item


def server_flags(facts: mime.MessageFacts) -> int:
    """Return the flags that the server works out from a message itself."""
    attached = Flag.ATTACHED if facts.has_attachment else 0
    return int(attached | _PRIORITIES.get(facts.priority, 0))


def add_contact(change: Change, raw: bytes, *, folder: int = SystemFolder.CONTACTS) -> ItemId:
    """Add a contact from a vCard. Raises InvalidItem."""
    item = change.new_id()
    columns, blob = contact_columns(change, item, raw)
    change.insert(ItemKind.CONTACT, id=item, folder=folder, index_id=item, imap_id=item, **columns)
    created.contact(change, item, blob)
    return item


def contact_columns(change: Change, item: ItemId, raw: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the columns of a contact that a vCard fills, its blob written; and the blob."""
    facts = read_vcard(raw)
    values: dict[str, Value] = {"fld": dict(facts.fields)}
    columns: dict[str, Any] = {"flags": 0}
    blob = facts.blob if facts.attachments else b""
    if blob:
        values["att"] = list(facts.attachments)
        columns = change.put_blob(item, blob) | {"flags": int(Flag.ATTACHED)}
    return columns | {"sender": facts.file_as, "metadata": encode_column(values)}, blob


def add_calendar_item(
    change: Change, raw: bytes, *, address: str, kind: ItemKind, folder: int | None = None
) -> ItemId:
    """Add an appointment or task from iCalendar text. Raises InvalidItem."""
    item, first_invite = change.new_id(), change.next_id
    facts = read_ics(
        raw, mailbox_address=address, now_ms=change.now_ms, first_invite_id=first_invite
    )
    if facts.kind is not kind:
        raise InvalidItem(
            f"The file holds no {kind}.",
            code="bad_value",
            hint="An event for one, a to-do for the other.",
        )
    for _ in facts.invite_ids:
        change.new_id()
    data = calendar_blob(raw, facts.invite_ids) if facts.needs_blob else b""
    blob: dict[str, Any] = change.put_blob(item, data) if data else {}
    default = SystemFolder.CALENDAR if kind is ItemKind.APPOINTMENT else SystemFolder.TASKS
    change.insert(
        kind,
        id=item,
        folder=default if folder is None else folder,
        index_id=item,
        imap_id=item,
        sender=facts.organizer_column,
        subject=facts.subject,
        flags=int(_PRIORITIES.get(facts.priority, 0)),
        metadata=encode_column(facts.metadata),
        **blob,
    )
    change.insert_side(
        "appointment",
        uid=facts.uid,
        item_id=item,
        start_time=_datetime(facts.start_ms),
        end_time=_datetime(facts.end_ms),
    )
    created.calendar_item(change, item, data)
    return item


def save_document(
    change: Change,
    raw: bytes,
    *,
    name: str,
    content_type: str,
    creator: str,
    folder: int = SystemFolder.BRIEFCASE,
) -> ItemId:
    """Save a document; one of that name in the folder gets a new version, its old one kept."""
    found = change.rows("folder_id = ? AND name = ? AND type = 8", folder, name)
    item = ItemId(found[0]["id"]) if found else change.new_id()
    values: dict[str, Value] = {"cr": creator, "ct": content_type, "lt": 0, "dee": "true"}
    if found:
        values["ver"] = _version(found[0]) + 1
        # Its colour and what else is not of the content stays.
        values = decode_column(found[0]["metadata"]) | values
    columns = {
        "name": name,
        "subject": name,
        "sender": creator,
        "date": change.date,
        "metadata": encode_column(values),
        **change.put_blob(item, raw),
    }
    if found:
        _add_version(change, found[0], columns)
        created.revision(change, item, raw)
        return item
    change.insert(
        ItemKind.DOCUMENT,
        id=item,
        folder=folder,
        index_id=0,
        imap_id=0,
        uuid=str(uuid.uuid4()),
        **columns,
    )
    created.document(change, item, raw)
    return item


def _add_version(change: Change, row: dict[str, Any], columns: dict[str, Any]) -> None:
    """Put a new version into a document and keep the one that it has."""
    flags = int(row["flags"] | Flag.VERSIONED)
    change.update(row["id"], mod_content=change.number, flags=flags, **columns)
    older = {column: row[column] for column in _REVISED}
    change.add_revision(row["id"], version=_version(row), **older)


def add_note(change: Change, text: str, *, folder: int) -> ItemId:
    """Add a note."""
    values: dict[str, Value] = {"l": "0,0,200,200"}
    item = change.insert(
        ItemKind.NOTE,
        folder=folder,
        subject=text,
        size=len(text),
        metadata=encode_column(values),
    )
    created.note(change, item)
    return item


def add_comment(change: Change, text: str, *, document: int, creator_id: str) -> ItemId:
    """Add a comment to a document."""
    if change.row(document)["type"] != codes.TYPE_OF_KIND[ItemKind.DOCUMENT]:
        raise InvalidItem(f"Item {document} is no document to comment on.", code="bad_value")
    values: dict[str, Value] = {"cr": creator_id}
    item = change.insert(
        ItemKind.COMMENT,
        folder=SystemFolder.COMMENTS,
        parent_id=document,
        subject=text,
        size=len(text),
        uuid=str(uuid.uuid4()),
        metadata=encode_column(values),
    )
    created.comment(change, item)
    return item


def make_search(change: Change, name: str, query: str) -> ItemId:
    """Make a search folder at the top."""
    values: dict[str, Value] = {"q": query, "t": "message", "s": "dateDesc"}
    return new_folder(change, SystemFolder.USER_ROOT, name, kind=ItemKind.SEARCH, values=values)


def _version(row: dict[str, Any]) -> int:
    """Return the number of a document's present version."""
    return as_int(decode_column(row["metadata"]).get("ver", 1))


def _datetime(ms: int) -> str:
    return from_ms(ms).strftime("%Y-%m-%d %H:%M:%S")


def _parts(path: str) -> list[str]:
    if not path.startswith("/"):
        raise InvalidItem(
            f"{path!r} is no folder path.",
            code="bad_value",
            hint="It begins with a slash: /Inbox.",
        )
    return [part for part in path.split("/") if part]
