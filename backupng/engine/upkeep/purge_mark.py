"""Mark: all metadata of a tree, read once, to find what has expired and which blobs are named."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.ground import Folder, Found, Ground
from backupng.engine.backuppath.pending import Frontier, lost_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.values import LONGEST_FILE
from backupng.engine.errors import BrokenItem, ItemError, ReadError
from backupng.engine.mailserver.reckoning import Reckoning
from backupng.engine.model import AccountId, ItemId, MailboxState
from backupng.engine.upkeep.purge_findings import AccountMark, Deletion, Marked, References
from backupng.engine.upkeep.purge_reading import (
    History,
    Told,
    deleted_since,
    end_of,
    history_of,
    named,
    reckon,
    told,
)

_BETWEEN_TICKS: Final = 100
"""Histories that are read before somebody is told, and asked whether to stop."""
_NS_A_MS: Final = 1_000_000
_Any = TypeVar("_Any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What has expired: what was deleted before these moments, in ms; None: nothing ever is.

    What was written to since `settled_before_ns` is left alone, whatever it says. A deletion may be
    written down `slack_ns` after it happened, or at any time if that is None: one that was written
    down later counts from then on, for the clock of one of both was wrong.
    """

    items_before_ms: int | None
    accounts_before_ms: int | None
    settled_before_ns: int
    slack_ns: int | None = 0


class Marking:
    """One reading of all metadata."""

    def __init__(
        self,
        path: BackupPath,
        ground: Ground,
        limits: Limits,
        *,
        tick: Callable[[int, int], None],
    ) -> None:
        self._path, self._ground, self._limits, self._tick = path, ground, limits, tick
        self.marked = Marked()
        self._reckoning: Reckoning | None = None
        """Of the account that is read; None if no scan of it is known."""

    def run(self) -> Marked:
        """Read. Raises what `tick` raises."""
        accounts = self._path.accounts()
        for number, account in enumerate(accounts):
            self._mark(account, partial(self._tick, number, len(accounts)))
        for path in layout.ENTRY_FOLDERS.values():
            with self._blaming(), self._ground.folder(path) as folder:
                for name in folder.names():
                    if layout.id_of(name) is not None:
                        self._refer(self.marked.living, folder, name, f"ng1/{path}/{name}")
        return self.marked

    def spare(self, account: AccountId, item: ItemId) -> None:
        """Count all that an item names now: it does not go after all."""
        path = layout.item_file(account, item)
        with self._blaming(), self._ground.folder(path.parent) as folder:
            self._refer(self.marked.living, folder, path.name, f"ng1/{account}/{item}")

    def spare_account(self, account: AccountId) -> None:
        """Count all that an account names now, as a whole."""
        nothing = Limits(items_before_ms=None, accounts_before_ms=None, settled_before_ns=0)
        again = Marking(self._path, self._ground, nothing, tick=self._tick)
        again.marked.living = self.marked.living
        again._mark(account, partial(self._tick, 0, 0))
        for sentence in again.marked.damage:
            self.marked.blame(BrokenItem(sentence))

    def _mark(self, account: AccountId, tick: Callable[[], None]) -> None:
        mark, last = AccountMark(account), self._last_scan(account)
        self.marked.accounts.append(mark)
        flaws, self._reckoning = self.marked.flaws, None if last is None else Reckoning(last)
        with self._blaming():
            self._account(mark, tick)
            if self.marked.flaws == flaws and mark.deletion is None:
                self._look_for_missing(account)
        if self.marked.flaws > flaws and mark.deletion:
            # Somebody has to look at it first.
            self.marked.accounts[-1] = AccountMark(account, examined=mark.examined)

    def _account(self, mark: AccountMark, tick: Callable[[], None]) -> None:
        path = layout.account_folder(mark.account)
        with self._ground.folder(path) as folder:
            # Before anything is read: whoever writes from now on changes it.
            stamp = folder.stamp()
            entry = self._read(folder, "account", f"ng1/{path}/account")
            if entry is not None:
                mark.deletion = self._due(folder, entry, stamp)
                self._note(mark, folder, "account", entry)
            mailbox = self._read(folder, "mailbox", f"ng1/{path}/mailbox")
            if mailbox is not None:
                self._note(mark, folder, "mailbox", mailbox)
            if entry is None or mailbox is None:
                self._look_for_lost(mark.account)
            with folder.inner("items") as items:
                ticked = -_BETWEEN_TICKS
                for bucket in filter(layout.is_item_bucket, items.names()):
                    if mark.examined - ticked >= _BETWEEN_TICKS:
                        ticked = mark.examined
                        tick()
                    try:
                        with items.inner(bucket) as found:
                            self._items(mark, found, bucket)
                    except ItemError as error:
                        self.marked.blame(error)

    def _items(self, mark: AccountMark, folder: Folder, bucket: str) -> None:
        seed = f"ng1/{mark.account}/"
        sum_of_seed = zlib.crc32(seed.encode())
        for name in folder.names():
            item = layout.item_of(bucket, name)
            if item is None:
                continue
            mark.examined += 1
            found = self._load(folder, name)
            if found is None:
                continue
            said = told(found.data, zlib.crc32(name.encode(), sum_of_seed))
            if said is not None and mark.deletion is None:
                self._take(mark, item, found, said)
            elif (history := self._history(folder, name, found, seed + name)) is not None:
                self._take_with_care(mark, folder, item, history)

    def _take(self, mark: AccountMark, item: ItemId, found: Found, said: Told) -> None:
        deleted_ms = said.deleted_ms
        if self._reckoning is not None:
            self._reckoning.add(
                item, mod=said.mod, start_ms=said.start_ms, deleted=deleted_ms is not None
            )
        if deleted_ms is None or not self._is_due(found, deleted_ms, said.mod, said.start_ms):
            self.marked.living.add(said.names)
        else:
            mark.expire(item, found.mark)
            self.marked.dying.add(said.names)

    def _take_with_care(
        self, mark: AccountMark, folder: Folder, item: ItemId, history: History
    ) -> None:
        if self._reckoning is not None:
            reckon(self._reckoning, item, history)
        name = str(item)
        if mark.deletion is None and self._has_expired(folder, name, history):
            mark.expire(item, history.found.mark)
            self._add(self.marked.dying, folder, name, history)
        else:
            self._note(mark, folder, name, history)

    def _note(self, mark: AccountMark, folder: Folder, name: str, history: History) -> None:
        if mark.deletion is None:
            self._add(self.marked.living, folder, name, history)
        else:
            mark.count(history.found.mark)
            self._add(self.marked.dying, folder, name, history)

    def _refer(self, references: References, folder: Folder, name: str, seed: str) -> None:
        history = self._read(folder, name, seed)
        if history is not None:
            self._add(references, folder, name, history)

    def _add(self, references: References, folder: Folder, name: str, history: History) -> None:
        references.add(self._tried(folder, name, partial(named, self._path.tree, history)) or ())

    def _read(self, folder: Folder, name: str, seed: str) -> History | None:
        """Read a history; None if it is not there, or has a flaw: that is damage."""
        found = self._load(folder, name)
        return None if found is None else self._history(folder, name, found, seed)

    def _load(self, folder: Folder, name: str) -> Found | None:
        try:
            return folder.load(name, limit=LONGEST_FILE)
        except ItemError as error:
            self._blame(folder, name, error)
        return None

    def _history(self, folder: Folder, name: str, found: Found, seed: str) -> History | None:
        """Return the history that was read; None if it has a flaw: that is damage."""
        history = self._tried(folder, name, partial(history_of, folder, name, found, seed))
        why = "" if history is None else history.lines.damage or self._lost_end(folder, history)
        if not why:
            return history
        self._blame(folder, name, BrokenItem(why))
        return None

    def _lost_end(self, folder: Folder, history: History) -> str:
        """Say what is wrong with a history whose last state is gone: what it named, nobody knows.

        Empty for one that is whole, and for the tail of a writer that was killed.
        """
        if history.bodies and not history.lines.torn:
            return ""
        parts = folder.path.parts
        is_account = parts[0] == layout.ACCOUNTS.name
        account = AccountId(layout.id_of(parts[1]) or "") if is_account else None
        frontier = Frontier.of(self._path, account)
        return frontier.lost_end(history.lines, history.found.written_ns)

    def _look_for_lost(self, account: AccountId) -> None:
        """Note what an account that was scanned has lost as a whole."""
        lost = lost_history(self._path, account)
        if lost is None:
            return
        where, why = self._ground.root / lost[0], lost[1]
        if lost[0] != layout.account_folder(account):
            self.marked.blame(BrokenItem(f"{where} is damaged: {why}."))
        else:
            # Its items name all that they need: nothing is in danger.
            self.marked.remark(f"{where} is left as it is: {why}.")

    def _last_scan(self, account: AccountId) -> MailboxState | None:
        try:
            scans = self._path.mailbox_history(account)
        except ItemError:
            # It is blamed where it is read itself.
            return None
        return scans[-1] if scans else None

    def _look_for_missing(self, account: AccountId) -> None:
        """Note what the account's last scan saw and is gone: what it named, nobody knows."""
        if self._reckoning is None:
            return
        missing = self._reckoning.missing(self._last_scan(account))
        if missing is not None:
            where = self._ground.root / layout.items_folder(account)
            self.marked.blame(BrokenItem(f"{where} is not complete: {missing}."))

    def _has_expired(self, folder: Folder, name: str, history: History) -> bool:
        before_ms = self._limits.items_before_ms
        if before_ms is None or history.lines.torn:
            return False
        found = self._deleted(folder, name, history, before_ms)
        return found is not None and self._is_due(history.found, found[0], *end_of(history)[:2])

    def _is_due(self, found: Found, deleted_ms: int, mod: int, start_ms: int) -> bool:
        """Say whether a deletion is one of an item whose whole history is to go."""
        before_ms = self._limits.items_before_ms
        if before_ms is None or deleted_ms >= before_ms or not self._is_settled(found):
            return False
        if self._reckoning is not None and self._reckoning.is_unseen(mod=mod, start_ms=start_ms):
            return False
        is_late = self._is_late(found, deleted_ms, before_ms)
        self.marked.late += is_late
        return not is_late

    def _due(self, folder: Folder, entry: History, stamp: int) -> Deletion | None:
        """Return the deletion of an account that is to go.

        One that was written down much later than it says is not: its clock, or ours, was wrong.
        """
        before_ms = self._limits.accounts_before_ms
        is_settled = self._is_settled(entry.found) and stamp < self._limits.settled_before_ns
        if before_ms is None or entry.lines.torn or not is_settled:
            return None
        found = self._deleted(folder, "account", entry, before_ms)
        if found is None:
            return None
        since_ms, body = found
        name, reason = (str(body.get(key, "")) for key in ("name", "reason"))
        if self._is_late(entry.found, since_ms, before_ms):
            self.marked.doubtful.append(name)
            return None
        return Deletion(name=name, reason=reason, since_ms=since_ms, stamp=stamp)

    def _is_late(self, found: Found, since_ms: int, before_ms: int) -> bool:
        """Say whether a deletion was written down within the retention, too late to be believed."""
        written_ns, slack_ns = found.written_ns, self._limits.slack_ns
        if slack_ns is None or written_ns < before_ms * _NS_A_MS:
            return False
        return written_ns - since_ms * _NS_A_MS > slack_ns

    def _deleted(
        self, folder: Folder, name: str, history: History, before_ms: int
    ) -> tuple[int, Any] | None:
        look = partial(deleted_since, history.bodies, before_ms=before_ms)
        return self._tried(folder, name, look)

    def _is_settled(self, found: Found) -> bool:
        """Say whether nobody has just written there."""
        return found.written_ns < self._limits.settled_before_ns

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except ItemError as error:
            self.marked.blame(error)

    def _tried(self, folder: Folder, name: str, look: Callable[[], _Any]) -> _Any | None:
        """Look at one file; None if it is damaged, which is noted."""
        try:
            return look()
        except ItemError as error:
            self._blame(folder, name, error)
        return None

    def _blame(self, folder: Folder, name: str, error: ItemError) -> None:
        """Note damage of one file, and name it."""
        if not isinstance(error, ReadError):
            where = self._ground.root / folder.path / name
            error = BrokenItem(f"{where} is damaged: {error}.")
        self.marked.blame(error)
