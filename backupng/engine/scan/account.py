"""Account Scan: bring one account's histories up to the mail server.

The set of (item id, change number) decides: what has a greater number than its last line, or no
line, is read and appended; what has a living line and is gone from the server is marked deleted. So
a scan that was killed, or ran beside another producer, simply finds less to do the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Final

from backupng.engine.backuppath.histories import digests_of
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Census, Source
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    ItemId,
    ItemState,
    Mailbox,
    MailboxState,
    to_ms,
)
from backupng.engine.scan.beside import Beside, doomed
from backupng.engine.scan.blobs import BlobKeeper
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.era import Numbered, begins_anew, era_base
from backupng.engine.scan.uncertainty import uncertain

_AT_ONCE: Final = 500
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

    def run(
        self, account: DirectoryEntry, counts: ScanCounts, *, deep: bool = False
    ) -> AccountResult:
        """Scan the account; commits on the way, at its end all of it is durable.

        `deep` compares every item even where nothing seems to have changed, and reads lost blobs
        again; an uncertain account is always compared so.
        """
        account_id = AccountId(account.entry_id)
        heads: Mapping[ItemId, int] = {}
        with self.source.snapshot():
            glance = self._look(account_id, deep=deep)
            if glance.mailbox and not glance.settled:
                heads = self.source.heads(glance.mailbox)
        counts.items_checked += glance.census.count
        mailbox = glance.mailbox
        if mailbox is None or glance.settled:
            return AccountResult(changed=False, failures=[], mailbox=mailbox)
        if begins_anew(glance.last, mailbox):
            # The scanner first writes all that it still has to say of the mailbox before.
            self.beside.wait(lambda: self.tick(0, len(heads)))
        base = era_base(self.path, self.writer, mailbox)
        if base:
            heads = {item: mod + base for item, mod in heads.items()}
            scan = replace(self, source=Numbered(self.source, base))
            return scan._run(mailbox, heads, glance.census.mark, counts, base=base, deep=deep)
        return self._run(mailbox, heads, glance.census.mark, counts, base=base, deep=deep)

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
        if _unchanged(last, census.mark, mailbox) and uncertain(self.path, account) is None:
            return Glance(mailbox, census, last, news=0, settled=True)
        news = len(self.source.changed(mailbox, last.mod - last.base + 1, _NO_END))
        return Glance(mailbox, census, last, news=news, settled=False)

    def _run(
        self,
        mailbox: Mailbox,
        heads: Mapping[ItemId, int],
        mark: str,
        counts: ScanCounts,
        *,
        base: int,
        deep: bool,
    ) -> AccountResult:
        account_id = mailbox.account_id
        last = self._last_scan(account_id)
        beside = self.beside.wait(lambda: self.tick(0, len(heads)))
        doubtful = uncertain(self.path, account_id) is not None
        found = None
        if last and last.mark and not (deep or doubtful or begins_anew(last, mailbox)):
            found = self._compare_changed(last, mark, heads)
        found = found or self._compare(account_id, heads, deep=deep or doubtful)
        seen = _Seen(
            mailbox=mailbox, heads=heads, known=found.known, since=last.start if last else None
        )
        failures = found.unreadable + self._save(seen, found.news, counts, beside=beside)
        self._mark_deleted(seen, counts, beside=beside)
        failures += self._commit()
        self.writer.add_mailbox(
            MailboxState(
                start=self.started,
                mod=max(heads.values(), default=base),
                mailbox=mailbox,
                mark=mark,
                base=base,
                unread=tuple(sorted(item for item, _ in failures)),
            )
        )
        failures += self._commit()
        changed = not (last and _unchanged(last, mark, mailbox)) or bool(found.news)
        return AccountResult(changed=changed, failures=failures, mailbox=mailbox)

    def _compare_changed(
        self, last: MailboxState, mark: str, heads: Mapping[ItemId, int]
    ) -> _Comparison | None:
        """Compare what can have changed since the last scan, which has compared all the rest.

        None if that does not tell why the account has another mark now.
        """
        account = last.mailbox.account_id
        kept = set(self.path.items(account))
        suspects = {item for item, mod in heads.items() if mod > last.mod or item not in kept}
        suspects |= (kept - heads.keys()) | set(last.unread)
        known, unreadable = self._known(account, sorted(suspects & kept))
        present = {item: heads[item] for item in suspects if item in heads}
        found = self._news(present, known, unreadable, deep=False)
        gone = any(not state.deleted and item not in heads for item, state in known.items())
        is_explained = bool(found.news or unreadable or gone or last.mark == mark)
        return found if is_explained else None

    def _compare(
        self, account: AccountId, heads: Mapping[ItemId, int], *, deep: bool
    ) -> _Comparison:
        """Say which items are to be read: newer than the backup's, without row, without blob."""
        known, unreadable = self._known(account, self.path.items(account))
        return self._news(heads, known, unreadable, deep=deep)

    def _news(
        self,
        heads: Mapping[ItemId, int],
        known: dict[ItemId, ItemState],
        unreadable: list[tuple[ItemId, ItemError]],
        *,
        deep: bool,
    ) -> _Comparison:
        unscanned = {item for item, _ in unreadable}
        news = sorted(
            item
            for item, mod in heads.items()
            if item not in unscanned and self._is_wanted(known.get(item), mod, deep=deep)
        )
        return _Comparison(known, news, unreadable)

    def _is_wanted(self, last: ItemState | None, mod: int, *, deep: bool) -> bool:
        if last is None or last.mod < mod:
            return True
        if last.deleted or last.mod > mod:
            return False
        return not last.row or (deep and self._lacks_blob(last))

    def _lacks_blob(self, state: ItemState) -> bool:
        return not all(map(self.writer.has_blob, digests_of(state)))

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

    def _commit(self) -> list[tuple[ItemId, ItemError]]:
        """Write what waits; return what the Backup Path refused."""
        self.writer.commit()
        refused = [(item, error) for _, item, error in self.writer.refused]
        self.writer.refused.clear()
        return refused

    def _known(
        self, account: AccountId, items: Iterable[ItemId]
    ) -> tuple[dict[ItemId, ItemState], list[tuple[ItemId, ItemError]]]:
        """Return the last states of items in the backup, and the histories not readable."""
        known: dict[ItemId, ItemState] = {}
        failures: list[tuple[ItemId, ItemError]] = []
        for item in items:
            try:
                state = self.path.last_state(account, item)
            except ItemError as error:
                failures.append((item, error))
            else:
                if state is not None:
                    known[item] = state
        return known, failures

    def _save(
        self, seen: _Seen, items: list[ItemId], counts: ScanCounts, *, beside: bool
    ) -> list[tuple[ItemId, ItemError]]:
        failures: list[tuple[ItemId, ItemError]] = []
        keeper = BlobKeeper(self.source, self.writer, counts)
        done = 0
        for some in _batches(items):
            for item, found in self._read(seen.mailbox, some):
                if beside and isinstance(found, ItemState) and found.mod > seen.heads[item]:
                    # It has changed since: the scanner is about to write that.
                    continue
                try:
                    state = keeper.keep(seen.mailbox, _require(found))
                except ItemError as error:
                    if self._still_there(seen.mailbox, item, found):
                        failures.append((item, error))
                    continue
                self._add(seen, state, counts)
            self.writer.commit()
            done += len(some)
            self.tick(done, len(items))
        return failures

    def _add(self, seen: _Seen, state: ItemState, counts: ScanCounts) -> None:
        last = seen.known.get(state.item_id)
        start = last.start if last and last.mod == state.mod else self._moment(state, seen)
        self.writer.add_states(
            seen.mailbox.account_id, [replace(state, start=start, source=self.scan_id)]
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

    def _mark_deleted(self, seen: _Seen, counts: ScanCounts, *, beside: bool) -> None:
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
                source=self.scan_id,
                deleted=True,
            )
            self.writer.add_states(account, [state])
            counts.items_deleted += 1

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

    @property
    def scan_id(self) -> str:
        """What states found by this scan name as their source."""
        return f"scan:{to_ms(self.started)}"


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


@dataclass(frozen=True, slots=True)
class AccountResult:
    """Whether the account had changed, and which of its items could not be saved.

    `mailbox` is None for an account that was never opened.
    """

    changed: bool
    failures: list[tuple[ItemId, ItemError]]
    mailbox: Mailbox | None = None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The last states in the backup, the items to read, and the histories that are unreadable."""

    known: dict[ItemId, ItemState]
    news: list[ItemId]
    unreadable: list[tuple[ItemId, ItemError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A mailbox as the snapshot has it, beside what the backup has; `since` is the last scan."""

    mailbox: Mailbox
    heads: Mapping[ItemId, int]
    known: Mapping[ItemId, ItemState]
    since: datetime | None


def _require(found: ItemState | ItemError) -> ItemState:
    if isinstance(found, ItemError):
        raise found
    return found


def _unchanged(last: MailboxState, mark: str, mailbox: Mailbox) -> bool:
    return last.mark == mark and not last.unread and last.mailbox.sections == mailbox.sections


def _batches(items: list[ItemId]) -> Iterator[list[ItemId]]:
    source = iter(items)
    while some := list(islice(source, _AT_ONCE)):
        yield some
