"""What comes into a sandbox mailbox: mail, contacts, calendar items, documents, folders.

Each function is one step of a `Change` and returns the id of the new item.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder
from backupng.engine.mailserver.zimbra.metadata import (
    Value,
    as_int,
    decode_column,
    encode,
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
_SHARED_THREADS: Final = 20
"""References beyond so many are not looked up."""


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
    *parents, name = _parts(path) or [""]
    parent = int(SystemFolder.USER_ROOT)
    for each in parents:
        rows = change.rows("parent_id = ? AND name = ? AND type = 1", parent, each)
        parent = rows[0]["id"] if rows else new_folder(change, parent, each)
    values: dict[str, Value] = {"c": color} if color else {}
    return new_folder(change, parent, name, view=view, flags=codes.bits_of(flags), values=values)


def new_folder(
    change: Change,
    parent: int,
    name: str,
    *,
    kind: ItemKind = ItemKind.FOLDER,
    view: ItemKind | None = None,
    flags: int = 0,
    values: dict[str, Value] | None = None,
) -> ItemId:
    """Make a folder, search folder or mountpoint below `parent`."""
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
) -> ItemId:
    """Add a message or chat; `date` is its received date in seconds, never in the future."""
    facts = mime.describe(raw)
    bits = codes.bits_of(look.flags) | (Flag.ATTACHED if facts.has_attachment else 0)
    bits |= _PRIORITIES.get(facts.priority, 0)
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
    if kind is ItemKind.MESSAGE:
        join_thread(change, item, facts)
    return item


def join_thread(change: Change, item: ItemId, facts: mime.MessageFacts) -> None:
    """Put a message into the conversation of those it refers to; two messages make one.

    Junk is never threaded.
    """
    if change.row(item)["folder_id"] == SystemFolder.JUNK:
        return
    hashes = [_thread_hash(each) for each in facts.references[-_SHARED_THREADS:]]
    partner = _thread_partner(change, hashes)
    conversation = None
    if partner is not None and partner["type"] == codes.TYPE_OF_KIND[ItemKind.CONVERSATION]:
        conversation = partner["id"]
    elif partner is not None:
        conversation = partner["parent_id"] or _new_conversation(change, partner)
    if conversation is not None:
        change.update(item, parent_id=conversation)
        _count_conversation(change, conversation)
    if facts.message_id:
        hashes.append(_thread_hash(facts.message_id))
    for each in hashes:
        change.remember_thread(each, conversation or item)


def add_contact(change: Change, raw: bytes, *, folder: int = SystemFolder.CONTACTS) -> ItemId:
    """Add a contact from a vCard. Raises InvalidItem."""
    facts = read_vcard(raw)
    item = change.new_id()
    values: dict[str, Value] = {"fld": dict(facts.fields)}
    blob: dict[str, Any] = {}
    if facts.attachments:
        values["att"] = list(facts.attachments)
        blob = change.put_blob(item, facts.blob) | {"flags": int(Flag.ATTACHED)}
    return change.insert(
        ItemKind.CONTACT,
        id=item,
        folder=folder,
        index_id=item,
        imap_id=item,
        sender=facts.file_as,
        metadata=encode_column(values),
        **blob,
    )


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
    blob: dict[str, Any] = {}
    if facts.needs_blob:
        blob = change.put_blob(item, calendar_blob(raw, facts.invite_ids))
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
    columns = {
        "name": name,
        "subject": name,
        "sender": creator,
        "date": change.date,
        "metadata": encode_column(values),
        **change.put_blob(item, raw),
    }
    if found:
        flags = found[0]["flags"] | Flag.VERSIONED
        change.update(item, mod_content=change.number, flags=int(flags), **columns)
        older = {column: found[0][column] for column in _REVISED}
        change.add_revision(item, version=_version(found[0]), **older)
        return item
    document_uuid = str(uuid.uuid4())
    return change.insert(
        ItemKind.DOCUMENT,
        id=item,
        folder=folder,
        index_id=0,
        imap_id=0,
        uuid=document_uuid,
        **columns,
    )


def add_note(change: Change, text: str, *, folder: int) -> ItemId:
    """Add a note."""
    values: dict[str, Value] = {"l": "0,0,200,200"}
    return change.insert(
        ItemKind.NOTE,
        folder=folder,
        subject=text,
        size=len(text),
        metadata=encode_column(values),
    )


def add_comment(change: Change, text: str, *, document: int, creator_id: str) -> ItemId:
    """Add a comment to a document."""
    if change.row(document)["type"] != codes.TYPE_OF_KIND[ItemKind.DOCUMENT]:
        raise InvalidItem(f"Item {document} is no document to comment on.", code="bad_value")
    values: dict[str, Value] = {"cr": creator_id}
    return change.insert(
        ItemKind.COMMENT,
        folder=SystemFolder.COMMENTS,
        parent_id=document,
        subject=text,
        size=len(text),
        uuid=str(uuid.uuid4()),
        metadata=encode_column(values),
    )


def make_search(change: Change, name: str, query: str) -> ItemId:
    """Make a search folder at the top."""
    values: dict[str, Value] = {"q": query, "t": "message", "s": "dateDesc"}
    return new_folder(change, SystemFolder.USER_ROOT, name, kind=ItemKind.SEARCH, values=values)


def _version(row: dict[str, Any]) -> int:
    """Return the number of a document's present version."""
    return as_int(decode_column(row["metadata"]).get("ver", 1))


def _thread_partner(change: Change, hashes: list[str]) -> dict[str, Any] | None:
    for each in reversed(hashes):
        known = change.thread_of(each)
        rows = change.rows("id = ?", known) if known is not None else []
        if rows:
            return rows[0]
    return None


def _new_conversation(change: Change, first: dict[str, Any]) -> ItemId:
    conversation = change.insert(
        ItemKind.CONVERSATION,
        folder=SystemFolder.CONVERSATIONS,
        subject=first["subject"],
        date=first["date"],
    )
    change.update(first["id"], parent_id=conversation)
    return conversation


def _count_conversation(change: Change, conversation: int) -> None:
    """Bring a conversation's row up to its members: number, newest date, senders."""
    members = change.rows("parent_id = ? AND type = 5", conversation)
    latest = max(row["date"] for row in members)
    senders: list[Value] = [{"d": row["sender"] or "", "p": row["sender"] or ""} for row in members]
    inner: dict[str, Value] = {
        "no": len(members),
        "ld": latest * 1000,
        "X": "false",
        "en": senders[-10:],
    }
    change.update(
        conversation,
        size=len(members),
        date=latest,
        metadata=encode_column({"prt": encode(inner)}),
        mod_content=change.number,
    )


def _thread_hash(message_id: str) -> str:
    raw = hashlib.sha1(message_id.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    return base64.b64encode(raw).decode("ascii").replace("/", ",")


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
