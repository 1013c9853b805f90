"""doPurge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import UnsupportedFormat
from backupng.engine.operations import plausibility
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.words import NO_ADDRESSES, Addresses, Days
from backupng.engine.scan.directory import LEFT_OUT
from backupng.engine.upkeep.purge import GRACE, Purge, Result, Retention

_NAMED: Final = 10
_INFINITE: Final = "The retention is infinite: there is nothing to do."
_DRY: Final = "This was a dry run: nothing was removed."
_TRASH: Final = (
    f"What was moved to .trash stays there for {GRACE.days} days; a Purge after that deletes it."
)


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
        retention = Retention(items_days=items_days, accounts_days=accounts_days or None)
        report = purge(ctx, self.backup_path, retention, dryrun=self.dryrun, confirmed=self.confirm)
        limits = {"limit_items_days": items_days, "limit_accounts_days": accounts_days}
        report.counters = limits | report.counters
        return report

    def _items_days(self, ctx: Context) -> int:
        return ctx.settings.retention_days if self.purgeDays is None else self.purgeDays


def check_path(ctx: Context, backup_path: Path | None, *, writes: bool) -> None:
    """Refuse a folder that cannot be purged. Raises BadRequest or BackupPathError."""
    with opened(ctx, backup_path) as path:
        if not writes:
            return
        path.tree.require_writable()
        if path.form.read_only:
            raise UnsupportedFormat(
                f"{path.tree.root} uses a newer format that this version can only read.",
                hint="Use a newer version of Backup NG.",
            )


@contextmanager
def opened(ctx: Context, backup_path: Path | None) -> Iterator[BackupPath]:
    """Open another Backup Path, or the server's own."""
    if backup_path is None or backup_path == ctx.path.tree.root:
        yield ctx.path
        return
    with BackupPath.open(backup_path) as path:
        yield path


def purge(
    ctx: Context,
    backup_path: Path | None,
    retention: Retention,
    *,
    dryrun: bool,
    confirmed: bool,
) -> Report:
    """Purge a tree, or say what a purge would do."""
    with opened(ctx, backup_path) as path:
        work = Purge(
            path=path,
            retention=retention,
            now=lambda: ctx.now,
            tick=ctx.tick,
            doubt=lambda: plausibility.doubt(path, ctx.now),
            confirmed=confirmed,
        )
        result = work.look() if dryrun else work.run()
    for sentence in (*result.brakes, *result.damage):
        ctx.log(sentence, level=Level.WARNING)
    return _report(result, dryrun=dryrun)


def _report(result: Result, *, dryrun: bool) -> Report:
    report = Report(counters=result.counts())
    report.counters["blobs_put_back"] = result.blobs_put_back
    report.counters["blobs_too_young"] = result.blobs_young
    if result.accounts:
        names = [name or account for account, (name, _) in result.accounts.items()]
        report.notes.append(f"Accounts purged: {_listed(sorted(names))}.")
    if dryrun:
        report.notes.append(_DRY)
        report.warnings += [f"It waits for a person: {each}" for each in result.brakes]
        report.warnings += _left_out(result)
    elif result.trashed:
        report.notes.append(_TRASH)
    if result.flaws:
        verb = "file cannot" if result.flaws == 1 else "files cannot"
        report.warnings.append(
            f"No blob {'would be' if dryrun else 'was'} removed: {result.flaws} {verb} be read, or"
            f" {'is' if result.flaws == 1 else 'are'} damaged. {' '.join(result.damage)}"
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
