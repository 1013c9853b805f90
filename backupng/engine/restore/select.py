"""Select: which states a restore brings back. Reads the Backup Path, decides nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from backupng.engine.backuppath.pending import Frontier, settled_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest, BrokenItem, ItemError, ReadError
from backupng.engine.model import AccountId, EntryKind, EntryState, ItemId, ItemState
from backupng.engine.restore.dress import dressed

ALL_TIME = datetime.max.replace(tzinfo=UTC)
"""The moment after every state: what `last` selects by."""


class _State(Protocol):
    @property
    def start(self) -> datetime: ...


_Any = TypeVar("_Any", bound=_State)
_Mortal = TypeVar("_Mortal", ItemState, EntryState)


@dataclass(slots=True)
class Selection:
    """The states of one account at one moment, and the items that are missing from them.

    `unreadable` are items whose history cannot be read, or that the last scan before the moment
    could not save; `outdated` are selected states that such a scan could not bring up to date.
    `pending` are items with states whose content a copy of a running backup has not got any more:
    the states before those are selected.
    """

    states: list[ItemState] = field(default_factory=list)
    unreadable: list[tuple[ItemId, ItemError]] = field(default_factory=list)
    outdated: list[ItemId] = field(default_factory=list)
    pending: list[ItemId] = field(default_factory=list)


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
    """Return every item of the account that was alive just before that moment."""
    selection = Selection()
    frontier = Frontier.of(path, account)
    for item in path.items(account):
        try:
            settled = settled_history(path, frontier, account, item)
            state = living_at(settled.states, before)
            state = None if state is None else dressed(settled.states, state)
        except ItemError as error:
            selection.unreadable.append((item, error))
            continue
        if settled.pending:
            selection.pending.append(item)
        if state is not None:
            selection.states.append(state)
        elif not (settled.states or settled.pending):
            selection.unreadable.append((item, BrokenItem(f"the history of item {item} is empty")))
    _add_unsaved(path, account, before, selection)
    return selection


def _add_unsaved(
    path: BackupPath, account: AccountId, before: datetime, selection: Selection
) -> None:
    """Add what the last scan before that moment found and could not save: it is missing too."""
    try:
        scan = state_at(path.mailbox_history(account), before)
    except ItemError:
        # The scans themselves name a damaged mailbox history; every item is as good as its own.
        return
    found = {state.item_id for state in selection.states}
    listed = {item for item, _ in selection.unreadable}
    for item in scan.unread if scan else ():
        if item in found:
            selection.outdated.append(item)
        elif item not in listed and item > 0:
            error = ReadError(f"item {item} could not be read by the last scan before that moment")
            selection.unreadable.append((item, error))


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
        ids = ", ".join(account for account, _ in found)
        raise BadRequest(
            f"Several accounts go by the name {name}: {ids}.",
            code="ambiguous_account",
            hint="Give the id instead of the name.",
        )
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


def _goes_by(state: EntryState, name: str) -> bool:
    wanted = name.lower()
    names = {state.entry.name.lower(), *(a.lower() for a in state.entry.values("zimbraMailAlias"))}
    return wanted in names or (
        "@" not in wanted and wanted == state.entry.name.lower().partition("@")[0]
    )
