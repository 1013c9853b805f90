"""What all restores have in common: the plan told beforehand, what became of it told truly."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError, MailServerError, OperationError
from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId
from backupng.engine.operations.base import Context, Level, Report
from backupng.engine.operations.moments import known_by, lags_since
from backupng.engine.operations.own_mailbox import path_of
from backupng.engine.redolog.files import LogFiles
from backupng.engine.restore.dry_mailbox import DryMailbox
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.known import free_name, is_there
from backupng.engine.restore.rename import Plan, order
from backupng.engine.restore.select import Selection
from backupng.engine.scan.beside import Beside

OLDER_STATE: Final = "restored in an older state: the scan could not read the newer one"
NO_HSM: Final = (
    "apply_hsm has no effect: items always come to the current primary volume; the server's own HSM"
    " policy moves them later."
)
_READING: Final = "reading the backup"
_RESTORING: Final = "restoring items"
_COMPARING: Final = "comparing with what is there"
_AGAIN: Final = "Run it again: what is done already is not done twice."
_MOST_FOLDERS: Final = 20
_COUNTED: Final = ("deleted_there", "deleted_since", "unknown_folders")


@dataclass(slots=True)
class Restoring:
    """One account's restore of one selection or several, told in `report`.

    `address` is the name under which losses are listed. A dry run is the same, but for where it
    goes: what it counts is what a run right after it does.
    """

    ctx: Context
    report: Report
    address: str
    dry: bool = False
    _planned: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _losses: list[tuple[ItemId, str]] = field(default_factory=list)
    _pending: set[ItemId] = field(default_factory=set)
    _root: Path = field(default_factory=Path)

    def plan(self, selection: Selection) -> Plan:
        """Read through the backup; what cannot be read is planned, too, and lost: once."""
        begin(self.ctx, _READING)
        self._root = selection.path.tree.root
        plan = order(selection.states(lambda seen: self.ctx.tick(seen, 0, phase=_READING)))
        listed = {item for item, _ in self._losses}
        unreadable = [each for each in selection.unreadable if each[0] not in listed]
        self._planned += len(unreadable)
        self._lose([(item, error.cause) for item, error in unreadable])
        self._explain(unreadable)
        if pending := set(selection.pending) - self._pending:
            self._pending |= pending
            self.report.count("pending", len(pending))
        if outdated := [(item, OLDER_STATE) for item in sorted(selection.outdated)]:
            self.report.unreadable[self.address] += outdated
        return plan

    @contextmanager
    def into(self, account: DirectoryEntry | None) -> Iterator[MailboxWriter]:
        """Open the mailbox that is restored into, or what a dry run takes for it.

        A mailbox that is not there yet has none; it is for a dry run only.
        """
        opened = nullcontext() if account is None else self.ctx.destination.open(account)
        with opened as real:
            if real is not None and not self.dry:
                yield real
                return
            mailbox = DryMailbox(real)
            yield mailbox
            self.report.count("items", mailbox.coming.total())
            self.report.count("bytes", mailbox.coming_bytes.total())
            self.report.notes += _per_folder(mailbox)

    def inject(self, plan: Plan, injection: Injection) -> None:
        """Make what is planned. Raises MailServerError when the destination dies on the way."""
        phase = _COMPARING if self.dry else _RESTORING
        begin(self.ctx, phase, total=plan.size)
        before = self._counts.copy()
        self._planned += plan.size

        def tick(done: int, total: int) -> None:
            so_far = {name: before[name] + n for name, n in injection.counts.items()}
            for name, number in so_far.items():
                self._counts[name] = number
            told = so_far | ({"restored": 0} if self.dry else {})
            self.ctx.tick(done, total, phase=phase, counts=told)

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
            self.report.notes.append(long_lines(injection.long_lines))

    def tell(self, **further: int) -> None:
        """Put counters and losses into the report; the numbers have to add up.

        Raises OperationError for a shortfall that no listed item explains.
        """
        if self._losses:
            self.report.unrestored[self.address] = sorted(self._losses)
        tell_damage(self.report, self._root, own=self.ctx.backup_path)
        done = {name: self._counts[name] for name in ("restored", "skipped")}
        done["unrestored"] = len(self._losses)
        if self._planned != sum(done.values()):
            raise OperationError(
                f"{self._planned} items were planned, but only {sum(done.values())} are accounted"
                " for.",
                hint=_AGAIN,
            )
        if self.dry:
            self.report.notes.append(dry_note(done["restored"]))
            done["restored"] = 0
        self.report.counters = {"planned": self._planned, **done, **further, **self.report.counters}

    def _lose(self, losses: Sequence[tuple[ItemId, str]]) -> None:
        self._losses += losses
        self._counts["unrestored"] += len(losses)

    def _explain(self, failures: Sequence[tuple[ItemId, ItemError]]) -> None:
        """Log what was not restored, and why; a damaged backup is suspected."""
        for item, error in failures:
            self.ctx.log(f"{self.address}, item {item}: {error}", level=Level.WARNING)
        self.report.suspect(self.address, failures)


def tell_damage(report: Report, root: Path, *, own: Path) -> None:
    """Say how to look into what is suspected of a Backup Path that is not the server's own.

    Only of that one a check is queued by itself.
    """
    if not any(report.suspected.values()) or root == own:
        return
    report.suspected.clear()
    report.warnings.append(
        f"The backup in {root} is damaged. A Coherency Check finds all that is:"
        f" backupng backup doCoherencyCheck {shlex.quote(str(root))}"
    )


def begin(ctx: Context, phase: str, *, total: int = 0) -> None:
    """Tell that a phase begins."""
    ctx.tick(0, total, phase=phase)
    ctx.log(f"{phase.capitalize()}: {total} in all." if total else f"{phase.capitalize()}.")


def undelete_name(day: str) -> str:
    """Return the name that the folder or tag for what is undeleted on a day has."""
    return f"undelete_{day}"


def today(ctx: Context) -> str:
    """Return the day in the server's zone, as such a name spells it."""
    return f"{ctx.now.astimezone(ZoneInfo(ctx.settings.zone)):%d_%m_%y}"


def undelete_folder(ctx: Context, account: str) -> str:
    """Return the path of the folder that an Undelete would make now in that mailbox."""
    name, entry = undelete_name(today(ctx)), ctx.destination.entry(EntryKind.ACCOUNT, account)
    if entry is not None:
        with ctx.destination.open(entry) as writer:
            name = free_name(name, partial(is_there, writer))
    return f"/{name}"


def known_at(ctx: Context, path: BackupPath, account: AccountId, before: datetime) -> str:
    """Say how exactly the backup knows the mailbox; a scanner that lags is waited for before.

    Empty if it is known exactly. Of another server's Backup Path nobody can be waited for.
    """
    log = log_after_waiting(ctx, path, before)
    return known_by(path, account, before, zone=ctx.settings.zone, log=log)


def log_after_waiting(ctx: Context, path: BackupPath, before: datetime) -> LogFiles | None:
    """Wait for a scanner that lags; return the redo log if that still tells of what is missing."""
    if path.tree.root != ctx.backup_path:
        return None
    log: LogFiles = ctx.source.redo_log
    lag = lags_since(path, log)
    if lag is not None and before > lag:
        beside = Beside(ctx.source, path, log=lambda line: ctx.log(line, level=Level.WARNING))
        if beside.wait(lambda: ctx.tick(0, 0, phase="waiting for the Real-Time Scanner")):
            # All of before this moment is saved, whatever comes now.
            return None
    return log


def _per_folder(mailbox: DryMailbox) -> list[str]:
    """Say how much would come into each folder, the fullest first."""
    lines = [
        f"{path_of(mailbox, folder)}: {_items(number)}, {mailbox.coming_bytes[folder]} bytes."
        for folder, number in mailbox.coming.most_common(_MOST_FOLDERS)
    ]
    if (more := len(mailbox.coming) - _MOST_FOLDERS) > 0:
        lines.append(f"And {more} more folders.")
    return lines


def dry_note(number: int) -> str:
    """Say that nothing was restored, and how many items a run would restore."""
    what = _items(number) if number else "nothing"
    return f"This was a dry run: nothing was restored. A run now would restore {what}."


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


def long_lines(number: int) -> str:
    """Say that messages come which delivery by LMTP would refuse."""
    what, come = ("message has a line", "it comes")
    if number > 1:
        what, come = ("messages have lines", "they come")
    long = f"{number} {what} of more than 10240 bytes"
    return f"{long}: {come}, though delivery by LMTP would refuse that."
