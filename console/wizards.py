"""The catalogue of wizards, and what each says on its summary."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BackupError, BadRequest, ItemError
from backupng.engine.model import AccountId, EntryKind
from backupng.engine.operations.do_item_restore import DoItemRestore
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.gaps import known_for_page
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import Moment
from backupng.engine.restore.select import state_at
from backupng.engine.scan.uncertainty import uncertain
from console import browse, connect
from console.browse import AccountLine, Coming, Expected
from console.forms import (
    AccountStep,
    DateStep,
    DeletedDateStep,
    DestinationStep,
    ModeStep,
    SlotStep,
)
from console.forms.items import ItemsStep
from console.forms.mode import NEW, UNDELETE
from console.overview import why_nothing_is_saved
from console.transfers import EXPORT, IMPORT
from console.wizard import Mode, Remarks, Run, Wizard

LARGE_ITEMS = 5000
"""From here on counting what will be restored takes longer than a page may."""


def _remarks(run: Run, operation: RestoreOnNewAccount) -> Remarks:
    account = run.account
    warnings = [
        gettext("Shares are not carried over: they name the source account, not the new one.")
    ]
    if account.backup_disabled:
        warnings.append(_off(account))
    if any(getattr(form, "known_as_deleted", False) for form in run.forms):
        warnings.append(
            gettext("The backup knows a deleted account %s: the new one is not that one.")
            % operation.destination_account
        )
    notes = [gettext("The source account stays unchanged.")] if account.exists else []
    notes += _doubt(run)
    if operation.apply_hsm:
        notes.append(
            gettext(
                "Obey HSM Policy changes nothing here: items always come to the current primary "
                "volume, and the server's own HSM policy moves them later."
            )
        )
    if known := _known_by(run, operation.date):
        (notes if operation.date.keyword else warnings).append(known)
    if read_at := _settings_read_at(run, operation):
        notes.append(gettext("Account settings are those read at %s.") % read_at)
    return Remarks(warnings=tuple(warnings), notes=tuple(notes))


def _undelete_remarks(run: Run, operation: DoUndelete) -> Remarks:
    notes = [
        gettext("Nothing that the mailbox holds now is changed."),
        gettext(
            "What is back already does not come again. Of equal items that were in one folder one"
            " after the other, one comes; the same deleted in two folders comes back in both."
        ),
        gettext("The IMAP flag \\Deleted is removed from what comes back."),
    ]
    notes += _doubt(run)
    warnings = [_off(run.account)] if run.account.backup_disabled else []
    if known := _known_by(run, operation.end_date):
        (notes if operation.end_date.keyword else warnings).append(known)
    return Remarks(warnings=tuple(warnings), notes=tuple(notes))


def _off(account: AccountLine) -> str:
    return (
        gettext("Backup is off for the class of service %s: later changes are not saved.")
        % account.cos_name
    )


def _doubt(run: Run) -> list[str]:
    """Say that a scan goes before, where the backup is not certain of the mailbox."""
    with connect.context(run.server) as ctx:
        try:
            doubt = uncertain(ctx.path, AccountId(run.account.account_id))
        except BackupError:
            return []
    if doubt is None or not run.account.exists:
        return []
    return [gettext("The backup is not certain of this mailbox: an Account Scan will run first.")]


def _known_by(run: Run, moment: Moment) -> str:
    """Return how exactly the backup knows the mailbox at that moment, in words."""
    with connect.context(run.server) as ctx:
        try:
            return known_for_page(
                ctx,
                AccountId(run.account.account_id),
                before_of(moment, run.now),
                zone=run.zone.key,
            )
        except (BadRequest, ItemError):
            return ""


def _settings_read_at(run: Run, operation: RestoreOnNewAccount) -> str:
    """Return when the account settings that come with that moment were read, in words."""
    account = AccountId(run.account.account_id)
    with connect.context(run.server) as ctx:
        try:
            history = ctx.path.entry_history(EntryKind.ACCOUNT, account)
        except ItemError:
            return ""
        before = before_of(operation.date, run.now)
    found = state_at(history, before) or next(iter(history), None)
    return run.local_text(found.start) if found else ""


def _expected(run: Run, operation: RestoreOnNewAccount) -> Expected:
    return browse.expected(run.server, run.account.account_id, operation.date)


def _coming_back(run: Run, operation: DoUndelete) -> Coming:
    start, end = operation.start_date, operation.end_date
    return browse.coming_back(run.server, run.account.account_id, start, end)


def _items_coming(run: Run, operation: DoItemRestore) -> Coming:
    return browse.items_coming(run.server, operation)


def _is_large(run: Run) -> bool:
    return browse.item_count(run.server, run.account.account_id) > LARGE_ITEMS


_NEW_ACCOUNT: dict[str, Any] = {
    "operation": RestoreOnNewAccount,
    "remarks": _remarks,
    "expected": _expected,
    "is_large": _is_large,
}
RESTORE = Wizard(
    name="restore",
    title=_("Restore"),
    heading=_("Restore %(account)s"),
    permission="restore",
    modes=(
        Mode(name=NEW, steps=(ModeStep, DateStep), **_NEW_ACCOUNT),
        Mode(
            name=UNDELETE,
            operation=DoUndelete,
            steps=(ModeStep, SlotStep),
            remarks=_undelete_remarks,
            expected=_coming_back,
            expected_template="console/_expected_coming.html",
            is_large=_is_large,
        ),
    ),
)
"""From the wheel of an account."""
DELETED = Wizard(
    name="deleted",
    title=_("Restore Deleted Account"),
    permission="restore",
    modes=(Mode(steps=(DeletedDateStep, AccountStep, DestinationStep), **_NEW_ACCOUNT),),
    obstacle=why_nothing_is_saved,
)

ITEMS = Wizard(
    name="history",
    title=_("Restore items"),
    heading=_("Restore items of %(account)s"),
    permission="restore",
    modes=(
        Mode(
            operation=DoItemRestore,
            steps=(ItemsStep,),
            expected=_items_coming,
            expected_template="console/_expected_coming.html",
        ),
    ),
)
"""From the history page of an account, which is where it begins."""

_OF_SERVERS = (DELETED, EXPORT, IMPORT)
OF_SERVERS = {wizard.name: wizard for wizard in _OF_SERVERS}
"""Those that are about a server, by name, in the order of their buttons."""
WIZARDS = {wizard.name: wizard for wizard in (RESTORE, ITEMS, *_OF_SERVERS)}


def for_command(command: str) -> tuple[Wizard, Mode] | None:
    """Return the wizard that asks for an operation, and its mode, by the operation's command."""
    found = (
        (wizard, mode)
        for wizard in WIZARDS.values()
        for mode in wizard.modes
        if mode.operation.command == command
    )
    return next(found, None)
