"""doRestoreOnNewAccount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final, NoReturn

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest
from backupng.engine.mailserver.port import Destination
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId
from backupng.engine.operations.account_scan import settle
from backupng.engine.operations.base import Context, Operation, Report
from backupng.engine.operations.moments import before_of, require_scanned, spelled, start_of
from backupng.engine.operations.named_path import opened
from backupng.engine.operations.restoring import NO_HSM, Restoring, known_at, today, undelete_name
from backupng.engine.operations.words import (
    FIRST,
    NO_ADDRESSES,
    AccountName,
    AccountNameOrId,
    Addresses,
    Moment,
    is_address,
)
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.known import Nothing, free_name
from backupng.engine.restore.losses import LossWatch, lost_shares
from backupng.engine.restore.new_account import Mark, NewAccount, is_unfinished
from backupng.engine.restore.rename import ROOTS, Plan, grant_count
from backupng.engine.restore.select import (
    Selection,
    find_account,
    first_moment,
    select_account,
    state_at,
)
from backupng.engine.restore.undelete import Deleted
from backupng.engine.scan.uncertainty import uncertain

_UNDELETE_FROM: Final = "undelete_start_date"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOnNewAccount(Operation):
    """Make a new account and fill it with what another one held at a moment."""

    command: ClassVar[str] = "doRestoreOnNewAccount"
    title: ClassVar[str] = "Restore on New Account"
    summary: ClassVar[str] = (
        "Restore on New Account: puts a mailbox as it was at a moment into a new account"
    )
    examples: ClassVar[tuple[str, ...]] = (
        'backupng backup dorestoreonnewaccount John NewJohn "28/09/2021 10:15:10"',
    )
    other_names: ClassVar[Mapping[str, str]] = {"undelete_start_time": "undelete_start_date"}

    after_interruption: ClassVar[str] = (
        "The new account is incomplete. Run the same restore again: it goes on from there."
    )

    source_account: AccountNameOrId
    destination_account: AccountName
    date: Moment = field(metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    restore_chat_buddies: bool | None = None
    notifications: Addresses = NO_ADDRESSES
    apply_hsm: bool = False
    restore_datasource: bool = True
    undelete: bool = False
    undelete_start_date: Moment = field(
        default=FIRST, metadata={"values": '"dd/MM/yyyy HH:mm:ss"|first'}
    )
    hide_in_gal: bool = False
    backup_path: Path | None = field(default=None, metadata={"default": "the active Backup Path"})
    dryrun: bool = False

    def check(self, ctx: Context) -> None:
        """Refuse what cannot be met: unknown source, taken or foreign destination, wrong date."""
        with opened(ctx, self.backup_path) as path:
            self._prepare(ctx, path)

    def source_name(self, ctx: Context) -> str:
        """Return the name at that moment: of several deleted accounts it may be the same."""
        with opened(ctx, self.backup_path) as path:
            prepared = self._prepare(ctx, path)
        return prepared.entry.name if prepared.account == str(self.source_account) else ""

    def run(self, ctx: Context) -> Report:
        """Select, rename, inject, read back; only the plan is told in a dry run."""
        with opened(ctx, self.backup_path) as path:
            return self._restore(ctx, path)

    def _restore(self, ctx: Context, path: BackupPath) -> Report:
        report, zone = Report(), ctx.settings.zone
        prepared = self._settle(ctx, path, report)
        known = known_at(ctx, path, prepared.account, prepared.before)
        restoring = Restoring(ctx, report, prepared.entry.name, dry=self.dryrun)
        selection = select_account(path, prepared.account, prepared.before)
        watch = LossWatch(selection, now=ctx.now)
        parts = [(selection, restoring.plan(selection))]
        if self.undelete:
            parts.append(self._deleted(ctx, prepared, restoring, parts[0][1]))
        plans = [plan for _, plan in parts]
        numbers = _numbers(plans)
        new = NewAccount(ctx.destination, prepared.entry, prepared.mark)
        if self.dryrun:
            begun = new.find(prepared.name)
            self._inject(ctx, prepared, restoring, begun, parts, is_new=begun is None)
        else:
            numbers["data_sources"] = self._fill(ctx, prepared, restoring, new, parts)
        restoring.tell(**numbers)
        report.notes += new.notes
        report.warnings += new.warnings
        self._note(ctx, report, prepared, known=known, shares=lost_shares(plans[0]))
        if self.date.keyword and watch.first_loss is not None:
            report.warnings.append(_loss(watch.number, spelled(watch.first_loss, zone)))
        return report

    def _fill(
        self,
        ctx: Context,
        prepared: _Prepared,
        restoring: Restoring,
        new: NewAccount,
        parts: Sequence[tuple[Selection, Plan]],
    ) -> int:
        """Make the account and put everything into it; returns how many data sources came."""
        is_new = new.find(prepared.name) is None
        entry = new.make(prepared.name, hide_in_gal=self.hide_in_gal)
        moved = self._inject(ctx, prepared, restoring, entry, parts, is_new=is_new)
        carried = new.add_data_sources(entry, moved) if self.restore_datasource else 0
        new.complete(entry, moved)
        return carried

    def _inject(
        self,
        ctx: Context,
        prepared: _Prepared,
        restoring: Restoring,
        entry: DirectoryEntry | None,
        parts: Sequence[tuple[Selection, Plan]],
        *,
        is_new: bool,
    ) -> dict[ItemId, ItemId]:
        """Put everything into the account, a new one or one that is continued.

        Returns where it has gone. A dry run has no new account.
        """
        moved: dict[ItemId, ItemId] = {}
        here = AccountId(entry.entry_id if entry else "")
        with restoring.into(entry) as writer:
            for number, (selection, plan) in enumerate(parts):
                injection = Injection(
                    selection=selection,
                    writer=writer,
                    holds=ctx.destination.holds,
                    accounts={prepared.account: here},
                    known=None if is_new and not number else Nothing(),
                    moved=moved,
                    in_place=number > 0,
                    beside=number > 0,
                )
                restoring.inject(plan, injection)
        return moved

    def _deleted(
        self, ctx: Context, prepared: _Prepared, restoring: Restoring, living: Plan
    ) -> tuple[Selection, Plan]:
        """Choose what had been deleted until that moment, for a folder of its own.

        That is named as on the day on which the restore began.
        """
        start = start_of(self.undelete_start_date, ctx.now, name=_UNDELETE_FROM)
        deleted = Deleted.of(prepared.path, prepared.account, start, prepared.before)
        deleted.but_living = prepared.before
        selection = deleted.selection()
        plan = restoring.plan(selection)
        taken = {each.name for each in living.folders if each.folder_id in ROOTS}
        top = free_name(undelete_name(prepared.mark.day), taken.__contains__)
        return selection, deleted.plan(plan, top=top)

    def _settle(self, ctx: Context, path: BackupPath, report: Report) -> _Prepared:
        """Prepare, and have an uncertain account of this server scanned first."""
        prepared = self._prepare(ctx, path)
        doubt = uncertain(path, prepared.account)
        if doubt is None or self.backup_path is not None:
            return prepared
        settle(ctx, prepared.account, doubt, report)
        return self._prepare(ctx, path)

    def _prepare(self, ctx: Context, path: BackupPath) -> _Prepared:
        require_scanned(path)
        before = before_of(self.date, ctx.now)
        account, history = find_account(path, self.source_account, before=before)
        first = first_moment(path, account, history)
        if before <= first:
            raise BadRequest(
                f"{history[0].entry.name} was not in the backup yet at that time.",
                code="before_first_backup",
                hint=f"The first moment is {spelled(first, ctx.settings.zone)}.",
                first=int(first.timestamp() * 1000),
            )
        start = start_of(self.undelete_start_date, ctx.now, name=_UNDELETE_FROM)
        if self.undelete_start_date != FIRST and not self.undelete:
            raise BadRequest(
                f"{_UNDELETE_FROM} means nothing without undelete true.",
                hint="Give both to have what was deleted since then come along, or neither.",
                parameter=_UNDELETE_FROM,
            )
        if self.undelete and start >= before:
            raise BadRequest(
                f"{_UNDELETE_FROM} lies after the moment of the restore.",
                code="bad_period",
                hint="What was deleted between the two comes along.",
            )
        state = state_at(history, before) or history[0]
        name = full_name(self.destination_account, state.entry.name)
        check_destination(ctx.destination, name)
        moment = self.date.keyword or spelled(before, "UTC")
        mark = Mark(source=account, moment=moment, day=today(ctx))
        if begun := ctx.destination.entry(EntryKind.ACCOUNT, name):
            mark = mark.of(begun) or _refuse(name)
        return _Prepared(
            path, account, state.entry, before, settings_of=state.start, name=name, mark=mark
        )

    def _note(
        self, ctx: Context, report: Report, prepared: _Prepared, *, known: str, shares: str
    ) -> None:
        read_at = spelled(prepared.settings_of, ctx.settings.zone)
        if known:
            (report.notes if self.date.keyword else report.warnings).append(known)
        report.notes.append(f"Account settings are those read at {read_at}.")
        if self.restore_chat_buddies:
            report.notes.append("There is no chat here: restore_chat_buddies has no effect.")
        if self.apply_hsm:
            report.notes.append(NO_HSM)
        number = report.counters["mountpoints_not_carried"] + report.counters["grants_not_carried"]
        if number:
            name, were = ("share names", "was") if number == 1 else ("shares name", "were")
            report.notes.append(
                f"{number} {name} the old account and {were} not carried over: {shares}."
            )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the checks found: whom to restore, as of when, with which settings, as whom."""

    path: BackupPath
    account: AccountId
    entry: DirectoryEntry
    before: datetime
    settings_of: datetime
    name: str
    mark: Mark


def _refuse(name: str) -> NoReturn:
    raise BadRequest(
        f"The account {name} exists: another restore into it is unfinished.",
        code="already_exists",
        hint="Run that one again with the same words, or delete the account.",
    )


def _numbers(plans: Sequence[Plan]) -> dict[str, int]:
    return {
        "folders": sum(len(plan.folders) for plan in plans),
        "tags": sum(len(plan.tags) for plan in plans),
        "mountpoints_not_carried": len(plans[0].shares),
        "grants_not_carried": sum(
            grant_count(state) for state in (*plans[0].system, *plans[0].folders)
        ),
    }


def _loss(number: int, since: str) -> str:
    items = "1 item, more than half of the mailbox, was"
    if number != 1:
        items = f"{number} items, more than half of the mailbox, were"
    return f"{items} deleted since {since}: the last state is without them."


def full_name(name: str, source: str) -> str:
    """Return the address of the new account: a bare local part means the source's domain."""
    domain = source.partition("@")[2]
    return (name if "@" in name else f"{name}@{domain}").lower()


def check_destination(destination: Destination, name: str) -> None:
    """Refuse an address that no new account can have. Raises BadRequest.

    That of an unfinished restore is taken: which one may go on there is seen when it is checked.
    """
    domain = name.partition("@")[2]
    if not is_address(name):
        raise BadRequest(
            f"{name!r} is no mail address.", hint="A new account is named local-part@domain."
        )
    if destination.entry(EntryKind.DOMAIN, domain) is None:
        raise BadRequest(
            f"The domain {domain} does not exist.",
            code="no_such_domain",
            hint="Take an address in one of the server's domains.",
        )
    account = destination.entry(EntryKind.ACCOUNT, name)
    if account is not None and not is_unfinished(account):
        raise BadRequest(
            f"The account {name} exists.",
            code="already_exists",
            hint="A Restore on New Account makes its account itself: choose another name.",
        )
    if destination.entry(EntryKind.LIST, name) is not None:
        raise BadRequest(
            f"The distribution list {name} exists.",
            code="already_exists",
            hint="A Restore on New Account makes its account itself: choose another name.",
        )
