"""Deleting: an item, a folder with all below it, what is in a folder.

As on the real server a folder goes in several changes (`zimbra-redolog.md` §10.2): first one that
names it and changes nothing, then its content by the thousand, the deepest first, last the folders
themselves with what has come meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals, redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.series import Series
from backupng.engine.mailserver.sandbox.threads import follow_members
from backupng.engine.mailserver.sandbox.tree import FOLDER_TYPES, movable, subtree
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder
from backupng.engine.model import ItemKind

BATCH: Final = 1000
_ROOTS: Final = frozenset({int(SystemFolder.USER_ROOT), int(SystemFolder.ROOT)})
_FOLDER_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.FOLDER]
_MESSAGE_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.MESSAGE]
_DOCUMENT_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.DOCUMENT]


def delete(series: Series, item: int) -> int:
    """Delete an item for good, a folder with all below it. Returns how many items went."""
    with series.change() as change:
        row = movable(change, item)
        change.log("DeleteItem", **redo.items([item], row["type"]))
        if row["type"] != _FOLDER_TYPE:
            return delete_rows(change, [row])
        is_full = bool(_content(change, item))
    count = 0
    while is_full:
        with series.change() as change:
            count += _delete_content(change, item)
            is_full = bool(_content(change, item))
    with series.change() as change:
        return count + _delete_folders(change, subtree(change, item))


def empty_folder(series: Series, place: int | str) -> int:
    """Delete everything in a folder, given by id or path, and below it, the folder itself not."""
    count, is_full = 0, True
    while is_full:
        with series.change() as change:
            folder = arrivals.folder_id(change, place) if isinstance(place, str) else place
            if folder in _ROOTS or change.row(folder)["type"] not in FOLDER_TYPES:
                message = f"Item {folder} is no folder that can be emptied."
                raise InvalidItem(message, code="bad_value")
            if _content(change, folder):
                count += _delete_content(change, folder)
            else:
                count += _delete_folders(change, _below(change, folder))
            is_full = bool(_below(change, folder))
    return count


def expunge(change: Change) -> int:
    """Delete all that IMAP has marked as deleted; the record names nothing."""
    change.log("PurgeImapDeleted")
    return delete_rows(change, change.rows(f"type <> 17 AND flags & {int(Flag.DELETED)}"))


def _below(change: Change, folder: int) -> list[dict[str, Any]]:
    return [row for row in subtree(change, folder) if row["id"] != folder]


def _content(change: Change, folder: int) -> list[dict[str, Any]]:
    """Return the rows of what is no folder below a folder, the deepest first."""
    return [row for row in subtree(change, folder) if row["type"] not in FOLDER_TYPES]


def _delete_content(change: Change, folder: int) -> int:
    """Delete as much of a folder's content as goes at once.

    A message in no conversation is named again as the virtual one it is.
    """
    batch = _content(change, folder)[:BATCH]
    alone = [
        -row["id"] for row in batch if row["type"] == _MESSAGE_TYPE and row["parent_id"] is None
    ]
    change.log("DeleteItem", **redo.items([*(row["id"] for row in batch), *alone]))
    return delete_rows(change, batch)


def _delete_folders(change: Change, rows: list[dict[str, Any]]) -> int:
    """Delete folders with what is in them; the record names the folders alone, from above down."""
    folders = [row["id"] for row in rows[::-1] if row["type"] in FOLDER_TYPES]
    change.log("DeleteItem", **redo.items(folders, _FOLDER_TYPE))
    return delete_rows(change, rows)


def delete_rows(change: Change, rows: Iterable[Mapping[str, Any]]) -> int:
    """Delete rows with what belongs to them; the caller logs it. Returns how many went."""
    gone = {row["id"]: row for row in rows}
    for document in [row["id"] for row in gone.values() if row["type"] == _DOCUMENT_TYPE]:
        comments = change.rows("parent_id = ? AND type = 17", document)
        # One may be among the rows already.
        gone |= {row["id"]: row for row in comments}
    count = change.delete(gone.values())
    follow_members(change, gone.values())
    return count
