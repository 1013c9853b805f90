"""doPurge."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from backupng.engine.errors import OperationError
from backupng.engine.operations import parameters, plausibility
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.named_path import opened, require_changeable
from backupng.engine.operations.words import NO_ADDRESSES, Addresses, Days
from backupng.engine.scan.directory import LEFT_OUT
from backupng.engine.upkeep.purge import GRACE, Purge, Result, Retention

_NAMED: Final = 10
_INFINITE: Final = "The retention is infinite: there is nothing to do."
_DRY: Final = "This was a dry run: nothing was removed."
_TRASH: Final = (
    f"What was moved to .trash stays there for {GRACE.days} days; a Purge after that deletes it."
)
REASONS: Final = "reasons_to_look_first"
"""The counter of a dry run that says for how many reasons a person is to confirm the purge."""
_WAITS: Final = "waiting for a person"
_CLOCK_FIRST: Final = "Set the clock of this host first, then run it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class DoPurge(Operation):
    """Remove from a Backup Path what was deleted longer ago than the retention time."""

    command: ClassVar[str] = "doPurge"
    title: ClassVar[str] = "Purge"
    summary: ClassVar[str] = "Purge: removes what was deleted longer ago than the retention time"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup dopurge purgeDays 30 backup_path /opt/zimbra/backup/backup_name",
        "backupng backup doPurge dryrun true",
    )

    purgeDays: Days | None = field(  # noqa: N815 - the parameter's name
        default=None, metadata={"default": "the retention properties"}
    )
    backup_path: Path | None = field(default=None, metadata={"default": "the active Backup Path"})
    dryrun: bool = field(default=False, metadata={"values": "true|false"})
    confirm: bool = field(default=False, metadata={"values": "true|false"})
    notifications: Addresses = NO_ADDRESSES

    def check(self, ctx: Context) -> None:
        """Refuse what is no Backup Path, or cannot be written."""
        if self._items_days(ctx):
            check_path(ctx, self.backup_path, writes=not self.dryrun)

    def run(self, ctx: Context) -> Report:
        """Purge. With infinite retention of items it ends at once, whatever that of accounts is."""
        items_days = self._items_days(ctx)
        accounts_days: int = ctx.settings.accounts_retention_days
        if self.purgeDays is not None:
            accounts_days = self.purgeDays
        if not items_days:
            return Report(notes=[_INFINITE])
        return purge(
            ctx,
            self,
            Retention(items_days=items_days, accounts_days=accounts_days or None),
            backup_path=self.backup_path,
            dryrun=self.dryrun,
            confirmed=self.confirm,
        )

    def _items_days(self, ctx: Context) -> int:
        return ctx.settings.retention_days if self.purgeDays is None else self.purgeDays


def check_path(ctx: Context, backup_path: Path | None, *, writes: bool) -> None:
    """Refuse a folder that cannot be purged. Raises BadRequest or BackupPathError."""
    with opened(ctx, backup_path) as path:
        if writes:
            require_changeable(ctx, path)


def purge(
    ctx: Context,
    operation: Operation,
    retention: Retention,
    *,
    backup_path: Path | None,
    dryrun: bool,
    confirmed: bool,
) -> Report:
    """Purge a tree, or say what a purge would do. Raises OperationError where a brake holds."""
    limits, zone = _limits(retention), ZoneInfo(ctx.settings.zone)
    with opened(ctx, backup_path) as path:
        work = Purge(
            path=path,
            retention=retention,
            now=lambda: ctx.now,
            tick=lambda done, total, *, phase, counts: ctx.tick(
                done, total, phase=phase, counts=limits | dict(counts)
            ),
            doubt=lambda: plausibility.doubt(path, ctx.now, zone=zone),
            confirmed=confirmed,
            customizations_zone=zone if ctx.settings.purge_customizations else None,
        )
        try:
            result = work.look() if dryrun else work.run()
        except OperationError as error:
            if error.code == "brake":
                ctx.tick(0, 0, phase=_WAITS, counts=limits | work.result.counts())
                error.hint = _hint(ctx, operation, of_clock=bool(work.doubt()))
            raise
        report = _report(result, dryrun=dryrun)
        if dryrun and work.doubt():
            report.warnings.append(_CLOCK_FIRST)
    for sentence in (*result.brakes, *result.damage):
        ctx.log(sentence, level=Level.WARNING)
    report.counters = limits | report.counters
    return report


def _limits(retention: Retention) -> dict[str, int]:
    """Return the limits as the report tells them, in days, 0 for ever; none for orphans alone."""
    if retention.items_days is None:
        return {}
    return {
        "limit_items_days": retention.items_days,
        "limit_accounts_days": retention.accounts_days or 0,
    }


def _hint(ctx: Context, operation: Operation, *, of_clock: bool) -> str:
    """Say what to do where a brake has held: look first, then the same again with `confirm`."""
    asked = parameters.spell(operation, ZoneInfo(ctx.settings.zone))
    look = _spelled(operation, asked | {"dryrun": "true"})
    again = _spelled(operation, asked | {"confirm": "true"})
    if of_clock:
        return (
            f"{_CLOCK_FIRST} Only if the clock is right, look at what it would remove: {look}. If"
            f" that is right, too: {again}"
        )
    return f"Look at what it would remove: {look}. If that is right: {again}"


def _spelled(operation: Operation, texts: Mapping[str, str]) -> str:
    pairs = (word for pair in texts.items() for word in pair)
    return shlex.join(("backupng", "backup", operation.command, *pairs))


def _report(result: Result, *, dryrun: bool) -> Report:
    report = Report(counters=result.counts())
    report.counters["blobs_put_back"] = result.blobs_put_back
    report.counters["blobs_too_young"] = result.blobs_young
    report.counters["items_written_late"] = result.items_late
    if result.accounts:
        names = [name or account for account, (name, _) in result.accounts.items()]
        what = "Accounts that would be purged" if dryrun else "Accounts purged"
        report.notes.append(f"{what}: {_listed(sorted(names))}.")
    if dryrun:
        report.notes.append(_DRY)
        asking = [f"It waits for a person. {each}" for each in result.brakes] + _left_out(result)
        report.counters[REASONS] = len(asking)
        report.warnings += asking
    elif result.trashed:
        report.notes.append(_TRASH)
    if result.flaws:
        what, verb = ("file", "is") if result.flaws == 1 else ("files", "are")
        report.warnings.append(
            f"No blob {'would be' if dryrun else 'was'} removed: {result.flaws} {what} cannot be"
            f" read, or {verb} damaged or not complete. {' '.join(result.damage)}"
        )
    return report


def _left_out(result: Result) -> list[str]:
    """Name the accounts that are still on the mail server, so that nobody is surprised."""
    names = [name for name, reason in result.accounts.values() if reason == LEFT_OUT]
    if not names:
        return []
    return [f"Deleted only because {LEFT_OUT}: {_listed(sorted(names))}."]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
