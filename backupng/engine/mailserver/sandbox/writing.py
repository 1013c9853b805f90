"""How a sandbox is written: its lock, a database transaction, the redo log, in that order.

Each change is record, commit, CommitTxn, under the lock from the first to the last, so transactions
never interleave. A kill in between is closed by whoever has the lock next (`journal.py`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from backupng.engine.errors import MailServerError
from backupng.engine.mailserver.sandbox.blobfiles import BlobFiles
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.sandbox.journal import NO_NUMBER, SEVERAL_MAILBOXES, Journal
from backupng.engine.mailserver.sandbox.redo import Op
from backupng.engine.redolog.faults import RedoLogError


@dataclass(slots=True)
class Pending:
    """What a change is going to be logged as, and the blobs that go with it."""

    done: Op | None = None
    mailbox_id: int = SEVERAL_MAILBOXES
    number: int = NO_NUMBER
    times: int = 1
    """A DeleteMailbox is logged twice."""
    blobs: BlobFiles | None = None

    def take(self, change: Change) -> None:
        """Log what that change says of itself."""
        self.done, self.mailbox_id, self.number = change.done, change.mailbox_id, change.number


class Writing:
    """Writes to one sandbox, one change at a time over all processes."""

    def __init__(self, folder: Path, database: SqliteDatabase, journal: Journal) -> None:
        self._folder = folder
        self._db = database
        self._journal = journal
        self._is_making = False

    def settle(self) -> None:
        """Close what a crash left open in the redo log."""
        if not self._journal.is_settled():
            with self._lock():
                self._journal.settle(now_ms=0)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Change what the redo log knows nothing of: the directory."""
        with self._lock(), self._transaction():
            yield

    @contextmanager
    def making(self) -> Iterator[None]:
        """Let everything inside be durable at once, in the end: for a server nobody knows yet."""
        with self._lock(), self._transaction():
            self._is_making = True
            try:
                yield
            finally:
                self._is_making = False
            self._journal.sync()

    @contextmanager
    def logged(self, *, now_ms: int) -> Iterator[Pending]:
        """Make one change of anything, and log what `pending` is told of it."""
        pending = Pending()
        with self._lock():
            if not self._is_making:
                self._journal.settle(now_ms=now_ms)
            try:
                with self._transaction():
                    yield pending
                    self._write(pending, now_ms=now_ms)
            except BaseException:
                self._journal.abandon()
                if pending.blobs is not None:
                    pending.blobs.undo()
                raise
            # From here on it is done. What cannot be logged now, the next change logs.
            with suppress(RedoLogError):
                self._journal.commit(now_ms=now_ms)
        if pending.blobs is not None:
            pending.blobs.settle()

    def _write(self, pending: Pending, *, now_ms: int) -> None:
        if pending.done is None:
            raise RuntimeError("A change says what it does: nothing was logged.")
        self._journal.write(
            pending.done,
            now_ms=now_ms,
            mailbox_id=pending.mailbox_id,
            number=pending.number,
            times=pending.times,
            durable=not self._is_making,
        )

    def _transaction(self) -> AbstractContextManager[None]:
        return nullcontext() if self._is_making else self._db.transaction()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        if self._is_making:
            yield
            return
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._folder / "lock", flags, 0o640)
        except OSError as error:
            raise MailServerError(f"{self._folder} cannot be changed: {error}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
