"""Export: what a Backup Path holds of one moment, copied into a tree of its own.

Of each item one state, the one it had at the moment, and its blobs as they lie; of each mailbox and
directory entry one state, with the moment as its time: an export promises nothing of any earlier
one. What cannot be read is listed, there too (`unread` of the mailbox), and not copied. It may be
ended at any point: who goes on with it finds what is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.histories import digests_of
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.backuppath.unfinished import ROLE, finish
from backupng.engine.errors import (
    BrokenItem,
    DamagedBackup,
    ItemError,
    LostBlob,
    OperationError,
    ReadError,
)
from backupng.engine.model import (
    AccountId,
    Digest,
    DirectoryEntry,
    EntryKind,
    EntryState,
    ItemId,
    ItemState,
    to_ms,
)
from backupng.engine.restore.select import living_at, select_account, state_at

COUNTING, COPYING, CHECKING = "counting", "copying", "checking what was copied"
UNKNOWN: Final = "it could not be read when the export began"
_AGAIN: Final = "See who writes there beside it, and export again into another folder."
_AT_ONCE: Final = 500
_MOST_BYTES: Final = 16 << 20
"""So many items, or bytes of blobs, are written together."""
_TICK_EVERY: Final = 100
_KINDS: Final = (
    *(EntryKind.DOMAIN, EntryKind.COS, EntryKind.LIST),
    *(EntryKind.SERVER, EntryKind.CONFIG),
)
_MOMENT: Final = timedelta(milliseconds=1)


def before_of(target: BackupPath) -> datetime:
    """Return the moment before which everything lies that an export is of."""
    return target.form.created + _MOMENT


def entries_at(path: BackupPath, kind: EntryKind, before: datetime) -> list[DirectoryEntry]:
    """Return the living entries of a kind, as far as they can be read."""
    found = []
    for entry_id in path.entry_ids(kind):
        with suppress(ItemError):
            found.append(living_at(path.entry_history(kind, entry_id), before))
    return [state.entry for state in found if state is not None]


class Tick(Protocol):
    """Takes progress; raises Stopped to end the work."""

    def __call__(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Account:
    """An account that is exported, as it was at the moment, and how many items it ever had."""

    account: AccountId
    state: EntryState
    items: int


@dataclass(slots=True, kw_only=True)
class Export:
    """One export from a Backup Path into a tree that was begun for it.

    `wants` says which entries are taken, accounts first. `fails` is told of every item that is not
    copied, by the name of its account; an item 0 stands for the account, or the entry, itself.
    """

    source: BackupPath
    target: BackupPath
    wants: Callable[[DirectoryEntry], bool]
    fails: Callable[[str, ItemId, ItemError], None]
    tick: Tick
    with_items: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    _failed: dict[AccountId, list[ItemId]] = field(default_factory=dict)
    """Of the accounts of this group, what is not copied."""
    _names: dict[AccountId, str] = field(default_factory=dict)
    _waiting: int = 0
    _bytes: int = 0
    _done: int = 0
    _seen: int = 0
    """How many items lie in the accounts that are done, and were seen of the present one."""
    _total: int = 0

    @property
    def moment(self) -> datetime:
        """The moment it is of: when its tree was begun."""
        return self.target.form.created

    @property
    def _before(self) -> datetime:
        return before_of(self.target)

    def run(self, *, now: Callable[[], datetime]) -> None:
        """Copy what is not there yet, look at what is, and let the tree be a backup.

        Raises Stopped, OperationError, or BackupPathUnwritable: then it stays incomplete.
        """
        with self.target.writer(ROLE) as writer:
            accounts = list(self._chosen())
            self._total = sum(each.items for each in accounts)
            for each in accounts:
                self._export(writer, each)
            self._commit(writer)
            for kind in _KINDS:
                self._export_entries(writer, kind)
            self._check()
            ended = to_ms(now())
            # It begins after all that was written: what is missing here is missing, not pending.
            scan = {"id": ended, "started": ended, "ended": ended}
            writer.set_checkpoint({"smartscan": scan})
            self.target.form = finish(self.target.tree, self.target.form)

    # Accounts

    def _chosen(self) -> Iterator[_Account]:
        accounts = self.source.accounts()
        for number, account in enumerate(accounts):
            self.tick(number, len(accounts), phase=COUNTING)
            try:
                history = self.source.entry_history(EntryKind.ACCOUNT, account)
            except ItemError as error:
                self.fails(account, ItemId(0), error)
                continue
            state = living_at(history, self._before)
            if state is not None and self.wants(state.entry):
                items = self._count(account) if self.with_items else 0
                yield _Account(account, state, items)

    def _count(self, account: AccountId) -> int:
        count = 0
        # What cannot be listed is told of when the rest is copied.
        with suppress(ItemError):
            for _ in self.source.items(account):
                count += 1
        return count

    def _export(self, writer: Writer, chosen: _Account) -> None:
        account, name = chosen.account, chosen.state.entry.name
        self._names[account] = name
        if self._is_there(account):
            self._pass_over(account, name)
        else:
            if self.with_items:
                self._export_mailbox(writer, account)
            if not self.target.entry_history(EntryKind.ACCOUNT, account):
                writer.add_entry(replace(chosen.state, start=self.moment))
            self._waiting += 1
        self.counts["accounts"] += 1
        self._done, self._seen = self._done + chosen.items, 0
        self._pause()

    def _is_there(self, account: AccountId) -> bool:
        """Say whether an earlier run has come to the end of an account."""
        entry = self.target.entry_history(EntryKind.ACCOUNT, account)
        if not entry or not self.with_items:
            return bool(entry)
        # The mailbox is the last that is written of an account.
        return bool(self.target.mailbox_history(account)) or not self._has_mailbox(account)

    def _has_mailbox(self, account: AccountId) -> bool:
        try:
            return bool(self.source.mailbox_history(account))
        except ItemError:
            return True

    def _pass_over(self, account: AccountId, name: str) -> None:
        """Count and list what an earlier run has done."""
        for mailbox in self.target.mailbox_history(account):
            for item in mailbox.unread:
                self.fails(name, item, ReadError(UNKNOWN))
        self.counts["skipped"] += sum(1 for _ in self.target.items(account))

    def _export_mailbox(self, writer: Writer, account: AccountId) -> None:
        selection = select_account(self.source, account, self._before)
        for number, state in enumerate(selection.states(self._see)):
            if number % _TICK_EVERY == 0:
                self._see(number)
            self._export_item(writer, account, state)
        for item, why in selection.unreadable:
            self._fail(account, item, why)
        try:
            mailbox = state_at(self.source.mailbox_history(account), self._before)
        except ItemError as error:
            self._fail(account, ItemId(0), error)
            self._failed.pop(account, None)
            return
        if mailbox is not None:
            unread = tuple(sorted(item for item in self._failed.pop(account, []) if item))
            # Without a mark a scan that goes on here compares the account as a whole.
            writer.add_mailbox(replace(mailbox, start=self.moment, mark="", unread=unread))

    def _see(self, number: int) -> None:
        self._seen = max(self._seen, number)
        self._pause()

    def _pause(self) -> None:
        self.tick(self._done + self._seen, self._total, phase=COPYING, counts=self.counts)

    # Items

    def _export_item(self, writer: Writer, account: AccountId, state: ItemState) -> None:
        try:
            if writer.last_state(account, state.item_id) is not None:
                self.counts["skipped"] += 1
                return
            for digest in sorted(digests_of(state)):
                self._copy_blob(writer, digest, state.size if digest == state.digest else None)
        except ItemError as error:
            self._fail(account, state.item_id, error)
            return
        writer.add_states(account, [replace(state, source=f"scan:{to_ms(self.moment)}")])
        self.counts["items"] += 1
        self._waiting += 1
        if self._waiting >= _AT_ONCE or self._bytes >= _MOST_BYTES:
            self._commit(writer)

    def _copy_blob(self, writer: Writer, digest: Digest, size: int | None) -> None:
        if writer.has_blob(digest):
            return
        file = self.source.tree.open(layout.blob_file(digest))
        if file is None:
            raise LostBlob(f"the blob {digest} is missing from {self.source.tree.root}")
        try:
            plain, packed = writer.add_copy(digest, file, size, self._pause)
        except BrokenItem as error:
            raise DamagedBackup(str(error)) from error
        self.counts["blobs_new"] += 1
        self.counts["bytes_read"] += plain
        self.counts["bytes_written"] += packed
        self._bytes += packed

    def _fail(self, account: AccountId, item: ItemId, error: ItemError) -> None:
        self._failed.setdefault(account, []).append(item)
        self.fails(self._names.get(account, account), item, error)

    def _commit(self, writer: Writer) -> None:
        writer.commit()
        self._waiting = self._bytes = 0
        for account, item, error in writer.refused:
            self.counts["items"] -= bool(item)
            self.fails(self._names.get(account, account), item, error)
        writer.refused.clear()

    # The rest of the directory

    def _export_entries(self, writer: Writer, kind: EntryKind) -> None:
        for entry_id in self.source.entry_ids(kind):
            try:
                found = living_at(self.source.entry_history(kind, entry_id), self._before)
            except ItemError as error:
                self.fails(entry_id, ItemId(0), error)
                continue
            if found is None or not self.wants(found.entry):
                continue
            self.counts[kind] += 1
            if not self.target.entry_history(kind, entry_id):
                writer.add_entry(replace(found, start=self.moment))
                self._waiting += 1
            if self._waiting >= _AT_ONCE:
                self._commit(writer)
        self._commit(writer)

    # The end

    def _check(self) -> None:
        """Look whether all that was copied is there. Raises OperationError."""
        items, copied = 0, self.counts["items"] + self.counts["skipped"]
        for account in self.target.accounts():
            for item in self.target.items(account):
                if items % _TICK_EVERY == 0:
                    self.tick(items, copied, phase=CHECKING, counts=self.counts)
                items += 1
                self._require_whole(account, item)
        self.counts["items_verified"] = items
        if items != copied:
            raise OperationError(
                f"{self.target.tree.root} holds {items} items, and {copied} were copied.",
                hint=_AGAIN,
            )

    def _require_whole(self, account: AccountId, item: ItemId) -> None:
        try:
            found = self.target.last_state(account, item)
            lost = found is None or any(
                not self.target.tree.mark(layout.blob_file(each)) for each in digests_of(found)
            )
        except ItemError as error:
            raise OperationError(f"What was copied is not whole: {error}.") from error
        if lost:
            where = self.target.tree.root / layout.item_file(account, item)
            raise OperationError(
                f"What was copied is not whole: {where}, or a blob of it, is gone.",
                hint=_AGAIN,
            )
