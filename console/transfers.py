"""The wizards Export Backup and Import Backup, and what each says on its summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.operations.do_export import DoExport
from backupng.engine.operations.do_external_restore import ExternalRestore
from console import browse
from console.browse import AccountToImport, ExpectedOfImport
from console.forms.export import ExportDomainsStep, ExportPathStep
from console.forms.imports import (
    ImportAccountsStep,
    ImportDomainsStep,
    ImportOptions,
    ImportPathStep,
    backup_of,
    some,
)
from console.overview import why_nothing_is_saved
from console.wizard import Mode, Remarks, Run, Wizard

# Export


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedOfExport:
    """What an export would write: accounts, and what their mailboxes hold, before compression."""

    accounts: int
    left_out: int
    size_bytes: int


def _export_remarks(run: Run, _operation: DoExport) -> Remarks:
    target, warnings = _target(run), []
    if target and target.is_on_the_same_disk:
        warnings.append(
            gettext("The folder lies on the disk of the Backup Path: if it fails, both are gone.")
        )
    expected = _export_expected(run, _operation)
    if target and expected.size_bytes > target.free_bytes:
        warnings.append(
            gettext(
                "The disk may be too small: the mailboxes hold about %(needed)d MB before"
                " compression, %(free)d MB are free there."
            )
            % {"needed": expected.size_bytes // 10**6, "free": target.free_bytes // 10**6}
        )
    notes = (
        gettext(
            "Everything is exported as the mail server has it when the operation runs, deduplicated"
            " and compressed. Other operations wait until it has ended."
        ),
    )
    return Remarks(warnings=tuple(warnings), notes=notes)


def _target(run: Run) -> browse.Target | None:
    form = run.form(ExportPathStep.slug)
    return form.target if isinstance(form, ExportPathStep) and form.is_valid() else None


def _export_expected(run: Run, _operation: DoExport) -> ExpectedOfExport:
    form = run.form(ExportDomainsStep.slug)
    if not isinstance(form, ExportDomainsStep) or not form.is_valid():
        return ExpectedOfExport(accounts=0, left_out=0, size_bytes=0)
    return ExpectedOfExport(
        accounts=sum(domain.accounts for domain in form.exported),
        left_out=sum(domain.left_out for domain in form.exported),
        size_bytes=sum(form.sizes.get(domain.name, 0) for domain in form.exported),
    )


EXPORT = Wizard(
    name="export",
    title=_("Export Backup"),
    permission="export_backup",
    modes=(
        Mode(
            operation=DoExport,
            steps=(ExportPathStep, ExportDomainsStep),
            remarks=_export_remarks,
            expected=_export_expected,
            expected_template="console/_expected_export.html",
        ),
    ),
    obstacle=why_nothing_is_saved,
)

# Import


def _import_remarks(run: Run, operation: ExternalRestore) -> Remarks:
    warnings = []
    existing = sum(account.exists for account in _imported(run, operation))
    if existing:
        text = ngettext(
            "%d of these accounts exists here already: items are added to it, none is deleted;"
            " its preferences and its password become those of the backup.",
            "%d of these accounts exist here already: items are added to them, none is deleted;"
            " their preferences and passwords become those of the backup.",
            existing,
        )
        warnings.append(text % existing)
    rights = _rights(run, operation)
    if rights and operation.restore_admin_rights:
        warnings.append(rights)
    retried = gettext(
        "Only what an earlier import of this backup could not bring is tried again: fewer items"
        " than are expected above."
    )
    notes = [
        *([retried] if operation.retry else ()),
        *([rights] if rights and not operation.restore_admin_rights else ()),
        gettext("Accounts can be used as soon as the first phase has ended; items follow."),
        gettext(
            "Shares with accounts of other servers are whole only when those are imported too:"
            " check shares after the last import."
        ),
    ]
    return Remarks(warnings=tuple(warnings), notes=tuple(notes))


def _rights(run: Run, operation: ExternalRestore) -> str:
    """Say which accounts have rights in the backup, and what becomes of those; empty for none."""
    names = [account.name for account in _imported(run, operation) if account.has_rights]
    if not names:
        return ""
    if operation.restore_admin_rights:
        text = ngettext(
            "%(n)d account gets the rights here that it has in the backup: %(names)s.",
            "%(n)d accounts get the rights here that they have in the backup: %(names)s.",
            len(names),
        )
    else:
        text = ngettext(
            "%(n)d account has rights of administrators in the backup and comes without them:"
            " %(names)s.",
            "%(n)d accounts have rights of administrators in the backup and come without them:"
            " %(names)s.",
            len(names),
        )
    return text % {"n": len(names), "names": some(names)}


def _imported(run: Run, operation: ExternalRestore) -> list[AccountToImport]:
    """Return the chosen accounts without those that the options leave out."""
    form = run.form(ImportAccountsStep.slug)
    if not isinstance(form, ImportAccountsStep) or not form.is_valid():
        return []
    named = {name.lower() for name in operation.accounts}
    return [
        account
        for account in form.chosen
        if not (account.deleted_at and operation.filter_deleted)
        and (
            not (account.is_system and operation.skip_system_accounts)
            or not named.isdisjoint({account.name.lower(), account.account_id.lower()})
        )
    ]


def _import_expected(run: Run, operation: ExternalRestore) -> ExpectedOfImport:
    ids = {account.account_id for account in _imported(run, operation)}
    with_items = not operation.provisioning_only
    path = Path(operation.source_path)
    return browse.expected_of_import(run.server, path, ids, with_items=with_items)


def _is_large(run: Run) -> bool:
    backup = backup_of(run)
    return backup is not None and len(backup.accounts) > _MOST_COUNTED


_MOST_COUNTED = 20
"""Accounts whose items a page counts before it is drawn."""
IMPORT = Wizard(
    name="import",
    title=_("Import Backup"),
    permission="import_backup",
    onward=_("Forward"),
    modes=(
        Mode(
            operation=ExternalRestore,
            steps=(ImportPathStep, ImportDomainsStep, ImportAccountsStep),
            options=ImportOptions,
            remarks=_import_remarks,
            expected=_import_expected,
            expected_template="console/_expected_import.html",
            is_large=_is_large,
        ),
    ),
)
