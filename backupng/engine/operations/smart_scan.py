"""doSmartScan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from backupng.engine.errors import BadRequest
from backupng.engine.model import EntryKind
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.words import NO_ADDRESSES, Addresses
from backupng.engine.scan import smartscan

_MEGABYTE = 1 << 20
_NAMED = 10


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
        free, threshold = ctx.check_owned_path(), ctx.settings.space_threshold_mb
        if free < threshold * _MEGABYTE:
            raise BadRequest(
                f"Only {free // _MEGABYTE} MB are free on the disk of the Backup Path.",
                code="no_space",
                hint=f"Make room: ZxBackup_SpaceThreshold asks for {threshold} MB.",
            )

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
        )
        try:
            return _report(scan.run(now=lambda: ctx.now))
        finally:
            for account, failures in sorted(scan.result.unreadable.items()):
                for item, error in failures:
                    ctx.log(f"{account}, item {item}: {error}", level=Level.WARNING)


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


def _report(result: smartscan.ScanResult) -> Report:
    report, counts = Report(), result.counts
    for account, failures in sorted(result.unreadable.items()):
        report.unreadable[account] = [(item, error.cause) for item, error in failures]
    if result.directory.accounts_dropped:
        report.warnings.append(_dropped(sorted(result.directory.accounts_dropped)))
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
        "entries_changed": result.directory.changed,
    }
    return report
