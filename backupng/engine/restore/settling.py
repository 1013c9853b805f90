"""Settling: what became of what was put into a mailbox. Only what it shows is believed.

People may work in it meanwhile. What somebody has changed or deleted since it was put was there; a
server that spoils or loses what it accepted leaves it unchanged, or gone without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.model import ItemId, ItemState
from backupng.engine.restore.compare import is_same
from backupng.engine.restore.ready import Ready

RESTORED: Final = ""
DELETED: Final = "deleted since"
NOT_FOUND: Final = "not found after writing"
DIFFERS: Final = "differs after writing"


def settled(
    made: Sequence[tuple[Ready, ItemId]], writer: MailboxWriter
) -> Iterator[tuple[Ready, ItemId, str]]:
    """Yield what was put, and what became of it: RESTORED, DELETED, or the cause of a loss."""
    shown = writer.read_back([item for _, item in made])
    gone = [(each, item) for each, item in made if item not in shown]
    asked = {item for _, item in gone} | {each.folder for each, _ in gone if each.folder}
    deleted = writer.deleted(sorted(asked)) if gone else set()
    for each, item in made:
        now = shown.get(item)
        if now is None:
            # The record of a deleted folder names that, not what has just come into it.
            is_deleted = item in deleted or each.folder in deleted
            yield each, item, DELETED if is_deleted else NOT_FOUND
        elif now.folder_id == each.folder and is_same(each.state, now):
            yield each, item, RESTORED
        else:
            yield each, item, RESTORED if _is_changed(each, now, writer) else DIFFERS


def _is_changed(each: Ready, now: ItemState, writer: MailboxWriter) -> bool:
    """Say whether somebody else has changed an item since, which explains how it differs.

    Of one that was only finished nobody knows who made its last change.
    """
    if each.begun is not None:
        return False
    if not writer.is_own(now.row.get("mod_content", 0)):
        return True
    if now.digest != each.state.digest:
        return False
    # The restore itself changes a message again when another one of its thread comes.
    return not writer.is_own(now.mod) or bool(writer.changed([now.item_id]))
