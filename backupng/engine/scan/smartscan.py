"""SmartScan: all accounts whose mailboxes changed, then the directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.mailserver.zimbra.attributes import VOLATILE
from backupng.engine.model import (
    DirectoryEntry,
    EntryKind,
    EntryState,
    ItemId,
    to_ms,
)
from backupng.engine.scan.account import AccountScan, ScanCounts
from backupng.engine.scan.cos import disabled_accounts

ROLE: Final = "scan"
_DIRECTORY_KINDS: Final = (EntryKind.DOMAIN, EntryKind.ACCOUNT, EntryKind.COS, EntryKind.LIST)
_LEFT_OUT: Final = "backup is off for its class of service"

Tick = Callable[[int, int, str], None]


@dataclass(slots=True)
class ScanResult:
    """What a SmartScan did; `unreadable` maps account name to (item id, cause)."""

    counts: ScanCounts = field(default_factory=ScanCounts)
    accounts_scanned: int = 0
    accounts_new: int = 0
    accounts_updated: int = 0
    accounts_deleted: int = 0
    accounts_skipped_by_cos: int = 0
    accounts_dropped: list[str] = field(default_factory=list)
    """Those that were saved until now and are left out by their class of service from here on."""
    entries: dict[EntryKind, int] = field(default_factory=dict)
    entries_changed: int = 0
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
    result: ScanResult = field(default_factory=ScanResult)

    def run(self, *, now: Callable[[], datetime]) -> ScanResult:
        """Scan. What cannot be read is counted and listed, and the scan goes on."""
        with self.path.writer(ROLE, packer=self.packer) as writer:
            entries = {kind: list(self.source.entries(kind)) for kind in self._kinds()}
            accounts = entries[EntryKind.ACCOUNT]
            left_out = disabled_accounts(
                accounts, entries[EntryKind.COS], entries[EntryKind.DOMAIN]
            )
            kept = [account for account in accounts if account.entry_id not in left_out]
            for number, account in enumerate(kept):
                self._scan_account(writer, account, number, len(kept))
            self.result.accounts_skipped_by_cos = len(left_out)
            for kind in self._kinds():
                present = kept if kind is EntryKind.ACCOUNT else entries[kind]
                self._save_entries(writer, kind, present, left_out=left_out)
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

    def _kinds(self) -> tuple[EntryKind, ...]:
        return tuple(
            kind for kind in _DIRECTORY_KINDS if kind is not EntryKind.LIST or not self.skip_lists
        )

    def _scan_account(
        self, writer: Writer, account: DirectoryEntry, number: int, total: int
    ) -> None:
        self.tick(number, total, account.name)
        before = replace(self.result.counts)
        scan = AccountScan(
            self.source,
            self.path,
            writer,
            self.started,
            lambda _done, _all: self.tick(number, total, account.name),
        )
        found = scan.run(account, self.result.counts, deep=self.deep)
        self.result.accounts_scanned += 1
        if found.failures:
            self.result.unreadable[account.name] = found.failures
        if found.changed:
            known = self._last_entry(EntryKind.ACCOUNT, account.entry_id) is not None
            self.result.accounts_new += not known
            self.result.accounts_updated += known
            self.log(f"{account.name}: {_difference(before, self.result.counts)}")

    def _save_entries(
        self,
        writer: Writer,
        kind: EntryKind,
        present: Iterable[DirectoryEntry],
        *,
        left_out: frozenset[str],
    ) -> None:
        found = {entry.entry_id: entry for entry in present}
        self.result.entries[kind] = len(found)
        last = {each: self._last_entry(kind, each) for each in self.path.entry_ids(kind)}
        for entry_id, entry in found.items():
            before = last.get(entry_id)
            if before is None or before.deleted or _content(before.entry) != _content(entry):
                writer.add_entry(EntryState(start=self.started, entry=entry))
                self.result.entries_changed += 1
        for entry_id, before in last.items():
            if entry_id in found or before is None or before.deleted:
                continue
            reason = _LEFT_OUT if entry_id in left_out else ""
            if reason:
                self.result.accounts_dropped.append(before.entry.name)
            writer.add_entry(replace(before, start=self.started, deleted=True, reason=reason))
            self.result.entries_changed += 1
            self.result.accounts_deleted += kind is EntryKind.ACCOUNT

    def _last_entry(self, kind: EntryKind, entry_id: str) -> EntryState | None:
        """Return the entry's last state; None also if its history cannot be read.

        Then the writer refuses the entry's present state and so reports the damaged history.
        """
        try:
            history = self.path.entry_history(kind, entry_id)
        except ItemError:
            return None
        return history[-1] if history else None


def _difference(before: ScanCounts, after: ScanCounts) -> str:
    """Spell what one account added to the counts."""
    new = after.items_new - before.items_new
    updated = after.items_updated - before.items_updated
    deleted = after.items_deleted - before.items_deleted
    return f"{new} new, {updated} updated, {deleted} deleted"


def _content(entry: DirectoryEntry) -> DirectoryEntry:
    """Return the entry without what every login changes."""
    kept = {name: each for name, each in entry.attributes.items() if name not in VOLATILE}
    return replace(
        entry, attributes=kept, children=tuple(_content(child) for child in entry.children)
    )
