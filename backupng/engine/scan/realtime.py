"""The Real-Time Scanner: every committed change of the redo log becomes item states at once.

Records are taken in groups: as many as there are, up to a limit. A group's blobs and states are
durable before the position behind it is, so a kill at any moment only means that some records are
read twice; the change number lets nothing of them in a second time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import DamagedBackup, ItemError, LostBlob
from backupng.engine.mailserver.port import Source
from backupng.engine.model import AccountId, ItemId, Mailbox, from_ms, to_ms
from backupng.engine.redolog.follow import (
    Committed,
    Event,
    Follower,
    Gap,
    Position,
    Unreadable,
)
from backupng.engine.redolog.records import Txn
from backupng.engine.scan.beside import SCANNER_ROLE
from backupng.engine.scan.blobs import BlobKeeper
from backupng.engine.scan.contents import Contents
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.effects import Operation
from backupng.engine.scan.era import Numbered, base_of, era_base
from backupng.engine.scan.known import Known
from backupng.engine.scan.replay import Pending, Replay
from backupng.engine.scan.roster import Roster
from backupng.engine.scan.table import CARRYING
from backupng.engine.scan.uncertainty import Uncertainty

_AT_ONCE: Final = 500
_APART_S: Final = 0.05
"""A change that comes alone is saved at once; of many, groups begin at least so far apart."""
_ITEMS_KEPT: Final = 500_000
_LONGEST_COMMIT: Final = timedelta(seconds=5)
"""Between an operation's record and its end marker lies one commit of the database."""
_ACCOUNTS_KEPT: Final = 200
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which of an account's items that wait were there; None: its mailbox is gone."""

    mailbox_id: int
    alive: set[ItemId] | None


class RealTimeScanner:
    """Follows the redo log of one mail server into its Backup Path; the only one of its role.

    `suspect` hears of items whose backup is damaged; `catalog` is that of the path. Raises
    MailServerError and BackupPathError; after one that is transient a new one goes on where this
    one was.
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
        suspect: Callable[[AccountId, ItemId], None] = lambda _account, _item: None,
        skip_lists: bool = False,
        catalog: Catalog | None = None,
    ) -> None:
        self._source, self._path, self._catalog = source, path, catalog
        self._clock, self._log, self._tell_gap, self._suspect = clock, log, gap, suspect
        self._known: dict[AccountId, Known] = {}
        self._is_idle = False
        self._open_since: dict[Txn, datetime] = {}
        self._begun_s = -_APART_S
        self._events = 0
        self._last_change_ms: int | None = None
        self._lag_ms: int | None = None
        with ExitStack() as stack:
            self._writer = stack.enter_context(path.writer(SCANNER_ROLE, packer=packer))
            # Not before: a recovery that the writer has begun with may have changed it.
            self._take_up(path.scanner(), stack)
            self._saved: dict[str, Any] | None = None
            self._keeper = BlobKeeper(source, self._writer, ScanCounts())
            self._contents = Contents(path, self._writer)
            self._roster = Roster(
                source, path, self._writer, clock=clock, log=log, skip_lists=skip_lists
            )
            self._stack = stack.pop_all()

    def _take_up(self, said: Mapping[str, Any], stack: ExitStack) -> None:
        """Go on where the scanner before was, by what it said of itself."""
        self._uncertainty = Uncertainty(self._path, said.get("uncertain", {}))
        self._pending = {
            AccountId(account): Pending.from_json(each)
            for account, each in said.get("pending", {}).items()
        }
        position = Position.from_json(said["log"]) if said.get("log") else None
        self._follower = Follower(self._source.redo_log, position=position)
        stack.callback(self._follower.close)
        if position is None and self._begins_late():
            reason = "the redo log from before the Real-Time Scanner began was not read"
            self._uncertainty.add_all(self._clock(), reason)

    def _begins_late(self) -> bool:
        """Say whether a scan was there before the log that is read from its beginning."""
        scan = self._path.checkpoint().get("smartscan", {})
        return bool(scan) and self._follower.position.created > scan.get("started", 0)

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
        self._path.require_in_place()
        self._roster.read()
        self._gather(timeout_s)
        asked = self._ask_pending()
        events = self._follower.read(_AT_ONCE)
        if not events and self._finish(asked, events):
            self._commit()
            return True
        self._is_idle = not events
        if not events:
            self._save_position()
            self._follower.wait(timeout_s)
            asked = {}
            events = self._follower.read(_AT_ONCE)
        if not events:
            return False
        self._begun_s = time.monotonic()
        self._take(events)
        if len(events) < _AT_ONCE:
            self._finish(asked, events)
        self._commit()
        self._count(events)
        return True

    def _gather(self, timeout_s: float) -> None:
        """Let a group grow that comes right after another: its changes share what a group costs."""
        since_s = time.monotonic() - self._begun_s
        if timeout_s and since_s < _APART_S:
            time.sleep(min(_APART_S - since_s, timeout_s))

    def _take(self, events: Iterable[Event]) -> None:
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
        record = event.record
        if record.op == "StoreIncomingBlob":
            # Its mailboxes follow, each with a record that names the digest.
            if any(self._is_saved(mailbox_id) for mailbox_id in record.fields["mailboxIds"]):
                self._contents.of(record.fields, event.log, is_message=True)
            return
        self._roster.note(record)
        if record.envelope.mailbox_id > 0:
            by_mailbox[record.envelope.mailbox_id].append(event)

    def _is_saved(self, mailbox_id: int) -> bool:
        """Say whether a mailbox is backed up; in doubt it is."""
        mailbox = self._mailbox(mailbox_id)
        return mailbox is None or not self._roster.is_left_out(mailbox.account_id)

    def _apply(self, mailbox_id: int, events: list[Committed | Unreadable]) -> None:
        with self._source.snapshot():
            mailbox = self._mailbox(mailbox_id)
            account = mailbox.account_id if mailbox else self._roster.account_of(mailbox_id)
            if account is None:
                self._log(f"The mailbox {mailbox_id} is gone, and nobody knows whose it was.")
                return
            if self._roster.is_left_out(account):
                return
            for event in events:
                if isinstance(event, Unreadable):
                    self._uncertainty.add(account, self._clock(), event.reason)
            base = self._base(account, mailbox, mailbox_id)
            operations = [self._operation(event, base) for event in events]
            self._replay(account, base).apply(mailbox, operations)

    def _base(self, account: AccountId, mailbox: Mailbox | None, mailbox_id: int) -> int:
        """Return what is added to the numbers of a mailbox: those of an account only grow."""
        if mailbox is None:
            return base_of(self._path, account, mailbox_id)
        return era_base(self._path, self._writer, mailbox)

    def _finish(self, asked: Mapping[AccountId, _Asked], events: Iterable[Event]) -> bool:
        """Do what has to wait for the end of the log; False if there was nothing."""
        settled = self._settle(asked, events)
        unsure = self._roster.save()
        for account, reason in (unsure or {}).items():
            self._uncertainty.add(account, self._clock(), reason)
        if unsure is not None:
            self._uncertainty.prune()
        return settled or unsure is not None

    def _ask_pending(self) -> dict[AccountId, _Asked]:
        """Ask which of the items that wait are there, before the log is read on.

        What the database shows has its record in the log before: an account of which the log then
        has nothing new is as it was asked.
        """
        found: dict[AccountId, _Asked] = {}
        for account, pending in list(self._pending.items()):
            if not pending or self._roster.is_left_out(account):
                del self._pending[account]
            elif pending.doomed or self._is_idle:
                with self._source.snapshot():
                    mailbox = self._source.mailbox(account)
                    alive = self._replay(account).living(mailbox) if mailbox else None
                    found[account] = _Asked(mailbox.mailbox_id if mailbox else 0, alive)
        return found

    def _settle(self, asked: Mapping[AccountId, _Asked], events: Iterable[Event]) -> bool:
        """Decide what waits, in all accounts of which the log had nothing new."""
        news = {
            event.record.envelope.mailbox_id if isinstance(event, Committed) else None
            for event in events
        }
        open_now = self._open_mailboxes()
        done = False
        for account, found in asked.items():
            if found.mailbox_id in news | open_now or None in news:
                continue
            if found.alive is None:
                del self._pending[account]
                done = True
            else:
                done |= self._replay(account).settle(found.alive)
        return done

    def _open_mailboxes(self) -> Set[int]:
        """Return the mailboxes with an operation under way; not those that a crash left open."""
        now = self._clock()
        found = self._follower.open_operations
        self._open_since = {txn: self._open_since.get(txn, now) for txn in found}
        return {
            mailbox_id
            for txn, mailbox_id in found.items()
            if now - self._open_since[txn] <= _LONGEST_COMMIT
        }

    def _operation(self, event: Committed | Unreadable, base: int) -> Operation:
        if isinstance(event, Unreadable):
            now = self._clock()
            number = _numbered(event.change_id, base)
            return Operation(name="", fields={}, mod=number, start=now, source=f"log:{to_ms(now)}")
        record, envelope = event.record, event.record.envelope
        name = record.op if record.layout is not None and record.op else ""
        content = None
        if name in CARRYING:
            is_message = name not in _DOCUMENTS
            content = self._contents.of(record.fields, event.log, is_message=is_message)
        # A time that no server has would be no time of ours either.
        began_ms = envelope.timestamp if envelope.has_dates else event.committed_at
        return Operation(
            name=name,
            fields=record.fields,
            mod=_numbered(envelope.change_id, base),
            start=from_ms(began_ms),
            source=f"log:{event.log.header.sequence}:{record.offset}",
            content=content,
        )

    def _mailbox(self, mailbox_id: int) -> Mailbox | None:
        try:
            return self._source.mailbox_of(mailbox_id)
        except ItemError as error:
            self._log(f"Mailbox {mailbox_id} cannot be read: {error}")
            self._uncertainty.add_all(self._clock(), f"mailbox {mailbox_id} cannot be read")
            return None

    def _replay(self, account: AccountId, base: int = 0) -> Replay:
        known = self._known.pop(account, None)
        known = known or Known(self._path, self._writer, account, self._catalog)
        # Moved to the end: those used last are the last to go.
        self._known[account] = known
        return Replay(
            source=Numbered(self._source, base),
            writer=self._writer,
            keeper=self._keeper,
            known=known,
            account=account,
            pending=self._pending.setdefault(account, Pending()),
            uncertain=lambda reason: self._uncertainty.add(account, self._clock(), reason),
        )

    def _commit(self) -> None:
        self._writer.commit()
        for known in self._known.values():
            known.committed()
        self._forget_least_used()
        for account, item, error in self._writer.refused:
            self._log(f"{account}, item {item}: {error}")
            if isinstance(error, DamagedBackup | LostBlob):
                self._suspect(account, item)
            self._uncertainty.add(account, self._clock(), f"item {item} cannot be saved: {error}")
        self._writer.refused.clear()
        self._save_position()

    def _forget_least_used(self) -> None:
        """Keep memory flat: what is needed again is read again."""
        held = sum(known.size for known in self._known.values())
        for account, known in list(self._known.items())[:-1]:
            if len(self._known) <= _ACCOUNTS_KEPT and held <= _ITEMS_KEPT:
                return
            held -= known.size
            del self._known[account]

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

    def _count(self, events: list[Event]) -> None:
        committed = [event.committed_at for event in events if isinstance(event, Committed)]
        self._events += len(committed)
        # What is read once more, after the log was cut, does not make the scanner late.
        committed = [each for each in committed if each > (self._last_change_ms or 0)]
        if committed:
            self._last_change_ms = max(committed)
            self._lag_ms = max(to_ms(self._clock()) - min(committed), 0)

    def _note_gap(self, gap: Gap) -> None:
        self._uncertainty.add_all(self._clock(), gap.reason)
        self._log(f"The redo log has a gap after {gap.after}, until {gap.until}: {gap.reason}")
        self._tell_gap(gap)


def _numbered(change_id: int, base: int) -> int:
    """Return the number that a change has in the Backup Path; -1 is none."""
    return change_id + base if change_id > 0 else change_id
