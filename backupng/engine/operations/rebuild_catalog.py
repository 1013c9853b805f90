"""rebuildCatalog."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import ClassVar, Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.answers import Totals
from backupng.engine.errors import OperationError, ReadError
from backupng.engine.model import AccountId
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.words import AccountNames
from backupng.engine.restore.select import find_account

READING: Final = "reading the Backup Path"
_EVERYBODY: Final = AccountNames(())


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildCatalog(Operation):
    """Make the catalog of the Backup Path anew; the Backup Path is only read."""

    command: ClassVar[str] = "rebuildCatalog"
    title: ClassVar[str] = "Catalog Rebuild"
    summary: ClassVar[str] = (
        "Catalog Rebuild: makes the index of the Backup Path anew, which is only read"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup rebuildCatalog",
        "backupng backup rebuildCatalog accounts jack@example.com,john@example.com",
    )
    after_interruption: ClassVar[str] = (
        "Run it again. Until then the catalog is what it was; what it lacks is read when it is"
        " asked for."
    )

    accounts: AccountNames = field(default=_EVERYBODY, metadata={"default": "all"})

    def check(self, ctx: Context) -> None:
        """Refuse where there is no Backup Path yet, or one of the accounts is not in it."""
        self._chosen(ctx.path)

    def run(self, ctx: Context) -> Report:
        """Read all accounts into a new file that takes the place of the old one; or some anew."""
        chosen = self._chosen(ctx.path)
        with _as_ours():
            if self.accounts:
                _renew(ctx, chosen)
            else:
                ctx.catalog.renew_all(
                    lambda done, total, states: ctx.tick(
                        done, total, phase=READING, counts={"states": states}
                    )
                )
        return _report(ctx, chosen)

    def _chosen(self, path: BackupPath) -> list[AccountId]:
        if self.accounts:
            found = dict.fromkeys(find_account(path, name)[0] for name in self.accounts)
            return list(found)
        return path.accounts()


def _renew(ctx: Context, chosen: list[AccountId]) -> None:
    states = 0

    def count(more: int) -> None:
        nonlocal states
        states += more
        ctx.tick(done, len(chosen), phase=READING, counts={"states": states})

    for done, account in enumerate(chosen):  # noqa: B007  # `count` tells it
        count(0)
        with suppress(ReadError):  # the report tells it
            ctx.catalog.renew([account], count)


def _report(ctx: Context, chosen: list[AccountId]) -> Report:
    report, totals, lost = Report(), Totals(), 0
    for account in chosen:
        name = _name(ctx, account)
        try:
            totals += ctx.catalog.totals(account)
            for item, why in ctx.catalog.unreadable(account):
                ctx.log(f"{name}, item {item}: {why}", level=Level.WARNING)
                report.unreadable[name].append((item, "history not readable"))
            problem = ctx.catalog.problem(account)
        except ReadError as error:
            problem, lost = str(error), lost + 1
        if problem:
            ctx.log(f"{name}: {problem}", level=Level.WARNING)
            report.warnings.append(f"{name}: {problem}")
    report.counters = {
        "accounts": len(chosen),
        "items": totals.items,
        "states": totals.states,
        "read_errors": totals.unreadable + lost,
    }
    return report


def _name(ctx: Context, account: AccountId) -> str:
    entries = ctx.catalog.entries(account)
    return entries[-1].name if entries else account


@contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise OperationError(
            f"The catalog cannot be written: {error}.",
            hint="The Backup Path is as it was. Make room in the data folder, then run it again.",
        ) from error
