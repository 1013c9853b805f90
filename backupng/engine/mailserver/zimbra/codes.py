"""Numbers and letters of the mail store: item types, flags, system folders, tag names.

Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/mailbox/MailItem.java` (Type), `Flag.java`,
`Mailbox.java` (createDefaultFolders, REIFIED_FLAGS), `store/src/java/com/zimbra/cs/db/DbTag.java`
and `common/src/java/com/zimbra/common/mailbox/FolderConstants.java`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Any, Final

from backupng.engine.errors import BrokenItem
from backupng.engine.model import ItemKind

_ABOVE_THREE_BYTES: Final = "\U00010000"

LINK_TYPE: Final = 18
"""A mountpoint of a single file: 18 in the redo log, 13 in its row."""

TYPE_OF_KIND: Mapping[ItemKind, int] = MappingProxyType(
    {
        ItemKind.FOLDER: 1,
        ItemKind.SEARCH: 2,
        ItemKind.TAG: 3,
        ItemKind.CONVERSATION: 4,
        ItemKind.MESSAGE: 5,
        ItemKind.CONTACT: 6,
        ItemKind.DOCUMENT: 8,
        ItemKind.NOTE: 9,
        ItemKind.APPOINTMENT: 11,
        ItemKind.MOUNTPOINT: 13,
        ItemKind.WIKI: 14,
        ItemKind.TASK: 15,
        ItemKind.CHAT: 16,
        # On Carbonio 17 is a group of calendars; it is carried under the same word.
        ItemKind.COMMENT: 17,
    }
)
# Types 7 (invite), 10 (flag) and 12 (virtual conversation) never have a row, so no kind either.
KIND_OF_TYPE: Mapping[int, ItemKind] = MappingProxyType(
    {code: kind for kind, code in TYPE_OF_KIND.items()} | {LINK_TYPE: ItemKind.MOUNTPOINT}
)


class Flag(IntFlag):
    """Bits of `mail_item.flags`. UNREAD is never in the column, only in redo records and SOAP."""

    SENT = 1 << 0
    ATTACHED = 1 << 1
    REPLIED = 1 << 2
    FORWARDED = 1 << 3
    COPIED = 1 << 4
    FLAGGED = 1 << 5
    DRAFT = 1 << 6
    DELETED = 1 << 7
    NOTIFIED = 1 << 8
    UNREAD = 1 << 9
    HIGH_PRIORITY = 1 << 10
    LOW_PRIORITY = 1 << 11
    VERSIONED = 1 << 12
    INDEXING_DEFERRED = 1 << 13
    POPPED = 1 << 14
    NOTE = 1 << 15
    PRIORITY = 1 << 16
    POST = 1 << 17
    MUTED = 1 << 18
    SUBSCRIBED = 1 << 19
    EXCLUDE_FREEBUSY = 1 << 20
    CHECKED = 1 << 21
    NO_INHERIT = 1 << 22
    INVITE = 1 << 23
    SYNC_FOLDER = 1 << 24
    SYNC = 1 << 25
    NO_INFERIORS = 1 << 26
    ARCHIVED = 1 << 27
    GLOBAL = 1 << 28
    IN_DUMPSTER = 1 << 29
    UNCACHED = 1 << 30


CLIENT_LETTERS: Mapping[str, Flag] = MappingProxyType(
    {
        "s": Flag.SENT,
        "r": Flag.REPLIED,
        "w": Flag.FORWARDED,
        "f": Flag.FLAGGED,
        "d": Flag.DRAFT,
        "x": Flag.DELETED,
        "n": Flag.NOTIFIED,
        "p": Flag.POPPED,
        "+": Flag.PRIORITY,
        "^": Flag.POST,
        "(": Flag.MUTED,
        "*": Flag.SUBSCRIBED,
        "b": Flag.EXCLUDE_FREEBUSY,
        "#": Flag.CHECKED,
        "i": Flag.NO_INHERIT,
        "y": Flag.SYNC_FOLDER,
        "~": Flag.SYNC,
        "o": Flag.NO_INFERIORS,
    }
)
"""What a client can set, when the item is made or later; in ascending bit order."""

SERVER_LETTERS: Mapping[str, Flag] = MappingProxyType(
    {
        "a": Flag.ATTACHED,
        "!": Flag.HIGH_PRIORITY,
        "?": Flag.LOW_PRIORITY,
        "/": Flag.VERSIONED,
        "t": Flag.NOTE,
        "v": Flag.INVITE,
        "@": Flag.ARCHIVED,
        "g": Flag.GLOBAL,
    }
)
"""What the server computes from the content."""

_LETTERS_BY_BIT: Final = tuple((letter, int(flag)) for letter, flag in CLIENT_LETTERS.items())
"""Plain numbers: `&` of two flags takes ten times as long."""

CLIENT_BITS: Final = sum(CLIENT_LETTERS.values())
SERVER_BITS: Final = sum(SERVER_LETTERS.values()) | (
    Flag.COPIED | Flag.INDEXING_DEFERRED | Flag.IN_DUMPSTER | Flag.UNCACHED
)
"""What the server computes itself; the last three of them have no letter and no place in a row."""

UNNUMBERED_BITS: Final = SERVER_BITS | Flag.SENT | Flag.DRAFT | Flag.POST
"""Flags whose change gives the row no new change number (the server's FLAGS_SYSTEM)."""

MIRRORED_FLAGS: Mapping[int, str] = MappingProxyType(
    {
        -1: "\\Sent",
        -2: "\\Attached",
        -3: "\\Answered",
        -4: "\\Forwarded",
        -5: "\\Copied",
        -6: "\\Flagged",
        -7: "\\Draft",
        -8: "\\Deleted",
        -9: "\\Notified",
        -10: "\\Unread",
        -11: "\\Urgent",
        -12: "\\Bulk",
        -13: "\\Versioned",
        -15: "\\Popped",
        -16: "\\Note",
        -17: "\\Priority",
        -18: "\\Post",
        -19: "\\Muted",
        -24: "\\Invite",
    }
)
"""Rows that every mailbox's `tag` table has, so that these flags can be searched: id to name."""

UNREAD_TAG_ID: Final = -10


def letters_of(bits: int) -> str:
    """Return the letters of the flags that a client can set, in ascending bit order."""
    plain = int(bits)
    return "".join([letter for letter, bit in _LETTERS_BY_BIT if plain & bit])


def bits_of(letters: str) -> int:
    """Return the column's bits for letters of either kind.

    As in the server, an unknown letter means nothing. Nor does `u`: unread is a column of its own.
    """
    bits = 0
    for letter in letters:
        bits |= CLIENT_LETTERS.get(letter, 0) | SERVER_LETTERS.get(letter, 0)
    return int(bits)


def mirrored_tag_ids(bits: int, *, unread: bool) -> tuple[int, ...]:
    """Return the ids under which `tagged_item` lists an item with these flags, from -1 down."""
    all_bits = bits | Flag.UNREAD if unread else bits & ~Flag.UNREAD
    return tuple(tag_id for tag_id in MIRRORED_FLAGS if all_bits & 1 << (-tag_id - 1))


def split_tags(column: str | None) -> tuple[str, ...]:
    """Return the names in a `tag_names` column, in its order."""
    return tuple(name for name in (column or "").split("\0") if name)


def join_tags(names: Iterable[str]) -> str | None:
    """Return the `tag_names` column for these names: each between NULs, or NULL for none."""
    listed = tuple(names)
    if any(not name or "\0" in name for name in listed):
        raise BrokenItem("A tag has no name, or one with a NUL in it.")
    return "\0".join(("", *listed, "")) if listed else None


def three_bytes(value: Any) -> Any:
    """Return a value as a column holds it: three bytes a character at most, `?` for the others."""
    if not isinstance(value, str) or value.isascii() or max(value) < _ABOVE_THREE_BYTES:
        return value
    return "".join("?" if character >= _ABOVE_THREE_BYTES else character for character in value)


def folded(text: str) -> str:
    """Return what two names have in common that the server takes for one.

    They are compared as by MariaDB's utf8_general_ci: without case, accents and trailing blanks.
    """
    weights = text.upper() if text.isascii() else "".join(map(_weight, three_bytes(text)))
    return weights.rstrip(" ")


def _weight(character: str) -> str:
    """Character by character, and no accents but those of Latin, Greek and Cyrillic letters.

    Measured on MariaDB 10.11: й is a letter of its own, ß is an S, が and か differ.
    """
    accented = character < "\u0530" or "\u1e00" <= character < "\u2000"
    if accented and character not in "Йй":
        character = unicodedata.normalize("NFD", character)[0]
    return character.upper()[0]


class SystemFolder(IntEnum):
    """Folders with a fixed id. Ids up to 255 are the server's."""

    USER_ROOT = 1
    INBOX = 2
    TRASH = 3
    JUNK = 4
    SENT = 5
    DRAFTS = 6
    CONTACTS = 7
    TAGS = 8
    CONVERSATIONS = 9
    CALENDAR = 10
    ROOT = 11
    EMAILED_CONTACTS = 13
    CHATS = 14
    TASKS = 15
    BRIEFCASE = 16
    COMMENTS = 17
    UNSUBSCRIBE = 19
    SHARED_FILES = 20


FIRST_USER_ID: Final = 256

IMMUTABLE: Final = 1
"""Folder attribute: cannot be renamed, moved or deleted."""
UNCOUNTED: Final = 2
"""Folder attribute: does not track counts; such folders are hidden."""


@dataclass(frozen=True, slots=True)
class FolderSpec:
    """A system folder as a new mailbox gets it. Names are English in every database."""

    name: str
    parent: SystemFolder
    view: ItemKind | None = None
    attributes: int = IMMUTABLE
    flags: int = 0


_HIDDEN: Final = IMMUTABLE | UNCOUNTED
_TOP: Final = SystemFolder.USER_ROOT

SYSTEM_FOLDERS: Mapping[SystemFolder, FolderSpec] = MappingProxyType(
    {
        SystemFolder.ROOT: FolderSpec("ROOT", SystemFolder.ROOT, None, _HIDDEN),
        SystemFolder.TAGS: FolderSpec("Tags", SystemFolder.ROOT, ItemKind.TAG, _HIDDEN),
        SystemFolder.CONVERSATIONS: FolderSpec(
            "Conversations", SystemFolder.ROOT, ItemKind.CONVERSATION, _HIDDEN
        ),
        SystemFolder.COMMENTS: FolderSpec("Comments", SystemFolder.ROOT, ItemKind.COMMENT, _HIDDEN),
        SystemFolder.USER_ROOT: FolderSpec("USER_ROOT", SystemFolder.ROOT),
        SystemFolder.INBOX: FolderSpec("Inbox", _TOP, ItemKind.MESSAGE),
        SystemFolder.TRASH: FolderSpec("Trash", _TOP),
        SystemFolder.JUNK: FolderSpec("Junk", _TOP, ItemKind.MESSAGE),
        SystemFolder.SENT: FolderSpec("Sent", _TOP, ItemKind.MESSAGE),
        SystemFolder.DRAFTS: FolderSpec("Drafts", _TOP, ItemKind.MESSAGE),
        SystemFolder.CONTACTS: FolderSpec("Contacts", _TOP, ItemKind.CONTACT),
        SystemFolder.CALENDAR: FolderSpec(
            "Calendar", _TOP, ItemKind.APPOINTMENT, flags=Flag.CHECKED
        ),
        SystemFolder.TASKS: FolderSpec("Tasks", _TOP, ItemKind.TASK, flags=Flag.CHECKED),
        SystemFolder.EMAILED_CONTACTS: FolderSpec("Emailed Contacts", _TOP, ItemKind.CONTACT),
        SystemFolder.CHATS: FolderSpec("Chats", _TOP, ItemKind.MESSAGE),
        SystemFolder.BRIEFCASE: FolderSpec("Briefcase", _TOP, ItemKind.DOCUMENT),
        SystemFolder.SHARED_FILES: FolderSpec("Files shared with me", _TOP, ItemKind.DOCUMENT),
        SystemFolder.UNSUBSCRIBE: FolderSpec("Unsubscribe", _TOP, ItemKind.MESSAGE),
    }
)
"""Zimbra 10's folders, parents first, in the order in which a new mailbox gets them.

Carbonio has no TASKS, BRIEFCASE and COMMENTS, and its 20 is an `Archive` of messages.
"""

OPTIONAL_FOLDERS: Final = frozenset({SystemFolder.UNSUBSCRIBE})
"""Made only where the server's administrator has switched the feature on."""
