"""The catalogue of wizards, and what each says on its summary."""

from __future__ import annotations

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.model import AccountId, EntryKind
from backupng.engine.operations.moments import before_of, known_by
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.restore.select import state_at
from console import browse, connect
from console.browse import Expected
from console.forms import DateStep, ModeStep
from console.wizard import Remarks, Run, Wizard

LARGE_ITEMS = 5000
"""From here on counting what will be restored takes longer than a page may."""


def _remarks(run: Run, operation: RestoreOnNewAccount) -> Remarks:
    account = run.account
    warnings = [
        gettext("Shares are not carried over: they name the source account, not the new one.")
    ]
    if account.backup_disabled:
        warnings.append(
            gettext("Backup is off for the class of service %s: later changes are not saved.")
            % account.cos_name
        )
    if getattr(run.form(ModeStep.slug), "known_as_deleted", False):
        warnings.append(
            gettext("The backup knows a deleted account %s: the new one is not that one.")
            % operation.destination_account
        )
    notes = [gettext("The source account stays unchanged.")]
    if known := _known_by(run, operation):
        (notes if operation.date.keyword else warnings).append(known)
    if read_at := _settings_read_at(run, operation):
        notes.append(gettext("Account settings are those read at %s.") % read_at)
    return Remarks(warnings=tuple(warnings), notes=tuple(notes))


def _known_by(run: Run, operation: RestoreOnNewAccount) -> str:
    """Return how exactly the backup knows the mailbox at that moment, in words."""
    with connect.context(run.server) as ctx:
        try:
            return known_by(
                ctx.path,
                AccountId(run.account.account_id),
                before_of(operation.date, run.now),
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


def _is_large(run: Run) -> bool:
    return browse.item_count(run.server, run.account.account_id) > LARGE_ITEMS


RESTORE = Wizard(
    operation=RestoreOnNewAccount,
    name="restore",
    title=_("Restore"),
    steps=(ModeStep, DateStep),
    remarks=_remarks,
    expected=_expected,
    is_large=_is_large,
)
WIZARDS = {wizard.name: wizard for wizard in (RESTORE,)}


def for_command(command: str) -> Wizard | None:
    """Return the wizard that asks for an operation, by the operation's command."""
    found = (each for each in WIZARDS.values() if each.operation.command == command)
    return next(found, None)
