"""What happens to tags themselves: made, renamed, coloured, deleted.

Each function makes up a `Change`, what it logs included. What it does to the items that have the
tag belongs to it: they get its number.
"""

from __future__ import annotations

from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.model import ItemKind

_TAG_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.TAG]


def make_tag(change: Change, name: str, *, color: int | None = None) -> int:
    """Make a tag; returns its id. Raises InvalidItem if there is one of that name."""
    before = change.next_id
    made = change.tag_id(name, color=color)
    if made != before:
        raise InvalidItem(f"There is a tag {name} already.", code="already_exists")
    change.log("CreateTag", tagId=made, name=change.tag_row(made)["name"], color=color or 0)
    return made


def color_tag(change: Change, tag: int, color: int) -> int:
    """Give a tag a colour: 0 to 9, or 0x01000000 and RGB."""
    change.tag_row(tag)
    change.update_tag(tag, color=color)
    change.log("ColorItem", color=color, **redo.items([tag], _TAG_TYPE))
    return 1


def delete_tag(change: Change, tag: int) -> int:
    """Delete a tag, on all items that have it too. Returns how many those were."""
    name = change.tag_row(tag)["name"]
    rows = change.tagged(tag)
    for row in rows:
        names = (each for each in codes.split_tags(row["tag_names"]) if each != name)
        change.update(row["id"], tag_names=codes.join_tags(names))
    change.drop_tag(tag)
    change.log("DeleteItem", **redo.items([tag], _TAG_TYPE))
    return len(rows)


def rename_tag(change: Change, tag: int, name: str) -> int:
    """Give a tag another name, on all items that have it too. Returns how many those are."""
    count = len(change.tagged(tag))
    change.rename_tag(tag, name)
    stored = change.tag_row(tag)["name"]
    change.log("RenameItem", id=tag, folderId=-1, name=stored, type=_TAG_TYPE)
    return count
