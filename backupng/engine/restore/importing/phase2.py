"""Phase 2 of an import: the items of one account, through the pipeline that every restore takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import ItemMap
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError, ServerFault
from backupng.engine.mailserver.port import Destination, MailboxWriter, Source
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    ItemId,
    ItemKind,
    ItemState,
    Mailbox,
)
from backupng.engine.restore.compare import is_itself
from backupng.engine.restore.importing.left import Only, planned
from backupng.engine.restore.importing.setback import SetBack
from backupng.engine.restore.importing.shares import Shared, shared_of
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.known import is_set_back
from backupng.engine.restore.rename import ROOTS, Plan
from backupng.engine.restore.select import ALL_TIME, Selection, select_account

Counts = dict[str, int]
_AT_ONCE: Final = 500
_IDS_PER_CHECKPOINT: Final = 20
"""A real server saves the last id it has given out once in so many, and with whatever changes the
size of the mailbox or the number of contacts (`zimbra-store.md` §7.3).
"""


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
    deleted_since: int = 0
    too_large: int = 0
    long_lines: int = 0
    kinds: Counter[ItemKind] = field(default_factory=Counter)
    """What was restored, by kind; mountpoints are not among them."""
    in_place: frozenset[ItemId] = frozenset()
    """Folders and mountpoints that are still there under their own ids."""
    shared: list[Shared] = field(default_factory=list)
    mountpoints: list[ItemState] = field(default_factory=list)
    folders: Mapping[ItemId, ItemId] = field(default_factory=dict)
    """Of a dry run: where folders and mountpoints would be, or are."""
    set_back: SetBack | None = None
    """What a roll-back of the mailbox itself has hidden from this import."""
    begun_anew: bool = False
    """The mailbox here was taken for set back: what it lacked of what had come, came again."""


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


def amount_of(path: BackupPath, account: AccountId, only: Only = None) -> Amount:
    """Count what is to be restored of an account; what cannot be read is part of it."""
    selection = select_account(path, account, ALL_TIME)
    plan = planned(selection, selection.states(), only)
    return Amount(
        items=plan.size + len(plan.shares) + len(selection.unreadable),
        size_bytes=sum(item.size for item in plan.items),
    )


def ids_of(path: BackupPath, account: AccountId, only: Only = None) -> list[ItemId]:
    """Return the ids of what is to be restored of an account, those that cannot be read included.

    Where nobody knows what there is, 0 stands for all of it.
    """
    selection = select_account(path, account, ALL_TIME)
    try:
        plan = planned(selection, selection.states(), only)
    except ItemError:
        return [ItemId(0)]
    states = (*plan.tags, *plan.folders, *plan.shares)
    ids = [*(each.item_id for each in states), *(each.item_id for each in plan.items)]
    return sorted([*ids, *(item for item, _ in selection.unreadable)])


def _some(states: Iterator[ItemState]) -> Iterator[list[ItemState]]:
    while some := list(islice(states, _AT_ONCE)):
        yield some


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsImport:
    """Imports the items of accounts from a source into a destination, one account at a time.

    `own` is the Backup Path of the destination, which holds the maps; `source` is the destination
    as it is read. `at_home` says that its own mailboxes are what the backup is of. In a `dry` run
    the destination only remembers, and nothing is noted. With `left` only that is brought.
    """

    path: BackupPath
    own: Tree
    destination: Destination
    source: Source
    now: Callable[[], datetime]
    at_home: bool = False
    dry: bool = False
    largest_bytes: int | None = None
    left: Mapping[AccountId, Only] = field(default_factory=dict)

    def run(
        self,
        account: AccountId,
        here: DirectoryEntry,
        accounts: Mapping[AccountId, AccountId],
        tick: Callable[[Counts], None],
    ) -> Imported:
        """Bring what is missing of an account; `tick` is told the numbers so far."""
        selection = select_account(self.path, account, ALL_TIME)
        is_home = self.at_home and here.entry_id == account
        set_back = SetBack.of(self.path, account) if is_home else None
        if set_back is not None:
            selection.pick = set_back.watching(selection.pick)
        with self.destination.open(here) as writer:
            mailbox = self._mailbox(here)
            if mailbox is None and not self.dry:
                raise ServerFault(f"{here.name} has no mailbox")
            known = SameMailbox(self.map_of(account, here), self.now)
            begun_anew = mailbox is not None and self._begin_anew(known.brought, account, mailbox)
            states = selection.states()
            if mailbox is not None and is_home:
                states = self._seen_at_home(mailbox, states, known.at_home)
            plan = planned(selection, states, self.left.get(account))
            injection = Injection(
                selection=selection,
                writer=writer,
                holds=self.destination.holds,
                accounts=accounts,
                tick=lambda _done, _total: tick(injection.counts),
                known=known,
                moved=_living(known, writer) if self.left else {},
                at_home=is_home,
                largest_bytes=self.largest_bytes,
            )
            injection.run(plan)
        imported = _imported(selection, plan, injection, known)
        imported.set_back, imported.begun_anew = set_back, begun_anew
        if self.dry:
            imported.folders = _found(known, _shared_ids(plan))
        return imported

    def map_of(self, account: AccountId, here: DirectoryEntry) -> ItemMap:
        """Return what is known of the items of an account.

        A mailbox is told from one that an account had before by the uuid of its root.
        """
        mailbox, named = self._mailbox(here), ""
        if mailbox is not None:
            root = dict(self.source.states(mailbox, ROOTS[:1])).get(ROOTS[0])
            row = root.row if isinstance(root, ItemState) else {}
            named = str(row.get("uuid") or mailbox.mailbox_id)
        return ItemMap(
            self.own,
            AccountId(here.entry_id),
            server_id=self.path.form.server_id,
            source=account,
            mailbox=named,
            dry=self.dry,
        )

    def _mailbox(self, here: DirectoryEntry) -> Mailbox | None:
        return self.source.mailbox(AccountId(here.entry_id))

    def _begin_anew(self, brought: ItemMap, account: AccountId, mailbox: Mailbox) -> bool:
        """Let only what is there still count of a mailbox that was set back; say if it was."""
        if not self._is_set_back(brought, account, mailbox):
            return False
        brought.begin_anew(self._kept(brought, account, mailbox), self.now())
        return True

    def _is_set_back(self, brought: ItemMap, account: AccountId, mailbox: Mailbox) -> bool:
        """Say whether the mailbox has lost what a map says it got.

        Then the map knows ids that it cannot have given out, or some that are other items now.
        """
        saved = int(mailbox.row["item_id_checkpoint"])
        highest = brought.above(saved)[-1:]
        if highest and not self.source.living(mailbox, highest):
            above = [old for old, new in brought.items.items() if new > saved]
            if highest[0] - saved >= _IDS_PER_CHECKPOINT or self._are_saved(account, above):
                return True
        return is_set_back(
            brought.items,
            history_of=partial(self._history, account),
            there=partial(self._states, mailbox),
        )

    def _are_saved(self, account: AccountId, items: Iterable[ItemId]) -> bool:
        """Say whether the id of one of these is saved at once where it is given out."""
        states = (state for item in items for state in self._history(account, item))
        return any(state.size or state.kind is ItemKind.CONTACT for state in states)

    def _history(self, account: AccountId, item: ItemId) -> Sequence[ItemState]:
        try:
            return self.path.history(account, item)
        except ItemError:
            return ()

    def _states(self, mailbox: Mailbox, items: Sequence[ItemId]) -> dict[ItemId, ItemState]:
        found = self.source.states(mailbox, items)
        return {item: state for item, state in found if isinstance(state, ItemState)}

    def _kept(self, brought: ItemMap, account: AccountId, mailbox: Mailbox) -> dict[ItemId, ItemId]:
        """Return what is still there of what was brought into a mailbox that was set back."""
        kept: dict[ItemId, ItemId] = {}
        for some in _some(select_account(self.path, account, ALL_TIME).states()):
            states = {each.item_id: each for each in some if each.item_id in brought.items}
            there = dict(self.source.states(mailbox, [brought.items[each] for each in states]))
            for item, state in states.items():
                found = there.get(brought.items[item])
                if isinstance(found, ItemState) and is_itself(state, found, at_home=False):
                    kept[item] = found.item_id
        return kept

    def _seen_at_home(
        self, mailbox: Mailbox, states: Iterator[ItemState], there: set[ItemId]
    ) -> Iterator[ItemState]:
        """Yield the states; add to `there` what is there under its own id."""
        for some in _some(states):
            there |= self._at_home(mailbox, some)
            yield from some

    def _at_home(self, mailbox: Mailbox, states: Sequence[ItemState]) -> set[ItemId]:
        there = dict(self.source.states(mailbox, [each.item_id for each in states]))
        return {
            state.item_id
            for state in states
            if isinstance(found := there.get(state.item_id), ItemState)
            and is_itself(state, found, at_home=True)
        }


def _living(known: SameMailbox, writer: MailboxWriter) -> dict[ItemId, ItemId]:
    """Return where what was brought is, as far as it is still there.

    What a retry plans lies in folders that are none of its plan.
    """
    there = dict(known.brought.items) | {item: item for item in known.at_home}
    alive = writer.living(there.values())
    return {old: new for old, new in there.items() if new in alive}


def _shared_ids(plan: Plan) -> set[ItemId]:
    return {each.item_id for each in (*plan.system, *plan.folders, *plan.shares)}


def _found(known: SameMailbox, items: Iterable[ItemId]) -> dict[ItemId, ItemId]:
    found = {item: known.find(item) for item in items}
    return {old: new for old, new in found.items() if new is not None}


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
        deleted_since=injection.deleted_since,
        too_large=len(injection.too_large),
        long_lines=injection.long_lines,
        kinds=+injection.kinds,
        in_place=frozenset(known.at_home & _shared_ids(plan)),
        shared=shared_of([*plan.system, *plan.folders]),
        mountpoints=list(plan.shares),
    )
