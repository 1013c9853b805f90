"""Account Scan: bring one account's histories up to the mail server.

The set of (item id, change number) decides: what has a greater number than its last line, or no
line, is read and appended; what has a living line and is gone from the server is marked deleted. So
a scan that was killed, or ran beside another producer, simply finds less to do the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.pending import next_scan_id
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import BackupError, ItemError
from backupng.engine.mailserver.port import Census, Source
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    ItemId,
    ItemState,
    Mailbox,
    MailboxState,
)
from backupng.engine.scan.beside import SCANNER_ROLE, Beside, doomed
from backupng.engine.scan.blobs import BlobKeeper
from backupng.engine.scan.comparison import Comparer, Counted
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.ending import AccountResult, Gathered, end
from backupng.engine.scan.era import Numbered, begins_anew, era_base
from backupng.engine.scan.sound import SoundBlobs
from backupng.engine.scan.uncertainty import Doubts, uncertain

AT_ONCE: Final = 500
"""So many items are read and written together."""
_NO_END: Final = 2**62
"""Above every change number."""


@dataclass(slots=True)
class AccountScan:
    """One scan of one account. `failures` are the items that could not be saved, with why."""

    source: Source
    path: BackupPath
    writer: Writer
    started: datetime
    tick: Callable[[int, int], None]
    beside: Beside
    _waiting: int = 0
    """How many items wait in the writer's group."""
    _doubts: Doubts = field(init=False)
    _scan_id: str = field(init=False)
    """What states found by this scan name as their source."""

    def __post_init__(self) -> None:
        self._doubts = Doubts(self.path)
        self._scan_id = f"scan:{next_scan_id(self.path, self.started)}"

    def run(
        self, account: DirectoryEntry, counts: ScanCounts, *, deep: bool = False
    ) -> AccountResult:
        """Scan the account; commits on the way, at its end all of it is durable."""
        return end(self.writer, [self.gather(account, counts, deep=deep)])[0]

    def gather(
        self, account: DirectoryEntry, counts: ScanCounts, *, deep: bool = False
    ) -> Gathered:
        """Scan the account and leave the rest of it to `end`: with others, which is faster.

        `deep` compares every item even where nothing seems to have changed, and reads every blob
        that it relies on: a damaged or lost one is kept anew. An uncertain account is always
        compared as a whole, but lost blobs alone are looked for there. All of it can be done again
        after a transient error: what was read until then is saved, and stays counted.
        """
        checked = counts.items_checked
        try:
            return self._gather(AccountId(account.entry_id), counts, deep=deep)
        except BackupError as error:
            if error.transient:
                counts.items_checked = checked
                self.writer.commit()
            raise

    def _gather(self, account_id: AccountId, counts: ScanCounts, *, deep: bool) -> Gathered:
        self.writer.follow(account_id)
        with self.source.snapshot():
            glance = self._look(account_id, deep=deep)
            counted = self._count(glance)
        counts.items_checked += glance.census.count
        mailbox = glance.mailbox
        if mailbox is None or glance.settled:
            return Gathered(mailbox=mailbox)
        if begins_anew(glance.last, mailbox):
            # The scanner first writes all that it still has to say of the mailbox before.
            self.beside.wait(lambda: self.tick(0, len(counted.heads)))
        base = era_base(self.path, self.writer, mailbox, is_lost=glance.last is None)
        found = self._run_at(base, mailbox, counted, counts, deep=deep)
        if found is None:
            base = era_base(self.path, self.writer, mailbox, went_back=True)
            found = self._run_at(base, mailbox, counted, counts, deep=deep, anew=True)
        return found or Gathered(mailbox=mailbox)

    def _count(self, glance: Glance) -> Counted:
        """Read the numbers of what was looked at, in the same snapshot."""
        if glance.mailbox is None or glance.settled:
            return Counted(heads={}, mark=glance.census.mark, fresh=0)
        last, fresh = glance.last, 0
        if last is not None:
            fresh = self.source.dated(glance.mailbox, last.mod - last.base + 1)
        heads = self.source.heads(glance.mailbox)
        return Counted(heads=heads, mark=glance.census.mark, fresh=fresh)

    def _run_at(
        self,
        base: int,
        mailbox: Mailbox,
        counted: Counted,
        counts: ScanCounts,
        *,
        deep: bool,
        anew: bool = False,
    ) -> Gathered | None:
        """Scan with the numbers of an era; None: the mailbox went back, and another era begins."""
        if not base:
            return self._run(mailbox, counted, counts, base=base, deep=deep, anew=anew)
        heads = {item: mod + base for item, mod in counted.heads.items()}
        scan = replace(self, source=Numbered(self.source, base))
        counted = replace(counted, heads=heads)
        return scan._run(mailbox, counted, counts, base=base, deep=deep, anew=anew)

    def glance(self, account: DirectoryEntry, *, deep: bool = False) -> Glance:
        """Look, without reading any item, whether there is anything to do for a scan."""
        with self.source.snapshot():
            return self._look(AccountId(account.entry_id), deep=deep)

    def _look(self, account: AccountId, *, deep: bool) -> Glance:
        mailbox = self.source.mailbox(account)
        if mailbox is None:
            return Glance(None, Census(count=0, mark=""), None, news=0, settled=True)
        census, last = self.source.census(mailbox), self._last_scan(account)
        if last is None or deep or begins_anew(last, mailbox):
            return Glance(mailbox, census, last, news=census.count, settled=False)
        is_settled = _unchanged(last, census.mark, mailbox) and self._doubts.of(account) is None
        if is_settled and (not self._has_gone_on(account) or self.path.is_writing(SCANNER_ROLE)):
            return Glance(mailbox, census, last, news=0, settled=True)
        news = len(self.source.changed(mailbox, last.mod - last.base + 1, _NO_END))
        return Glance(mailbox, census, last, news=news, settled=False)

    def _run(
        self,
        mailbox: Mailbox,
        counted: Counted,
        counts: ScanCounts,
        *,
        base: int,
        deep: bool,
        anew: bool,
    ) -> Gathered | None:
        account_id, heads, mark = mailbox.account_id, counted.heads, counted.mark
        last = self._last_scan(account_id)
        beside = self.beside.wait(lambda: self.tick(0, len(heads)))
        doubtful = uncertain(self.path, account_id) is not None
        found = None
        blobs = SoundBlobs(self.path, self.writer, lambda: self.tick(0, len(heads)), reads=deep)
        comparer = Comparer(self.source, self.path, blobs, mailbox)
        if last and last.mark and not (deep or doubtful or begins_anew(last, mailbox)):
            is_told = beside or not self._has_gone_on(account_id)
            found = comparer.compare_changed(last, counted, is_told=is_told)
        if found is None:
            found = comparer.compare(heads, deep=deep or doubtful)
            if last and not anew and comparer.went_back(found.known, base):
                return None
        seen = _Seen(
            mailbox=mailbox, heads=heads, known=found.known, since=last.start if last else None
        )
        failures = found.unreadable + self._save(seen, found.news, counts, beside=beside)
        deleted = self._mark_deleted(seen, counts, beside=beside)
        state = MailboxState(
            start=self.started,
            mod=max(heads.values(), default=base),
            mailbox=mailbox,
            mark=Census.uncounted(mark) if seen.passed else mark,
            base=base,
        )
        changed = not (last and _unchanged(last, mark, mailbox)) or bool(found.news or deleted)
        return Gathered(mailbox=mailbox, state=state, changed=changed, failures=failures)

    def _has_gone_on(self, account: AccountId) -> bool:
        """Say whether anybody has written to an account since its last scan came to its end.

        What a scanner saved then, and is gone by now, no number of the mail server tells of; a
        scanner at work reads of its deletion in the log. True where the file system tells nothing.
        """
        return self.path.stamp(account) != self.path.tree.stamp(layout.mailbox_file(account))

    def _last_scan(self, account: AccountId) -> MailboxState | None:
        """Return what the last scan found; None also if that history cannot be read.

        Then the account's items are compared one by one, and the writer refuses and so reports the
        damaged history: what can still be saved is saved.
        """
        try:
            earlier = self.path.mailbox_history(account)
        except ItemError:
            return None
        return earlier[-1] if earlier else None

    def _save(
        self, seen: _Seen, items: list[ItemId], counts: ScanCounts, *, beside: bool
    ) -> list[tuple[ItemId, ItemError]]:
        failures: list[tuple[ItemId, ItemError]] = []
        keeper = BlobKeeper(self.source, self.writer, counts)
        done = 0
        seen.passed.update(items)
        for some in _batches(items):
            for item, found in self._read(seen.mailbox, some):
                if beside and isinstance(found, ItemState) and found.mod > seen.heads[item]:
                    # It has changed since: the scanner is about to write that.
                    continue
                seen.passed.discard(item)
                try:
                    state = keeper.keep(seen.mailbox, _require(found))
                except ItemError as error:
                    if self._still_there(seen.mailbox, item, found):
                        failures.append((item, error))
                    else:
                        seen.passed.add(item)
                    continue
                self._add(seen, state, counts)
            self._commit_if_many(len(some))
            done += len(some)
            self.tick(done, len(items))
        return failures

    def _commit_if_many(self, more: int) -> None:
        self._waiting += more
        if self._waiting >= AT_ONCE:
            self.writer.commit()
            self._waiting = 0

    def _add(self, seen: _Seen, state: ItemState, counts: ScanCounts) -> None:
        last = seen.known.get(state.item_id)
        start = last.start if last and last.mod == state.mod else self._moment(state, seen)
        self.writer.add_states(
            seen.mailbox.account_id, [replace(state, start=start, source=self._scan_id)]
        )
        counts.items_new += last is None or last.deleted
        counts.items_updated += last is not None and not last.deleted and state.mod > last.mod

    def _read(
        self, mailbox: Mailbox, items: Iterable[ItemId]
    ) -> list[tuple[ItemId, ItemState | ItemError]]:
        with self.source.snapshot():
            return list(self.source.states(mailbox, items))

    def _still_there(self, mailbox: Mailbox, item: ItemId, found: ItemState | ItemError) -> bool:
        """Say whether a failed item is a failure: one deleted or changed meanwhile is not."""
        now = dict(self._read(mailbox, [item])).get(item)
        if isinstance(now, ItemState) and isinstance(found, ItemState):
            return now.mod == found.mod
        return now is not None

    def _moment(self, state: ItemState, seen: _Seen) -> datetime:
        """Return from when on a state found now held.

        The server's own date counts if it lies after what we knew before; of an account new to us
        we promise nothing before the scan.
        """
        last = seen.known.get(state.item_id)
        floor = last.start if last else seen.since
        if floor is None or not floor < state.start <= self.started:
            return self.started
        return state.start

    def _mark_deleted(self, seen: _Seen, counts: ScanCounts, *, beside: bool) -> int:
        """Mark what is gone; returns how many items that were."""
        account, highest = seen.mailbox.account_id, max(seen.heads.values(), default=0)
        gone = {
            item: last
            for item, last in seen.known.items()
            if not last.deleted and item not in seen.heads
        }
        if beside:
            gone = self._surely_gone(seen.mailbox, gone, highest)
        for item, last in gone.items():
            state = ItemState(
                item_id=item,
                kind=last.kind,
                # The deletion was a later change than the last one seen of the item.
                mod=max(highest, last.mod + 1),
                start=max(self.started, last.start),
                source=self._scan_id,
                deleted=True,
            )
            self.writer.add_states(account, [state])
            counts.items_deleted += 1
        return len(gone)

    def _surely_gone(
        self, mailbox: Mailbox, gone: Mapping[ItemId, ItemState], highest: int
    ) -> dict[ItemId, ItemState]:
        """Leave out what the scanner has written since the snapshot, or is about to write.

        What has a higher number than all of the snapshot may be newer than it: it is looked for
        again, and the scanner waited for once more.
        """
        left = doomed(self.path, mailbox.account_id)
        surely = {
            item: last for item, last in gone.items() if last.mod <= highest and item not in left
        }
        newer = sorted(gone.keys() - surely.keys() - left)
        if not newer:
            return surely
        present = dict(self._read(mailbox, newer))
        if not self.beside.wait(lambda: self.tick(0, 0)):
            return surely
        for item in newer:
            last = None if item in present else self._last(mailbox.account_id, item)
            if last is not None and not last.deleted:
                surely[item] = last
        return surely

    def _last(self, account: AccountId, item: ItemId) -> ItemState | None:
        try:
            return self.path.last_state(account, item)
        except ItemError:
            return None


@dataclass(frozen=True, slots=True)
class Glance:
    """A mailbox counted beside what the last scan found; None of an account never opened.

    `settled`: there is nothing to do. `news` is about how many items are new or changed.
    """

    mailbox: Mailbox | None
    census: Census
    last: MailboxState | None
    news: int
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A mailbox as the snapshot has it, beside what the backup has; `since` is the last scan."""

    mailbox: Mailbox
    heads: Mapping[ItemId, int]
    known: Mapping[ItemId, ItemState]
    since: datetime | None
    passed: set[ItemId] = field(default_factory=set)
    """Items of the snapshot that went, or changed once more, before they were read."""


def _require(found: ItemState | ItemError) -> ItemState:
    if isinstance(found, ItemError):
        raise found
    return found


def _unchanged(last: MailboxState, mark: str, mailbox: Mailbox) -> bool:
    return last.mark == mark and not last.unread and last.mailbox.sections == mailbox.sections


def _batches(items: list[ItemId]) -> Iterator[list[ItemId]]:
    source = iter(items)
    while some := list(islice(source, AT_ONCE)):
        yield some
