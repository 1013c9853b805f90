"""The one port of the engine: what it asks of a mail server, read and write.

Two servers answer it: `zimbra` (a real one) and `sandbox` (the embedded one). One contract suite,
`tests/engine/mailserver_contract.py`, runs on both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from backupng.engine.errors import ItemError
from backupng.engine.model import (
    AccountId,
    Digest,
    DirectoryEntry,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
    Mailbox,
    Row,
    Unread,
)

if TYPE_CHECKING:
    from backupng.engine.redolog.files import LogFiles

NO_SUCH_ITEM: Final = "no_such_item"
"""The code of an InvalidItem where something that was to be changed, or a folder, is not there."""
_SUMS: Final = re.compile(r"([0-9]+)/([0-9]+)/([0-9]+)/([0-9]+);")
PAIRED_BITS: Final = 0xFFFFF
"""Of two paired numbers so many bits count: no sum of their products leaves 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobReference:
    """Where one blob of an item lies on the mail server, and what its row says of it."""

    item_id: ItemId
    mod_content: int
    locator: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedMailbox:
    """What the mail server remembers of an account whose mailbox is gone."""

    account_id: AccountId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """A mailbox counted: how many live items and user tags, and a text that stands for their set.

    An equal `mark` means that no item came or went and none has another change number. Every change
    gives an item a number above all others, and one that only goes makes them fewer; sums tell of
    what neither does, a database put back from a copy. It begins with what can be reckoned with:
    `count/sum of ids/sum of (id, number) paired/sum of (id, date) paired;`; tags have no date.
    """

    count: int
    mark: str

    @staticmethod
    def sums_of(mark: str) -> tuple[int, int, int, int] | None:
        """Return the four numbers that a mark begins with; None of one from elsewhere."""
        found = _SUMS.match(mark)
        return (int(found[1]), int(found[2]), int(found[3]), int(found[4])) if found else None

    @staticmethod
    def uncounted(mark: str) -> str:
        """Return a mark of which some items are not in the backup: it cannot be reckoned with."""
        return f"uncounted;{mark}"


def paired(item: int, other: int) -> int:
    """Return what an item and a number of it add to a sum of pairs."""
    return (item & PAIRED_BITS) * (other & PAIRED_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the ids that an item refers to have gone: the pipeline's rename step.

    `folder` is the item's new folder, `items` maps old item ids to new ones, `accounts` old account
    ids to new ones. An id that is in none of them has no counterpart.
    """

    folder: ItemId
    items: Mapping[ItemId, ItemId]
    accounts: Mapping[AccountId, AccountId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Rights on a folder: to whom, a number of `zimbra-store.md` §8.4 for its type, its rights.

    `secret` is a guest's password or an access key; `expiry_ms` is 0 for never.
    """

    grantee: str
    type: int
    rights: int
    name: str = ""
    secret: str = field(default="", repr=False)
    expiry_ms: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Whose folder a mountpoint leads to, and which of them.

    `uuid` is that folder's own, where the mountpoint knows it: an id may be another folder's now.
    """

    owner: AccountId
    folder: ItemId
    uuid: str = ""


Attributes = Mapping[str, tuple[bytes, ...]]
"""Attributes of a directory entry: name to its values, raw."""

Blobs = Callable[[Digest], Iterable[bytes]]
"""Gives the plain bytes of a blob by its digest. Raises ReadError or BrokenItem."""


class Configuration(Protocol):
    """The folders of a mail server that an admin configures by hand."""

    @property
    def mark(self) -> str:
        """A text that differs once anything has been changed; empty if there is nothing."""

    def pack(self, write: Callable[[bytes], object], *, pause: Callable[[], None]) -> list[Unread]:
        """Write all of it as a `tar.gz` with paths below the install root.

        Returns what could not be read. `pause` is called before each file.
        """


class Source(Protocol):
    """A mail server as it is read. Raises MailServerUnreachable when it does not answer."""

    @property
    def server_id(self) -> str:
        """The `zimbraId` of the server's directory entry."""

    @property
    def server_name(self) -> str:
        """The server's host name."""

    @property
    def redo_log(self) -> LogFiles:
        """Where the server's redo log lies on this machine."""

    def configuration(self) -> Configuration:
        """Return the folders that an admin configures by hand, as they are now."""

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        """Yield all entries of a kind; of accounts, those whose mail lies on this server."""

    def has_account(self, account_id: str) -> bool:
        """Say whether an account of that id exists, wherever its mail lies."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Let everything read inside be of one moment; kept short, for the server's sake."""

    def mailbox(self, account: AccountId) -> Mailbox | None:
        """Return an account's mailbox; None if it was never opened. Raises BrokenItem."""

    def mailbox_of(self, mailbox_id: int) -> Mailbox | None:
        """Return the mailbox with that number; None if it is gone. Raises BrokenItem."""

    def deleted_mailbox(self, mailbox_id: int) -> DeletedMailbox | None:
        """Return whose a mailbox that is gone was, as long as the server remembers."""

    def census(self, mailbox: Mailbox) -> Census:
        """Count a mailbox, by its indexes alone."""

    def heads(self, mailbox: Mailbox) -> Mapping[ItemId, int]:
        """Return the change number of every live item and user tag, by id."""

    def dated(self, mailbox: Mailbox, since: int) -> int:
        """Return the sum of (id, date) paired of the items with a change number from `since`."""

    def traits(self, mailbox: Mailbox, items: Iterable[ItemId] | None = None) -> Iterator[Row]:
        """Yield of these, or of all items and user tags what tells a row from one of its number.

        `id`, `mod_metadata`, `change_date`, `type` and `blob_digest`; of a tag `id`, `sequence` and
        `name`. Reads all rows without `items`: for a whole comparison only.
        """

    def states(
        self, mailbox: Mailbox, items: Iterable[ItemId]
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """Yield the present state of the given items that still exist, errors among them.

        `start` is the server's own claim of when the row last changed, to the second.
        """

    def living(self, mailbox: Mailbox, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these ids exist as an item or a user tag."""

    def changed(self, mailbox: Mailbox, since: int, until: int) -> list[ItemId]:
        """Return the ids of items and user tags with a change number from `since` to `until`."""

    def buried(self, mailbox: Mailbox, since: int, until: int) -> Mapping[ItemId, int]:
        """Return the number of each deletion from `since` to `until` that left a tombstone.

        Empty for a mailbox that nobody synchronises.
        """

    def dumped(
        self, mailbox: Mailbox, since: int, until: int
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """Yield what went to the dumpster from `since` to `until`, errors among them.

        Each state is the item's complete last content; its `mod` is the number of the deletion.
        """

    def blobs_of(self, state: ItemState) -> Iterator[BlobReference]:
        """Yield the blobs that a state read from here needs, those of its older versions too.

        Raises BrokenItem for a row that names one by half.
        """

    def blob(self, mailbox: Mailbox, reference: BlobReference) -> Iterator[bytes]:
        """Yield the plain bytes of a blob. Raises ReadError or BrokenItem."""


class Destination(Protocol):
    """A mail server as it is written to."""

    @property
    def holds(self) -> frozenset[ItemKind]:
        """The kinds of items it can hold; others are unrestored, with that cause."""

    def entry(self, kind: EntryKind, name: str) -> DirectoryEntry | None:
        """Return an entry by its name, an account also by alias or id; None if there is none."""

    @property
    def mail_host(self) -> str:
        """The name of the server that new mailboxes lie on: their `zimbraMailHost`."""

    def create(
        self, kind: EntryKind, name: str, attributes: Attributes, *, dynamic: bool = False
    ) -> DirectoryEntry:
        """Create a domain, class of service or list (`dynamic`: a group) with a new id.

        Every refusal, here and below, is MailServerRefused and names the entry; one attribute that
        is refused fails the whole, and nothing is changed then.
        """

    def create_account(
        self, name: str, attributes: Attributes, *, account_id: AccountId | None = None
    ) -> DirectoryEntry:
        """Create an account and its mailbox, with a new id or with this one if nobody has it.

        Raises MailServerRefused or BadRequest.
        """

    def modify(self, entry: DirectoryEntry, changes: Attributes) -> None:
        """Replace attributes of an entry as it is now; an empty tuple removes one."""

    def add_alias(self, entry: DirectoryEntry, alias: str) -> bool:
        """Give an account or list one more address; False if it has it already."""

    def add_members(self, group: DirectoryEntry, members: Iterable[str]) -> int:
        """Add addresses to a list or dynamic group; return how many were new."""

    def add_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        """Add an identity or signature to an account, under a new id. Raises InvalidItem."""

    def put_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        """Add an identity, signature or data source under its own id, or replace that of its name.

        The secrets of a data source come as the source's directory had them, encrypted by its id.
        Raises InvalidItem.
        """

    def shares(self, account: DirectoryEntry) -> ShareWriter:
        """Return what changes grants and mountpoints in the account's mailbox."""

    def set_notes(self, cos: DirectoryEntry, notes: str) -> None:
        """Replace the Notes of a class of service; an empty text removes them.

        Raises MailServerRefused, also when the class is gone.
        """

    def open(self, account: DirectoryEntry) -> AbstractContextManager[MailboxWriter]:
        """Open the account's mailbox for injection: quota lifted from the first thing that is put
        until it is closed.
        """


class MailboxWriter(Protocol):
    """A destination mailbox during one restore.

    Every method raises InvalidItem for a refusal (NoRoom for one of its size), ServerFault for one
    item that failed, and MailServerUnreachable when the server answers no more.
    """

    @property
    def longest_line(self) -> int | None:
        """The longest line, in bytes, of a message that is not refused; None without that rule."""

    def find_tag(self, name: str) -> ItemId | None:
        """Return the tag that `put_tag` would reuse for a name; None if it would make one."""

    def find_folder(self, state: ItemState, parent: ItemId) -> ItemId | None:
        """Return what `put_folder` would reuse; None if it would make it. Refuses what that does.

        That is something else of the name: of another kind, a mountpoint that leads elsewhere, a
        search folder with another query. Asked of a document, it tells whether the name is taken.
        """

    def put_tag(self, state: ItemState, *, keep: bool = False) -> tuple[ItemId, bool]:
        """Make a tag; an existing one of that name takes the colour unless it is to `keep` it.

        Returns its id and whether it is new.
        """

    def put_folder(
        self, state: ItemState, parent: ItemId, *, keep: bool = False
    ) -> tuple[ItemId, bool]:
        """Make a folder, search folder or mountpoint below `parent`; one of that name is reused.

        That takes colour and flags unless it is to `keep` its own. A mountpoint leads where its
        state says. Returns its id and whether it is new.
        """

    def put_item(
        self, state: ItemState, places: Places, blobs: Blobs, *, begun: ItemId | None = None
    ) -> ItemId:
        """Inject one item, its older versions included; returns its new id.

        `begun` is one that `equal` has found and that an injection cut short has left without its
        last version, date, colour, flags or tags: it gets what it lacks.
        """

    def equal(
        self, wanted: Sequence[tuple[ItemState, ItemId | None]]
    ) -> Mapping[ItemId, Sequence[ItemId]]:
        """Find what is there already, for each state by its id: ids ascending, none left out.

        Equal is a message of the same digest and date, a contact with the same fields, a calendar
        item with the same UID, a document of the same name with the content of one of its versions,
        a note of the same text, place and colour, a comment of the same text on the document whose
        id there is its `parent_id`, a folder of the same name, a search folder of the same name and
        query, a mountpoint of the same name that leads to the same folder. With a folder: in it,
        without one: anywhere.
        """

    def living(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these ids exist as an item, folder or tag."""

    def read_back(self, items: Iterable[ItemId]) -> Mapping[ItemId, ItemState]:
        """Return each of these items as it is there now; those that are not there are left out."""

    def is_own(self, change: int) -> bool:
        """Say whether this writer made the change of that number; if not, somebody else did."""

    def deleted(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these somebody has surely deleted since the first thing was put."""

    def changed(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these somebody else has surely changed since then, in whatever way."""


class ShareWriter(Protocol):
    """Changes grants and mountpoints of one mailbox. Raises InvalidItem for a refusal."""

    def put_grant(self, folder: ItemId, grant: Grant) -> None:
        """Grant rights on a folder; an earlier grant to the same grantee is replaced."""

    def revoke(self, folder: ItemId, grantee: str) -> None:
        """Take a grant on a folder away; one that is not there is no error."""

    def put_mountpoint(self, state: ItemState, parent: ItemId, target: Target) -> ItemId:
        """Put someone else's folder below `parent`, looking as `state` does and of its date.

        A server may refuse a folder that is not there.
        """

    def point(self, state: ItemState, target: Target) -> ItemId:
        """Let the mountpoint that `state` is lead elsewhere; returns its id, perhaps a new one.

        A kill leaves the old one or the new one, never none.
        """
