"""SmartScan: all accounts whose mailboxes changed, then the directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import partial
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.pending import next_scan_id
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError, OperationError
from backupng.engine.mailserver.port import Source
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    ItemId,
    to_ms,
)
from backupng.engine.scan import customizations
from backupng.engine.scan.account import AT_ONCE
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.directory import DirectoryResult, DirectoryScan
from backupng.engine.scan.ending import AccountResult
from backupng.engine.scan.hands import Hands, Scanned
from backupng.engine.scan.patience import Patience

if TYPE_CHECKING:
    from backupng.engine.scan.crew import Work

ROLE: Final = "scan"
_CREW: Final = "backupng.engine.scan.crew"
"""Loaded when there is work for several processes."""
_SHARES: Final = 8
"""Into so many bundles the work of one process is cut: the last ones end at about one time."""
_LEAST: Final = 50

Tick = Callable[[int, int, str], None]


@dataclass(slots=True)
class ScanResult:
    """What a SmartScan did; `unreadable` maps account name to (item id, cause)."""

    counts: ScanCounts = field(default_factory=ScanCounts)
    accounts_scanned: int = 0
    accounts_new: int = 0
    accounts_updated: int = 0
    directory: DirectoryResult = field(default_factory=lambda: DirectoryResult([], frozenset()))
    unreadable: dict[str, list[tuple[ItemId, ItemError]]] = field(default_factory=dict)
    customizations: customizations.Kept | None = None


@dataclass(frozen=True, slots=True)
class CrewPlan:
    """How to share accounts among processes, at most `most`, if `least_news` items are to be read.

    `begin` opens the mail server and the Backup Path once more, in the process that calls it; `tie`
    ties that process to its parent.
    """

    most: int
    begin: Callable[[], AbstractContextManager[tuple[Source, BackupPath]]]
    tie: Callable[[], None]
    least_news: int = 500


@dataclass(slots=True)
class _Job:
    """An account to scan: how much there seems to be to read, and what came of it."""

    account: DirectoryEntry
    news: int
    known: bool
    counts: ScanCounts = field(default_factory=ScanCounts)
    found: AccountResult | None = None


@dataclass(slots=True)
class SmartScan:
    """One SmartScan of one mail server into its Backup Path."""

    source: Source
    path: BackupPath
    started: datetime
    tick: Tick
    log: Callable[[str], None]
    packer: Packer = field(default_factory=Packer)
    deep: bool = False
    skip_lists: bool = False
    customizations_zone: tzinfo | None = None
    """Archives of the server's configuration folders are named in it; None: none is made."""
    most_errors: int | None = None
    """With more unreadable items than so many the scan ends as failed; None: whatever comes."""
    result: ScanResult = field(default_factory=ScanResult)
    first_pause_s: float = 1.0
    """How long it waits for a mail server that does not answer, the first time."""
    crew: CrewPlan | None = None
    """How to share the accounts among processes; None: this one does all of them."""
    _place: tuple[int, int, str] = (0, 0, "")
    _jobs: dict[int, _Job] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def run(self, *, now: Callable[[], datetime]) -> ScanResult:
        """Scan. What cannot be read is counted and listed, and the scan goes on."""
        with self.path.writer(ROLE, packer=self.packer) as writer:
            directory = DirectoryScan(
                self.source, self.path, writer, started=self.started, skip_lists=self.skip_lists
            )
            patience = Patience(log=self.log, pause=self._pause, first_s=self.first_pause_s)
            reading = patience.run(directory.read)
            hands = self._hands(self.source, self.path, writer)
            self._plan(reading.accounts, hands)
            try:
                self._scan(hands)
            finally:
                self._tell_finished(all_of_them=True)
            self.result.directory = directory.save(reading)
            writer.commit()
            for entry_id, item, error in writer.refused:
                self.result.unreadable.setdefault(entry_id, []).append((item, error))
            writer.refused.clear()
            ended = {
                "id": next_scan_id(self.path, self.started),
                "started": to_ms(self.started),
                "ended": to_ms(now()),
            }
            said = {**self.path.checkpoint(), **self._keep_customizations(writer)}
            writer.set_checkpoint({**said, "smartscan": ended})
        return self.result

    def _keep_customizations(self, writer: Writer) -> Mapping[str, Any]:
        """Archive the configuration folders if they changed; return what that says of them."""
        if self.customizations_zone is None:
            return {}
        moment = self.started.astimezone(self.customizations_zone)
        self.result.customizations, said = customizations.keep(
            self.source.configuration(), self.path, writer, moment=moment, pause=self._pause
        )
        return said

    # What is to be done, and by whom

    def _plan(self, accounts: Sequence[DirectoryEntry], hands: Hands) -> None:
        """Look at every account; one that has not changed is done with that."""
        for number, account in enumerate(accounts):
            self._place = (self.result.accounts_scanned, len(accounts), account.name)
            self._pause()
            glance = hands.glance(account, self._take_glance)
            if glance is not None and glance.settled:
                self.result.counts.items_checked += glance.census.count
                self.result.accounts_scanned += 1
                continue
            known = glance is None or glance.last is not None or self._knows(account)
            self._jobs[number] = _Job(account, glance.news if glance else 0, known)

    def _scan(self, hands: Hands) -> None:
        plan, news = self.crew, sum(job.news for job in self._jobs.values())
        shared = plan is not None and news >= plan.least_news
        count = max(1, min(plan.most, len(self._jobs))) if plan and shared else 1
        bundles = _bundled(self._jobs, AT_ONCE if count < 2 else news // (count * _SHARES))
        if plan is None or count < 2:
            for bundle in bundles:
                self._take_done(bundle, hands.scan(self._each(bundle, self._take)))
            return
        crews = import_module(_CREW)
        with crews.Crew(count, partial(self._begin, plan, bundles), plan.tie) as crew:
            for said in crew.run(range(len(bundles)), self._pause):
                if isinstance(said, crews.Done):
                    self._take_done(bundles[said.job], said.result)
                else:
                    self._take(*said.what)

    @contextmanager
    def _begin(self, plan: CrewPlan, bundles: Sequence[list[int]]) -> Iterator[Work]:
        """Open what a worker works with, in its own process."""
        with plan.begin() as (source, path), path.writer(ROLE, packer=self.packer) as writer:
            hands = self._hands(source, path, writer)
            path.tell = hands.log
            yield lambda bundle, tell: hands.scan(
                self._each(bundles[bundle], lambda number, said: tell((number, said)))
            )

    def _each(
        self, bundle: Sequence[int], take: Callable[[int, ScanCounts | str], None]
    ) -> Iterator[tuple[DirectoryEntry, Callable[[ScanCounts | str], None]]]:
        return ((self._jobs[number].account, partial(take, number)) for number in bundle)

    def _hands(self, source: Source, path: BackupPath, writer: Writer) -> Hands:
        return Hands(source, path, writer, self.started, self.deep, self.first_pause_s)

    # What came of it

    def _pause(self) -> None:
        self.tick(*self._place)

    def _take_glance(self, said: ScanCounts | str) -> None:
        if isinstance(said, str):
            self.log(said)
        self._pause()

    def _take(self, number: int, said: ScanCounts | str) -> None:
        """Take what is told of an account while it is scanned."""
        job = self._jobs[number]
        if isinstance(said, ScanCounts):
            self._count(job, said)
        elif said not in self._said:
            # Two processes see the same trouble; it is told once.
            self._said.add(said)
            self.log(said)
        self._place = (self.result.accounts_scanned, self._place[1], job.account.name)
        self._pause()

    def _take_done(self, bundle: Sequence[int], found: Sequence[Scanned]) -> None:
        for number, scanned in zip(bundle, found, strict=True):
            job = self._jobs[number]
            self._count(job, scanned.counts)
            job.found = scanned.result
            self.result.accounts_scanned += 1
            if scanned.result.failures:
                self.result.unreadable[job.account.name] = scanned.result.failures
        self._tell_finished()
        self._require_readable()
        self._pause()

    def _count(self, job: _Job, counts: ScanCounts) -> None:
        """Add to the counts of the whole scan what has been counted for an account since."""
        self.result.counts += counts - job.counts
        job.counts = counts

    def _tell_finished(self, *, all_of_them: bool = False) -> None:
        """Log what was found, in the order of the accounts, whoever is done first."""
        for number in list(self._jobs) if all_of_them else self._first_finished():
            job = self._jobs.pop(number)
            if job.found is not None and job.found.changed:
                self.result.accounts_new += not job.known
                self.result.accounts_updated += job.known
                self.log(f"{job.account.name}: {_spelled(job.counts)}")

    def _first_finished(self) -> list[int]:
        return list(takewhile(lambda number: self._jobs[number].found is not None, self._jobs))

    def _require_readable(self) -> None:
        errors = sum(map(len, self.result.unreadable.values()))
        if self.most_errors is not None and errors > self.most_errors:
            raise OperationError(
                f"{errors} items could not be read, more than the {self.most_errors} allowed.",
                hint="The log names them. What was saved until then stays.",
            )

    def _knows(self, account: DirectoryEntry) -> bool:
        """Say whether the account was scanned before; one with a damaged history was."""
        try:
            return bool(self.path.mailbox_history(AccountId(account.entry_id)))
        except ItemError:
            return True


def _bundled(jobs: Mapping[int, _Job], size: int) -> list[list[int]]:
    """Put small accounts together: what ends together takes fewer groups.

    Largest first, or it would be the one that all wait for in the end.
    """
    bundles: list[list[int]] = []
    room, most = 0, max(_LEAST, min(size, AT_ONCE))
    for number in sorted(jobs, key=lambda number: -jobs[number].news):
        if room <= 0:
            bundles.append([])
            room = most
        bundles[-1].append(number)
        # Also one without news takes its time.
        room -= max(jobs[number].news, 1)
    return bundles


def _spelled(counts: ScanCounts) -> str:
    return f"{counts.items_new} new, {counts.items_updated} updated, {counts.items_deleted} deleted"
