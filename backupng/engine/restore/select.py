"""Select: which states a restore brings back. Reads the Backup Path, decides nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from backupng.engine.backuppath.pending import Frontier, Settled, settled_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, BrokenItem, DamagedBackup, ItemError, ReadError
from backupng.engine.mailserver.reckoning import Reckoning
from backupng.engine.mailserver.zimbra.attributes import created_of
from backupng.engine.model import (
    AccountId,
    EntryKind,
    EntryState,
    ItemId,
    ItemState,
    MailboxState,
    to_ms,
)
from backupng.engine.restore.dress import dressed

ALL_TIME = datetime.max.replace(tzinfo=UTC)
"""The moment after every state: what `last` selects by."""


class _State(Protocol):
    @property
    def start(self) -> datetime: ...


_Any = TypeVar("_Any", bound=_State)
_Mortal = TypeVar("_Mortal", ItemState, EntryState)


Pick = Callable[[Sequence[ItemState]], ItemState | None]
"""Chooses from an item's history, oldest first, the living state to bring back; None: none."""
Look = Callable[[Sequence[ItemState], ItemState], ItemState]
"""Says how a chosen state is brought back: in which folder, with which flags and tags."""
_TICK_EVERY: Final = 500


def _as_it_is(_history: Sequence[ItemState], state: ItemState) -> ItemState:
    return state


def _no_tick(_seen: int) -> None:
    pass


@dataclass(slots=True, kw_only=True)
class Selection:
    """States of one account that a restore brings back: of each item the one that `pick` chooses.

    Only ids stay in memory: `states` reads every history, and `state` reads one again when it is
    its turn. `look` says how a state is brought back. `unreadable` are items whose history cannot
    be read, or that the last scan before the moment could not save; `outdated` are chosen states
    that such a scan could not bring up to date. `pending` are items with states whose content a
    copy of a running backup has not got any more: the states before those are chosen. These three
    are complete once `states` is at its end. What the last scan saw and is gone is unreadable, too:
    0 stands for it, unless it is one item whose id is known.
    """

    path: BackupPath
    account: AccountId
    pick: Pick
    look: Look = _as_it_is
    items: Sequence[ItemId] | None = None
    """Those to look at; None: all."""
    before: datetime | None = None
    """The moment, if the mailbox or its `items` are chosen as they were then."""
    unreadable: list[tuple[ItemId, ItemError]] = field(default_factory=list)
    outdated: list[ItemId] = field(default_factory=list)
    pending: list[ItemId] = field(default_factory=list)
    _frontier: Frontier | None = None
    _reckoning: Reckoning | None = None

    def states(self, tick: Callable[[int], None] = _no_tick) -> Iterator[ItemState]:
        """Yield the chosen states, each once; `tick` is told how many items were looked at."""
        unsaved = set(_unsaved(self.path, self.account, self.before))
        unsaved &= unsaved if self.items is None else set(self.items)
        last = self._last_scan() if self.before and self.items is None else None
        self._reckoning = None if last is None else Reckoning(last)
        for seen, item in enumerate(self._items() if self.items is None else self.items):
            if seen % _TICK_EVERY == 0:
                tick(seen)
            state = self._read(item)
            if state is not None:
                yield state
                if item in unsaved:
                    self.outdated.append(item)
                unsaved.discard(item)
        listed = {item for item, _ in self.unreadable}
        for item in sorted(unsaved - listed):
            said = f"item {item} could not be read by the last scan before that moment"
            self.unreadable.append((item, ReadError(said)))
        missing = self._reckoning and self._reckoning.missing(self._last_scan())
        if missing and 0 not in listed:
            self.unreadable.append((missing.item, DamagedBackup(str(missing))))

    def _last_scan(self) -> MailboxState | None:
        try:
            scans = self.path.mailbox_history(self.account)
        except ItemError:
            return None
        return scans[-1] if scans else None

    def _items(self) -> Iterator[ItemId]:
        try:
            yield from self.path.items(self.account)
        except ReadError as error:
            # In a folder that cannot be read lies what nobody knows: it stands for all of that.
            self.unreadable.append((ItemId(0), error))

    def state(self, item: ItemId, mod: int) -> ItemState:
        """Read again the chosen state of an item: that of this change number.

        Raises ReadError, also when it has gone from the Backup Path since, or BrokenItem.
        """
        history = self._settled(item).states
        for state in reversed(history):
            if state.mod == mod and not state.deleted:
                return self.look(history, dressed(history, state))
        raise ReadError(f"the state of item {item} has gone from the backup since it was chosen")

    def _read(self, item: ItemId) -> ItemState | None:
        try:
            settled = self._settled(item)
            state = self._chosen(settled.states)
        except ItemError as error:
            self.unreadable.append((item, error))
            self._reckon(item, Settled(()))
            return None
        self._reckon(item, settled)
        if settled.pending:
            self.pending.append(item)
        elif not settled.states:
            self.unreadable.append((item, BrokenItem(f"the history of item {item} is empty")))
        return state

    def _reckon(self, item: ItemId, settled: Settled) -> None:
        if self._reckoning is None:
            return
        if settled.pending or not settled.states:
            self._reckoning.doubt(item)
        else:
            last = settled.states[-1]
            start_ms = to_ms(last.start)
            self._reckoning.add(item, mod=last.mod, start_ms=start_ms, deleted=last.deleted)

    def _settled(self, item: ItemId) -> Settled:
        if self._frontier is None:
            self._frontier = Frontier.of(self.path, self.account)
        return settled_history(self.path, self._frontier, self.account, item)

    def _chosen(self, history: Sequence[ItemState]) -> ItemState | None:
        state = self.pick(history)
        return None if state is None else self.look(history, dressed(history, state))


def end_of_second(moment: datetime) -> datetime:
    """Return the moment before which everything of that second lies."""
    return moment.replace(microsecond=0) + timedelta(seconds=1)


def state_at(history: Sequence[_Any], before: datetime) -> _Any | None:
    """Return the last state that began before that moment, deletions included; None if none did."""
    found = None
    for state in history:
        if state.start >= before:
            break
        found = state
    return found


def living_at(history: Sequence[_Mortal], before: datetime) -> _Mortal | None:
    """Return the state just before that moment if the thing was alive then."""
    found = state_at(history, before)
    return None if found is None or found.deleted else found


def first_moment(path: BackupPath, account: AccountId, history: Sequence[EntryState]) -> datetime:
    """Return when the backup first knew the account: before that it promises nothing.

    `history` is that of its entry, not empty. Raises ReadError or BrokenItem.
    """
    scans = path.mailbox_history(account)
    return min(history[0].start, scans[0].start) if scans else history[0].start


def select_account(path: BackupPath, account: AccountId, before: datetime) -> Selection:
    """Choose every item of the account as it was just before that moment, if it was alive."""
    return Selection(
        path=path, account=account, pick=lambda history: living_at(history, before), before=before
    )


def _unsaved(path: BackupPath, account: AccountId, before: datetime | None) -> Iterator[ItemId]:
    """Yield what the last scan before a moment found and could not save: it is missing too."""
    if before is None:
        return
    try:
        scan = state_at(path.mailbox_history(account), before)
    except ItemError:
        # The scans themselves name a damaged mailbox history; every item is as good as its own.
        return
    yield from (item for item in (scan.unread if scan else ()) if item > 0)


def find_account(
    path: BackupPath, name: str, *, before: datetime = ALL_TIME
) -> tuple[AccountId, tuple[EntryState, ...]]:
    """Return the account of that address, alias or id in the backup, with its entry's history.

    A bare local part means that of the only domain. Of several accounts of one name the one that
    was alive just before the moment is meant. Raises BadRequest (no_such_account,
    ambiguous_account).
    """
    if name in path.entry_ids(EntryKind.ACCOUNT):
        history = path.entry_history(EntryKind.ACCOUNT, name)
        if history:
            return AccountId(name), history
    living: list[tuple[AccountId, tuple[EntryState, ...]]] = []
    others: list[tuple[AccountId, tuple[EntryState, ...]]] = []
    for account, history in account_histories(path):
        if _goes_by(history[-1], name):
            (living if living_at(history, before) else others).append((account, history))
    found = living or others
    if not found:
        raise BadRequest(
            f"There is no account {name} in the Backup Path {path.tree.root}.",
            code="no_such_account",
            hint=f"backupng --host {path.form.server_name} backup getAvailableAccounts lists them.",
        )
    if len(found) > 1:
        raise _ambiguous(path, name, found)
    return found[0]


def account_histories(path: BackupPath) -> Iterator[tuple[AccountId, tuple[EntryState, ...]]]:
    """Yield every account of the backup with its entry's history, as far as that can be read.

    One damaged entry does not hide the others; a scan names it, and so does a look at its id.
    """
    for entry_id in path.entry_ids(EntryKind.ACCOUNT):
        try:
            history = path.entry_history(EntryKind.ACCOUNT, entry_id)
        except ItemError:
            continue
        if history:
            yield AccountId(entry_id), history


def _ambiguous(
    path: BackupPath, name: str, found: Iterable[tuple[AccountId, Sequence[EntryState]]]
) -> BadRequest:
    """Return the refusal of a name that several accounts bore, with what tells them apart."""
    said, accounts = list[str](), list[dict[str, Any]]()
    for account, history in sorted(found, key=lambda each: each[1][0].start):
        last = history[-1]
        created = created_of(last.entry) or history[0].start
        server = last.entry.first("zimbraMailHost", path.form.server_name)
        end = f"deleted {_spelled(last.start)}" if last.deleted else "not deleted"
        said.append(f"{account} (created {_spelled(created)}, {end}, on {server})")
        accounts.append(
            {
                "id": account,
                "created": to_ms(created),
                "deleted": to_ms(last.start) if last.deleted else None,
                "server": server,
            }
        )
    return BadRequest(
        f"Several accounts go by the name {name}: {'; '.join(said)}.",
        code="ambiguous_account",
        hint="Give the id instead of the name.",
        accounts=accounts,
    )


def _spelled(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%d/%m/%Y %H:%M:%S} UTC"


def _goes_by(state: EntryState, name: str) -> bool:
    wanted = name.lower()
    names = {state.entry.name.lower(), *(a.lower() for a in state.entry.values("zimbraMailAlias"))}
    return wanted in names or (
        "@" not in wanted and wanted == state.entry.name.lower().partition("@")[0]
    )
