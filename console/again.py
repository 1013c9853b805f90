"""Asking for an operation again that has ended: as a new one, with the same parameters."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse
from django.utils import timezone

from backupng.engine.operations import OPERATIONS, parameters, words
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.do_fix_orphans import DoFixOrphans
from backupng.engine.operations.do_purge import DoPurge
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import LAST, Moment
from backupng.engine.restore.select import find_account
from console import asking, connect, roles, telling, wizard, wizards
from console.models import OPEN_STATES, QueuedOperation, State

_REMOVE = frozenset({DoFixOrphans.command, DoPurge.command})
_NOT_ASKED = frozenset({"confirm", "notifications"})
"""Parameters that are answered anew on the page, or that it does not ask for."""
_FIELDS_OF_CHECK = {"accounts": "accounts", "checkZimbra": "compare", "fixBackup": "fix"}
"""The fields of the page of the Coherency Check, by parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The operation that does the same again; `is_new` is False if it was asked for before."""

    row: QueuedOperation
    is_new: bool


def may_repeat(user: User | AnonymousUser, row: QueuedOperation) -> bool:
    """Say whether a user may ask for the same again here, and whether that makes sense.

    What removes or moves something is asked for on its own page alone, where it is guarded; what
    that page cannot ask for is not repeated in the console.
    """
    if row.command not in roles.PERMISSION_TO_ASK or not row.has_ended:
        return False
    if not user.has_perm(f"console.{roles.permission_to_ask(row)}"):
        return False
    if _changes_the_backup(row) and not own_page(row):
        return False
    return not (has_wizard(row) and row.state == State.SUCCESSFUL and not row.losses)


def may_retry(user: User | AnonymousUser, row: QueuedOperation) -> bool:
    """Say whether a user may ask for just that again which an operation did not bring."""
    brought_less = row.command == ExternalRestore.command and bool(row.losses)
    return brought_less and may_repeat(user, row)


def own_page(row: QueuedOperation) -> str:
    """Return the address of the page that asks for the same, filled in; empty without one."""
    texts = {name: text for name, text in row.parameters.items() if name not in _NOT_ASKED}
    path = texts.pop("backup_path", str(row.server.path))
    if path != str(row.server.path):
        return ""
    if row.command == DoPurge.command and not texts.keys() - {"dryrun"}:
        page = "purge-preview" if telling.is_dry_run(row) else "purge"
        return reverse(page, args=[row.server.name])
    if row.command == DoCoherencyCheck.command and not texts.keys() - _FIELDS_OF_CHECK.keys():
        query = {_FIELDS_OF_CHECK[name]: text for name, text in texts.items() if text != "false"}
        address = reverse("coherency", args=[row.server.name])
        return f"{address}?{urlencode(query)}" if query else address
    return ""


def _changes_the_backup(row: QueuedOperation) -> bool:
    if row.command == DoCoherencyCheck.command:
        return roles.permission_to_ask(row) == "fix_backup"
    return row.command in _REMOVE and not telling.is_dry_run(row)


def has_wizard(row: QueuedOperation) -> bool:
    """Say whether it is asked for by a wizard, whose steps are to be gone through again."""
    return wizards.for_command(row.command) is not None


def begin_wizard(user: User, row: QueuedOperation, *, is_retry: bool = False) -> str:
    """Begin the wizard of an operation with its words; returns the address of the first step.

    With `is_retry` for what the operation did not bring: returns the address of the summary. Raises
    BackupError when the account it was about is gone.
    """
    found = wizards.for_command(row.command)
    if found is None:
        raise LookupError(f"there is no wizard for {row.command}")
    known, mode = found
    step, kept = mode.steps[0].slug, mode.words_of(row)
    if is_retry and mode.options and may_retry(user, row):
        kept[mode.options.slug]["retry"] = "true"
        step = wizard.SUMMARY
    draft = wizard.start(
        known,
        owner=user,
        server=row.server,
        account_id="" if known.name in wizards.OF_SERVERS else _source(row),
        words=kept,
        resumes=row,
    )
    return wizard.Run(known, draft).url(step)


def ask(user: User, row: QueuedOperation, *, form: str = "") -> Asked:
    """Queue the same operation again unless the same waits or runs already. Raises BackupError.

    `form` is the one-use id of the form that asks: sent twice, it asks for one operation.
    """
    dedupe = asking.once(user, f"again {row.pk}", form)
    if dedupe and (known := QueuedOperation.objects.filter(dedupe=dedupe).first()):
        return Asked(row=known, is_new=False)
    texts = telling.parameters_again(row)
    operation = parameters.parse(OPERATIONS[row.command], texts, row.server.zone_info)
    same = QueuedOperation.objects.filter(
        server=row.server, command=row.command, state__in=OPEN_STATES
    )
    for other in same.order_by("seq"):
        if other.parameters == texts:
            return Asked(row=other, is_new=False)
    asked = asking.start(
        row.server,
        operation,
        requester=asking.user_of_console(user),
        dedupe=dedupe,
        resumes=row,
    )
    return Asked(row=asked, is_new=True)


def _source(row: QueuedOperation) -> str:
    """Return the id of the account that an operation restores. Raises BackupError."""
    texts = row.parameters
    date = texts.get("date", str(LAST))
    moment: Moment = words.parse(Moment, date, name="date", zone=row.server.zone_info)
    before = before_of(moment, timezone.now())
    names = ("source_account", "account", "account_name")
    name = next((texts[each] for each in names if each in texts), "")
    with connect.context(row.server) as ctx:
        return find_account(ctx.path, name, before=before)[0]
