"""class Hands: what one process needs to scan accounts, of all of them or of a share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.model import DirectoryEntry
from backupng.engine.scan.account import AccountScan, Glance
from backupng.engine.scan.beside import Beside
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.ending import AccountResult, Gathered, end
from backupng.engine.scan.patience import Patience

Tell: TypeAlias = Callable[[ScanCounts | str], None]
"""Takes the counts so far, often, or a line of the log; raises Stopped to end the work."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the scan of one account found and counted."""

    result: AccountResult
    counts: ScanCounts


@dataclass(slots=True)
class Hands:
    """Scans accounts one after the other."""

    source: Source
    path: BackupPath
    writer: Writer
    started: datetime
    deep: bool
    first_pause_s: float
    _tell: Tell = lambda _said: None
    _counts: ScanCounts = field(default_factory=ScanCounts)
    _beside: Beside = field(init=False)
    _patience: Patience = field(init=False)
    _scan: AccountScan = field(init=False)

    def __post_init__(self) -> None:
        # One for all accounts: what it has learnt of the scanner holds for the next one too.
        self._beside = Beside(self.source, self.path, log=self.log)
        self._patience = Patience(log=self.log, pause=self._pause, first_s=self.first_pause_s)
        self._scan = AccountScan(
            self.source,
            self.path,
            self.writer,
            self.started,
            lambda _done, _all: self._pause(),
            self._beside,
        )

    def glance(self, account: DirectoryEntry, tell: Tell) -> Glance | None:
        """Look at an account; None if only its scan can tell what is wrong with it."""
        self._tell = tell
        try:
            return self._patience.run(lambda: self._scan.glance(account, deep=self.deep))
        except ItemError:
            return None

    def scan(self, accounts: Iterable[tuple[DirectoryEntry, Tell]]) -> list[Scanned]:
        """Scan accounts, each with whom to tell about it; at the end all of it is durable."""
        gathered: list[tuple[Gathered, ScanCounts]] = []
        for account, tell in accounts:
            gathered.append(self._gather(account, tell))
        ended = end(self.writer, [found for found, _ in gathered])
        return [
            Scanned(replace(found, mailbox=None), counts)
            for found, (_, counts) in zip(ended, gathered, strict=True)
        ]

    def _gather(self, account: DirectoryEntry, tell: Tell) -> tuple[Gathered, ScanCounts]:
        self._tell, self._counts = tell, ScanCounts()
        self._pause()
        counts = self._counts
        found = self._patience.run(lambda: self._scan.gather(account, counts, deep=self.deep))
        return found, counts

    def log(self, line: str) -> None:
        """Pass a line on to the log."""
        self._tell(line)

    def _pause(self) -> None:
        self._tell(replace(self._counts))
