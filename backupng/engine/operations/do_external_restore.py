"""doExternalRestore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.typed import folder_to_read
from backupng.engine.errors import (
    BackupError,
    BackupPathBroken,
    BadRequest,
    MailServerError,
    OperationError,
)
from backupng.engine.model import EntryKind, ItemKind
from backupng.engine.operations.base import Context, Level, Operation, Report, open_named
from backupng.engine.operations.importing import Course, Import, Outcome
from backupng.engine.operations.moments import require_scanned
from backupng.engine.operations.named_path import bounds
from backupng.engine.operations.words import (
    ALL_DOMAINS,
    NO_ADDRESSES,
    AccountNames,
    Addresses,
    Domains,
)
from backupng.engine.restore.importing.choice import Choice, Chooser, Wanted
from backupng.engine.restore.importing.phase1 import Options, Phase1
from backupng.engine.restore.importing.rehearsal import Rehearsal
from backupng.engine.scan.beside import SCANNER_ROLE

_EXAMPLE: Final = "backupng backup doexternalrestore /opt/zimbra/backup/restorePath/"
_CHOSEN: Final = (
    "accounts john@example.com,jack@example.com domains example.com"
    " filter_deleted false skip_system_accounts false"
)
_CONCURRENT: Final = "domains example0.com,example1.com concurrent_accounts 5"
_BOOLEAN: Final = {"values": "true|false"}
_EVERYBODY: Final = AccountNames(())
_MOST_AT_ONCE: Final = 16
_LONGEST_INPUT: Final = 16 << 20
_NAMED: Final = 20
_OLDER: Final = "restored in an older state: the scan could not read the newer one"
_SWITCH_OFF: Final = "backupng backup setProperty ZxBackup_RealTimeScanner FALSE"
_FROM_A_COPY: Final = (
    "To restore from a copy of it on the server itself: switch the Real-Time Scanner off, set"
    " ZxBackup_DestPath to the copy, run doRestoreOnNewAccount, set it back, switch the scanner on."
    " To bring back what is missing here after a rollback: force_as_external_restore true."
)
_ENTRIES: Final = {
    EntryKind.DOMAIN: "domains",
    EntryKind.COS: "classes_of_service",
    EntryKind.LIST: "lists",
    EntryKind.ACCOUNT: "accounts",
    "aliases": "aliases",
}
_KINDS: Final = {
    ItemKind.MESSAGE: "mail",
    ItemKind.CHAT: "mail",
    ItemKind.CONTACT: "contacts",
    ItemKind.APPOINTMENT: "appointments",
    ItemKind.TASK: "tasks",
    ItemKind.DOCUMENT: "files",
    ItemKind.WIKI: "files",
    ItemKind.TAG: "tags",
    ItemKind.NOTE: "notes",
    ItemKind.COMMENT: "comments",
    ItemKind.FOLDER: "folders",
    ItemKind.SEARCH: "folders",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalRestore(Operation):
    """Add to this server all that a Backup Path or an export of another one holds."""

    command: ClassVar[str] = "doExternalRestore"
    title: ClassVar[str] = "External Restore"
    summary: ClassVar[str] = (
        "External Restore: adds domains, accounts and items of another server's backup to this one"
    )
    examples: ClassVar[tuple[str, ...]] = (
        f"{_EXAMPLE} {_CHOSEN}",
        f"backupng backup doExternalRestore /mnt/external1 {_CONCURRENT}",
        "backupng backup doExternalRestore /path/for/the/data/ provisioning_only TRUE",
    )
    after_interruption: ClassVar[str] = (
        "Run it again: what is there already is skipped, and nothing is doubled."
    )

    source_path: Path
    accounts: AccountNames = field(default=_EVERYBODY, metadata={"default": "all"})
    domains: Domains = field(default=ALL_DOMAINS, metadata={"default": "all"})
    filter_deleted: bool = field(default=True, metadata=_BOOLEAN)
    skip_system_accounts: bool = field(default=True, metadata=_BOOLEAN)
    skip_aliases: bool = field(default=False, metadata=_BOOLEAN)
    skip_distribution_lists: bool = field(default=False, metadata=_BOOLEAN)
    provisioning_only: bool = field(default=False, metadata=_BOOLEAN)
    skip_coses: bool = field(default=False, metadata=_BOOLEAN)
    notifications: Addresses = NO_ADDRESSES
    concurrent_accounts: int = 1
    input_file: Path | None = None
    skip_account_provisioning: bool = field(default=False, metadata=_BOOLEAN)
    skip_domain_provisioning: bool = field(default=False, metadata=_BOOLEAN)
    max_file_size: int | None = field(default=None, metadata={"default": "none"})
    restore_datasource: bool = field(default=True, metadata=_BOOLEAN)
    force_as_external_restore: bool = field(default=False, metadata=_BOOLEAN)
    blobs_archive: str = ""
    restore_admin_rights: bool = field(default=False, metadata=_BOOLEAN)
    retry: bool = field(default=False, metadata=_BOOLEAN)
    dryrun: bool = field(default=False, metadata=_BOOLEAN)

    def check(self, ctx: Context) -> None:
        """Refuse what is no backup, this server's own path, unknown names, what cannot be kept."""
        if not 1 <= self.concurrent_accounts <= _MOST_AT_ONCE:
            raise BadRequest(
                f"concurrent_accounts: {self.concurrent_accounts} is not accepted.",
                hint=f"Expected: a number from 1 to {_MOST_AT_ONCE}. Begin with a low one.",
            )
        if self.blobs_archive:
            raise BadRequest(
                "blobs_archive is not implemented in this version.",
                hint="Bring blobs and metadata together in one folder, and name that.",
            )
        if not self.dryrun:
            ctx.check_owned_path()
        with self._opened(ctx) as path:
            if self.domains or self.accounts or self.input_file:
                self._choose(path)

    def run(self, ctx: Context) -> Report:
        """Do the phases in their order."""
        with self._opened(ctx) as path:
            warning = scanner_warning(ctx)
            if warning:
                ctx.log(warning, level=Level.WARNING)
            choice = self._choose(path)
            self._require_domains(ctx, choice)
            course = Import(ctx, path, choice, self._options(ctx, path), self._course(ctx, path))
            course.expect()
            if self.dryrun:
                return self._rehearse(ctx, path, choice, course)
            with self._advising(), course.mapped() as id_map:
                phase = course.provision(id_map)
                if self.provisioning_only:
                    course.complete(phase, with_items=False)
                ctx.announce_phase1(course.told())
                if not self.provisioning_only:
                    course.restore_items(phase)
                    course.complete(phase, with_items=True)
            report = self._report(ctx, path, choice, course)
            report.notes += [warning] if warning else []
            return report

    @contextmanager
    def _advising(self) -> Iterator[None]:
        """Say what to do when the mail server dies on the way."""
        try:
            yield
        except MailServerError as error:
            error.hint = error.hint or self.after_interruption
            raise

    # The source

    @contextmanager
    def _opened(self, ctx: Context) -> Iterator[BackupPath]:
        """Open the source, held against what was typed. Raises BadRequest, BackupPathError."""
        with (
            folder_to_read(self.source_path, bounds(ctx)) as folder,
            open_named(folder.path) as path,
        ):
            folder.require_same(path.tree)
            if path.form.server_id == ctx.source.server_id and not self.force_as_external_restore:
                raise BadRequest(
                    f"{self.source_path} is the backup of this very server,"
                    f" {path.form.server_name}: its items would meet themselves.",
                    code="path_in_use",
                    hint=_FROM_A_COPY,
                )
            with suppress(BackupPathBroken):
                require_scanned(path)
            yield path

    def _choose(self, path: BackupPath) -> Choice:
        accounts = tuple(self.accounts) + (self._listed() if self.input_file else ())
        whole = not (self.retry or self.skip_domain_provisioning)
        wanted = Wanted(
            domains=tuple(self.domains),
            accounts=accounts,
            with_deleted=not self.filter_deleted,
            with_system_accounts=not self.skip_system_accounts,
            with_lists=not self.skip_distribution_lists and whole,
            with_coses=not self.skip_coses and whole,
        )
        return Chooser(path, wanted).run()

    def _listed(self) -> tuple[str, ...]:
        """Return the accounts of the input file: the first word of each line that is no header."""
        assert self.input_file is not None  # noqa: S101 - for the types
        tree = Tree(self.input_file.parent)
        try:
            data = tree.read(Place(self.input_file.name), limit=_LONGEST_INPUT)
        finally:
            tree.close()
        if data is None:
            raise BadRequest(
                f"There is no file {self.input_file}.",
                code="path_missing",
                hint="getAvailableAccounts output_file writes one.",
            )
        lines = data.decode("utf-8", "replace").splitlines()
        words = (line.split()[0] for line in lines if line.strip())
        found = tuple(dict.fromkeys(word for word in words if not word.startswith("#")))
        if not found:
            raise BadRequest(f"{self.input_file} names no account.", hint="One name or id a line.")
        return found

    def _options(self, ctx: Context, path: BackupPath) -> Options:
        return Options(
            with_rights=self.restore_admin_rights,
            with_aliases=not self.skip_aliases and not self.retry,
            create_domains=not (self.skip_domain_provisioning or self.retry),
            create_accounts=not (self.skip_account_provisioning or self.retry),
            by_id=path.form.server_id == ctx.source.server_id,
        )

    def _course(self, ctx: Context, path: BackupPath) -> Course:
        return Course(
            concurrent=self.concurrent_accounts,
            largest_bytes=self.max_file_size,
            with_data_sources=self.restore_datasource,
            at_home=path.form.server_id == ctx.source.server_id,
        )

    def _require_domains(self, ctx: Context, choice: Choice) -> None:
        if not self.skip_domain_provisioning:
            return
        for domain in choice.domains:
            if ctx.destination.entry(EntryKind.DOMAIN, domain.name) is None:
                raise BadRequest(
                    f"The domain {domain.name} does not exist here, and none is created.",
                    code="no_such_domain",
                    hint="Create it, or leave skip_domain_provisioning out.",
                )

    # What is told

    def _rehearse(self, ctx: Context, path: BackupPath, choice: Choice, course: Import) -> Report:
        """Say what would be done; nothing is changed."""
        phase = Phase1(
            Rehearsal(ctx.destination),
            choice,
            self._options(ctx, path),
            known=course.known_map(),
            note=lambda _mapped: None,
            tick=lambda name: ctx.tick(0, 0, phase=name),
        )
        course.outcome.phase1 = phase.run()
        report = Report()
        amounts = course.outcome.expected.values()
        report.counters = {
            "planned": sum(each.items for each in amounts),
            "restored": 0,
            "skipped": 0,
            "unrestored": 0,
            "bytes": sum(each.size_bytes for each in amounts),
            **_entries(course.outcome),
        }
        report.notes += _choice_notes(choice)
        report.warnings += _problems(course)
        report.notes.append("This was a dry run: nothing was restored.")
        return report

    def _report(self, ctx: Context, path: BackupPath, choice: Choice, course: Import) -> Report:
        report, outcome = Report(), course.outcome
        kinds: Counter[str] = Counter()
        for name, account in sorted(outcome.accounts.items()):
            if account.unrestored:
                report.unrestored[name] = sorted(account.unrestored)
            if account.outdated:
                report.unreadable[name] = [(item, _OLDER) for item in sorted(account.outdated)]
            report.suspect(name, account.errors)
            for kind, number in account.kinds.items():
                kinds[_KINDS.get(kind, kind.value)] += number
        report.counters = _numbers(outcome) | _entries(outcome) | dict(sorted(kinds.items()))
        _require_sum(report.counters)
        report.warnings += _problems(course)
        report.notes += _choice_notes(choice)
        report.notes += self._notes(ctx, path, outcome)
        return report

    def _notes(self, ctx: Context, path: BackupPath, outcome: Outcome) -> Iterator[str]:
        name = f"map_{path.form.server_id}"
        yield f"What became of which id stands in {name} in {ctx.backup_path}."
        for old, here in outcome.phase1.renamed:
            yield f"The account {old} is called {here} here."
        for account in outcome.phase1.kept_passwords:
            yield f"The administrator {account} keeps the password it has here."
        if self.concurrent_accounts > 1:
            yield f"{self.concurrent_accounts} accounts were restored at a time."
        if outcome.phase1.rights:
            rights = ", ".join(sorted(outcome.phase1.rights))
            yield (
                f"Attributes that give rights were left out: {rights}."
                " With restore_admin_rights true they are imported."
            )
        if dangling := outcome.counts["shares_to_mend"]:
            yield (
                f"{dangling} grants and mountpoints name accounts that are not here. Once those are"
                " imported, doFixShares mends them by the map of that import."
            )
        forwarding = _forwarding(outcome)
        if forwarding:
            yield f"{forwarding} accounts forward mail to other addresses, as they did before."


def scanner_warning(ctx: Context) -> str:
    """Return a sentence if the Real-Time Scanner is at work, with the command to switch it off."""
    try:
        is_on = ctx.path.is_writing(SCANNER_ROLE)
    except BackupError:
        # No Backup Path yet, so nobody writes there.
        return ""
    if not is_on:
        return ""
    return f"The Real-Time Scanner is on: an import is faster without it. {_SWITCH_OFF}"


def _numbers(outcome: Outcome) -> dict[str, int]:
    accounts = outcome.accounts.values()
    failed = sum(1 for each in accounts if each.planned and each.planned == len(each.unrestored))
    sums = {
        "pending": sum(each.pending for each in accounts),
        "deleted_there": sum(each.deleted_there for each in accounts),
        "too_large": sum(each.too_large for each in accounts),
    }
    return {
        "planned": sum(each.planned for each in accounts),
        "restored": sum(each.restored for each in accounts),
        "skipped": sum(each.skipped for each in accounts),
        "unrestored": sum(len(each.unrestored) for each in accounts),
        "mailboxes": len(outcome.accounts) - failed,
        "mailboxes_failed": failed,
        **{name: number for name, number in sums.items() if number},
        **{name: number for name, number in sorted(outcome.counts.items()) if number},
    }


def _entries(outcome: Outcome) -> dict[str, int]:
    return {
        f"{_ENTRIES[what]}_{outcome_.replace(' ', '_')}": number
        for (what, outcome_), number in sorted(outcome.phase1.counts.items())
        if what in _ENTRIES and number
    }


def _require_sum(counters: Mapping[str, int]) -> None:
    done = sum(counters[name] for name in ("restored", "skipped", "unrestored"))
    if counters["planned"] != done:
        raise OperationError(
            f"{counters['planned']} items were planned, but only {done} are accounted for.",
            hint="Run it again: what is done already is not done twice.",
        )


def _problems(course: Import) -> list[str]:
    """Return what was wanted and not achieved besides items, the first of it in sentences."""
    found = [f"{what} {name}: {why}." for what, name, why in course.failures()]
    more = [f"And {len(found) - _NAMED} more: the log has all."] if len(found) > _NAMED else []
    return found[:_NAMED] + more


def _choice_notes(choice: Choice) -> list[str]:
    return [
        f"{_ENTRIES[kind].replace('_', ' ').capitalize()} left out: {number}, {why}."
        for (kind, why), number in sorted(choice.left_out.items())
    ]


def _forwarding(outcome: Outcome) -> int:
    names = ("zimbraPrefMailForwardingAddress", "zimbraMailForwardingAddress")
    placed = outcome.phase1.accounts
    return sum(1 for each in placed if any(name in each.later for name in names))
