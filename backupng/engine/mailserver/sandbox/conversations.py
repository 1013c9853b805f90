"""What clients do to whole conversations: the record names the conversation, never its messages."""

from __future__ import annotations

from typing import Final

from backupng.engine.mailserver.sandbox import redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.edits import in_trash, previous_folders
from backupng.engine.mailserver.sandbox.removal import delete_rows
from backupng.engine.mailserver.sandbox.threads import messages_of
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.model import ItemKind

_CONVERSATION_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.CONVERSATION]


def flag_conversation(change: Change, conversation: int, *, on: bool) -> int:
    """Flag all messages of a conversation, or none; the record names the conversation alone."""
    marks = redo.items([conversation], _CONVERSATION_TYPE)
    change.log("AlterItemTag", tagName="\\Flagged", tagged=on, **marks)
    rows = [
        row
        for row in messages_of(change, conversation)
        if bool(row["flags"] & Flag.FLAGGED) is not on
    ]
    for row in rows:
        change.update(row["id"], flags=int(row["flags"] ^ Flag.FLAGGED))
    return len(rows)


def move_conversation(change: Change, conversation: int, folder: int) -> int:
    """Move all messages of a conversation; the record names the conversation alone."""
    marks = redo.items([conversation], _CONVERSATION_TYPE)
    change.log("MoveItem", destFolderId=folder, **marks)
    rows = [row for row in messages_of(change, conversation) if row["folder_id"] != folder]
    read = in_trash(change, folder)
    for row in rows:
        unread = 0 if read else row["unread"]
        previous = previous_folders(change, row)
        change.update(row["id"], folder_id=folder, prev_folders=previous, unread=unread)
    return len(rows)


def delete_conversation(change: Change, conversation: int) -> int:
    """Delete all messages of a conversation; the record names the conversation alone."""
    change.log("DeleteItem", **redo.items([conversation], _CONVERSATION_TYPE))
    return delete_rows(change, messages_of(change, conversation))
