"""doSmartScan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.space import shortage
from backupng.engine.errors import BadRequest
from backupng.engine.model import EntryKind
from backupng.engine.operations import tether
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.catching_up import catch_up
from backupng.engine.operations.words import NO_ADDRESSES, Addresses
from backupng.engine.scan import smartscan
from backupng.engine.scan.customizations import Kept

_NAMED = 10
_MOST_PROCESSES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartScan(Operation):
    """Bring the Backup Path up to the mail server."""

    command: ClassVar[str] = "doSmartScan"
    title: ClassVar[str] = "SmartScan"
    summary: ClassVar[str] = "SmartScan: saves all that changed on the server since the last one"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup dosmartscan notifications a@example.com,b@example.com",
    )

    notifications: Addresses = NO_ADDRESSES
    deep: bool = field(default=False, metadata={"values": "true|false"})
    read_error_threshold: int | None = field(default=None, metadata={"default": "unlimited"})

    def check(self, ctx: Context) -> None:
        """Refuse when the Backup Path cannot be used or its disk is nearly full."""
        short = shortage(ctx.check_owned_path(), ctx.settings.least_free_bytes)
        if short:
            raise BadRequest(short[0], code="no_space", hint=short[1])

    def run(self, ctx: Context) -> Report:
        """Scan all accounts, then the directory."""
        scan = smartscan.SmartScan(
            source=ctx.source,
            path=ctx.owned_path(),
            started=ctx.now,
            tick=lambda done, total, name: ctx.tick(
                done, total, phase=name, counts=_counts(scan.result)
            ),
            log=ctx.log,
            packer=ctx.settings.packer,
            deep=self.deep,
            most_errors=self.read_error_threshold,
            skip_lists=ctx.settings.skip_lists,
            customizations_zone=_archive_zone(ctx),
            crew=smartscan.CrewPlan(_processes(), ctx.another, tether.die_with_parent),
        )
        try:
            report = _report(scan.run(now=lambda: ctx.now))
            catch_up(ctx)
            return report
        finally:
            for account, failures in sorted(scan.result.unreadable.items()):
                for item, error in failures:
                    ctx.log(f"{account}, item {item}: {error}", level=Level.WARNING)


def _archive_zone(ctx: Context) -> ZoneInfo | None:
    return ZoneInfo(ctx.settings.zone) if ctx.settings.backup_customizations else None


def _processes() -> int:
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)


def _counts(result: smartscan.ScanResult) -> dict[str, int]:
    counts = result.counts
    return {
        "accounts_scanned": result.accounts_scanned,
        "items_checked": counts.items_checked,
        "items_new": counts.items_new,
        "items_updated": counts.items_updated,
        "items_deleted": counts.items_deleted,
    }


def _dropped(names: Sequence[str]) -> str:
    first = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"No longer saved, by their class of service: {first}{more}."


def _lacking(kept: Kept) -> str:
    """Say what an archive of the configuration folders lacks."""
    first = ", ".join(map(str, kept.unread[:_NAMED]))
    more = f" and {len(kept.unread) - _NAMED} more" if len(kept.unread) > _NAMED else ""
    return f"Not in {kept.name}, because it could not be read: {first}{more}."


def _report(result: smartscan.ScanResult) -> Report:
    report, counts = Report(), result.counts
    for account, failures in sorted(result.unreadable.items()):
        report.unreadable[account] = [(item, error.cause) for item, error in failures]
        report.suspect(account, failures)
    if result.directory.accounts_dropped:
        report.warnings.append(_dropped(sorted(result.directory.accounts_dropped)))
    if result.customizations is not None:
        name = result.customizations.name
        report.notes.append(f"The configuration folders of the server are archived in {name}.")
        if result.customizations.unread:
            report.warnings.append(_lacking(result.customizations))
    report.counters = {
        "accounts_scanned": result.accounts_scanned,
        "accounts_new": result.accounts_new,
        "accounts_updated": result.accounts_updated,
        "accounts_deleted": result.directory.accounts_deleted,
        "accounts_skipped_by_cos": len(result.directory.left_out),
        "items_checked": counts.items_checked,
        "items_new": counts.items_new,
        "items_updated": counts.items_updated,
        "items_deleted": counts.items_deleted,
        "read_errors": sum(len(failures) for failures in result.unreadable.values()),
        "blobs_new": counts.blobs_new,
        "bytes_read": counts.bytes_read,
        "bytes_written": counts.bytes_written,
        "domains": result.directory.entries.get(EntryKind.DOMAIN, 0),
        "classes_of_service": result.directory.entries.get(EntryKind.COS, 0),
        "lists": result.directory.entries.get(EntryKind.LIST, 0),
        "customizations_new": int(result.customizations is not None),
        "entries_changed": result.directory.changed,
    }
    return report
