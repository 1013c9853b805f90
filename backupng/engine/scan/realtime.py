"""The Real-Time Scanner: every committed change of the redo log becomes item states at once.

Records are taken in groups: as many as there are, up to a limit. A group's blobs and states are
durable before the position behind it is, so a kill at any moment only means that some records are
read twice; the change number lets nothing of them in a second time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupError, ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.model import AccountId, Mailbox, from_ms, to_ms
from backupng.engine.redolog.follow import Committed, Follower, Gap, Position, Unreadable
from backupng.engine.scan.beside import SCANNER_ROLE
from backupng.engine.scan.blobs import BlobKeeper
from backupng.engine.scan.contents import Contents
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.directory import DirectoryReading, DirectoryScan
from backupng.engine.scan.effects import Operation
from backupng.engine.scan.known import Known
from backupng.engine.scan.replay import Pending, Replay
from backupng.engine.scan.table import CARRYING
from backupng.engine.scan.uncertainty import Uncertainty

_AT_ONCE: Final = 500
_APART_S: Final = 0.05
"""A change that comes alone is saved at once; of many, groups begin at least so far apart."""
_DIRECTORY_EVERY: Final = timedelta(seconds=60)
_LONGEST_COMMIT: Final = timedelta(seconds=5)
"""Between an operation's record and its end marker lies one commit of the database."""
_ACCOUNTS_KEPT: Final = 200
_OF_ACCOUNTS: Final = frozenset({"CreateMailbox", "DeleteMailbox", "RenameMailbox"})
_DOCUMENTS: Final = frozenset({"SaveDocument", "AddDocumentRevision", "SaveWiki"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far the scanner is.

    Position in the log; bytes there that are not read yet; time in ms of the last change saved; in
    ms how long its group took from the first commit to the disk; changes since the start of the
    process; accounts that are uncertain.
    """

    sequence: int
    offset: int
    behind_bytes: int
    last_change_ms: int | None
    lag_ms: int | None
    events: int
    uncertain: int


class RealTimeScanner:
    """Follows the redo log of one mail server into its Backup Path; the only one of its role.

    Raises MailServerError and BackupPathError; after one that is transient a new one goes on where
    this one was.
    """

    def __init__(
        self,
        source: Source,
        path: BackupPath,
        *,
        packer: Packer,
        clock: Callable[[], datetime],
        log: Callable[[str], None],
        gap: Callable[[Gap], None],
    ) -> None:
        self._source, self._path = source, path
        self._clock, self._log, self._tell_gap = clock, log, gap
        said = path.scanner()
        self._uncertainty = Uncertainty(path, said.get("uncertain", {}))
        self._pending = {
            AccountId(account): Pending.from_json(each)
            for account, each in said.get("pending", {}).items()
        }
        self._known: dict[AccountId, Known] = {}
        self._reading: DirectoryReading | None = None
        self._read_at = clock() - _DIRECTORY_EVERY
        self._quiet_since = clock()
        self._begun_s = -_APART_S
        self._events = 0
        self._last_change_ms: int | None = None
        self._lag_ms: int | None = None
        with ExitStack() as stack:
            self._writer = stack.enter_context(path.writer(SCANNER_ROLE, packer=packer))
            position = Position.from_json(said["log"]) if "log" in said else None
            self._follower = Follower(source.redo_log, position=position)
            stack.callback(self._follower.close)
            self._saved: dict[str, Any] | None = None
            self._keeper = BlobKeeper(source, self._writer, ScanCounts())
            self._contents = Contents(path, self._writer)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Let go of log and Backup Path."""
        self._writer.refused.clear()
        self._stack.close()

    @property
    def standing(self) -> Standing:
        """How far it is now."""
        position = self._follower.position
        return Standing(
            sequence=position.sequence,
            offset=position.offset,
            behind_bytes=self._follower.behind_bytes,
            last_change_ms=self._last_change_ms,
            lag_ms=self._lag_ms,
            events=self._events,
            uncertain=len(self._uncertainty),
        )

    def turn(self, timeout_s: float) -> bool:
        """Wait for changes, save a group of them; False if there was nothing to do."""
        self._read_directory()
        self._gather(timeout_s)
        events = self._follower.read(_AT_ONCE)
        if not events and self._settle():
            self._commit()
            return True
        if not events:
            self._save_position()
            self._follower.wait(timeout_s)
            events = self._follower.read(_AT_ONCE)
        if not events:
            return False
        self._quiet_since, self._begun_s = self._clock(), time.monotonic()
        self._take(events)
        self._settle()
        self._commit()
        self._count(events)
        return True

    def _gather(self, timeout_s: float) -> None:
        """Let a group grow that comes right after another: its changes share what a group costs."""
        since_s = time.monotonic() - self._begun_s
        if timeout_s and since_s < _APART_S:
            time.sleep(min(_APART_S - since_s, timeout_s))

    def _take(self, events: Iterable[Committed | Unreadable | Gap]) -> None:
        """Queue what a group of events says, mailbox by mailbox."""
        by_mailbox: dict[int, list[Committed | Unreadable]] = defaultdict(list)
        for event in events:
            if isinstance(event, Gap):
                self._note_gap(event)
            elif isinstance(event, Unreadable) and event.mailbox_id is None:
                self._uncertainty.add_all(self._clock(), event.reason)
            elif isinstance(event, Unreadable):
                if event.mailbox_id:
                    by_mailbox[event.mailbox_id].append(event)
            else:
                self._sort(event, by_mailbox)
        for mailbox_id, found in by_mailbox.items():
            self._apply(mailbox_id, found)

    def _sort(self, event: Committed, by_mailbox: dict[int, list[Committed | Unreadable]]) -> None:
        if event.record.op == "StoreIncomingBlob":
            # Its mailboxes follow, each with a record that names the digest.
            self._contents.of(event.record.fields, event.log, is_message=True)
            return
        if event.record.op in _OF_ACCOUNTS:
            self._read_at = self._clock() - _DIRECTORY_EVERY
            self._read_directory()
        if event.record.envelope.mailbox_id > 0:
            by_mailbox[event.record.envelope.mailbox_id].append(event)

    def _apply(self, mailbox_id: int, events: list[Committed | Unreadable]) -> None:
        with self._source.snapshot():
            mailbox = self._mailbox(mailbox_id)
            if mailbox is None or not self._is_saved(mailbox):
                return
            account = mailbox.account_id
            for event in events:
                if isinstance(event, Unreadable):
                    self._uncertainty.add(account, self._clock(), event.reason)
            operations = [self._operation(event) for event in events]
            self._replay(account).apply(mailbox, operations)

    def _settle(self) -> bool:
        """Decide what is doomed in all accounts, where the log has been read to its end."""
        doomed = [account for account, each in self._pending.items() if each.doomed]
        done = False
        for account in doomed:
            with self._source.snapshot():
                mailbox = self._source.mailbox(account)
                # What the snapshot shows has its record in the log before: all of it is applied.
                if not self._is_at_the_end():
                    return done
                if mailbox is None:
                    self._pending[account].doomed.clear()
                else:
                    self._replay(account).settle(mailbox)
                done = True
        return done

    def _is_at_the_end(self) -> bool:
        """Say whether all that happened is read; an operation left open by a crash happened not."""
        quiet = self._clock() - self._quiet_since > _LONGEST_COMMIT
        is_open = bool(self._follower.position.open_ops)
        return not self._follower.behind_bytes and (quiet or not is_open)

    def _operation(self, event: Committed | Unreadable) -> Operation:
        if isinstance(event, Unreadable):
            now = self._clock()
            return Operation(
                name="", fields={}, mod=event.change_id, start=now, source=f"log:{to_ms(now)}"
            )
        record, envelope = event.record, event.record.envelope
        name = record.op if record.layout is not None and record.op else ""
        content = None
        if name in CARRYING:
            is_message = name not in _DOCUMENTS
            content = self._contents.of(record.fields, event.log, is_message=is_message)
        return Operation(
            name=name,
            fields=record.fields,
            mod=envelope.change_id,
            start=from_ms(envelope.timestamp),
            source=f"log:{self._follower.position.sequence}:{record.offset}",
            content=content,
        )

    def _mailbox(self, mailbox_id: int) -> Mailbox | None:
        try:
            return self._source.mailbox_of(mailbox_id)
        except ItemError as error:
            self._log(f"Mailbox {mailbox_id} cannot be read: {error}")
            self._uncertainty.add_all(self._clock(), f"mailbox {mailbox_id} cannot be read")
            return None

    def _is_saved(self, mailbox: Mailbox) -> bool:
        reading = self._reading
        return reading is None or mailbox.account_id not in reading.left_out

    def _replay(self, account: AccountId) -> Replay:
        if account not in self._known and len(self._known) >= _ACCOUNTS_KEPT:
            self._known.pop(next(iter(self._known)))
        known = self._known.setdefault(account, Known(self._path, self._writer, account))
        return Replay(
            source=self._source,
            writer=self._writer,
            keeper=self._keeper,
            known=known,
            account=account,
            pending=self._pending.setdefault(account, Pending()),
            uncertain=lambda reason: self._uncertainty.add(account, self._clock(), reason),
        )

    def _read_directory(self) -> None:
        """Ask the directory what changed, once a minute: the log knows nothing of it."""
        now = self._clock()
        if now - self._read_at < _DIRECTORY_EVERY and self._reading is not None:
            return
        scan = DirectoryScan(self._source, self._path, self._writer, started=now)
        try:
            reading = scan.read()
        except BackupError as error:
            if self._reading is None:
                raise
            self._log(f"The directory does not answer: {error}")
        else:
            scan.save(reading, since=self._reading)
            self._reading = reading
            self._uncertainty.prune()
        self._read_at = now

    def _commit(self) -> None:
        self._writer.commit()
        for account, item, error in self._writer.refused:
            self._log(f"{account}, item {item}: {error}")
            self._uncertainty.add(account, self._clock(), f"item {item} cannot be saved: {error}")
        self._writer.refused.clear()
        self._save_position()

    def _save_position(self) -> None:
        position = self._follower.position
        said = {
            "log": position.as_json(),
            "uncertain": self._uncertainty.as_json(),
            "pending": {account: each.as_json() for account, each in self._pending.items() if each},
        }
        if said != self._saved:
            self._writer.set_scanner({**said, "at": to_ms(self._clock())})
            self._saved = said
            self._follower.release(position)

    def _count(self, events: list[Committed | Unreadable | Gap]) -> None:
        committed = [event.committed_at for event in events if isinstance(event, Committed)]
        self._events += len(committed)
        if committed:
            self._last_change_ms = max(committed)
            self._lag_ms = max(to_ms(self._clock()) - min(committed), 0)

    def _note_gap(self, gap: Gap) -> None:
        self._uncertainty.add_all(self._clock(), gap.reason)
        self._log(f"The redo log has a gap after {gap.after}, until {gap.until}: {gap.reason}")
        self._tell_gap(gap)
