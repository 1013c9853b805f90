"""SmartScan: all accounts whose mailboxes changed, then the directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError, OperationError
from backupng.engine.mailserver.port import Source
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    ItemId,
    to_ms,
)
from backupng.engine.scan.account import AccountScan
from backupng.engine.scan.beside import Beside
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.directory import DirectoryResult, DirectoryScan
from backupng.engine.scan.patience import Patience

ROLE: Final = "scan"

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
    most_errors: int | None = None
    """With more unreadable items than so many the scan ends as failed; None: whatever comes."""
    result: ScanResult = field(default_factory=ScanResult)
    first_pause_s: float = 1.0
    """How long it waits for a mail server that does not answer, the first time."""
    beside: Beside = field(init=False)
    patience: Patience = field(init=False)
    _place: tuple[int, int, str] = (0, 0, "")

    def __post_init__(self) -> None:
        self.beside = Beside(self.source, self.path, log=self.log)
        self.patience = Patience(
            log=self.log, pause=lambda: self.tick(*self._place), first_s=self.first_pause_s
        )

    def run(self, *, now: Callable[[], datetime]) -> ScanResult:
        """Scan. What cannot be read is counted and listed, and the scan goes on."""
        with self.path.writer(ROLE, packer=self.packer) as writer:
            directory = DirectoryScan(
                self.source, self.path, writer, started=self.started, skip_lists=self.skip_lists
            )
            reading = self.patience.run(directory.read)
            kept = reading.accounts
            for number, account in enumerate(kept):
                self._scan_account(writer, account, number, len(kept))
                self._require_readable()
            self.result.directory = directory.save(reading)
            writer.commit()
            for entry_id, item, error in writer.refused:
                self.result.unreadable.setdefault(entry_id, []).append((item, error))
            writer.refused.clear()
            ended = {
                "id": to_ms(self.started),
                "started": to_ms(self.started),
                "ended": to_ms(now()),
            }
            writer.set_checkpoint({**self.path.checkpoint(), "smartscan": ended})
        return self.result

    def _scan_account(
        self, writer: Writer, account: DirectoryEntry, number: int, total: int
    ) -> None:
        self._place = (number, total, account.name)
        self.tick(*self._place)
        known = self._knows(account)
        before = replace(self.result.counts)
        scan = AccountScan(
            self.source,
            self.path,
            writer,
            self.started,
            lambda _done, _all: self.tick(*self._place),
            self.beside,
        )
        found = self.patience.run(lambda: scan.run(account, self.result.counts, deep=self.deep))
        self.result.accounts_scanned += 1
        if found.failures:
            self.result.unreadable[account.name] = found.failures
        if found.changed:
            self.result.accounts_new += not known
            self.result.accounts_updated += known
            self.log(f"{account.name}: {_difference(before, self.result.counts)}")

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


def _difference(before: ScanCounts, after: ScanCounts) -> str:
    """Spell what one account added to the counts."""
    new = after.items_new - before.items_new
    updated = after.items_updated - before.items_updated
    deleted = after.items_deleted - before.items_deleted
    return f"{new} new, {updated} updated, {deleted} deleted"
