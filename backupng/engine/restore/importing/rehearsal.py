"""A destination that only remembers what it was asked for: phase 1 of a dry run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from backupng.engine.errors import MailServerRefused
from backupng.engine.mailserver.port import Attributes, Destination, MailboxWriter, ShareWriter
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemKind


class Rehearsal:
    """Implements the provisioning half of `port.Destination`; changes nothing anywhere.

    What was asked for is there afterwards, under an id that says so.
    """

    def __init__(self, real: Destination) -> None:
        self._real = real
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
        return self._make(kind, name, f"new {kind} {name}", attributes)

    def create_account(
        self, name: str, attributes: Attributes, *, account_id: AccountId | None = None
    ) -> DirectoryEntry:
        """Remember an account; its domain must be there."""
        self._require_domain(name)
        return self._make(EntryKind.ACCOUNT, name, account_id or f"new account {name}", attributes)

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

    def shares(self, account: DirectoryEntry) -> ShareWriter:
        """Refuse: a dry run has no phase 3."""
        raise NotImplementedError

    def open(self, account: DirectoryEntry) -> AbstractContextManager[MailboxWriter]:
        """Refuse: a dry run has no phase 2."""
        raise NotImplementedError

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
