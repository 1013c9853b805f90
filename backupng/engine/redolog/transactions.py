"""Matches operations with the ends of their transactions.

A server writes an operation before it commits to its database and the CommitTxn after that, so
several may be open at a time. It may write an operation again under the same transaction: at a
rollover, in front of the new file, and when it deletes a mailbox. After a crash it may write a
second end. Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/redolog/RedoLogManager.java`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from backupng.engine.redolog import ops
from backupng.engine.redolog.events import Committed, Unreadable
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Envelope, Record, Skipped, Stop, Txn

REMEMBERED = 1 << 14
"""How many ended transactions are known: a second end follows within seconds, in the same file."""


@dataclass(frozen=True, slots=True)
class _Open:
    record: Record
    log: RedoLog


class Transactions:
    """The operations whose transactions have not ended yet."""

    def __init__(self) -> None:
        self._open: dict[Txn, _Open] = {}
        self._ended: OrderedDict[Txn, None] = OrderedDict()
        self._unread: tuple[RedoLog, int] | None = None

    def take(self, record: Record, log: RedoLog) -> Committed | Unreadable | None:
        """Return what a record commits, if anything."""
        head = record.envelope
        if head.opcode == ops.CHECKPOINT:
            return None
        if head.opcode not in ops.END_MARKERS:
            self._open[head.txn] = _Open(record, log)
            return None
        found = self._open.pop(head.txn, None)
        if head.opcode == ops.COMMIT:
            event = self._committed(found, head)
            self._end(head.txn)
            return event
        self._end(head.txn)
        return None

    def begin_within(self, log: RedoLog, offset: int) -> None:
        """Be ready for second ends: reading begins at `offset`, and much ended before it."""
        self._unread = (log, offset)

    def keep_only(self, log: RedoLog) -> None:
        """Forget operations of all files but one.

        What is open at a rollover is written again in the next file, so of the file before that
        one nothing can be open any more.
        """
        self._open = {txn: each for txn, each in self._open.items() if each.log is log}
        self._unread = None

    def forget(self) -> None:
        """Forget all: the file is read anew."""
        self._open.clear()
        self._ended.clear()
        self._unread = None

    def places(self) -> tuple[tuple[int, int], ...]:
        """Return sequence and offset of each open operation."""
        pairs = ((each.log.header.sequence, each.record.offset) for each in self._open.values())
        return tuple(sorted(pairs))

    def mailboxes(self) -> dict[Txn, int]:
        """Return the mailbox id of each open operation."""
        return {txn: each.record.envelope.mailbox_id for txn, each in self._open.items()}

    def logs(self) -> list[RedoLog]:
        """Return the files that hold open operations."""
        return [each.log for each in self._open.values()]

    def _committed(self, found: _Open | None, end: Envelope) -> Committed | Unreadable | None:
        if found is None:
            return None if self._has_ended(end.txn) else _without_op(end)
        if found.record.layout is None:
            return _unreadable(found.record)
        return Committed(record=found.record, log=found.log, committed_at=end.timestamp)

    def _end(self, txn: Txn) -> None:
        self._ended[txn] = None
        self._ended.move_to_end(txn)
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def _has_ended(self, txn: Txn) -> bool:
        if txn not in self._ended and self._unread is not None:
            self._look_back(*self._unread)
            self._unread = None
        return txn in self._ended

    def _look_back(self, log: RedoLog, offset: int) -> None:
        newer = list(self._ended)
        for txn in _ends(log.records(), offset):
            self._end(txn)
        for txn in newer:
            self._end(txn)


def _ends(found: Iterable[Record | Skipped | Stop], offset: int) -> Iterable[Txn]:
    for each in found:
        if isinstance(each, Record) and each.end <= offset:
            if each.envelope.opcode in ops.END_MARKERS:
                yield each.envelope.txn
        elif not isinstance(each, Skipped):
            return


def _without_op(end: Envelope) -> Unreadable:
    reason = f"the operation that transaction {end.txn} committed is not in the redo log"
    return Unreadable(mailbox_id=_mailbox(end), change_id=end.change_id, reason=reason)


def _unreadable(record: Record) -> Unreadable:
    head = record.envelope
    what = record.op or f"number {head.opcode}"
    reason = f"the operation {what} cannot be read"
    return Unreadable(mailbox_id=_mailbox(head), change_id=head.change_id, reason=reason)


def _mailbox(head: Envelope) -> int | None:
    return None if head.mailbox_id < 0 else head.mailbox_id
