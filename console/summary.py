"""The last page of every wizard: what `Finish` would start, and starting it, once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BadRequest
from backupng.engine.operations import parameters, words
from backupng.engine.operations.base import Operation
from console import asking, connect, queue, telling
from console.models import OPEN_STATES, Draft, QueuedOperation
from console.wizard import Choice, Remarks, Run, StepForm, problems_of

_LONGEST_ADDRESS = 254


class SummaryForm(forms.Form):
    """Whom to tell besides, and the summary that was agreed to."""

    notifications = forms.CharField(
        label=_("Notify also"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2, "class": "wide", "spellcheck": "false"}),
        help_text=_("Addresses, separated by comma, space or new line."),
    )
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_notifications(self) -> tuple[str, ...]:
        """Return the addresses, each once."""
        typed = re.split(r"[\s,;]+", self.cleaned_data["notifications"])
        found = tuple(dict.fromkeys(address for address in typed if address))
        odd = [a for a in found if not words.is_address(a) or len(a) > _LONGEST_ADDRESS]
        if odd:
            raise ValidationError(
                [gettext("“%s” is not an e-mail address.") % address[:80] for address in odd[:3]]
            )
        return found

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The errors, as those of a step."""
        return problems_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All that the last page shows of an operation that nobody has asked for yet."""

    choices: Sequence[Choice]
    remarks: Remarks
    others: list[QueuedOperation]
    """Operations of the same kind about the same that wait or run."""
    command_line: str
    digest: str
    """Changes with everything an admin agrees to, so that a page that is out of date is noticed."""


def summarise(run: Run, operation: Operation) -> Summary:
    """Say in words what `Finish` would start; all steps are valid."""
    row = QueuedOperation(
        server=run.server,
        command=operation.command,
        parameters=parameters.spell(operation, run.zone),
    )
    choices = [choice for form in run.forms for choice in form.choices()]
    remarks = run.mode.remarks(run, operation)
    others = _others(row, operation)
    agreed = [
        row.parameters,
        [(choice.label, choice.text) for choice in choices],
        remarks.warnings,
        [str(other.pk) for other in others],
    ]
    text = json.dumps(agreed, sort_keys=True, default=str)
    return Summary(
        choices=choices,
        remarks=remarks,
        others=others,
        command_line=telling.command_line(row),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _others(row: QueuedOperation, operation: Operation) -> list[QueuedOperation]:
    """Return the open operations of the same command about the same, its first parameter."""
    about = operation.parameters()[0].name
    found = QueuedOperation.objects.filter(
        server=row.server, command=row.command, state__in=OPEN_STATES
    ).order_by("seq")
    wanted = row.parameters.get(about)
    return [other for other in found if other.parameters.get(about) == wanted]


def finish(run: Run, operation: Operation) -> QueuedOperation:
    """Ask for the operation and close the draft, in one transaction; returns what is queued.

    A draft that was finished before returns the operation it had become. Raises BackupError if the
    operation's own check finds something against it, and Draft.DoesNotExist for a cancelled draft.
    """
    try:
        # Before the transaction, which holds up every writer: a check reads the Backup Path.
        with connect.context(run.server) as ctx:
            operation.check(ctx)
            name = operation.source_name(ctx)
    except BadRequest:
        # Of two clicks the second may find what the first one's operation has made by now.
        if known := finished(run.draft):
            return known
        raise
    with transaction.atomic():
        draft = Draft.objects.select_for_update().get(pk=run.draft.pk)
        row = queue.submit(
            run.server,
            operation,
            source_name=name,
            dedupe=str(draft.pk),
            requester=asking.user_of_console(run.draft.owner),
            resumes=draft.resumes,
        )
        Draft.objects.filter(pk=draft.pk).update(operation=row)
    return row


def finished(draft: Draft) -> QueuedOperation | None:
    """Return the operation that a draft has become by now, if it was finished."""
    return QueuedOperation.objects.filter(draft=draft.pk).first()


def refused_by(run: Run, error: BadRequest) -> StepForm | None:
    """Put the error of an operation's check on the field it is about; None if no step has it."""
    return next((form for form in run.forms if form.refuse(error)), None)
