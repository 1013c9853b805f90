"""Folders as a tree: what lies below one, and what may leave its place."""

from __future__ import annotations

from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID
from backupng.engine.model import FOLDER_LIKE, ItemKind

FOLDER_TYPES: Final = frozenset(codes.TYPE_OF_KIND[kind] for kind in FOLDER_LIKE)
_CONVERSATION_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.CONVERSATION]


def movable(change: Change, item: int) -> dict[str, Any]:
    """Return an item's row. Raises InvalidItem for one that stays where it is."""
    row = change.row(item)
    if item < FIRST_USER_ID:
        message = f"{row['name']} is a system folder: it stays where it is."
        raise InvalidItem(message, code="bad_value")
    if row["type"] == _CONVERSATION_TYPE:
        raise InvalidItem(
            f"Item {item} is a conversation: it follows its messages.", code="bad_value"
        )
    return row


def subtree(change: Change, folder: int) -> list[dict[str, Any]]:
    """Return a folder's row and those of everything below it, deepest first."""
    found, level = {folder: change.row(folder)}, [folder]
    while level:
        marks = ", ".join("?" * len(level))
        rows = change.rows(f"folder_id IN ({marks})", *level)
        new = {row["id"]: row for row in rows if row["id"] not in found}
        found |= new
        level = [item for item, row in new.items() if row["type"] in FOLDER_TYPES]
    return list(found.values())[::-1]
