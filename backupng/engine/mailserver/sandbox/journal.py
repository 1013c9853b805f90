"""The redo log of a sandbox in step with its database: record, commit, CommitTxn.

What was logged last stands in the table `log` of the schema `sandbox`, written by the very
transaction it tells of: its transaction number, and where its CommitTxn ends in which file. A crash
between the three shows as a difference between that row and the file. Whoever next holds the
server's lock closes it, with the original transaction id as the real server's recovery does
(`zimbra-redolog.md` §3.2): CommitTxn if the row says committed, else AbortTxn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.sandbox.directory import SandboxDirectory
from backupng.engine.mailserver.sandbox.redo import Op, op
from backupng.engine.mailserver.sandbox.schema import LOG_TABLE, SANDBOX
from backupng.engine.model import DirectoryEntry, EntryKind
from backupng.engine.redolog import header, ops
from backupng.engine.redolog.faults import BadRecord
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.header import LATEST
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Envelope, Record, Txn
from backupng.engine.redolog.writer import COMMIT_BYTES, LogWriter, Rollover, whole_size

SEVERAL_MAILBOXES: Final = -1
NO_NUMBER: Final = -1
_END_OF: Final = {ops.COMMIT: "CommitTxn", ops.ABORT: "AbortTxn"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record that was written and is not committed yet; `log` is where it stands."""

    log: LogWriter
    envelope: Envelope
    limits: Rollover


class Journal:
    """The redo log of one sandbox. All but `is_settled` wants the server's lock held."""

    def __init__(self, database: SqliteDatabase, directory: SandboxDirectory, files: LogFiles):
        self._db = database
        self._directory = directory
        self._files = files
        self._table = database.table(SANDBOX, LOG_TABLE)
        self._entry: _Entry | None = None

    # One change

    def write(
        self, done: Op, *, now_ms: int, mailbox_id: int, number: int, durable: bool, times: int = 1
    ) -> None:
        """Log an operation, inside the database transaction that does it; durable on request.

        `times`: DeleteMailbox is logged twice. Nothing is where redo logging is switched off.
        """
        server = self._server()
        if server.first("zimbraRedoLogEnabled", "TRUE") == "FALSE":
            return
        row = self._row() or {"time": now_ms // 1000, "counter": 0}
        txn = Txn(row["time"], row["counter"] + 1)
        envelope = _envelope(done, txn, now_ms=now_ms, mailbox_id=mailbox_id, number=number)
        log = self._open(server, now_ms)
        self._entry = _Entry(log, envelope, rollover(server))
        for _ in range(times):
            log.append(envelope, done.layout, done.fields)
        if durable:
            log.sync()
        self._remember(log, envelope, end=log.size + COMMIT_BYTES)

    def commit(self, *, now_ms: int) -> None:
        """Log that the database has committed; the log rolls over when it is due."""
        entry, self._entry = self._entry, None
        if entry is None:
            return
        with entry.log as log:
            _end(log, entry.envelope, ops.COMMIT, now_ms=now_ms)
            if log.is_due(entry.limits, now_ms=now_ms):
                log.roll_over(deletes=entry.limits.deletes, now_ms=now_ms, last_op=now_ms)

    def abandon(self) -> None:
        """Leave a record as it is: the database did not commit, which `settle` will find."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.log.leave()

    def next_txn(self, now_ms: int) -> Txn:
        """Return the transaction that the next operation will have."""
        row = self._row() or {"time": now_ms // 1000, "counter": 0}
        return Txn(row["time"], row["counter"] + 1)

    def sync(self) -> None:
        """Make durable what was logged without being so."""
        if self._files.current.exists():
            with self._open(self._server(), 0) as log:
                log.sync()

    # After a crash

    def is_settled(self) -> bool:
        """Say whether file and row agree; while somebody makes a change they need not."""
        row = self._row()
        return row is None or _agree(row, whole_size(self._files.current))

    def settle(self, *, now_ms: int) -> None:
        """Close what a crash left open; a log from elsewhere is taken over as it is."""
        row = self._row()
        if row is None and not self._files.current.exists():
            return
        if row is not None and _agree(row, whole_size(self._files.current)):
            return
        now_ms = max(now_ms, row["timestamp"] if row else 0)
        with self._open(self._server(), now_ms) as log:
            self._repair(log, row)

    def _repair(self, log: LogWriter, row: Mapping[str, Any] | None) -> None:
        is_ours = row is not None and row["sequence"] == log.sequence
        counter = row["counter"] if row else 0
        if row is not None and is_ours and log.size <= row["end"]:
            self._close_committed(log, row)
        else:
            start = row["end"] if row is not None and is_ours else header.SIZE
            counter = max(counter, self._close_open(log, start, row))
        if row is not None:
            with self._db.transaction():
                self._db.run(
                    f"UPDATE {self._table} SET counter = ?, sequence = ?, end = ?",
                    counter,
                    log.sequence,
                    log.size,
                )

    def _close_committed(self, log: LogWriter, row: Mapping[str, Any]) -> None:
        """Write the CommitTxn that the row says was to come, in place of what there is of it."""
        start = row["end"] - COMMIT_BYTES
        if log.size < start:
            # The record itself was lost behind our back: what is whole stays.
            log.cut(_last_good(self._files, header.SIZE))
            return
        log.cut(start)
        envelope = Envelope(
            version=LATEST,
            opcode=row["opcode"],
            timestamp=row["timestamp"],
            change_id=NO_NUMBER,
            change_constraint=0,
            txn=Txn(row["time"], row["counter"]),
            mailbox_id=row["mailbox_id"],
        )
        _end(log, envelope, ops.COMMIT, now_ms=row["timestamp"])
        log.sync()

    def _close_open(self, log: LogWriter, start: int, row: Mapping[str, Any] | None) -> int:
        """End every operation from `start` on that has no end; returns the highest counter seen."""
        still_open: dict[Txn, Envelope] = {}
        counter, good = 0, start
        for record in _records(self._files, start):
            good, envelope = record.end, record.envelope
            if row is not None and envelope.txn.time == row["time"]:
                counter = max(counter, envelope.txn.counter)
            if envelope.opcode in ops.END_MARKERS:
                still_open.pop(envelope.txn, None)
            elif envelope.opcode not in ops.CONTROL:
                still_open[envelope.txn] = envelope
        if good < log.size:
            log.cut(good)
        for envelope in still_open.values():
            how = ops.COMMIT if row is None and self._has_happened(envelope) else ops.ABORT
            _end(log, envelope, how, now_ms=envelope.timestamp)
            self._spend(envelope)
        log.sync()
        return counter

    def _has_happened(self, envelope: Envelope) -> bool:
        """Say whether an item bears the number of that change, in a log taken over."""
        mailbox = self._db.table("zimbra", "mailbox")
        found = self._db.one(f"SELECT * FROM {mailbox} WHERE id = ?", envelope.mailbox_id)
        if found is None:
            return False
        items = self._db.table(f"mboxgroup{found['group_id']}", "mail_item")
        query = f"SELECT id FROM {items} WHERE mailbox_id = ? AND mod_metadata = ?"
        return self._db.one(query, envelope.mailbox_id, envelope.change_id) is not None

    def _spend(self, envelope: Envelope) -> None:
        """Never give a mailbox a change number again that the log has."""
        table = self._db.table("zimbra", "mailbox")
        with self._db.transaction():
            self._db.run(
                f"UPDATE {table} SET change_checkpoint = MAX(change_checkpoint, ?) WHERE id = ?",
                envelope.change_id,
                envelope.mailbox_id,
            )

    def _remember(self, log: LogWriter, envelope: Envelope, *, end: int) -> None:
        self._db.run(f"DELETE FROM {self._table}")
        self._db.insert(
            self._table,
            {
                "time": envelope.txn.time,
                "counter": envelope.txn.counter,
                "sequence": log.sequence,
                "end": end,
                "opcode": envelope.opcode,
                "mailbox_id": envelope.mailbox_id,
                "timestamp": envelope.timestamp,
            },
        )

    def _row(self) -> dict[str, Any] | None:
        return self._db.one(f"SELECT * FROM {self._table}")

    def _open(self, server: DirectoryEntry, now_ms: int) -> LogWriter:
        return LogWriter(self._files, server_id=server.entry_id, now_ms=now_ms)

    def _server(self) -> DirectoryEntry:
        return next(self._directory.entries(EntryKind.SERVER))


def rollover(server: DirectoryEntry) -> Rollover:
    """Return the limits that a server's directory entry sets."""
    return Rollover(
        soft_bytes=int(server.first("zimbraRedoLogRolloverFileSizeKB", "1048576")) << 10,
        soft_age_ms=int(server.first("zimbraRedoLogRolloverMinFileAge", "60")) * 60_000,
        hard_bytes=int(server.first("zimbraRedoLogRolloverHardMaxFileSizeKB", "4194304")) << 10,
        deletes=server.first("zimbraRedoLogDeleteOnRollover", "TRUE") == "TRUE",
    )


def _agree(row: Mapping[str, Any], found: tuple[int, int] | None) -> bool:
    """Say whether sequence and size of the file are what the row says."""
    # A log that has rolled over since is empty: it does so only when nothing is open.
    return found in ((row["sequence"] + 1, header.SIZE), (row["sequence"], row["end"]))


def _envelope(done: Op, txn: Txn, *, now_ms: int, mailbox_id: int, number: int) -> Envelope:
    return Envelope(
        version=LATEST,
        opcode=done.layout.opcode,
        timestamp=now_ms,
        change_id=number,
        change_constraint=0,
        txn=txn,
        mailbox_id=mailbox_id,
    )


def _end(log: LogWriter, ended: Envelope, how: int, *, now_ms: int) -> None:
    """Log the end of a transaction; it is durable with the next record that is."""
    marker = op(_END_OF[how], opcode=ended.opcode)
    envelope = _envelope(
        marker, ended.txn, now_ms=now_ms, mailbox_id=ended.mailbox_id, number=NO_NUMBER
    )
    log.append(envelope, marker.layout, marker.fields)


def _records(files: LogFiles, start: int) -> Iterator[Record]:
    """Yield the records from `start` on, up to the first that is not whole."""
    with RedoLog(files.current) as log:
        offset = start
        while offset < log.size:
            try:
                record = log.read(offset, is_final=True)
            except BadRecord:
                return
            yield record
            offset = record.end


def _last_good(files: LogFiles, start: int) -> int:
    return max((record.end for record in _records(files, start)), default=start)
