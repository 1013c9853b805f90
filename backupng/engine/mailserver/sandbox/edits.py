"""What happens to items of a sandbox mailbox afterwards: move, flag, tag, copy, rename, share.

Each function makes up a `Change`, what it logs included, and returns how many items it changed;
those that take a `Series` may need several.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals, redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.names import item_name
from backupng.engine.mailserver.sandbox.series import Series
from backupng.engine.mailserver.sandbox.threads import count_conversation, follow_members
from backupng.engine.mailserver.sandbox.tree import FOLDER_TYPES, movable, subtree
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID, Flag, SystemFolder
from backupng.engine.mailserver.zimbra.metadata import Value, decode_column, encode_column
from backupng.engine.mailserver.zimbra.parsing import mime
from backupng.engine.model import ItemId, ItemKind

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
_USER_GRANT: Final = 1
_MESSAGE_TYPES: Final = frozenset(
    codes.TYPE_OF_KIND[kind] for kind in (ItemKind.MESSAGE, ItemKind.CHAT)
)
_CONVERSATION_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.CONVERSATION]
_ANY_ITEM: Final = Flag.FLAGGED | Flag.DELETED
"""Flags that items other than messages and chats can have."""
_MOST_PREVIOUS: Final = 10
_COPIED: Final = frozenset(
    {ItemKind.MESSAGE, ItemKind.CHAT, ItemKind.CONTACT, ItemKind.DOCUMENT, ItemKind.NOTE}
)
_KEPT_BY_COPIES: Final = (
    *("date", "size", "locator", "blob_digest", "unread", "tag_names", "sender", "subject"),
    *("name", "metadata"),
)
""""recipients" is not among them, on the real server either."""


def move(change: Change, item: int, folder: int) -> int:
    """Move an item into a folder. Raises InvalidItem for system folders and into itself.

    As on the real server, Trash marks what comes as read, and Junk takes a message out of its
    conversation.
    """
    row = movable(change, item)
    change.log("MoveItem", destFolderId=folder, **redo.items([item], row["type"]))
    if row["folder_id"] == folder:
        return 0
    columns: dict[str, Any] = {"folder_id": folder, "prev_folders": previous_folders(change, row)}
    if row["type"] in FOLDER_TYPES:
        if folder in {each["id"] for each in subtree(change, item)}:
            raise InvalidItem("A folder cannot be moved into itself.", code="bad_value")
        columns["parent_id"] = folder
    elif change.tracks_imap and row["imap_id"] is not None:
        columns["imap_id"] = 0
    leaves = folder == SystemFolder.JUNK and row["type"] in _MESSAGE_TYPES
    if leaves:
        columns["parent_id"] = None
    change.update(item, **columns)
    if in_trash(change, folder) and not in_trash(change, row["folder_id"]):
        _mark_read(change, item)
    if leaves:
        follow_members(change, [row])
    return 1


def flag(series: Series, item: int, words: Iterable[str]) -> int:
    """Set (`+flagged`) or clear (`-unread`) flags. Raises InvalidItem for an unknown word.

    The server keeps "draft" to itself, so it is a change of its own.
    """
    given = list(words)
    alone = [[word] for word in given if word[1:].lower() == "draft"]
    together = [word for word in given if word[1:].lower() != "draft"]
    changed = 0
    for number, each in enumerate([group for group in (together, *alone) if group]):
        with series.change() as change:
            if not number:
                _check_words(change.row(item), given)
            changed = max(changed, _flag(change, item, each))
    return changed


def _flag(change: Change, item: int, words: Sequence[str]) -> int:
    row = _leaf(change, item)
    bits, unread = row["flags"], row["unread"]
    for word in words:
        bit, is_set = FLAG_WORDS[word[1:].lower()], word[0] == "+"
        if bit is Flag.UNREAD:
            unread = int(is_set)
        else:
            bits = bits | bit if is_set else bits & ~bit
    marks = redo.items([item], row["type"])
    if len(words) == 1:
        name = codes.MIRRORED_FLAGS[-bit.bit_length()]
        change.log("AlterItemTag", tagName=name, tagged=is_set, **marks)
    else:
        wanted = bits & codes.CLIENT_BITS | (Flag.UNREAD if unread else 0)
        change.log("SetItemTags", flags=int(wanted), tags=None, **marks)
    if (bits, unread) == (row["flags"], row["unread"]):
        return 0
    change.update(item, flags=int(bits), unread=unread)
    return 1


def _check_words(row: Mapping[str, Any], words: Iterable[str]) -> None:
    for word in words:
        bit = FLAG_WORDS.get(word[1:].lower())
        if bit is None or word[:1] not in "+-":
            known = " ".join(FLAG_WORDS)
            raise InvalidItem(
                f"{word!r} is no flag.", code="bad_value", hint=f"+ or - before one of: {known}."
            )
        if bit not in _ANY_ITEM and row["type"] not in _MESSAGE_TYPES:
            raise InvalidItem(
                f"Item {row['id']} is no message: it is never {word[1:]}.", code="bad_value"
            )


def tag(change: Change, item: int, name: str) -> int:
    """Put a tag on an item; a new name makes a tag."""
    row = _leaf(change, item)
    names = codes.split_tags(row["tag_names"])
    known = change.tag_row(change.tag_id(name, listed=False))["name"]
    change.log("AlterItemTag", tagName=known, tagged=True, **redo.items([item], row["type"]))
    if known in names:
        return 0
    change.update(item, tag_names=codes.join_tags((*names, known)))
    return 1


def untag(change: Change, item: int, name: str) -> int:
    """Take a tag off an item."""
    row = _leaf(change, item)
    names = codes.split_tags(row["tag_names"])
    change.log("AlterItemTag", tagName=name, tagged=False, **redo.items([item], row["type"]))
    if name not in names:
        return 0
    change.update(item, tag_names=codes.join_tags(each for each in names if each != name))
    return 1


def set_marks(change: Change, item: int, *, flags: int, tags: Sequence[str] | None) -> None:
    """Give an item all its flags, and its tags unless None, at once."""
    row = change.row(item)
    is_unread = row["type"] in _MESSAGE_TYPES and row["unread"]
    wanted = flags & codes.CLIENT_BITS | (Flag.UNREAD if is_unread else 0)
    columns: dict[str, Any] = {"flags": flags}
    if tags is not None:
        columns["tag_names"] = codes.join_tags(tags)
    change.update(item, **columns)
    named = None if tags is None else list(codes.split_tags(change.row(item)["tag_names"]))
    marks = redo.items([item], row["type"])
    change.log("SetItemTags", flags=int(wanted), tags=named, **marks)


def color(change: Change, item: int, value: int) -> int:
    """Colour an item or folder: 0 to 9, or 0x01000000 and RGB."""
    row = change.row(item)
    values = {key: each for key, each in decode_column(row["metadata"]).items() if key != "c"}
    if value:
        values["c"] = value
    change.update(item, metadata=encode_column(values))
    change.log("ColorItem", color=value, **redo.items([item], row["type"]))
    return 1


def date(change: Change, item: int, seconds: int) -> int:
    """Give an item another date."""
    change.update(item, date=seconds)
    change.log("DateItem", id=item, type=change.row(item)["type"], date=seconds * 1000)
    return 1


def rename(change: Change, item: int, name: str) -> int:
    """Give a folder, search folder, mountpoint or document another name."""
    row = movable(change, item)
    if row["name"] is None:
        raise InvalidItem(f"Item {item} has no name of its own.", code="bad_value")
    stored = item_name(name)
    change.update(item, name=stored, subject=stored)
    change.log("RenameItem", id=item, folderId=row["folder_id"], name=stored, type=row["type"])
    return 1


def copy(change: Change, item: int, folder: int) -> ItemId:
    """Copy an item into a folder; returns the copy's id. Raises InvalidItem for what has but one.

    A message that no draft shares its entry in the search index with its copy: both are marked,
    the original without a new change number.
    """
    row = _leaf(change, item)
    kind = codes.KIND_OF_TYPE[row["type"]]
    if kind not in _COPIED:
        raise InvalidItem(f"Item {item} is a {kind}: there is one of it.", code="bad_value")
    is_shared = kind is ItemKind.MESSAGE and not row["flags"] & Flag.DRAFT
    target = change.new_id()
    flags = row["flags"] & ~(Flag.COPIED | Flag.VERSIONED)
    columns = {name: row[name] for name in _KEPT_BY_COPIES}
    if row["locator"] is not None:
        columns |= change.put_blob(target, change.blobs.read(item, row))
    if is_shared:
        flags |= Flag.COPIED
        change.update(item, numbered=False, flags=int(row["flags"] | Flag.COPIED))
    index = row["index_id"] if is_shared or not row["index_id"] else target
    change.insert(
        kind,
        id=target,
        folder=folder,
        parent_id=None if folder == SystemFolder.JUNK else row["parent_id"],
        prev_folders=f"{change.number}:{row['folder_id']}",
        index_id=index,
        imap_id=row["imap_id"] and target,
        uuid=(copy_uuid := str(uuid.uuid4())),
        flags=int(flags),
        **columns,
    )
    if conversation := change.row(target)["parent_id"]:
        count_conversation(change, conversation)
    pairs = redo.copies([(item, target, copy_uuid)])
    change.log("CopyItem", type=row["type"], destFolderId=folder, copies=pairs)
    return target


def save_draft(change: Change, item: int, raw: bytes) -> int:
    """Save a draft again: new content under its id."""
    row = change.row(item)
    if row["type"] not in _MESSAGE_TYPES or not row["flags"] & Flag.DRAFT:
        raise InvalidItem(f"Item {item} is no draft.", code="bad_value")
    facts = mime.describe(raw)
    kept = row["flags"] & ~(Flag.ATTACHED | Flag.HIGH_PRIORITY | Flag.LOW_PRIORITY)
    imap_id = change.new_id()
    _new_content(
        change,
        row,
        change.put_blob(item, raw),
        flags=int(kept | arrivals.server_flags(facts)),
        sender=facts.sender_column,
        recipients=facts.recipients_column,
        subject=facts.subject_column,
        metadata=_renewed(row, "s", "t", "f", "p", "r", **mime.message_metadata(facts)),
    )
    unset = {"folderId": -1, "flags": 0, "tags": [], **redo.NO_THREAD}
    fields = redo.message(change.row(item), change.blobs.packed(raw), flags=0) | unset
    change.log("SaveDraft", imapId=imap_id, **fields)
    return 1


def modify_contact(change: Change, item: int, raw: bytes) -> int:
    """Give a contact all the fields of a vCard in place of its own."""
    row = change.row(item)
    if row["type"] != codes.TYPE_OF_KIND[ItemKind.CONTACT]:
        raise InvalidItem(f"Item {item} is no contact.", code="bad_value")
    columns, blob = arrivals.contact_columns(change, ItemId(item), raw)
    columns["flags"] |= row["flags"] & ~Flag.ATTACHED
    columns["metadata"] = _renewed(row, "fld", "att", **decode_column(columns["metadata"]))
    if not blob:
        columns |= {"locator": None, "blob_digest": None, "size": 0}
    _new_content(change, row, columns)
    fields = redo.contact(change.row(item), change.blobs.packed(blob))
    change.log("ModifyContact", **fields)
    return 1


def _renewed(row: Mapping[str, Any], *owned: str, **values: Value) -> str:
    """Return a row's metadata with new values for the keys that its content owns."""
    old = decode_column(row["metadata"])
    return encode_column({key: old[key] for key in old if key not in owned} | values)


def _new_content(
    change: Change, row: Mapping[str, Any], blob: Mapping[str, Any], **columns: Any
) -> None:
    """Put new content into an item: it has a new date, and for IMAP it is another message."""
    change.blobs.forget(row["id"], row)
    imap_id = 0 if change.tracks_imap else row["id"]
    numbers = {"date": change.date, "mod_content": change.number, "imap_id": imap_id}
    values: dict[str, Any] = {**numbers, **blob, **columns}
    change.update(row["id"], **values)


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
    change.log(
        "GrantAccess",
        folderId=folder,
        grantee=grantee,
        granteeType=_USER_GRANT,
        rights=bits,
        inherit=True,
        password="",
        expiry=0,
    )
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


def _leaf(change: Change, item: int) -> dict[str, Any]:
    row = change.row(item)
    if row["type"] in FOLDER_TYPES or row["type"] == _CONVERSATION_TYPE:
        message = f"Item {item} is a folder or conversation: it has no flags and tags to set."
        raise InvalidItem(message, code="bad_value")
    return row


def previous_folders(change: Change, row: Mapping[str, Any]) -> str:
    """Return the folders an item was in, oldest first, the one that it leaves now included."""
    known = row["prev_folders"].split(";") if row["prev_folders"] else []
    return ";".join([*known, f"{change.number}:{row['folder_id']}"][-_MOST_PREVIOUS:])


def in_trash(change: Change, folder: int) -> bool:
    """Say whether a folder is the Trash or lies in it."""
    above = [folder]
    while folder >= FIRST_USER_ID:
        folder = change.row(folder)["folder_id"]
        if folder in above:
            break
        above.append(folder)
    return folder == SystemFolder.TRASH


def _mark_read(change: Change, item: int) -> None:
    for row in subtree(change, item):
        if row["type"] in _MESSAGE_TYPES and row["unread"]:
            change.update(row["id"], unread=0)
