"""Where the Backup Path and the mail server do not say the same: for a check, nothing is written.

Beside a running scanner it is waited for, as a scan does: what is newer than the snapshot is the
scanner's to write, and no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    EntryKind,
    ItemId,
    ItemState,
    Mailbox,
)
from backupng.engine.scan.beside import Beside
from backupng.engine.scan.comparison import essence, went_back
from backupng.engine.scan.directory import read_directory
from backupng.engine.scan.era import begins_anew

NEVER_SCANNED = "the account was never scanned"
BEGAN_ANEW = "the mailbox was made anew or put back since the last scan"
UNREADABLE = "the mailbox history cannot be read"
NOT_SAVED = "not in the backup"
OLDER = "older in the backup"
NOT_DELETED = "deleted on the mail server, alive in the backup"
NOT_ALIVE = "alive on the mail server, deleted in the backup"
NO_ACCOUNT = "alive in the backup, not on the mail server"
_WHOLE = ItemId(0)


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs: of which account, of which item, 0 for the account as a whole."""

    account: str
    item: ItemId
    what: str
    account_id: AccountId


@dataclass(frozen=True, slots=True)
class Comparison:
    """Last states beside the rows of the mail server, account by account."""

    source: Source
    path: BackupPath
    beside: Beside
    pause: Callable[[str], None]
    """Called with the name of the account that comes next, and while waiting; may raise Stopped."""

    def run(self, accounts: Collection[AccountId] | None = None) -> Iterator[Difference]:
        """Yield every difference; of the given accounts, or of all."""
        reading = read_directory(self.source, skip_lists=True)
        for entry in reading.accounts:
            if accounts is None or entry.entry_id in accounts:
                self.pause(entry.name)
                yield from self._account(entry)
        there = {entry.entry_id for entry in reading.accounts}
        for account in self.path.accounts():
            if account not in there and (accounts is None or account in accounts):
                yield from self._gone(account)

    def _gone(self, account: AccountId) -> Iterator[Difference]:
        """Tell of an account that lives in the backup only; one left out counts as deleted."""
        try:
            history = self.path.entry_history(EntryKind.ACCOUNT, account)
        except ItemError:
            return
        if history and not history[-1].deleted:
            yield Difference(history[-1].entry.name, _WHOLE, NO_ACCOUNT, account)

    def _account(self, entry: DirectoryEntry) -> Iterator[Difference]:
        account = AccountId(entry.entry_id)
        with self.source.snapshot():
            mailbox = self.source.mailbox(account)
            heads = dict(self.source.heads(mailbox)) if mailbox else {}
        if mailbox is None:
            return
        self.beside.wait(lambda: self.pause(entry.name))
        try:
            scans = self.path.mailbox_history(account)
        except ItemError:
            yield Difference(entry.name, _WHOLE, UNREADABLE, account)
            return
        if not scans:
            yield Difference(entry.name, _WHOLE, NEVER_SCANNED, account)
        elif begins_anew(scans[-1], mailbox):
            yield Difference(entry.name, _WHOLE, BEGAN_ANEW, account)
        else:
            based = {item: mod + scans[-1].base for item, mod in heads.items()}
            known: dict[ItemId, ItemState] = {}
            found = list(self._items(account, based, known))
            if self._went_back(mailbox, known, scans[-1].base):
                found = [(_WHOLE, BEGAN_ANEW)]
            for item, what in found:
                yield Difference(entry.name, item, what, account)

    def _went_back(self, mailbox: Mailbox, known: Mapping[ItemId, ItemState], base: int) -> bool:
        with self.source.snapshot():
            return went_back(self.source.traits(mailbox), known, base)

    def _items(
        self, account: AccountId, heads: Mapping[ItemId, int], known: dict[ItemId, ItemState]
    ) -> Iterator[tuple[ItemId, str]]:
        """Yield the items that differ; one whose history is damaged is the check's to tell.

        `known` gets what lives in the backup.
        """
        waiting = self._waiting(account)
        highest = max(heads.values(), default=0)
        missing = set(heads) - waiting
        for item in self.path.items(account):
            try:
                state = self.path.last_state(account, item)
            except ItemError:
                missing.discard(item)
                continue
            if state is None:
                continue
            missing.discard(item)
            if not state.deleted:
                known[item] = essence(state)
            what = _difference(state, heads.get(item), highest)
            if what and item not in waiting:
                yield item, what
        for item in sorted(missing):
            yield item, NOT_SAVED

    def _waiting(self, account: AccountId) -> set[ItemId]:
        """Return the items that the scanner has still something to say of."""
        pending: Mapping[str, Any] = self.path.scanner().get("pending", {}).get(account, {})
        ahead, doomed = pending.get("ahead", ()), pending.get("doomed", ())
        return {ItemId(int(item)) for item in (*ahead, *doomed)}


def _difference(state: ItemState, head: int | None, highest: int) -> str:
    """Say how the last state and the number of the row differ; empty if they agree.

    A state that is newer than the snapshot is the scanner's, and no difference.
    """
    if head is None:
        return NOT_DELETED if not state.deleted and state.mod <= highest else ""
    if state.deleted:
        return NOT_ALIVE if state.mod <= highest else ""
    return OLDER if state.mod < head else ""
