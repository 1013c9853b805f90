"""Conversations: which messages belong together, by the message ids they name."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.mailserver.zimbra.metadata import Value, encode, encode_column
from backupng.engine.mailserver.zimbra.parsing import mime
from backupng.engine.model import ItemId, ItemKind

_SHARED_THREADS: Final = 20
"""References beyond so many are not looked up."""
_NONE: Final = -1


@dataclass(frozen=True, slots=True)
class Thread:
    """The conversation that a message joined, and who was alone until then; -1 for none."""

    conversation: int = _NONE
    first: int = _NONE


def join_thread(change: Change, item: ItemId, facts: mime.MessageFacts) -> Thread:
    """Put a message into the conversation of those it refers to; two messages make one.

    Junk is never threaded.
    """
    if change.row(item)["folder_id"] == SystemFolder.JUNK:
        return Thread()
    hashes = [_thread_hash(each) for each in facts.references[-_SHARED_THREADS:]]
    partner = _thread_partner(change, hashes)
    conversation, first = None, _NONE
    if partner is not None and partner["type"] == codes.TYPE_OF_KIND[ItemKind.CONVERSATION]:
        conversation = partner["id"]
    elif partner is not None:
        first = _NONE if partner["parent_id"] else partner["id"]
        conversation = partner["parent_id"] or _new_conversation(change, partner)
    if conversation is not None:
        change.update(item, parent_id=conversation)
        count_conversation(change, conversation)
    if facts.message_id:
        hashes.append(_thread_hash(facts.message_id))
    for each in hashes:
        change.remember_thread(each, conversation or item)
    return Thread(conversation or _NONE, first)


def messages_of(change: Change, conversation: int) -> list[dict[str, Any]]:
    """Return the messages of a conversation. Raises InvalidItem if it is none."""
    if change.row(conversation)["type"] != codes.TYPE_OF_KIND[ItemKind.CONVERSATION]:
        raise InvalidItem(f"Item {conversation} is no conversation.", code="bad_value")
    return change.rows("parent_id = ? AND type = 5", conversation)


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


def count_conversation(change: Change, conversation: int) -> None:
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


def follow_members(change: Change, left: Iterable[Mapping[str, Any]]) -> None:
    """Let conversations follow the members that left them; without any they go."""
    for conversation in sorted({row["parent_id"] for row in left if row["parent_id"]}):
        for row in change.rows("id = ? AND type = 4", conversation):
            members = len(change.rows("parent_id = ? AND type = 5", conversation))
            if members:
                change.update(conversation, size=members, metadata=None)
            else:
                change.delete([row])
