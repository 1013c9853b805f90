"""doRestoreOnNewAccount."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.port import Destination
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId
from backupng.engine.operations.account_scan import settle
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.moments import (
    before_of,
    known_by,
    lags_since,
    require_scanned,
    spelled,
)
from backupng.engine.operations.words import (
    NO_ADDRESSES,
    AccountName,
    AccountNameOrId,
    Addresses,
    Moment,
    is_address,
)
from backupng.engine.redolog.files import LogFiles
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.provision import CHILDREN_CARRIED, attributes_for
from backupng.engine.restore.rename import order
from backupng.engine.restore.select import find_account, first_moment, select_account, state_at
from backupng.engine.scan.beside import Beside
from backupng.engine.scan.uncertainty import uncertain

OLDER_STATE = "restored in an older state: the scan could not read the newer one"


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

    after_interruption: ClassVar[str] = (
        "The new account is incomplete: delete it, then run the restore again."
    )

    source_account: AccountNameOrId
    destination_account: AccountName
    date: Moment = field(metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    restore_chat_buddies: bool | None = field(default=None, metadata={"values": "true|false"})
    notifications: Addresses = NO_ADDRESSES
    hide_in_gal: bool = field(default=False, metadata={"values": "true|false"})

    def check(self, ctx: Context) -> None:
        """Refuse what cannot be met: unknown source, taken or foreign destination, wrong date."""
        self._prepare(ctx)

    def run(self, ctx: Context) -> Report:
        """Select, rename, inject, read back."""
        report = Report()
        prepared = self._settle(ctx, report)
        known = _known(ctx, prepared)
        _begin(ctx, "reading the backup")
        selection = select_account(ctx.path, prepared.account, prepared.before)
        plan = order(selection.states)
        entry = self._create(ctx, prepared, report)
        _begin(ctx, "restoring items", total=plan.size)
        with ctx.destination.open(entry) as writer:
            injection = Injection(
                path=ctx.path,
                writer=writer,
                holds=ctx.destination.holds,
                accounts={prepared.account: AccountId(entry.entry_id)},
                tick=lambda done, total: ctx.tick(
                    done, total, phase="restoring items", counts=injection.counts
                ),
            )
            injection.run(plan)
        _tell(ctx, report, prepared, [*selection.unreadable, *injection.errors])
        unrestored = [(item, error.cause) for item, error in selection.unreadable]
        unrestored += injection.unrestored
        if unrestored:
            report.unrestored[prepared.entry.name] = sorted(unrestored)
        report.counters = {
            "planned": plan.size + len(selection.unreadable),
            **injection.counts,
            "unrestored": len(unrestored),
            "folders": len(plan.folders),
            "tags": len(plan.tags),
            "mountpoints_not_carried": len(plan.shares),
            "grants_not_carried": injection.grants_lost,
            **({"pending": len(selection.pending)} if selection.pending else {}),
        }
        if outdated := [(item, OLDER_STATE) for item in sorted(selection.outdated)]:
            report.unreadable[prepared.entry.name] += outdated
        self._note(ctx, report, prepared, known=known)
        return report

    def _settle(self, ctx: Context, report: Report) -> _Prepared:
        """Prepare, and have an uncertain account scanned first."""
        prepared = self._prepare(ctx)
        doubt = uncertain(ctx.path, prepared.account)
        if doubt is None:
            return prepared
        settle(ctx, prepared.account, doubt, report)
        return self._prepare(ctx)

    def _prepare(self, ctx: Context) -> _Prepared:
        require_scanned(ctx.path)
        before = before_of(self.date, ctx.now)
        account, history = find_account(ctx.path, self.source_account, before=before)
        first = first_moment(ctx.path, account, history)
        if before <= first:
            raise BadRequest(
                f"{history[0].entry.name} was not in the backup yet at that time.",
                code="before_first_backup",
                hint=f"The first moment is {spelled(first, ctx.settings.zone)}.",
                first=int(first.timestamp() * 1000),
            )
        state = state_at(history, before) or history[0]
        name = full_name(self.destination_account, state.entry.name)
        check_destination(ctx.destination, name)
        return _Prepared(account, state.entry, before, settings_of=state.start, name=name)

    def _create(self, ctx: Context, prepared: _Prepared, report: Report) -> DirectoryEntry:
        source = prepared.entry
        attributes = attributes_for(source, hide_in_gal=self.hide_in_gal)
        cos = source.first("zimbraCOSId")
        if cos and ctx.destination.entry(EntryKind.COS, cos) is None:
            del attributes["zimbraCOSId"]
            report.warnings.append(
                f"The class of service {cos} is gone; the domain's default is used."
            )
        entry = ctx.destination.create_account(prepared.name, attributes)
        for child in source.children:
            if child.kind in CHILDREN_CARRIED:
                try:
                    ctx.destination.add_child(entry, child)
                except ItemError as error:
                    report.notes.append(f"The {child.kind} {child.name} was not carried: {error}")
        return entry

    def _note(self, ctx: Context, report: Report, prepared: _Prepared, *, known: str) -> None:
        read_at = spelled(prepared.settings_of, ctx.settings.zone)
        if known:
            (report.notes if self.date.keyword else report.warnings).append(known)
        report.notes.append(f"Account settings are those read at {read_at}.")
        if self.restore_chat_buddies:
            report.notes.append("There is no chat here: restore_chat_buddies has no effect.")
        shares = report.counters["mountpoints_not_carried"] + report.counters["grants_not_carried"]
        if shares:
            report.notes.append(f"{shares} shares name the old account and were not carried over.")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the checks found: whom to restore, as of when, with which settings, as whom."""

    account: AccountId
    entry: DirectoryEntry
    before: datetime
    settings_of: datetime
    name: str


def _tell(
    ctx: Context, report: Report, prepared: _Prepared, failures: list[tuple[ItemId, ItemError]]
) -> None:
    """Log what was not restored, and why; a damaged backup is suspected."""
    for item, error in failures:
        ctx.log(f"{prepared.entry.name}, item {item}: {error}", level=Level.WARNING)
    report.suspect(prepared.entry.name, failures)


def _known(ctx: Context, prepared: _Prepared) -> str:
    """Say how exactly the backup knows the mailbox; a scanner that lags is waited for before."""
    log: LogFiles | None = ctx.source.redo_log
    lag = lags_since(ctx.path, ctx.source.redo_log)
    if lag is not None and prepared.before > lag:
        beside = Beside(ctx.source, ctx.path, log=lambda line: ctx.log(line, level=Level.WARNING))
        if beside.wait(lambda: ctx.tick(0, 0, phase="waiting for the Real-Time Scanner")):
            # All of before this moment is saved, whatever comes now.
            log = None
    return known_by(ctx.path, prepared.account, prepared.before, zone=ctx.settings.zone, log=log)


def _begin(ctx: Context, phase: str, *, total: int = 0) -> None:
    ctx.tick(0, total, phase=phase)
    ctx.log(f"{phase.capitalize()}: {total} in all." if total else f"{phase.capitalize()}.")


def full_name(name: str, source: str) -> str:
    """Return the address of the new account: a bare local part means the source's domain."""
    domain = source.partition("@")[2]
    return (name if "@" in name else f"{name}@{domain}").lower()


def check_destination(destination: Destination, name: str) -> None:
    """Refuse an address that no new account can have. Raises BadRequest."""
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
    if destination.entry(EntryKind.ACCOUNT, name) is not None:
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
