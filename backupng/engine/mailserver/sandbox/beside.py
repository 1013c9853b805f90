"""Who did what in a mailbox during a restore: its own changes, and those of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.model import ItemId
from backupng.engine.redolog import header
from backupng.engine.redolog.faults import BadRecord, RedoLogError
from backupng.engine.redolog.files import LogEnd, LogFiles, end_of
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record

_DELETED: Final = codes.MIRRORED_FLAGS[-Flag.DELETED.bit_length()]


@dataclass(slots=True)
class OwnSeries:
    """The changes of a restore, with the numbers that they got; implements `Series`."""

    series: MailboxSeries
    begin: LogEnd | None = None
    """Where the redo log ended before the first of them."""
    _numbers: list[range] = field(default_factory=list)

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Make the next change."""
        if not self._numbers:
            self.begin = end_of(self.series.sandbox.redo_log)
        with self.series.change() as change:
            first = change.number
            yield change
        numbers = range(first, change.number + 1)
        if self._numbers and self._numbers[-1].stop == first:
            numbers = range(self._numbers.pop().start, numbers.stop)
        self._numbers.append(numbers)

    def made(self, number: int) -> bool:
        """Say whether the change of that number is one of these."""
        return any(number in each for each in reversed(self._numbers))


@dataclass(slots=True)
class Others:
    """What the redo log names of others' changes of a mailbox, from the first own one on."""

    files: LogFiles
    mailbox_id: int
    own: OwnSeries
    sequence: int
    offset: int
    deleted: set[ItemId] = field(default_factory=set)
    changed: set[ItemId] = field(default_factory=set)
    _marked: set[ItemId] = field(default_factory=set)
    """What waits for IMAP to expunge it: the record of that names nothing."""
    _threads: dict[int, set[ItemId]] = field(default_factory=lambda: defaultdict(set))

    def read_on(self) -> None:
        """Take in what was logged since; of a log that cannot be read, what can be."""
        try:
            with RedoLog(self.files.current) as current:
                for path in sorted(self.files.archive.glob("redo-*.log")):
                    with RedoLog(path) as log:
                        if self.sequence <= log.header.sequence < current.header.sequence:
                            self._read(log)
                self._read(current)
        except (OSError, RedoLogError):
            return

    def _read(self, log: RedoLog) -> None:
        if log.header.sequence != self.sequence:
            self.sequence, self.offset = log.header.sequence, header.SIZE
        while self.offset < log.size:
            try:
                record = log.read(self.offset, is_final=False)
            except BadRecord:
                return
            self.offset = record.end
            if record.envelope.mailbox_id == self.mailbox_id:
                self._take(record)

    def _take(self, record: Record) -> None:
        said = record.fields
        if not self.own.made(record.envelope.change_id):
            self.changed.update(said.get("ids", ()), [said["id"]] if "id" in said else ())
        if record.op == "DeleteItem":
            # That of a conversation names none of its messages.
            threads = (self._threads[each] for each in said["ids"] if each in self._threads)
            self.deleted.update(said["ids"], *threads)
        elif record.op == "PurgeImapDeleted":
            self.deleted |= self._marked
        elif record.op == "AlterItemTag" and said["tagName"] == _DELETED:
            self._mark(said["ids"], is_set=said["tagged"])
        elif record.op == "CreateMessage":
            self._mark([said["msgId"]], is_set=bool(said["flags"] & Flag.DELETED))
            self._threads[said["convId"]] |= {said["msgId"], said["convFirstMsgId"]}
        elif record.op == "SetItemTags":
            self._mark(said["ids"], is_set=bool(said["flags"] & Flag.DELETED))

    def _mark(self, items: Sequence[ItemId], *, is_set: bool) -> None:
        change = self._marked.update if is_set else self._marked.difference_update
        change(items)
