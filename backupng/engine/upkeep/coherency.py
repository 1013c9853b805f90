"""Coherency Check: read everything that a Backup Path holds, and say what is not as it should be.

One pass over the metadata notes what refers to which blob, one over the blobs compares: both in the
order of names, so that memory does not grow with the tree. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from backupng.engine.backuppath import customizations, layout, mapfile
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.pending import Frontier
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BrokenItem, ReadError
from backupng.engine.mailserver.reckoning import Reckoning
from backupng.engine.model import AccountId, Digest, ItemState, to_ms
from backupng.engine.upkeep import coherency_metadata as reading
from backupng.engine.upkeep.coherency_blobs import BlobCheck
from backupng.engine.upkeep.coherency_findings import Finding, Findings, Flaw
from backupng.engine.upkeep.coherency_metadata import Examined, History
from backupng.engine.upkeep.coherency_references import References

Tick = Callable[[int, int, str], None]
"""Called with how much of how much is done, and what comes next; may raise Stopped."""

_TOP: Final = frozenset(
    each.name
    for each in (
        *(layout.FORMAT, layout.CHECKPOINT, layout.ACCOUNTS, layout.SERVER),
        *(layout.BLOBS, layout.QUARANTINE),
    )
) | {"lost+found"}
_PAUSE_EVERY: Final = 500
_ON_ITS_WAY: Final = timedelta(hours=1)
"""A blob touched so lately may be about to be referred to; a history may have grown since."""
_NS: Final = 1_000_000


@dataclass(slots=True)
class CoherencyCheck:
    """One check of one tree, of all its accounts or of some."""

    path: BackupPath
    started: datetime
    tick: Tick
    accounts: Collection[AccountId] | None = None
    """Those to look at; None is all, the directory and the orphans too."""
    findings: Findings = field(default_factory=Findings)
    looks_twice: bool = False
    """Whether blobs that cannot be read are tried as compressed twice."""
    _done: int = 0
    _total: int = 0
    _is_blind: bool = False
    """Whether there is metadata that nothing is known of: then nobody knows what is an orphan."""

    def run(self) -> Findings:
        """Check. Raises Stopped, and BackupPathError or BadRequest for the tree as a whole."""
        with References() as references:
            self._read_metadata(references)
            # Of what lies behind a link or in a folder that cannot be read nothing is known.
            self._is_blind |= self.findings.hides_references
            BlobCheck(
                self.path,
                references,
                self.findings,
                pause=lambda place: self.tick(self._done, self._total, place),
                is_whole=self.accounts is None,
                looks_twice=self.looks_twice,
            ).run()
            if references.has_unclaimed():
                self._claim_late(references)
                self._tell_orphans(references)
        return self.findings

    # Metadata

    def _read_metadata(self, references: References) -> None:
        accounts = list(self._accounts())
        self._total = len(accounts) + 1
        if self.accounts is None:
            reading.check_top(self.path, self.findings, _TOP)
            reading.check_checkpoints(self.path, self.findings)
            self._read_whole_files()
            entries = reading.entries_of(self.path, self.findings)
            self._read_all(entries, reading.frontier_of(self.path, None), references)
        for account in accounts:
            self.tick(self._done, self._total, account)
            frontier = reading.frontier_of(self.path, account)
            last, unread = reading.last_scan(self.path, account), self.findings.unread
            found = reading.histories_of(self.path, account, self.findings)
            reckoning = None if last is None else Reckoning(last)
            self._read_all(found, frontier, references, reckoning)
            if reckoning is not None and self.findings.unread == unread:
                self._tell_missing(account, reckoning)
            self._read_whole_file(layout.id_mapper(account), mapfile.check)
            self.findings.counts["accounts"] += 1
            self._done += 1

    def _accounts(self) -> Iterable[AccountId]:
        if self.accounts is not None:
            return sorted(self.accounts)
        return reading.accounts_of(self.path, self.findings)

    def _tell_missing(self, account: AccountId, reckoning: Reckoning) -> None:
        """Tell of what the account's last scan saw and the tree has not any more."""
        missing = reckoning.missing(reading.last_scan(self.path, account))
        if missing is not None:
            folder = layout.items_folder(account)
            found = Finding(Flaw.MISSING_STATES, folder, str(missing), account, missing.item)
            self.findings.add(found)
            # What they named, nobody knows.
            self.findings.is_blind = True

    def _read_all(
        self,
        found: Iterable[History],
        frontier: Frontier | None,
        references: References,
        reckoning: Reckoning | None = None,
    ) -> None:
        for number, history in enumerate(found, 1):
            examined = reading.examine(self.path, history, frontier)
            self._count(history, examined)
            references.add(reading.references_of(history, examined, frontier))
            if reckoning is not None and history.item:
                _reckon(reckoning, history, examined)
            if number % _PAUSE_EVERY == 0:
                self.tick(self._done, self._total, str(history.path.parent))

    def _read_whole_files(self) -> None:
        """Read what is replaced or made as a whole: maps of imports, archives of configuration."""
        # A folder that cannot be read is told of where its other files are looked at.
        with suppress(ReadError):
            for name in mapfile.maps_of(self.path.tree):
                self._read_whole_file(Place(name), mapfile.check)
        with suppress(ReadError):
            for archive in customizations.archives(self.path.tree):
                self._read_whole_file(layout.SERVER / archive.name, customizations.check)

    def _read_whole_file(self, file: Place, check: Callable[[Tree, Place], int | None]) -> None:
        """Read a file; what is lost with it is no account's."""
        try:
            length = check(self.path.tree, file)
        except (ReadError, BrokenItem) as error:
            flaw = Flaw.READ_ERROR if isinstance(error, ReadError) else Flaw.BROKEN_METADATA
            self.findings.add(Finding(flaw, file, str(error)))
            return
        if length is not None:
            self.findings.counts["metadata_files"] += 1
            self.findings.counts["bytes_read"] += length

    def _count(self, history: History, examined: Examined) -> None:
        counts = self.findings.counts
        counts["metadata_files"] += 1
        counts["states"] += len(examined.states)
        counts["bytes_read"] += examined.length
        counts["torn_tails"] += examined.is_torn
        counts["pending"] += examined.is_pending
        if examined.flaw and (examined.is_cut or not examined.raw):
            self._is_blind = True
        if examined.flaw:
            self.findings.add(
                Finding(examined.flaw, history.path, examined.why, history.account, history.item)
            )

    # Orphans

    def _claim_late(self, references: References) -> None:
        """Take back what was referred to by lines that came after their history was read."""
        unread = Findings()
        for digest in late_digests(self.path, self.started, self.tick_quietly, unread):
            references.claim([digest])
        self._is_blind |= unread.hides_references

    def tick_quietly(self) -> None:
        """Give a chance to stop where there is no progress to tell."""
        self.tick(self._done, self._total, "orphans")

    def _tell_orphans(self, references: References) -> None:
        """Tell of what nobody refers to, as far as nobody can be about to."""
        before_ns = None
        if self.path.has_writers():
            before_ns = to_ms(self.started - _ON_ITS_WAY) * _NS
        for digest, changed_ns in references.unclaimed():
            if self._is_blind:
                self.findings.counts["unjudged"] += 1
            elif before_ns is None or changed_ns < before_ns:
                file = layout.blob_file(digest)
                self.findings.add(Finding(Flaw.ORPHAN, file, "no metadata refers to it"))
            else:
                self.findings.counts["on_their_way"] += 1


def _reckon(reckoning: Reckoning, history: History, examined: Examined) -> None:
    last = examined.states[-1] if examined.states else None
    is_whole = not (examined.flaw or examined.is_torn or examined.is_pending)
    if isinstance(last, ItemState) and is_whole:
        start_ms = to_ms(last.start)
        reckoning.add(last.item_id, mod=last.mod, start_ms=start_ms, deleted=last.deleted)
    else:
        reckoning.doubt(history.item)


def late_digests(
    path: BackupPath, since: datetime, pause: Callable[[], None], unread: Findings
) -> Iterable[Digest]:
    """Yield what histories changed since a moment refer to; those that cannot be read: `unread`.

    When they were changed the file system tells by a clock of its own, which may lag behind ours.
    """
    since_ns = to_ms(since - _ON_ITS_WAY) * _NS
    for account in reading.accounts_of(path, unread):
        pause()
        for history in reading.histories_of(path, account, unread):
            yield from _late_of(path, history, since_ns, unread)
    for history in reading.entries_of(path, unread):
        yield from _late_of(path, history, since_ns, unread)


def _late_of(
    path: BackupPath, history: History, since_ns: int, unread: Findings
) -> Iterable[Digest]:
    if not _is_changed(path, history, since_ns):
        return
    examined = reading.examine(path, history)
    if examined.flaw and not examined.raw:
        unread.add(Finding(Flaw.READ_ERROR, history.path, examined.why))
    yield from (each for each, _ in examined.bulk)
    for each in reading.references_of(history, examined, None):
        yield each.digest


def _is_changed(path: BackupPath, history: History, since_ns: int) -> bool:
    try:
        mark = path.tree.mark(history.path)
    except ReadError:
        return True
    return bool(mark) and mark[3] >= since_ns
