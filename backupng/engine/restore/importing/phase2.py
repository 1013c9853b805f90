"""Phase 2 of an import: the items of one account, through the pipeline that every restore takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from backupng.engine.backuppath.mapfile import ItemMap
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Destination, Source
from backupng.engine.mailserver.zimbra.codes import TYPE_OF_KIND
from backupng.engine.model import (
    AccountId,
    Digest,
    DirectoryEntry,
    ItemId,
    ItemKind,
    ItemState,
)
from backupng.engine.restore.importing.shares import Shared, shared_of
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.rename import Plan, order
from backupng.engine.restore.select import ALL_TIME, Selection, select_account

Counts = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much of an account is to be restored."""

    items: int = 0
    size_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of the items of one account."""

    planned: int = 0
    restored: int = 0
    skipped: int = 0
    unrestored: list[tuple[ItemId, str]] = field(default_factory=list)
    errors: list[tuple[ItemId, ItemError]] = field(default_factory=list)
    outdated: list[ItemId] = field(default_factory=list)
    pending: int = 0
    deleted_there: int = 0
    too_large: int = 0
    kinds: Counter[ItemKind] = field(default_factory=Counter)
    """What was restored, by kind; mountpoints are not among them."""
    in_place: frozenset[ItemId] = frozenset()
    """Folders and mountpoints that are still there under their own ids."""
    shared: list[Shared] = field(default_factory=list)
    mountpoints: list[ItemState] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SameMailbox:
    """Knows what an earlier import brought; at home also what never went.

    Implements `known.Known`. `at_home` are the items that are still there under their own ids.
    """

    brought: ItemMap
    now: Callable[[], datetime]
    at_home: set[ItemId] = field(default_factory=set)

    def find(self, item: ItemId) -> ItemId | None:
        """Return where an item has gone, or is."""
        return item if item in self.at_home else self.brought.items.get(item)

    def is_free(self, _state: ItemState, found: ItemId) -> bool:
        """Say whether no other item is known to be that one."""
        return found not in self.at_home and not self.brought.holds(found)

    def record(self, pairs: Iterable[tuple[ItemId, ItemId]]) -> None:
        """Remember where items have gone."""
        self.brought.note(dict(pairs), self.now())


def amount_of(path: BackupPath, account: AccountId) -> Amount:
    """Count what is to be restored of an account; what cannot be read is part of it."""
    selection = select_account(path, account, ALL_TIME)
    plan = order(selection.states())
    return Amount(
        items=plan.size + len(plan.shares) + len(selection.unreadable),
        size_bytes=sum(item.size for item in plan.items),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsImport:
    """Imports the items of accounts from a source into a destination, one account at a time.

    `own` is the Backup Path of the destination, which holds the maps. `at_home` is the mail server
    itself if its own mailboxes are what the backup is of.
    """

    path: BackupPath
    own: BackupPath
    destination: Destination
    now: Callable[[], datetime]
    at_home: Source | None = None
    largest_bytes: int | None = None

    def run(
        self,
        account: AccountId,
        here: DirectoryEntry,
        accounts: Mapping[AccountId, AccountId],
        tick: Callable[[Counts], None],
    ) -> Imported:
        """Bring what is missing of an account; `tick` is told the numbers so far."""
        selection = select_account(self.path, account, ALL_TIME)
        known = SameMailbox(self.map_of(account, here), self.now)
        is_home = self.at_home is not None and here.entry_id == account
        states = self._noting(selection, known, account) if is_home else selection.states()
        plan = order(states)
        with self.destination.open(here) as writer:
            injection = Injection(
                selection=selection,
                writer=writer,
                holds=self.destination.holds,
                accounts=accounts,
                tick=lambda _done, _total: tick(injection.counts),
                known=known,
                at_home=is_home,
                largest_bytes=self.largest_bytes,
            )
            injection.run(plan)
        return _imported(selection, plan, injection, known)

    def map_of(self, account: AccountId, here: DirectoryEntry) -> ItemMap:
        """Return what is known of the items of an account."""
        return ItemMap(
            self.own.tree,
            AccountId(here.entry_id),
            server_id=self.path.form.server_id,
            source=account,
        )

    def _noting(
        self, selection: Selection, known: SameMailbox, account: AccountId
    ) -> Iterator[ItemState]:
        """Yield what is selected; note what of it is there under its own id."""
        there = self._there(account)
        for state in selection.states():
            if there.get(state.item_id) == _traits(state):
                known.at_home.add(state.item_id)
            yield state

    def _there(self, account: AccountId) -> dict[ItemId, tuple[int | str, Digest | None]]:
        mailbox = self.at_home.mailbox(account) if self.at_home else None
        if self.at_home is None or mailbox is None:
            return {}
        return {
            ItemId(row["id"]): (row.get("type", row.get("name", "")), row.get("blob_digest"))
            for row in self.at_home.traits(mailbox)
        }


def _traits(state: ItemState) -> tuple[int | str, Digest | None]:
    """Return what tells an item from another one that got its id later."""
    if state.kind is ItemKind.TAG:
        return state.name or "", None
    return TYPE_OF_KIND[state.kind], state.row.get("blob_digest", state.digest)


def _shared_ids(plan: Plan) -> set[ItemId]:
    return {each.item_id for each in (*plan.system, *plan.folders, *plan.shares)}


def _imported(
    selection: Selection, plan: Plan, injection: Injection, known: SameMailbox
) -> Imported:
    unreadable = [(item, error.cause) for item, error in selection.unreadable]
    return Imported(
        planned=plan.size + len(unreadable),
        restored=injection.restored,
        skipped=injection.skipped,
        unrestored=[*injection.unrestored, *unreadable],
        errors=[*injection.errors, *selection.unreadable],
        outdated=list(selection.outdated),
        pending=len(selection.pending),
        deleted_there=injection.deleted_there,
        too_large=injection.too_large,
        kinds=+injection.kinds,
        in_place=frozenset(known.at_home & _shared_ids(plan)),
        shared=shared_of([*plan.system, *plan.folders]),
        mountpoints=list(plan.shares),
    )
