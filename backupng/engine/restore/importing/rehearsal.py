"""A destination that only remembers what it was asked for: where a dry run goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from backupng.engine.errors import InvalidItem, MailServerRefused
from backupng.engine.mailserver.port import Attributes, Destination, Grant, Source, Target
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId, ItemKind, ItemState
from backupng.engine.restore.dry_mailbox import DryMailbox
from backupng.engine.restore.importing.shares import folders_there


class Rehearsal:
    """Implements `port.Destination`; changes nothing anywhere.

    What was asked for is there afterwards, under an id of its own. `source` is the real one, read.
    """

    def __init__(self, real: Destination, source: Source) -> None:
        self._real, self._source = real, source
        self._made: dict[tuple[EntryKind, str], DirectoryEntry] = {}

    @property
    def holds(self) -> frozenset[ItemKind]:
        """What the real one holds."""
        return self._real.holds

    @property
    def mail_host(self) -> str:
        """The real one's."""
        return self._real.mail_host

    def entry(self, kind: EntryKind, name: str) -> DirectoryEntry | None:
        """Return what is there, or would be."""
        return self._made.get((kind, name)) or self._real.entry(kind, name)

    def create(
        self, kind: EntryKind, name: str, attributes: Attributes, *, dynamic: bool = False
    ) -> DirectoryEntry:
        """Remember an entry; the domain of a list must be there."""
        if kind is EntryKind.LIST:
            self._require_domain(name)
        return self._make(kind, name, str(uuid.uuid4()), attributes)

    def create_account(
        self, name: str, attributes: Attributes, *, account_id: AccountId | None = None
    ) -> DirectoryEntry:
        """Remember an account; its domain must be there."""
        self._require_domain(name)
        return self._make(EntryKind.ACCOUNT, name, account_id or str(uuid.uuid4()), attributes)

    def modify(self, entry: DirectoryEntry, changes: Attributes) -> None:
        """Do nothing: what would be refused, only the server knows."""

    def add_alias(self, entry: DirectoryEntry, alias: str) -> bool:
        """Say whether the alias is missing; its domain must be there."""
        self._require_domain(alias)
        return alias not in entry.values("zimbraMailAlias")

    def add_members(self, group: DirectoryEntry, members: Iterable[str]) -> int:
        """Say how many are missing."""
        known = group.values("zimbraMailForwardingAddress")
        return sum(1 for each in members if each not in known)

    def add_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        """Do nothing."""

    def put_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        """Do nothing."""

    def set_notes(self, cos: DirectoryEntry, notes: str) -> None:
        """Do nothing."""

    def shares(self, account: DirectoryEntry) -> DryShares:
        """Return what only remembers."""
        mailbox = self._source.mailbox(AccountId(account.entry_id))
        return DryShares(folders_there(self._source, mailbox).values())

    @contextmanager
    def open(self, account: DirectoryEntry) -> Iterator[DryMailbox]:
        """Open a mailbox that only remembers, over the real one if there is one."""
        if self._source.mailbox(AccountId(account.entry_id)) is None:
            yield DryMailbox(None)
            return
        with self._real.open(account) as mailbox:
            yield DryMailbox(mailbox)

    def _require_domain(self, address: str) -> None:
        domain = address.partition("@")[2]
        if self.entry(EntryKind.DOMAIN, domain) is None:
            raise MailServerRefused(f"{address}: the domain {domain} does not exist")

    def _make(
        self, kind: EntryKind, name: str, entry_id: str, attributes: Attributes
    ) -> DirectoryEntry:
        made = DirectoryEntry(kind=kind, entry_id=entry_id, name=name, dn="", attributes=attributes)
        self._made[kind, name] = self._made[kind, entry_id] = made
        return made


class DryShares:
    """Implements `port.ShareWriter`; `there` are the folders and mountpoints of the mailbox."""

    def __init__(self, there: Iterable[ItemState]) -> None:
        self._names = {(state.folder_id, state.name) for state in there}

    def put_grant(self, folder: ItemId, grant: Grant) -> None:
        """Do nothing."""

    def revoke(self, folder: ItemId, grantee: str) -> None:
        """Do nothing."""

    def put_mountpoint(self, state: ItemState, parent: ItemId, target: Target) -> ItemId:
        """Refuse a name that is taken below `parent`."""
        if (parent, state.name) in self._names:
            raise InvalidItem(f"item {state.item_id}: something else is called {state.name!r}")
        self._names.add((parent, state.name))
        return state.item_id

    def point(self, state: ItemState, target: Target) -> ItemId:
        """Do nothing."""
        return state.item_id
