"""The vocabulary: ids, kinds, item states, directory entries. Values only, no behaviour."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NewType

AccountId = NewType("AccountId", str)
"""`zimbraId` of an account: usually a UUID, always compared as text."""
ItemId = NewType("ItemId", int)
"""Unique per mailbox; system folders below 256."""
Digest = NewType("Digest", str)
"""Digest of a blob's plain bytes: SHA-256 (44 characters), in old rows SHA-1 (28)."""
Row = Mapping[str, Any]
"""One database row: column name to value, NULLs left out."""

BACKUP_DISABLED = "${ZxBackup_Disabled}"
"""Marker in a COS' Notes: accounts of that COS are not backed up."""


CONTENT_TYPE = "contentType"
CREATOR = "creator"
CONVERSATION = "conversation"
"""Names in `ItemState.fields` of what else is known of a document or message without its row."""


class ItemKind(StrEnum):
    """What an item is; the values are the words of every listing."""

    FOLDER = "folder"
    SEARCH = "search"
    TAG = "tag"
    CONVERSATION = "conversation"
    MESSAGE = "message"
    CONTACT = "contact"
    DOCUMENT = "document"
    NOTE = "note"
    APPOINTMENT = "appointment"
    MOUNTPOINT = "mountpoint"
    WIKI = "wiki"
    TASK = "task"
    CHAT = "chat"
    COMMENT = "comment"


FOLDER_LIKE = frozenset({ItemKind.FOLDER, ItemKind.SEARCH, ItemKind.MOUNTPOINT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemState:
    """One item of one mailbox as it was from `start` until the next state's `start`.

    `start` is aware, UTC, to the millisecond. `mod` is the mailbox's change number that the state
    holds for: a history only ever grows by higher numbers. `source` says who saw it
    (`scan:<scan id>` or a redo log position). The fields below `deleted` are the readable content,
    None or empty in a deletion; `row` and `side_rows` are the database's own rows, verbatim.
    `kept_as` maps a digest in those rows to the SHA-256 that its blob is kept under, where the two
    differ: old rows carry SHA-1.
    """

    item_id: ItemId
    kind: ItemKind
    mod: int
    start: datetime
    source: str = ""
    deleted: bool = False
    folder_id: ItemId | None = None
    name: str | None = None
    subject: str | None = None
    sender: str | None = None
    recipients: str | None = None
    flags: str = ""
    unread: bool = False
    tags: tuple[str, ...] = ()
    color: int = 0
    date: int = 0
    size: int | None = None
    digest: Digest | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    row: Row = field(default_factory=dict)
    side_rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    kept_as: Mapping[Digest, Digest] = field(default_factory=dict)

    @property
    def is_by_scan(self) -> bool:
        """Whether a scan saw it, not the redo log."""
        return self.source.startswith("scan:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """The content of one account on one server: its row and its named metadata sections."""

    mailbox_id: int
    account_id: AccountId
    group_id: int
    row: Row
    sections: Mapping[str, str] = field(default_factory=dict)


class EntryKind(StrEnum):
    """What a directory entry is."""

    ACCOUNT = "account"
    DOMAIN = "domain"
    COS = "cos"
    LIST = "list"
    SERVER = "server"
    CONFIG = "config"
    IDENTITY = "identity"
    SIGNATURE = "signature"
    DATA_SOURCE = "datasource"
    GROUP_UNIT = "groupunit"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry:
    """One entry of the directory with all its user attributes, raw, in server order.

    `entry_id` is its `zimbraId` (of a child without one, its name; of the global configuration the
    word `config`); `children` are an account's identities, signatures and data sources, and the two
    units of a dynamic group, which hold its members.
    """

    kind: EntryKind
    entry_id: str
    name: str
    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]
    children: tuple[DirectoryEntry, ...] = ()

    def values(self, attribute: str) -> tuple[str, ...]:
        """Return the attribute's values as text, undecodable bytes replaced; empty if absent."""
        return tuple(
            value.decode("utf-8", "replace") for value in self.attributes.get(attribute, ())
        )

    def first(self, attribute: str, default: str = "") -> str:
        """Return the attribute's first value as text, or `default`."""
        values = self.values(attribute)
        return values[0] if values else default


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryState:
    """A directory entry as it was from `start`; a deletion keeps the last living content.

    `reason` says why it counts as deleted where it is not simply gone from the directory.
    """

    start: datetime
    entry: DirectoryEntry
    deleted: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxState:
    """What a scan found in a mailbox as a whole.

    `mark` stands for the set of (item id, change number) of the snapshot: an equal mark means an
    equal set; an empty one begins an era. `unread` are the items of it that could not be saved and
    are tried again. `base` is what change numbers here are above those of the server.
    """

    start: datetime
    mod: int
    mailbox: Mailbox
    mark: str
    unread: tuple[ItemId, ...] = ()
    base: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that could not be read, and why; `may_pass`: another try may succeed."""

    path: str
    why: str
    may_pass: bool

    def __str__(self) -> str:
        return f"{self.path} ({self.why})"

    @classmethod
    def of(cls, path: str, error: OSError) -> Unread:
        """Return what the disk said of a path."""
        why = (error.strerror or str(error)).lower()
        return cls(path, why, not isinstance(error, PermissionError))


def spell_digest(raw: bytes) -> Digest:
    """Spell a raw hash the way Zimbra stores it: base64 with comma for slash."""
    return Digest(base64.b64encode(raw).decode("ascii").replace("/", ","))


def from_ms(ms: int) -> datetime:
    """Return the aware UTC moment of `ms` milliseconds since the epoch."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch, rounded down."""
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
