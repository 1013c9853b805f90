"""doCoherencyCheck."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupPathBusy, BadRequest, ItemError
from backupng.engine.model import AccountId, EntryKind, ItemId
from backupng.engine.operations.base import Context, Level, Operation, Report, open_named
from backupng.engine.operations.catching_up import look_again
from backupng.engine.operations.named_path import require_changeable
from backupng.engine.operations.words import NO_ADDRESSES, AccountNames, Addresses
from backupng.engine.restore.select import find_account
from backupng.engine.scan.beside import Beside
from backupng.engine.scan.differences import Comparison, Difference
from backupng.engine.upkeep.coherency import CoherencyCheck
from backupng.engine.upkeep.coherency_findings import MOST_LISTED, Finding, Findings, Flaw
from backupng.engine.upkeep.coherency_repair import MOVED, Repair

READING: Final = "reading the Backup Path"
COMPARING: Final = "comparing with the mail server"
WAITING: Final = "waiting until nobody writes there"
MOVING: Final = "moving what is broken"
NEEDS_IT_ALONE: Final = frozenset({WAITING, MOVING})
"""Phases in which a Real-Time Scanner of the same Backup Path has to stand aside."""
SKIP, CHECK, FIX = "skip", "check", "fix"

_EXAMPLE: Final = "backupng backup docoherencycheck /opt/zimbra/backup/ng/"
_NOTHING_THERE: Final = (
    "There is nothing in {}: no account, no directory entry and no blob. If it is a copy, it is not"
    " complete."
)
_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.1
_NAMED: Final = 10
_EVERYBODY: Final = AccountNames(())
_LABELS: Final = {
    Flaw.BROKEN_METADATA: "broken_metadata",
    Flaw.MISSING_STATES: "missing_states",
    Flaw.MISSING_BLOB: "missing_blobs",
    Flaw.WRONG_DIGEST: "wrong_digests",
    Flaw.ORPHAN: "orphans",
    Flaw.WRONG_SIZE: "wrong_sizes",
    Flaw.WRONG_TYPE: "wrong_types",
    Flaw.COMPRESSED_TWICE: "compressed_twice",
    Flaw.READ_ERROR: "read_errors",
}
_ALWAYS: Final = ("accounts", "metadata_files", "states", "blobs", "bytes_read")
_SOMETIMES: Final = ("torn_tails", "pending", "on_their_way", "unjudged", "foreign_names")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoCoherencyCheck(Operation):
    """Read all metadata and all blobs of a Backup Path, and say what is broken."""

    command: ClassVar[str] = "doCoherencyCheck"
    title: ClassVar[str] = "Coherency Check"
    summary: ClassVar[str] = (
        "Coherency Check: reads all metadata and blobs of a Backup Path, and says what is broken"
    )
    examples: ClassVar[tuple[str, ...]] = (
        f"{_EXAMPLE} accounts jack@example.com,john@example.com",
        f"{_EXAMPLE} fixBackup true",
    )
    other_names: ClassVar[Mapping[str, str]] = {"accountIds": "accounts"}
    after_interruption: ClassVar[str] = (
        "Run it again. What fixBackup had moved by then is in quarantine, with a list of it."
    )

    backup_path: Path
    accounts: AccountNames = field(default=_EVERYBODY, metadata={"default": "all"})
    checkZimbra: bool = field(  # noqa: N815 - the parameter's name
        default=False, metadata={"values": "true|false"}
    )
    fixBackup: bool = field(  # noqa: N815 - the parameter's name
        default=False, metadata={"values": "true|false"}
    )
    notifications: Addresses = NO_ADDRESSES
    fixDoubleGzip: str = field(  # noqa: N815 - the parameter's name
        default=SKIP, metadata={"values": f"{SKIP}|{CHECK}|{FIX}"}
    )

    def check(self, ctx: Context) -> None:
        """Refuse what is no Backup Path, unknown accounts, and what cannot be done there."""
        if self.fixDoubleGzip not in (SKIP, CHECK, FIX):
            raise BadRequest(
                f"fixDoubleGzip: {self.fixDoubleGzip!r} is not accepted.",
                hint=f"Expected: {SKIP}, {CHECK} or {FIX}.",
                parameter="fixDoubleGzip",
                value=self.fixDoubleGzip,
            )
        with open_named(self.backup_path) as path:
            self._chosen(path)
            if self.checkZimbra and path.form.server_id != ctx.source.server_id:
                raise BadRequest(
                    f"{self.backup_path} is the backup of the server {path.form.server_name}:"
                    " it cannot be compared with this one.",
                    hint="Run the command there, or leave checkZimbra away.",
                )
            if self._fixes:
                hint = "Leave fixBackup away, or use a newer version of Backup NG."
                require_changeable(ctx, path, hint=hint)

    def run(self, ctx: Context) -> Report:
        """Check; compare and repair if that is asked for. The catalog follows what was read."""
        with open_named(self.backup_path) as path:
            accounts = self._chosen(path)
            report = self._examine(ctx, path, accounts)
        if self._is_own(ctx):
            look_again(ctx, accounts)
        return report

    def _examine(
        self, ctx: Context, path: BackupPath, accounts: frozenset[AccountId] | None
    ) -> Report:
        findings = Findings(tell=lambda found: ctx.log(str(found), level=Level.WARNING))
        started = ctx.now
        CoherencyCheck(
            path=path,
            started=started,
            tick=lambda done, total, _: ctx.tick(
                done, total, phase=READING, counts=_counters(findings)
            ),
            accounts=accounts,
            findings=findings,
            looks_twice=self.fixDoubleGzip != SKIP,
        ).run()
        report = Report(counters=_counters(findings))
        _list_findings(path, findings, report)
        differing: set[AccountId] = set()
        if self.checkZimbra:
            found = _list_differences(_differences(ctx, path, accounts), report, ctx)
            differing.update(found if self.fixBackup else ())
        if differing or any(findings.flaws[flaw] for flaw in self._fixes):
            self._fix(ctx, path, findings, report, started=started, differing=differing)
        elif findings.total:
            report.notes.append("Nothing was moved: fixBackup is false.")
        if accounts is not None:
            report.notes.append("Orphans are looked for only where all accounts are checked.")
        _list_foreign(ctx, findings)
        if accounts is None and not findings.total and not _holds_anything(findings):
            report.warnings.append(_NOTHING_THERE.format(path.tree.root))
        if findings.counts["unjudged"]:
            report.notes.append("Metadata cannot be read: what is an orphan, nobody knows.")
        return report

    def _is_own(self, ctx: Context) -> bool:
        """Say whether this is the server's own Backup Path, and no copy of it."""
        with suppress(OSError):
            return self.backup_path.samefile(ctx.backup_path)
        return False

    @property
    def _fixes(self) -> frozenset[Flaw]:
        """The classes of findings that something is done about."""
        twice = frozenset({Flaw.COMPRESSED_TWICE}) if self.fixDoubleGzip == FIX else frozenset()
        return (MOVED if self.fixBackup else frozenset()) | twice

    def _chosen(self, path: BackupPath) -> frozenset[AccountId] | None:
        """Return the accounts that were named; None for all. Raises BadRequest."""
        if not self.accounts:
            return None
        return frozenset(find_account(path, name)[0] for name in self.accounts)

    def _fix(
        self,
        ctx: Context,
        path: BackupPath,
        findings: Findings,
        report: Report,
        *,
        started: datetime,
        differing: Collection[AccountId],
    ) -> None:
        zone = ZoneInfo(ctx.settings.zone)
        with _alone(ctx, path):
            repair = Repair(
                path,
                findings,
                started,
                name=f"{started.astimezone(zone):%d_%m_%y#%H_%M_%S}",
                pause=lambda: ctx.tick(0, 0, phase=MOVING),
                flaws=self._fixes,
                differing=frozenset(differing),
                packer=ctx.settings.packer,
            )
            folder = repair.run()
        report.counters["moved"] = len(repair.moved)
        for source, target in repair.moved:
            ctx.log(f"Moved {source} to {target}.")
        if folder is not None:
            report.notes.append(f"Moved to {path.tree.root / folder}, which holds a list of it.")
        report.notes.append("A SmartScan saves anew what the mail server still has: run one.")
        if findings.left_out:
            report.warnings.append(
                f"{findings.left_out} findings more than one check can move: run it again."
            )


@contextmanager
def _alone(ctx: Context, path: BackupPath) -> Iterator[None]:
    """Wait until nobody writes to the tree, and keep everybody from it."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        ctx.tick(0, 0, phase=WAITING)
        with ExitStack() as stack:
            try:
                stack.enter_context(path.repairing())
            except BackupPathBusy as error:
                if time.monotonic() >= until:
                    raise BackupPathBusy(
                        f"Nothing was moved: somebody writes to {path.tree.root}.",
                        hint="Disable the Real-Time Scanner of that Backup Path, run it again, and"
                        " enable the scanner: setProperty ZxBackup_RealTimeScanner FALSE.",
                    ) from error
            else:
                yield
                return
        time.sleep(_PAUSE_S)


def _differences(
    ctx: Context, path: BackupPath, accounts: frozenset[AccountId] | None
) -> Iterator[Difference]:
    beside = Beside(ctx.source, path, log=lambda line: ctx.log(line, level=Level.WARNING))
    pause = lambda _name: ctx.tick(0, 0, phase=COMPARING)  # noqa: E731
    yield from Comparison(ctx.source, path, beside, pause).run(accounts)


def _list_differences(found: Iterable[Difference], report: Report, ctx: Context) -> set[AccountId]:
    """List them as findings, as many as there is room for; name all of them in the log.

    Returns the accounts of which items differ: no scan need have a reason to look at those.
    """
    number, accounts = 0, set()
    listed: dict[str, list[tuple[ItemId, str]]] = {}
    for number, each in enumerate(found, 1):
        what = f"item {each.item}: {each.what}" if each.item else each.what
        ctx.log(f"{each.account}: {what}", level=Level.WARNING)
        if each.item:
            accounts.add(each.account_id)
        if number <= MOST_LISTED:
            listed.setdefault(each.account, []).append((each.item, each.what))
    report.counters["differences"] = number
    for account, items in listed.items():
        report.unreadable[account] = sorted([*report.unreadable[account], *items])
    if number > MOST_LISTED:
        report.warnings.append(f"{number - MOST_LISTED} more differences: the log names them.")
    return accounts


def _counters(findings: Findings) -> dict[str, int]:
    """Return the numbers of the report, those that are always told first."""
    counters = {name: findings.counts[name] for name in _ALWAYS}
    counters |= {name: findings.flaws[flaw] for flaw, name in _LABELS.items()}
    return counters | {name: findings.counts[name] for name in _SOMETIMES}


def _list_findings(path: BackupPath, findings: Findings, report: Report) -> None:
    """List what is broken per account; what belongs to none by its file; orphans by number."""
    names: dict[AccountId, str] = {}
    listed: dict[str, set[tuple[ItemId, str]]] = {}
    orphans = [each for each in findings.found if each.flaw is Flaw.ORPHAN]
    for each in findings.found:
        if each.flaw is not Flaw.ORPHAN:
            owner = str(each.path)
            if each.account is not None:
                owner = names.setdefault(each.account, _name_of(path, each.account))
            listed.setdefault(owner, set()).add((each.item, str(each.flaw)))
            if each.flaw is Flaw.MISSING_STATES:
                report.warnings.append(f"{owner}: {each.why}.")
    for owner in sorted(listed):
        report.unreadable[owner] = sorted(listed[owner])
    if orphans:
        report.warnings.append(_orphans(findings.flaws[Flaw.ORPHAN], orphans))


def _list_foreign(ctx: Context, findings: Findings) -> None:
    """Name the first of what is not the tree's in the log."""
    for place in findings.foreign:
        ctx.log(f"{place} is not the Backup Path's: it is left alone.")
    more = findings.counts["foreign_names"] - len(findings.foreign)
    if more:
        ctx.log(f"{more} more names are not the Backup Path's.")


def _holds_anything(findings: Findings) -> bool:
    return any(findings.counts[name] for name in ("accounts", "metadata_files", "blobs"))


def _orphans(number: int, found: Sequence[Finding]) -> str:
    first = ", ".join(str(each.path) for each in found[:_NAMED])
    more = f" and {number - _NAMED} more" if number > _NAMED else ""
    verb = "blob is referred to" if number == 1 else "blobs are referred to"
    return f"{number} {verb} by no metadata: {first}{more}."


def _name_of(path: BackupPath, account: AccountId) -> str:
    """Return an account's last name, its id where the backup cannot tell."""
    try:
        history = path.entry_history(EntryKind.ACCOUNT, account)
    except ItemError:
        return account
    return history[-1].entry.name if history else account
