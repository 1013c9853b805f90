"""doExternalRestore."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
)
from backupng.engine.model import AccountId, EntryKind
from backupng.engine.operations import import_report
from backupng.engine.operations.base import Context, Level, Operation, Report, open_named
from backupng.engine.operations.importing import Course, Import
from backupng.engine.operations.moments import require_scanned
from backupng.engine.operations.named_path import bounds
from backupng.engine.operations.restoring import tell_damage
from backupng.engine.operations.words import (
    ALL_DOMAINS,
    NO_ADDRESSES,
    AccountNames,
    Addresses,
    Domains,
)
from backupng.engine.restore.importing.choice import Choice, Chooser, Wanted
from backupng.engine.restore.importing.left import Only, left_of
from backupng.engine.restore.importing.phase1 import Options
from backupng.engine.scan.beside import SCANNER_ROLE

_EXAMPLE: Final = "backupng backup doexternalrestore /opt/zimbra/backup/restorePath/"
_CHOSEN: Final = (
    "accounts john@example.com,jack@example.com domains example.com"
    " filter_deleted false skip_system_accounts false"
)
_CONCURRENT: Final = "domains example0.com,example1.com concurrent_accounts 5"
_COUNTED: Final = ("planned", "restored", "skipped", "unrestored")
_BOOLEAN: Final = {"values": "true|false"}
_EVERYBODY: Final = AccountNames(())
_MOST_AT_ONCE: Final = 16
_LONGEST_INPUT: Final = 16 << 20
_SWITCH_OFF: Final = "Switch it off: backupng backup setProperty ZxBackup_RealTimeScanner FALSE"
_FROM_A_COPY: Final = (
    "To restore from a copy of it on the server itself: switch the Real-Time Scanner off, set"
    " ZxBackup_DestPath to the copy, run doRestoreOnNewAccount, set it back, switch the scanner on."
    " To bring back what is missing here after a rollback:"
    " backupng backup doExternalRestore {path} force_as_external_restore true"
)


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
        ctx.check_owned_path()
        with self._opened(ctx) as path:
            if self.domains or self.accounts or self.input_file or self.skip_domain_provisioning:
                self._require_domains(ctx, self._choose(path))

    def run(self, ctx: Context) -> Report:
        """Do the phases in their order."""
        report = self._run(ctx)
        with self._opened(ctx) as path:
            report.warnings += unfinished_source(path)
            tell_damage(report, path.tree.root, own=ctx.backup_path)
        return report

    def _run(self, ctx: Context) -> Report:
        with self._opened(ctx) as path:
            warning = scanner_warning(ctx)
            if warning:
                ctx.log(warning, level=Level.WARNING)
            choice = self._choose(path)
            left = self._left(ctx, path, choice) if self.retry else {}
            if self.retry and not left:
                return _nothing_left(path.form.server_name)
            going = replace(self._course(ctx, path), left=left)
            course = Import(ctx, path, choice, self._options(ctx, path), going)
            course.expect()
            with self._advising(), course.mapped() as id_map:
                phase = course.provision(id_map)
                if self.provisioning_only:
                    course.complete(phase, with_items=False)
                if not self.dryrun:
                    said = import_report.after_phase1(course, choice, path.form.server_id)
                    ctx.announce_phase1(said)
                if not self.provisioning_only:
                    course.restore_items(phase)
                    course.complete(phase, with_items=True)
            if self.dryrun:
                return import_report.foretold(course, choice)
            report = import_report.achieved(course, choice)
            name = f"map_{path.form.server_id}"
            report.notes.append(f"What became of which id stands in {name} in {ctx.backup_path}.")
            if self.concurrent_accounts > 1:
                number = self.concurrent_accounts
                report.notes.append(f"{number} accounts were restored at a time.")
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
                    hint=_FROM_A_COPY.format(path=shlex.quote(str(self.source_path))),
                )
            if not path.accounts():
                require_scanned(path)
            yield path

    def _choose(self, path: BackupPath) -> Choice:
        whole = not (self.retry or self.skip_domain_provisioning)
        wanted = Wanted(
            domains=tuple(self.domains),
            accounts=tuple(self.accounts),
            listed=self._listed() if self.input_file else (),
            with_deleted=not self.filter_deleted,
            with_system_accounts=not self.skip_system_accounts,
            with_lists=not self.skip_distribution_lists and whole,
            with_coses=not self.skip_coses and whole,
        )
        choice = Chooser(path, wanted).run()
        asked = {EntryKind.COS: self.skip_coses, EntryKind.LIST: self.skip_distribution_lists}
        for kind, why in [key for key in choice.left_out if not asked.get(key[0], True)]:
            number = choice.left_out.pop((kind, why))
            if self.skip_domain_provisioning:
                choice.left_out[kind, "skip_domain_provisioning"] += number
        return choice

    def _left(self, ctx: Context, path: BackupPath, choice: Choice) -> dict[AccountId, Only]:
        """Return what a retry brings, and let only the accounts that it is of be chosen."""
        tree = Tree(ctx.backup_path)
        try:
            left = left_of(tree, path.form.server_id, choice.accounts)
        finally:
            tree.close()
        choice.accounts = [each for each in choice.accounts if each.entry_id in left]
        names = {each.name.rpartition("@")[2] for each in choice.accounts}
        choice.domains = [each for each in choice.domains if each.name in names]
        return left

    def _listed(self) -> tuple[str, ...]:
        """Return the accounts of the input file: the first word of each line that is no header."""
        assert self.input_file is not None  # noqa: S101 - for the types
        data = None
        if self.input_file.parent.is_dir():
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
            dry=self.dryrun,
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


def _nothing_left(server_name: str) -> Report:
    report = Report(counters=dict.fromkeys(_COUNTED, 0))
    report.notes.append(
        f"There is nothing to retry: no import from {server_name} that came to its end has left an"
        " item of these accounts unrestored. The same command without retry brings what is new, and"
        " what an import that was cut off has not brought."
    )
    return report


def unfinished_source(path: BackupPath) -> list[str]:
    """Return a sentence if nothing says that a SmartScan of the source ever ended.

    A copy that was cut off, or lost its checkpoints, is still worth all that it holds.
    """
    try:
        if path.checkpoint():
            return []
    except BackupPathBroken:
        pass
    return [f"Nothing in {path.tree.root} says that a SmartScan of it ended: it may not hold all."]


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
