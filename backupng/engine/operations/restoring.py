"""What all restores have in common: the plan told beforehand, what became of it told truly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError, MailServerError, OperationError
from backupng.engine.model import AccountId, ItemId, ItemState
from backupng.engine.operations.base import Context, Level, Report
from backupng.engine.operations.moments import known_by, lags_since
from backupng.engine.redolog.files import LogFiles
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.rename import ROOTS, Plan, order, unknown_folder
from backupng.engine.restore.select import Selection
from backupng.engine.scan.beside import Beside

OLDER_STATE: Final = "restored in an older state: the scan could not read the newer one"
DRY: Final = "This was a dry run: nothing was restored."
NO_HSM: Final = (
    "apply_hsm has no effect: items always come to the current primary volume; the server's own HSM"
    " policy moves them later."
)
_READING: Final = "reading the backup"
_RESTORING: Final = "restoring items"
_AGAIN: Final = "Run it again: what is done already is not done twice."
_MOST_FOLDERS: Final = 20
_COUNTED: Final = ("deleted_there", "unknown_folders")


@dataclass(slots=True)
class Restoring:
    """One account's restore of one selection or several, told in `report`.

    `address` is the name under which losses are listed.
    """

    ctx: Context
    report: Report
    address: str
    _planned: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _losses: list[tuple[ItemId, str]] = field(default_factory=list)

    def plan(self, selection: Selection) -> Plan:
        """Read through the backup; what cannot be read is planned, too, and lost."""
        begin(self.ctx, _READING)
        plan = order(selection.states(lambda seen: self.ctx.tick(seen, 0, phase=_READING)))
        self._planned += len(selection.unreadable)
        self._lose([(item, error.cause) for item, error in selection.unreadable])
        self._explain(selection.unreadable)
        if selection.pending:
            self.report.count("pending", len(selection.pending))
        if outdated := [(item, OLDER_STATE) for item in sorted(selection.outdated)]:
            self.report.unreadable[self.address] += outdated
        return plan

    def inject(self, plan: Plan, injection: Injection) -> None:
        """Make what is planned. Raises MailServerError when the destination dies on the way."""
        begin(self.ctx, _RESTORING, total=plan.size)
        before = self._counts.copy()
        self._planned += plan.size

        def tick(done: int, total: int) -> None:
            so_far = {name: before[name] + n for name, n in injection.counts.items()}
            for name, number in so_far.items():
                self._counts[name] = number
            self.ctx.tick(done, total, phase=_RESTORING, counts=so_far)

        injection.tick = tick
        try:
            injection.run(plan)
        except MailServerError as error:
            error.hint = error.hint or _AGAIN
            raise
        finally:
            self._explain(injection.errors)
        self._losses += injection.unrestored
        for name in _COUNTED:
            if number := getattr(injection, name):
                self.report.count(name, number)
        if injection.long_lines:
            self.report.notes.append(_long_lines(injection.long_lines))

    def tell(self, **further: int) -> None:
        """Put counters and losses into the report; the numbers have to add up.

        Raises OperationError for a shortfall that no listed item explains.
        """
        if self._losses:
            self.report.unrestored[self.address] = sorted(self._losses)
        done = {name: self._counts[name] for name in ("restored", "skipped")}
        done["unrestored"] = len(self._losses)
        if self._planned != sum(done.values()):
            raise OperationError(
                f"{self._planned} items were planned, but only {sum(done.values())} are accounted"
                " for.",
                hint=_AGAIN,
            )
        self.report.counters = {"planned": self._planned, **done, **further, **self.report.counters}

    def foretell(self, plans: Sequence[Plan], **further: int) -> None:
        """Put into the report what would be restored: in numbers, and per folder."""
        if self._losses:
            self.report.unrestored[self.address] = sorted(self._losses)
        sizes = sum(item.size for plan in plans for item in plan.items)
        self._planned += sum(plan.size for plan in plans)
        self.report.counters = {
            "planned": self._planned,
            "restored": 0,
            "skipped": 0,
            "unrestored": len(self._losses),
            "items": sum(len(plan.items) for plan in plans),
            "bytes": sizes,
            **further,
            **self.report.counters,
        }
        for plan in plans:
            self.report.notes += _per_folder(plan)
        self.report.notes.append(DRY)

    def _lose(self, losses: Sequence[tuple[ItemId, str]]) -> None:
        self._losses += losses
        self._counts["unrestored"] += len(losses)

    def _explain(self, failures: Sequence[tuple[ItemId, ItemError]]) -> None:
        """Log what was not restored, and why; a damaged backup is suspected."""
        for item, error in failures:
            self.ctx.log(f"{self.address}, item {item}: {error}", level=Level.WARNING)
        self.report.suspect(self.address, failures)


def begin(ctx: Context, phase: str, *, total: int = 0) -> None:
    """Tell that a phase begins."""
    ctx.tick(0, total, phase=phase)
    ctx.log(f"{phase.capitalize()}: {total} in all." if total else f"{phase.capitalize()}.")


def undelete_name(ctx: Context) -> str:
    """Return the name that today's folder or tag for what is undeleted has."""
    return f"undelete_{ctx.now.astimezone(ZoneInfo(ctx.settings.zone)):%d_%m_%y}"


def known_at(ctx: Context, path: BackupPath, account: AccountId, before: datetime) -> str:
    """Say how exactly the backup knows the mailbox; a scanner that lags is waited for before.

    Empty if it is known exactly. Of another server's Backup Path nobody can be waited for.
    """
    if path.tree.root != ctx.backup_path:
        return known_by(path, account, before, zone=ctx.settings.zone)
    log: LogFiles | None = ctx.source.redo_log
    lag = lags_since(path, ctx.source.redo_log)
    if lag is not None and before > lag:
        beside = Beside(ctx.source, path, log=lambda line: ctx.log(line, level=Level.WARNING))
        if beside.wait(lambda: ctx.tick(0, 0, phase="waiting for the Real-Time Scanner")):
            # All of before this moment is saved, whatever comes now.
            log = None
    return known_by(path, account, before, zone=ctx.settings.zone, log=log)


def _per_folder(plan: Plan) -> list[str]:
    """Say how much would come into each folder, the fullest first."""
    folders = {each.item_id: each for each in (*plan.system, *plan.frame, *plan.folders)}
    number: Counter[ItemId | None] = Counter()
    size: dict[ItemId | None, int] = defaultdict(int)
    for item in plan.items:
        number[item.folder_id] += 1
        size[item.folder_id] += item.size
    lines = [
        f"{_path(folder, folders)}: {_items(count)}, {size[folder]} bytes."
        for folder, count in number.most_common(_MOST_FOLDERS)
    ]
    if (more := len(number) - _MOST_FOLDERS) > 0:
        lines.append(f"And {more} more folders.")
    return lines


def _path(folder: ItemId | None, folders: dict[ItemId, ItemState]) -> str:
    names: list[str] = []
    seen: set[ItemId | None] = set()
    while folder is not None and folder in folders and folder not in {*ROOTS, *seen}:
        seen.add(folder)
        names.append(folders[folder].name or "")
        folder = folders[folder].folder_id
    if folder not in ROOTS:
        names.append(unknown_folder(folder))
    return "/" + "/".join(reversed(names))


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


def _long_lines(number: int) -> str:
    what = "1 message has a line" if number == 1 else f"{number} messages have lines"
    return f"{what} of more than 10240 bytes: restored, though delivery by LMTP would refuse that."
