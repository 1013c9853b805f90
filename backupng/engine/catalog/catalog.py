r"""class Catalog: what a Backup Path holds, asked without reading all of it.

The catalog is an index, and never decides: the tree wins every dispute. It knows of each account up
to which stamp of the account's folder all is in it (`backuppath.telling`). Before each answer the
stamps of the accounts that are asked for are compared, one `stat` each. An account that is behind
is read from the tree there and then, but only the histories whose files are not as they were. So it
does not matter why it is behind:

- a writer was killed between its append and its report, or its report failed: the stamp was given
  before the first line was appended;
- the file was deleted, damaged, made by another version or for another tree: it is made anew;
- the file is an older one, or the tree is: the stamps differ;
- two writers reported in another order than they wrote: the later report is not taken in;
- the power was cut: see `database`.

A group that is written in this moment is waited for, very shortly: its report comes. What people
change in histories by hand keeps the stamp: after a check an account counts as behind (`doubt`).

Where there is no file, or it cannot be written, a temporary catalog answers, of the accounts that
are asked for. So one code answers all, and a foreign copy of a tree needs no catalog.

Writers report each group after its last sync and before its checkpoint (`take`): one transaction,
which no backup waits or fails for.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.telling import Batch
from backupng.engine.catalog import answers, keeping
from backupng.engine.catalog.answers import EntryLine, Line, Totals, Wish
from backupng.engine.catalog.database import Database, is_damage
from backupng.engine.catalog.reading import AccountReading, Tick, silent
from backupng.engine.catalog.schema import FOREVER
from backupng.engine.errors import BackupPathUnwritable, ItemError
from backupng.engine.model import AccountId, Digest, EntryKind, ItemId, ItemKind, to_ms

_PAGE: Final = 1_000
_TRIES: Final = 2
_LOOKS: Final = 6
_PAUSE_S: Final = 0.01
_JUST_NOW_NS: Final = 1_000_000_000
_FAILED: Final = (sqlite3.Error, OSError, BackupPathUnwritable)
Answer = TypeVar("Answer")
Ask = Callable[[sqlite3.Connection, int], Answer]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of a search ended; the next one begins behind it."""

    account: AccountId
    item: ItemId


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a search: accounts and states by account and item; None in `after`: it is all."""

    found: list[tuple[AccountId, Line]]
    after: Place | None


class Catalog:
    """The catalog of one tree, in that file; without one it is a temporary one.

    Moments are aware; None is now. `before` is a moment that is not included itself. Errors are
    those of the tree: NotABackupPath, ReadError and BadRequest (path_not_readable).
    """

    def __init__(self, path: BackupPath, file: Path | None = None) -> None:
        self._path = path
        self._file = file
        self._database: Database | None = None

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; once more is harmless."""
        if self._database is not None:
            self._database.close()
            self._database = None

    # Adding

    def take(self, batches: Sequence[Batch]) -> None:
        """Take in what a writer appended; what fails leaves the accounts behind, and noticeably."""
        try:
            database = self._open(self._file)
            database.mark_adding()
            with database.adding() as connection:
                keeping.add_batches(connection, batches)
        except (*_FAILED, ValueError, OverflowError) as error:
            self._let_go(error)

    def catch_up(self, tick: Callable[[int, int], None]) -> None:
        """Read all accounts that are behind; `tick` is told accounts done and in all.

        A temporary catalog is left as it is: it reads what is asked for.
        """
        if self._file is None:
            return
        accounts = self._path.accounts()
        for done, account in enumerate(accounts):
            tick(done, len(accounts))
            with suppress(ItemError):  # of this account alone; the next question tells it
                self.ask(account, lambda _connection, _number: None)

    def renew(self, accounts: Iterable[AccountId], tick: Tick = silent) -> None:
        """Read these accounts anew, whatever is known. Raises sqlite3.Error, OSError, ReadError."""
        database = self._open(self._file)
        for account in accounts:
            AccountReading(database, self._path, account, tick, whole=True).run()

    def renew_all(self, tick: Callable[[int, int, int], None]) -> None:
        """Make the catalog anew beside this one, and put it in its place when it is finished.

        `tick` is told accounts done and in all, and the states read so far. What is written
        meanwhile, or could not be, is read by whoever asks first. Raises sqlite3.Error, OSError.
        """
        if self._file is None:
            return
        new = self._file.with_name(f".{self._file.name}.new")
        for suffix in ("", "-wal", "-shm"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)
        database = Database(new, self._path.form.tree_id)
        states = 0

        def count(more: int) -> None:
            nonlocal states
            states += more
            tick(done, len(accounts), states)

        try:
            accounts = self._path.accounts()
            for done, account in enumerate(accounts):  # noqa: B007  # `count` tells it
                count(0)
                with suppress(ItemError):
                    AccountReading(database, self._path, account, count).run()
        finally:
            database.close()
        self._open(self._file).replace_by(new)
        self._database = None

    # Answers

    def living(
        self,
        account: AccountId,
        *,
        before: datetime | None = None,
        folder: ItemId | None = None,
        kinds: Sequence[ItemKind] = (),
        tag: str | None = None,
    ) -> Iterator[Line]:
        """Yield the states of living items, ascending by item."""
        wish = Wish(before=_ms(before), folder=folder, kinds=tuple(kinds), tag=tag)
        after = 0
        while page := self._living(account, wish, after=after, limit=_PAGE):
            yield from page
            after = page[-1].item

    def states(
        self,
        account: AccountId,
        *,
        folder: ItemId | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[Line]:
        """Yield all states that began in [start, end), by item and number; `answers.states_in`."""
        span = (-FOREVER if start is None else to_ms(start), _ms(end))
        after = (0, 0)

        def ask(connection: sqlite3.Connection, number: int) -> list[Line]:
            return answers.states_in(
                connection, number, folder=folder, span=span, after=after, limit=_PAGE
            )

        while page := self.ask(account, ask) or ():
            yield from page
            after = (page[-1].item, page[-1].number)

    def history(self, account: AccountId, item: ItemId) -> list[Line]:
        """Return all states of an item, oldest first."""
        return self.ask(account, lambda each, number: answers.history(each, number, item)) or []

    def folders(self, account: AccountId, *, before: datetime | None = None) -> list[Line]:
        """Return the states of the folders, search folders and mountpoints there were."""
        moment = _ms(before)
        return self.ask(account, lambda each, number: answers.folders(each, number, moment)) or []

    def search(
        self,
        text: str,
        *,
        accounts: Iterable[AccountId] | None = None,
        before: datetime | None = None,
        after: Place | None = None,
        limit: int = 50,
    ) -> Page:
        """Return living items in whose name, subject, sender or recipients a text stands."""
        wish, found = Wish(before=_ms(before), text=text), list[tuple[AccountId, Line]]()
        for account in sorted(self._path.accounts() if accounts is None else accounts):
            if after is not None and account < after.account:
                continue
            first = after.item if after is not None and account == after.account else 0
            rest = limit + 1 - len(found)
            lines = self._living(account, wish, after=first, limit=rest)
            found += ((account, line) for line in lines)
            if len(found) > limit:
                last = found[limit - 1]
                return Page(found[:limit], Place(last[0], last[1].item))
        return Page(found, None)

    def entries(self, account: AccountId) -> list[EntryLine]:
        """Return the states of an account's entry, oldest first; empty if it cannot be read.

        Of an account that is behind only the entry's own history is read.
        """
        found = self.ask_as_it_is(account, answers.entries)
        if found is None:
            with suppress(ItemError):
                found = answers.entries_in(self._path.entry_history(EntryKind.ACCOUNT, account))
        return found or []

    def scans(self, account: AccountId) -> list[tuple[datetime, int]]:
        """Return when scans found a mailbox changed, and how many items they could not save.

        Empty if that cannot be read; of an account that is behind only that is read.
        """
        found = self.ask_as_it_is(account, answers.scans)
        if found is None:
            with suppress(ItemError):
                history = self._path.mailbox_history(account)
                found = [(scan.start, len(scan.unread)) for scan in history]
        return found or []

    def totals(self, account: AccountId) -> Totals:
        """Return the numbers of an account."""
        return self.ask(account, answers.totals) or Totals()

    def unreadable(self, account: AccountId) -> list[tuple[ItemId, str]]:
        """Return the items whose histories cannot be read, and why; ascending."""
        return self.ask(account, answers.unreadable) or []

    def problem(self, account: AccountId) -> str:
        """Return why an account's own histories cannot be read; empty if they can."""
        return self.ask(account, answers.problem_of) or ""

    def count_references(self, digest: Digest) -> int:
        """Return how many states of all accounts refer to a blob."""
        return self._ask_all(lambda each: answers.count_references(each, digest))

    def unreferenced(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return those of the digests that no state of any account refers to."""
        asked = list(digests)
        return self._ask_all(lambda each: answers.unreferenced(each, asked))

    def count_digests(self) -> int:
        """Return how many blobs the states of all accounts refer to."""
        return self._ask_all(answers.count_digests)

    # How it is asked

    def _living(self, account: AccountId, wish: Wish, *, after: int, limit: int) -> list[Line]:
        def ask(connection: sqlite3.Connection, number: int) -> list[Line]:
            return answers.living(connection, number, wish, after=after, limit=limit)

        return self.ask(account, ask) or []

    def ask(self, account: AccountId, ask: Ask[Answer], *, tick: Tick = silent) -> Answer | None:
        """Bring an account up to date and ask; None if the tree has no such account.

        `tick` is told of what is read for it; what it raises ends that, and the next one goes on.
        """

        def asked(database: Database) -> Answer | None:
            number = self._current(database, account, tick)
            return None if number is None else ask(database.connection, number)

        return self._with_database(asked)

    def ask_as_it_is(
        self, account: AccountId, ask: Ask[Answer], *, is_behind: bool = False
    ) -> Answer | None:
        """Ask, unless the account is behind: then None, or with `is_behind` what is known of it."""

        def asked(database: Database) -> Answer | None:
            number, stamp = keeping.find_account(database.connection, account)
            is_current = stamp and stamp == self._path.stamp(account)
            if number is None or not (is_behind or is_current):
                return None
            return ask(database.connection, number)

        return self._with_database(asked)

    def _ask_all(self, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
        def asked(database: Database) -> Answer:
            self._bring_up(database)
            return ask(database.connection)

        return self._with_database(asked)

    def _bring_up(self, database: Database) -> None:
        """Bring all accounts up to date, and forget those that the tree does not have any more."""
        accounts = self._path.accounts()
        for account in accounts:
            self._current(database, account)
        known: Mapping[str, int] = dict(
            database.connection.execute("SELECT id, number FROM account").fetchall()
        )
        for account_id in known.keys() - set(accounts):
            self._forget(database, known[account_id])

    def _current(self, database: Database, account: AccountId, tick: Tick = silent) -> int | None:
        """Return the number of an account, read from the tree before if it is behind."""
        connection = database.connection
        number, stamp = keeping.find_account(connection, account)
        now = self._path.stamp(account)
        if not now:
            if number is not None:
                self._forget(database, number)
            return None
        if number is None or stamp != now:
            if not self._is_told_now(database, account):
                AccountReading(database, self._path, account, tick).run()
            number, _ = keeping.find_account(connection, account)
        return number

    def _is_told_now(self, database: Database, account: AccountId) -> bool:
        """Wait a moment for the report of a group that was just written; say whether it came.

        A stamp is the time at which it was given: an older one has nobody at work behind it.
        """
        for _ in range(_LOOKS if self._file else 0):
            now = self._path.stamp(account)
            if not 0 <= time.time_ns() - now < _JUST_NOW_NS:
                return False
            time.sleep(_PAUSE_S)
            if keeping.find_account(database.connection, account)[1] == now:
                return True
        return False

    def _forget(self, database: Database, number: int) -> None:
        with database.adding() as connection:
            keeping.forget_account(connection, number)

    def _with_database(self, ask: Callable[[Database], Answer]) -> Answer:
        """Ask; if that fails, once more after damage was thrown away; at last a temporary one."""
        for _ in range(_TRIES):
            try:
                return ask(self._open(self._file))
            except _FAILED as error:
                self._let_go(error)
        self._file = None
        return ask(self._open(None))

    def _open(self, file: Path | None) -> Database:
        if self._database is not None and not self._database.is_in_place:
            self._database.close()
            self._database = None
        if self._database is None:
            self._database = Database(file, self._path.form.tree_id)
            answers.prepare(self._database.connection)
        return self._database

    def _let_go(self, error: BaseException) -> None:
        """Close what does not answer; a damaged file is deleted, and so made anew."""
        database, self._database = self._database, None
        if database is None:
            return
        with suppress(*_FAILED):
            if is_damage(error):
                database.discard()
            else:
                database.close()


def _ms(before: datetime | None) -> int:
    return FOREVER if before is None else to_ms(before)
