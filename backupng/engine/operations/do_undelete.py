"""doUndelete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest
from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.model import AccountId
from backupng.engine.operations.base import Context, Operation, Report
from backupng.engine.operations.moments import before_of, end_before, known_by, spelled, start_of
from backupng.engine.operations.named_path import opened
from backupng.engine.operations.own_mailbox import OwnMailbox
from backupng.engine.operations.restoring import (
    NO_HSM,
    Restoring,
    log_after_waiting,
    today,
    undelete_name,
)
from backupng.engine.operations.words import NO_ADDRESSES, AccountName, Addresses, Moment
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.rename import Plan, tag_named
from backupng.engine.restore.undelete import Deleted

_NOTHING: Final = "Nothing was deleted in that period: there is nothing to bring back."
_UNSEEN: Final = (
    "That period is not in the backup yet, which ends at {}: whether something was deleted then is"
    " not known."
)
_SCAN: Final = (
    " Run a SmartScan and then Undelete again, with the word last as the end: what no Real-Time"
    " Scanner saw counts as deleted when the scan finds it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoUndelete(Operation):
    """Bring back what was deleted from a mailbox in a period."""

    command: ClassVar[str] = "doUndelete"
    title: ClassVar[str] = "Undelete"
    summary: ClassVar[str] = "Undelete: brings back what was deleted from a mailbox in a period"
    examples: ClassVar[tuple[str, ...]] = (
        'backupng backup doundelete John "08/10/2021 10:15:00" last',
        "backupng backup doUndelete john@example.com first last target_original_folder true",
    )

    account: AccountName
    start_date: Moment = field(metadata={"values": '"dd/MM/yyyy HH:mm:ss"|first'})
    end_date: Moment = field(metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    notifications: Addresses = NO_ADDRESSES
    target_original_folder: bool = False
    apply_hsm: bool = False
    backup_path: Path | None = field(default=None, metadata={"default": "the active Backup Path"})
    dryrun: bool = False

    def check(self, ctx: Context) -> None:
        """Refuse an account that is not there, and a period that is none."""
        with opened(ctx, self.backup_path) as path:
            self._prepare(ctx, path)

    def run(self, ctx: Context) -> Report:
        """Choose by the time of deletion, put it into a folder or where it was, read back."""
        with opened(ctx, self.backup_path) as path:
            return self._undelete(ctx, path)

    def _undelete(self, ctx: Context, path: BackupPath) -> Report:
        report = Report()
        mailbox, _, _ = self._prepare(ctx, path)
        mailbox.settle(ctx, report)
        mailbox, start, end = self._prepare(ctx, path)
        unseen, known = self._known(ctx, path, mailbox.account, (start, end))
        restoring = Restoring(ctx, report, mailbox.entry.name, dry=self.dryrun)
        name = undelete_name(today(ctx))
        deleted = Deleted.of(path, mailbox.account, start, end)
        deleted.tag = name if self.target_original_folder else ""
        selection = deleted.selection()
        plan = restoring.plan(selection)
        plan = deleted.plan(plan, top="" if self.target_original_folder else name).with_shares()
        with restoring.into(mailbox.entry) as writer:
            injection = deleted.injection(selection, writer, ctx.destination.holds)
            self._make_tag(writer, deleted.tag, plan)
            restoring.inject(plan, injection)
        restoring.tell(found_deleted=plan.size, folders=len(plan.folders), tags=len(plan.tags))
        if deleted.merged:
            report.notes.append(_merged(deleted.merged))
        if injection.skipped:
            report.notes.append(_there(injection.skipped))
        if injection.top and not self.dryrun:
            report.notes.append(f"What was deleted is in the folder /{injection.top}.")
        report.notes += self._notes(injection)
        if unseen and not plan.size:
            report.warnings.append(unseen)
            return report
        report.notes += [] if plan.size else [_NOTHING]
        if known:
            (report.notes if self.end_date.keyword else report.warnings).append(known)
        return report

    def _known(
        self, ctx: Context, path: BackupPath, account: AccountId, period: tuple[datetime, datetime]
    ) -> tuple[str, str]:
        """Say that the backup has seen nothing of the period, and how exactly it knows its end."""
        start, end = period
        log, zone = log_after_waiting(ctx, path, end), ctx.settings.zone
        ended = end_before(path, account, start, log=log)
        unseen = "" if ended is None else _UNSEEN.format(spelled(ended, zone))
        if unseen and path.tree.root == ctx.backup_path:
            unseen += _SCAN
        return unseen, known_by(path, account, end, zone=zone, log=log)

    def _prepare(self, ctx: Context, path: BackupPath) -> tuple[OwnMailbox, datetime, datetime]:
        """Return the mailbox and its period: from the first moment to before the second."""
        start, end = start_of(self.start_date, ctx.now), before_of(self.end_date, ctx.now)
        if start >= end:
            raise BadRequest(
                "The period ends before it starts.",
                code="bad_period",
                hint="First the earlier date, or the word first; then the later one, or last.",
            )
        mailbox = OwnMailbox.of(ctx, path, self.account)
        mailbox.require_known(end, ctx.settings.zone)
        return mailbox, start, end

    def _make_tag(self, writer: MailboxWriter, tag: str, plan: Plan) -> None:
        if tag and plan.items:
            writer.put_tag(tag_named(tag), keep=True)

    def _notes(self, injection: Injection) -> Iterator[str]:
        if self.target_original_folder and injection.kinds and not self.dryrun:
            yield "Messages and other items that came back bear a tag with today's date."
        if self.apply_hsm:
            yield NO_HSM


def _there(number: int) -> str:
    one = number == 1
    return f"{number} {'item is' if one else 'items are'} in the mailbox already: left alone."


def _merged(number: int) -> str:
    have, come = ("folder has", "comes") if number == 1 else ("folders have", "come")
    return (
        f"{number} deleted {have} the path of another deleted one and {come} as one with it:"
        " what lay in either is in there."
    )
