"""What happens to items of a sandbox mailbox afterwards: move, flag, tag, delete, share.

Each function is one step of a `Change` and returns how many items it changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID, Flag, SystemFolder
from backupng.engine.mailserver.zimbra.metadata import Value, decode_column, encode_column
from backupng.engine.model import FOLDER_LIKE, ItemKind

FLAG_WORDS: Final[Mapping[str, Flag]] = {
    "unread": Flag.UNREAD,
    "flagged": Flag.FLAGGED,
    "replied": Flag.REPLIED,
    "forwarded": Flag.FORWARDED,
    "priority": Flag.PRIORITY,
    "draft": Flag.DRAFT,
    "deleted": Flag.DELETED,
    "muted": Flag.MUTED,
    "notified": Flag.NOTIFIED,
}
_RIGHTS: Final = {"r": 1, "w": 2, "i": 4, "d": 8, "a": 16, "x": 16, "p": 1024, "c": 512, "f": 2048}
_FOLDER_TYPES: Final = frozenset(codes.TYPE_OF_KIND[kind] for kind in FOLDER_LIKE)
_USER_GRANT: Final = 1
_MESSAGE_TYPES: Final = frozenset(
    codes.TYPE_OF_KIND[kind] for kind in (ItemKind.MESSAGE, ItemKind.CHAT)
)
_CONVERSATION_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.CONVERSATION]
_ANY_ITEM: Final = Flag.FLAGGED | Flag.DELETED
"""Flags that items other than messages and chats can have."""
_MOST_PREVIOUS: Final = 10
_ROOTS: Final = frozenset({int(SystemFolder.USER_ROOT), int(SystemFolder.ROOT)})


def move(change: Change, item: int, folder: int) -> int:
    """Move an item into a folder. Raises InvalidItem for system folders and into itself.

    As on the real server, Trash marks what comes as read, and Junk takes a message out of its
    conversation.
    """
    row = _movable(change, item)
    if row["folder_id"] == folder:
        return 0
    columns: dict[str, Any] = {"folder_id": folder, "prev_folders": _previous(change, row)}
    if row["type"] in _FOLDER_TYPES:
        if folder in {each["id"] for each in _subtree(change, item)}:
            raise InvalidItem("A folder cannot be moved into itself.", code="bad_value")
        columns["parent_id"] = folder
    elif change.tracks_imap and row["imap_id"] is not None:
        columns["imap_id"] = 0
    leaves = folder == SystemFolder.JUNK and row["type"] in _MESSAGE_TYPES
    if leaves:
        columns["parent_id"] = None
    change.update(item, **columns)
    if _in_trash(change, folder) and not _in_trash(change, row["folder_id"]):
        _mark_read(change, item)
    if leaves:
        _follow_members(change, [row])
    return 1


def flag(change: Change, item: int, words: Iterable[str]) -> int:
    """Set (`+flagged`) or clear (`-unread`) flags. Raises InvalidItem for an unknown word."""
    row = _leaf(change, item)
    bits, unread = row["flags"], row["unread"]
    for word in words:
        bit = FLAG_WORDS.get(word[1:].lower())
        if bit is None or word[:1] not in "+-":
            known = " ".join(FLAG_WORDS)
            raise InvalidItem(
                f"{word!r} is no flag.", code="bad_value", hint=f"+ or - before one of: {known}."
            )
        if bit not in _ANY_ITEM and row["type"] not in _MESSAGE_TYPES:
            raise InvalidItem(
                f"Item {item} is no message: it is never {word[1:]}.", code="bad_value"
            )
        if bit is Flag.UNREAD:
            unread = int(word[0] == "+")
        else:
            bits = bits | bit if word[0] == "+" else bits & ~bit
    if (bits, unread) == (row["flags"], row["unread"]):
        return 0
    change.update(item, flags=int(bits), unread=unread)
    return 1


def tag(change: Change, item: int, name: str) -> int:
    """Put a tag on an item; a new name makes a tag."""
    names = codes.split_tags(_leaf(change, item)["tag_names"])
    if change.tag_id(name) in map(change.tag_id, names):
        return 0
    change.update(item, tag_names=codes.join_tags((*names, name)))
    return 1


def delete(change: Change, item: int) -> int:
    """Delete an item for good, a folder with all below it. Returns how many items went."""
    row = _movable(change, item)
    rows = _subtree(change, item) if row["type"] in _FOLDER_TYPES else [row]
    return _delete(change, rows)


def empty_folder(change: Change, folder: int) -> int:
    """Delete everything in a folder and below it, the folder itself not."""
    if folder in _ROOTS or change.row(folder)["type"] not in _FOLDER_TYPES:
        raise InvalidItem(f"Item {folder} is no folder that can be emptied.", code="bad_value")
    rows = [row for row in _subtree(change, folder) if row["id"] != folder]
    return _delete(change, rows)


def share(change: Change, folder: int, grantee: str, rights: str) -> int:
    """Grant rights on a folder to an account's id; replaces an earlier grant to it."""
    bits = 0
    for letter in rights:
        if letter not in _RIGHTS:
            raise InvalidItem(
                f"{letter!r} is no right.", code="bad_value", hint=f"Letters: {''.join(_RIGHTS)}."
            )
        bits |= _RIGHTS[letter]
    row = change.row(folder)
    if row["type"] != codes.TYPE_OF_KIND[ItemKind.FOLDER]:
        raise InvalidItem(f"Item {folder} is no folder that can be shared.", code="bad_value")
    values = decode_column(row["metadata"])
    acl = values.get("aclm")
    grants = acl.get("g") if isinstance(acl, dict) else None
    kept: list[Value] = [
        grant
        for grant in (grants if isinstance(grants, list) else [])
        if not (isinstance(grant, dict) and grant.get("g") == grantee)
    ]
    grant: dict[str, Value] = {"g": grantee, "r": bits, "t": _USER_GRANT}
    access: dict[str, Value] = {"g": [*kept, grant], "ge": 0, "ie": 0}
    change.update(folder, metadata=encode_column({**values, "aclm": access}))
    return 1


def mount(change: Change, name: str, *, owner_id: str, folder: Mapping[str, Any]) -> int:
    """Put someone else's shared folder into this mailbox; returns the mountpoint's id."""
    values: dict[str, Value] = {"aid": owner_id, "id": folder["id"], "ruuid": folder["uuid"]}
    view = decode_column(folder["metadata"]).get("vt")
    if view is not None:
        values["vt"] = view
    return arrivals.new_folder(
        change, SystemFolder.USER_ROOT, name, kind=ItemKind.MOUNTPOINT, values=values
    )


def _movable(change: Change, item: int) -> dict[str, Any]:
    row = change.row(item)
    if item < FIRST_USER_ID:
        message = f"{row['name']} is a system folder: it stays where it is."
        raise InvalidItem(message, code="bad_value")
    if row["type"] == _CONVERSATION_TYPE:
        raise InvalidItem(
            f"Item {item} is a conversation: it follows its messages.", code="bad_value"
        )
    return row


def _leaf(change: Change, item: int) -> dict[str, Any]:
    row = change.row(item)
    if row["type"] in _FOLDER_TYPES or row["type"] == _CONVERSATION_TYPE:
        message = f"Item {item} is a folder or conversation: it has no flags and tags to set."
        raise InvalidItem(message, code="bad_value")
    return row


def _previous(change: Change, row: Mapping[str, Any]) -> str:
    """Return the folders an item was in, oldest first, the one that it leaves now included."""
    known = row["prev_folders"].split(";") if row["prev_folders"] else []
    return ";".join([*known, f"{change.number}:{row['folder_id']}"][-_MOST_PREVIOUS:])


def _in_trash(change: Change, folder: int) -> bool:
    above = [folder]
    while folder >= FIRST_USER_ID:
        folder = change.row(folder)["folder_id"]
        if folder in above:
            break
        above.append(folder)
    return folder == SystemFolder.TRASH


def _mark_read(change: Change, item: int) -> None:
    for row in _subtree(change, item):
        if row["type"] in _MESSAGE_TYPES and row["unread"]:
            change.update(row["id"], unread=0)


def _subtree(change: Change, folder: int) -> list[dict[str, Any]]:
    """Return a folder's row and those of everything below it, deepest first."""
    found, level = {folder: change.row(folder)}, [folder]
    while level:
        marks = ", ".join("?" * len(level))
        rows = change.rows(f"folder_id IN ({marks})", *level)
        new = {row["id"]: row for row in rows if row["id"] not in found}
        found |= new
        level = [item for item, row in new.items() if row["type"] in _FOLDER_TYPES]
    return list(found.values())[::-1]


def _delete(change: Change, rows: list[dict[str, Any]]) -> int:
    documents = [row["id"] for row in rows if row["type"] == codes.TYPE_OF_KIND[ItemKind.DOCUMENT]]
    for document in documents:
        rows += change.rows("parent_id = ? AND type = 17", document)
    count = change.delete(rows)
    _follow_members(change, rows)
    return count


def _follow_members(change: Change, left: Iterable[Mapping[str, Any]]) -> None:
    """Let conversations follow the members that left them; without any they go."""
    for conversation in sorted({row["parent_id"] for row in left if row["parent_id"]}):
        for row in change.rows("id = ? AND type = 4", conversation):
            members = len(change.rows("parent_id = ? AND type = 5", conversation))
            if members:
                change.update(conversation, size=members, metadata=None)
            else:
                change.delete([row])
