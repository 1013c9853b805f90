"""doAccountScan, and the Account Scan that comes before a restore of an uncertain account."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.moments import spelled
from backupng.engine.operations.smart_scan import SmartScan
from backupng.engine.operations.words import NO_ADDRESSES, AccountNameOrId, Addresses
from backupng.engine.scan.account import AccountScan
from backupng.engine.scan.beside import Beside
from backupng.engine.scan.cos import classes_of
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.directory import DirectoryReading, DirectoryScan, read_directory
from backupng.engine.scan.ending import AccountResult
from backupng.engine.scan.patience import Patience
from backupng.engine.scan.smartscan import ROLE
from backupng.engine.scan.uncertainty import Uncertain

_PHASE: Final = "scanning the account"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoAccountScan(Operation):
    """Bring the backup of one account up to the mail server."""

    command: ClassVar[str] = "doAccountScan"
    title: ClassVar[str] = "Account Scan"
    summary: ClassVar[str] = "Account Scan: saves all that changed in one account"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup doAccountScan john@example.com",
        "backupng backup doAccountScan john@example.com deep true notifications a@example.com",
    )

    account: AccountNameOrId
    deep: bool = field(default=False, metadata={"values": "true|false"})
    notifications: Addresses = NO_ADDRESSES

    def check(self, ctx: Context) -> None:
        """Refuse an account that is not there or not backed up, and what a SmartScan refuses."""
        SmartScan().check(ctx)
        _find(_reading(ctx), self.account)

    def run(self, ctx: Context) -> Report:
        """Compare the account's items, then save its entry."""
        reading = _reading(ctx)
        entry = _find(reading, self.account)
        scanned = scan_account(ctx, entry, deep=self.deep)
        report = Report(counters=scanned.counters)
        _log_failures(ctx, scanned)
        if scanned.failures:
            found = [(item, error.cause) for item, error in scanned.failures]
            report.unreadable[entry.name] = found
            report.suspect(entry.name, scanned.failures)
        report.notes.append(f"{scanned.identity}; asked for by hand.")
        return report


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the scan of one account did."""

    entry: DirectoryEntry
    result: AccountResult
    counts: ScanCounts
    entry_changed: bool
    failures: list[tuple[ItemId, ItemError]]

    @property
    def identity(self) -> str:
        """The account and its mailbox, by their ids."""
        number = self.result.mailbox.mailbox_id if self.result.mailbox else "none"
        return f"Account {self.entry.name}, id {self.entry.entry_id}, mailbox id {number}"

    @property
    def counters(self) -> dict[str, int]:
        """The numbers of a report."""
        counts = self.counts
        return {
            "accounts_scanned": 1,
            "accounts_updated": int(self.result.changed),
            "items_checked": counts.items_checked,
            "items_new": counts.items_new,
            "items_updated": counts.items_updated,
            "items_deleted": counts.items_deleted,
            "read_errors": len(self.failures),
            "blobs_new": counts.blobs_new,
            "bytes_read": counts.bytes_read,
            "bytes_written": counts.bytes_written,
            "entries_changed": int(self.entry_changed),
        }


def scan_account(ctx: Context, entry: DirectoryEntry, *, deep: bool = False) -> Scanned:
    """Scan one living account into the server's Backup Path."""
    path, counts = ctx.owned_path(), ScanCounts()
    with path.writer(ROLE, packer=ctx.settings.packer) as writer:
        scan = AccountScan(
            ctx.source,
            path,
            writer,
            ctx.now,
            _ticker(ctx, counts),
            Beside(ctx.source, path, log=lambda line: ctx.log(line, level=Level.WARNING)),
        )
        ctx.tick(0, 0, phase=_PHASE)
        patience = Patience(log=ctx.log, pause=lambda: ctx.tick(0, 0, phase=_PHASE))
        result = patience.run(lambda: scan.run(entry, counts, deep=deep))
        directory = DirectoryScan(ctx.source, path, writer, started=scan.started)
        changed = directory.save_entry(entry)
        writer.commit()
        failures = [*result.failures, *((item, error) for _, item, error in writer.refused)]
        writer.refused.clear()
    return Scanned(entry, result, counts, changed, failures)


def settle(ctx: Context, account: AccountId, doubt: Uncertain, report: Report) -> None:
    """Scan an uncertain account before it is restored; log and report say so.

    An account that is gone from the mail server, or left out by its class of service, cannot be
    scanned: that is a warning.
    """
    since = spelled(doubt.since, ctx.settings.zone)
    why = f"its state has been uncertain since {since}: {doubt.reason}"
    entry = next((e for e in _reading(ctx).accounts if e.entry_id == account), None)
    if entry is None:
        report.warnings.append(
            f"No Account Scan could run before the restore, although {why}. "
            "The account is not on the mail server any more, or its backup is off."
        )
        return
    ctx.log(f"An Account Scan of {entry.name} comes before the restore: {why}.")
    scanned = scan_account(ctx, entry)
    counts = scanned.counts
    ctx.log(
        f"Account Scan of {entry.name}: {counts.items_new} new, {counts.items_updated} updated, "
        f"{counts.items_deleted} deleted."
    )
    _log_failures(ctx, scanned)
    report.suspect(scanned.entry.name, scanned.failures)
    report.notes.append(f"{scanned.identity}: an Account Scan ran before the restore, as {why}.")


def _ticker(ctx: Context, counts: ScanCounts) -> Callable[[int, int], None]:
    def tick(done: int, total: int) -> None:
        ctx.tick(
            done,
            total,
            phase=_PHASE,
            counts={
                "items_checked": counts.items_checked,
                "items_new": counts.items_new,
                "items_updated": counts.items_updated,
                "items_deleted": counts.items_deleted,
            },
        )

    return tick


def _reading(ctx: Context) -> DirectoryReading:
    return read_directory(ctx.source, skip_lists=True)


def _find(reading: DirectoryReading, name: str) -> DirectoryEntry:
    """Return the account of that address, alias or id. Raises BadRequest."""
    everybody = reading.entries[EntryKind.ACCOUNT]
    found = [entry for entry in everybody if _goes_by(entry, name.lower())]
    if not found:
        raise BadRequest(
            f"There is no account {name} on this mail server.",
            code="no_such_account",
            hint="backupng backup getAvailableAccounts lists them.",
        )
    if len(found) > 1:
        raise BadRequest(
            f"Several accounts go by the name {name}.",
            code="ambiguous_account",
            hint=f"Give the whole address: {', '.join(entry.name for entry in found)}.",
        )
    (entry,) = found
    if entry.entry_id in reading.left_out:
        coses, domains = reading.entries[EntryKind.COS], reading.entries[EntryKind.DOMAIN]
        cos = classes_of([entry], coses, domains)[entry.entry_id].name
        raise BadRequest(
            f"{entry.name} is not backed up: backup is off for its class of service {cos}.",
            code="cos_disabled",
            hint=f"Switch it on: backupng backup doEnableDisableCOS {shlex.quote(cos)} enable",
        )
    return entry


def _goes_by(entry: DirectoryEntry, wanted: str) -> bool:
    names = {entry.entry_id.lower(), entry.name.lower()}
    names |= {alias.lower() for alias in entry.values("zimbraMailAlias")}
    local = entry.name.lower().partition("@")[0]
    return wanted in names or ("@" not in wanted and wanted == local)


def _log_failures(ctx: Context, scanned: Scanned) -> None:
    for item, error in scanned.failures:
        ctx.log(f"{scanned.entry.name}, item {item}: {error}", level=Level.WARNING)
