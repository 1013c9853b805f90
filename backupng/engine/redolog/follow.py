"""A redo log as one endless stream of committed operations, from a position on.

The current file, the archive and our links to files that the server deleted are read one after the
other. The place only ever moves over whole records; what is half written is waited for. Files that
are missing are told of, and never papered over. The rules of a rollover: Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/redolog/RolloverManager.java`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from backupng.engine.errors import OperationError
from backupng.engine.redolog import header
from backupng.engine.redolog.chain import Chain, FileId
from backupng.engine.redolog.events import Committed, Event, Gap, Position, Unreadable
from backupng.engine.redolog.faults import BadRecord
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.gaps import gap_between, gap_cut, gap_within
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Txn
from backupng.engine.redolog.tail import Tail
from backupng.engine.redolog.transactions import Transactions
from backupng.engine.redolog.watching import Watch

__all__ = ["Committed", "Event", "Follower", "Gap", "Position", "Unreadable"]


class Follower:
    """Reads on where it was; one thread only.

    `clock` counts seconds; it decides what was waited for long enough.
    """

    def __init__(
        self,
        files: LogFiles,
        *,
        position: Position | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin at a position, or at the beginning of the current file.

        Raises NotARedoLog (path_missing: there is none), FutureRedoLog, UnreadableLog, or
        ForeignRedoLog for the log of another server than that of the position.
        """
        self._clock = clock
        self._chain = Chain(files, server_id=position.server_id if position else None)
        self._ops = Transactions()
        self._retired: list[RedoLog] = []
        self._log: RedoLog | None = None
        self._waits = False
        self._time = 0
        self._is_copy = False
        self._watch = Watch(files.current)
        try:
            self._start(files, position)
        except BaseException:
            self.close()
            raise

    def _start(self, files: LogFiles, position: Position | None) -> None:
        current = self._chain.current()
        if position is None:
            # Opened by its name only to say what is wrong with it.
            self._begin(current or RedoLog(files.current))
            return
        if current is not None:
            current.close()
        self._continue(position, files)

    def _begin(self, log: RedoLog) -> None:
        self._enter(log, FileId.of(log), header.SIZE)

    def _continue(self, position: Position, files: LogFiles) -> None:
        self._file, self._offset = FileId.at(position), position.offset
        log = self._chain.find(self._file)
        if log is None:
            if self._chain.current_inode() is None:
                RedoLog(files.current).close()
            self._gone = position
            return
        self._enter(log, self._file, position.offset)
        self._is_copy = log.inode != position.inode
        if not self._is_cut(log):
            self._ops.begin_within(log, position.offset)
            self._reopen(position.open_ops)

    def _reopen(self, places: tuple[tuple[int, int], ...]) -> None:
        """Read the operations again that were open at the position; not those of lost files."""
        logs = {self._file.sequence: self._log}
        for sequence, offset in places:
            if sequence not in logs:
                logs[sequence] = self._chain.before(self._file, sequence)
            log = logs[sequence]
            record = log.again(offset) if log else None
            if log and record:
                self._ops.take(record, log)
        self._retired += [each for each in logs.values() if each and each is not self._log]

    def _enter(self, log: RedoLog, file: FileId, offset: int) -> None:
        self._log, self._file, self._offset = log, file, offset
        self._tail, self._is_copy = Tail(log, self._chain, self._clock), False

    @property
    def position(self) -> Position:
        """The place behind all that `read` returned: keep it once that was dealt with."""
        if self._log is None:
            return self._gone
        return Position(
            server_id=self._file.server_id,
            sequence=self._file.sequence,
            inode=self._file.inode,
            offset=self._offset,
            open_ops=self._ops.places(),
            created=self._file.created,
        )

    @property
    def open_operations(self) -> dict[Txn, int]:
        """The mailbox of each operation that was read and has not ended yet."""
        return self._ops.mailboxes()

    @property
    def behind_bytes(self) -> int:
        """How many bytes of all files there are were not read yet."""
        here = 0 if self._log is None else max(0, self._log.mark()[0] - self._offset)
        return here + self._chain.bytes_after(self._file)

    def read(self, limit: int) -> list[Event]:
        """Return what is committed by now, at most `limit`; nothing when there is no more yet.

        Raises UnreadableLog, NotARedoLog, FutureRedoLog or ForeignRedoLog; nothing is lost then,
        and the next call tries again.
        """
        self._close_retired()
        self._watch.look()
        self._chain.hold()
        self._waits = False
        events: list[Event] = []
        while len(events) < limit and not self._waits:
            try:
                event = self._step()
            except OperationError:
                if events:
                    break
                raise
            if event is not None:
                events.append(event)
        return events

    def wait(self, timeout_s: float) -> bool:
        """Wait until something may have been written, or time is over, or a signal arrives.

        True when reading on is worth while.
        """
        if not self._waits:
            return True
        settles_s = None if self._log is None else self._tail.settles_in()
        if settles_s is None or settles_s >= timeout_s:
            return self._watch.wait(timeout_s)
        return self._watch.wait(settles_s) or self._tail.settles_in() == 0

    def release(self, position: Position) -> None:
        """Let go of files before a position: it is kept safe, and none before it is needed."""
        if all(sequence == position.sequence for sequence, _ in position.open_ops):
            self._chain.release(FileId.at(position))

    def close(self) -> None:
        """Close all files; what the server may delete meanwhile stays held by its link."""
        self._watch.close()
        for log in [*self._retired, *self._ops.logs(), self._log]:
            if log is not None:
                log.close()

    def _close_retired(self) -> None:
        needed = {id(each) for each in self._ops.logs()}
        for log in self._retired:
            if id(log) not in needed:
                log.close()
        self._retired = [each for each in self._retired if id(each) in needed]

    def _step(self) -> Event | None:
        log = self._log
        if log is None:
            return self._advance()
        if self._is_cut(log):
            return self._read_anew(log)
        if self._offset == log.size:
            return self._at_end(log, None)
        try:
            record = log.read(self._offset, is_final=self._tail.is_final)
        except BadRecord as fault:
            return self._at_end(log, fault)
        self._offset = record.end
        self._tail.newest = max(self._tail.newest, record.envelope.txn)
        event = self._ops.take(record, log)
        if isinstance(event, Committed):
            self._time = event.committed_at
        if isinstance(event, Unreadable) and event.mailbox_id is None:
            return self._gap(record.offset, record.end, event.reason)
        return event

    def _is_cut(self, log: RedoLog) -> bool:
        """Say whether the file is not, or not any more, the one that was read up to here."""
        return self._is_copy or self._offset > log.size

    def _read_anew(self, log: RedoLog) -> Gap:
        old, offset = self._file, self._offset
        log.reread()
        self._ops.forget()
        self._enter(log, FileId.of(log), header.SIZE)
        return gap_cut(old, offset, log.header, since=self._time)

    def _at_end(self, log: RedoLog, fault: BadRecord | None) -> Event | None:
        """Go on behind the last whole record, as far as that can be told by now."""
        tail = self._tail
        if tail.changed():
            return None
        found = tail.way_on(self._offset, fault) if fault else None
        if found is not None:
            return self._skip(log, found)
        if not tail.is_final:
            self._waits = not tail.closes()
            return None
        if fault is not None:
            return self._give_up(log)
        return self._advance()

    def _skip(self, log: RedoLog, end: int) -> Gap | None:
        start, self._offset = self._offset, end
        record = log.unread(start, end)
        if record is not None:
            self._ops.take(record, log)
            if log.is_alone(record):
                return None
        return self._unread(start, end)

    def _give_up(self, log: RedoLog) -> Gap | None:
        start, self._offset = self._offset, log.size
        return None if log.is_zero(start) else self._unread(start, log.size)

    def _unread(self, start: int, end: int) -> Gap:
        reason = f"{end - start} bytes of the redo log of sequence {self._file.sequence}"
        return self._gap(start, end, f"{reason} cannot be read, from byte {start} on")

    def _gap(self, start: int, end: int, reason: str) -> Gap:
        following = self._log.envelope(end) if self._log else None
        return Gap(
            after=f"sequence {self._file.sequence}, byte {start}",
            until=f"sequence {self._file.sequence}, byte {end}",
            reason=reason,
            since=self._time,
            before=following.timestamp if following else 0,
        )

    def _advance(self) -> Gap | None:
        """Go on in the next file, as soon as it is there."""
        following = self._chain.following(self._file)
        if following is None:
            self._waits = True
            return None
        old, head = self._log, following.header
        gap: Gap | None
        if old is None:
            gap = gap_within(self._file, self._offset, head, since=self._time)
        else:
            gap = gap_between(old.header, old.size, head, since=self._time)
            self._ops.keep_only(old)
            self._retired.append(old)
        self._begin(following)
        self._chain.trim(self._file)
        return gap
