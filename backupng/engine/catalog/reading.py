"""One account read from the tree into a catalog: only histories whose files are not as they were.

No writer waits for it but for a last look, under the account's lock, at what was written meanwhile.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final

from backupng.engine.backuppath import histories, layout, metadata
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.telling import ItemLine
from backupng.engine.catalog import keeping
from backupng.engine.catalog.database import Database
from backupng.engine.catalog.schema import BUCKETS
from backupng.engine.errors import BrokenItem, ItemError, ReadError
from backupng.engine.model import AccountId, EntryKind, ItemId

_AT_ONCE: Final = 200

Tick = Callable[[int], None]
"""Told how many states were read since it was told last."""


def silent(_states: int) -> None:
    """Take no note of progress."""


@dataclass(slots=True)
class AccountReading:
    """Brings one account of a catalog up to the tree.

    `whole`: also what seems to be as it was. Raises sqlite3.Error, OSError, BackupPathError, and
    ReadError for a folder that cannot be listed.
    """

    database: Database
    path: BackupPath
    account: AccountId
    tick: Tick = silent
    whole: bool = False
    _is_sure: bool = True

    def run(self) -> None:
        """Read it."""
        with self.database.adding() as connection:
            number, _ = keeping.find_account(connection, self.account)
            if number is None:
                number = keeping.make_account(connection, self.account)
            keeping.set_stamp(connection, number, 0)
        if self.database.file is None:
            stamp = self.path.stamp(self.account)
            self._pass(number)
            self._finish(number, stamp)
            return
        stamp = self._stamp_at_rest()
        self._pass(number)
        with self.path.tree.locked(layout.account_folder(self.account), fcntl.LOCK_SH):
            now = self.path.stamp(self.account)
            if now != stamp:
                self.whole = False
                self._pass(number)
            self._finish(number, now)

    def _stamp_at_rest(self) -> int:
        """Return the stamp while nobody writes: all that led to it is there."""
        # A folder that cannot be opened is a read error of this account, no disk that is full.
        self.path.tree.names(layout.account_folder(self.account))
        with self.path.tree.locked(layout.account_folder(self.account), fcntl.LOCK_SH):
            return self.path.stamp(self.account)

    def _pass(self, number: int) -> None:
        self._is_sure = True
        buckets = dict.fromkeys(range(BUCKETS))
        for bucket, items in groupby(self.path.items(self.account), lambda item: item % BUCKETS):
            buckets.pop(bucket, None)
            self._read_bucket(number, bucket, list(items))
        for bucket in buckets:
            self._read_bucket(number, bucket, [])

    def _read_bucket(self, number: int, bucket: int, items: list[ItemId]) -> None:
        query = (
            "SELECT item, length, changed, problem FROM history WHERE account = ? AND bucket = ?"
        )
        rows = self.database.connection.execute(query, (number, bucket))
        known = {item: (length, changed, problem) for item, length, changed, problem in rows}
        gone = known.keys() - set(items)
        if gone:
            with self.database.adding() as connection:
                for item in gone:
                    keeping.forget_item(connection, number, item)
        found: list[keeping.ReadHistory] = []
        for read in self._changed(items, {} if self.whole else known):
            found.append(read)
            if len(found) >= _AT_ONCE:
                self._put(number, found)
        self._put(number, found)

    def _changed(
        self, items: list[ItemId], known: dict[ItemId, tuple[int, int, str | None]]
    ) -> Iterator[keeping.ReadHistory]:
        for item in items:
            mark = self.path.tree.mark(layout.item_file(self.account, item))
            if not mark or known.get(item) == (mark[-2], mark[-1], None):
                continue
            try:
                yield item, mark, self._lines(item), ""
            except ItemError as error:
                self._is_sure &= not isinstance(error, ReadError)
                yield item, mark, (), str(error)

    def _lines(self, item: ItemId) -> list[ItemLine]:
        """Read a history as restores do, with the blobs of its bulk. Raises ItemError."""
        tree, file = self.path.tree, layout.item_file(self.account, item)
        bodies = histories.intact_lines(tree, file).bodies
        try:
            states = list(histories.states_of(tree, bodies, partial(metadata.parse_state, item)))
            return [
                ItemLine(n, state, histories.bulk_of(body))
                for n, (state, body) in enumerate(zip(states, bodies, strict=True), 1)
            ]
        except BrokenItem as error:
            raise BrokenItem(f"{tree.root / file} is damaged: {error}.") from error

    def _put(self, number: int, found: list[keeping.ReadHistory]) -> None:
        if found:
            with self.database.adding() as connection:
                keeping.put_histories(connection, number, found)
            self.tick(sum(len(lines) for _, _, lines, _ in found))
            found.clear()

    def _finish(self, number: int, stamp: int) -> None:
        problem = None
        with self.database.adding() as connection:
            connection.execute("DELETE FROM entry WHERE account = ?", (number,))
            connection.execute("DELETE FROM scan WHERE account = ?", (number,))
            try:
                entries = self.path.entry_history(EntryKind.ACCOUNT, self.account)
                keeping.add_entries(connection, number, enumerate(entries, 1))
                scans = self.path.mailbox_history(self.account)
                keeping.add_scans(connection, number, enumerate(scans, 1))
            except ItemError as error:
                problem = str(error)
                self._is_sure &= not isinstance(error, ReadError)
            keeping.set_stamp(connection, number, stamp if self._is_sure else 0, problem)
