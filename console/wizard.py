"""The kernel of every wizard: a draft of accepted words, steps in order, a summary, one operation.

A wizard is an operation class and the steps that ask for its parameters. What a step accepted is
kept as text in the draft; the operation is built from all of it as if it had been typed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BadRequest
from backupng.engine.operations import parameters, words
from backupng.engine.operations.base import Operation
from console import asking, browse, connect, queue, telling
from console.browse import AccountLine, Expected
from console.models import OPEN_STATES, Draft, Preferences, QueuedOperation, Server

SUMMARY = "summary"
"""The last step of every wizard; the kernel's own."""
_LONGEST_ADDRESS = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of the summary: what was chosen, in words."""

    label: str
    text: str


class Run:
    """One run of a wizard as its steps see it: draft, account, zones, the moment of the request."""

    def __init__(self, wizard: Wizard, draft: Draft) -> None:
        self.wizard = wizard
        self.draft = draft
        self.server: Server = draft.server
        self.zone = draft.server.zone_info
        self.now = timezone.now()

    @cached_property
    def account(self) -> AccountLine:
        """The account the wizard is about. Raises BackupError when it cannot be found now."""
        try:
            return browse.find_account(self.draft.account_id)[1]
        except BadRequest:
            # It was there when the run began: its server or its backup may be the reason.
            with connect.context(self.server) as ctx:
                ctx.path.accounts()
            raise

    @cached_property
    def own_zone(self) -> ZoneInfo | None:
        """The zone its owner reads times in, if that is another one than the server's."""
        chosen = Preferences.objects.filter(user=self.draft.owner_id).first()
        try:
            zone = ZoneInfo(chosen.zone) if chosen and chosen.zone else self.zone
        except (ZoneInfoNotFoundError, ValueError):
            return None
        return None if zone.key == self.zone.key else zone

    @cached_property
    def forms(self) -> list[StepForm]:
        """The steps with the words they accepted, checked anew."""
        return [step(self, data=self.words(step.slug)) for step in self.wizard.steps]

    def form(self, slug: str) -> StepForm:
        """Return one of `forms`."""
        return next(form for form in self.forms if form.slug == slug)

    def words(self, slug: str) -> dict[str, str] | None:
        """Return what a step accepted last; None if it was never sent."""
        found: dict[str, str] | None = self.draft.words.get(slug)
        return found

    def first_invalid(self, *, before: str) -> str | None:
        """Return the first of the steps before `before` that is missing or not valid any more."""
        for form in self.forms:
            if form.slug == before:
                break
            if not form.is_valid():
                return form.slug
        return None

    def keep(self, form: StepForm) -> None:
        """Keep what a valid step accepted."""
        self.keep_words(form.slug, form.words())

    def keep_words(self, slug: str, words: dict[str, str]) -> None:
        """Keep the words of a step."""
        with transaction.atomic():
            draft = Draft.objects.select_for_update().get(pk=self.draft.pk)
            draft.words[slug] = words
            Draft.objects.filter(pk=draft.pk).update(words=draft.words)

    def url(self, slug: str) -> str:
        """Return the address of a step."""
        return reverse("wizard-step", args=[self.draft.pk, slug])

    def operation(self, addresses: Sequence[str] = ()) -> Operation:
        """Build the operation from all steps, which are valid. Raises BadRequest."""
        texts: dict[str, str] = {}
        for form in self.forms:
            texts |= form.parameters()
        if addresses:
            texts["notifications"] = ",".join(addresses)
        return parameters.parse(self.wizard.operation, texts, self.zone)

    def local_text(self, moment: datetime, zone: ZoneInfo | None = None) -> str:
        """Spell a moment in the server's zone, or another one, with the zone's name."""
        chosen = zone or self.zone
        return f"{moment.astimezone(chosen):{words.DATE_FORMAT}} {chosen.key}"


class StepForm(forms.Form):
    """One step. Its fields are parameters by name, or words that `parameters` spells them from."""

    slug: ClassVar[str]
    title: ClassVar[Any]
    template: ClassVar[str]
    refusals: ClassVar[Mapping[str, str]] = {}
    """Which field an error of the operation's own check belongs to, by the error's code."""
    fragments: ClassVar[Mapping[str, str]] = {}
    """The parts that are checked while the step is filled in, and their templates."""
    use_required_attribute = False  # the server's own messages say more than the browser's

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.run = run
        super().__init__(data, **options)

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> dict[str, str]:
        """Return the words that stand for the parameters of an operation there was."""
        return {name: texts[name] for name in cls.base_fields if name in texts}

    def words(self) -> dict[str, str]:
        """Return the texts to keep of a valid form; what is left out means no."""
        kept = {name: self.cleaned_data[name] for name in self.fields}
        return {
            name: "on" if value is True else str(value)
            for name, value in kept.items()
            if value not in (None, False, "")
        }

    def parameters(self) -> dict[str, str]:
        """Return the texts of the parameters that a valid form chose."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in self.cleaned_data.items()
        }

    def drawn(self) -> StepForm:
        """Return the form to draw when this one comes from kept words."""
        return self

    def choices(self) -> list[Choice]:
        """Return what a valid form chose, in words."""
        return []


class SummaryForm(forms.Form):
    """The last step: whom to tell besides, and the summary that was agreed to."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """What a wizard says on its summary besides the choices: what will be, and what will not."""

    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _nothing(_run: Run, _operation: Any) -> Remarks:
    return Remarks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wizard:
    """The steps that lead to one operation; `expected` and `remarks` fill its summary."""

    operation: type[Operation]
    name: str
    title: Any
    steps: tuple[type[StepForm], ...]
    remarks: Callable[[Run, Any], Remarks] = _nothing
    expected: Callable[[Run, Any], Expected] | None = None
    is_large: Callable[[Run], bool] = field(default=lambda _run: False)

    @property
    def slugs(self) -> list[str]:
        """The steps in order, the summary last."""
        return [*(step.slug for step in self.steps), SUMMARY]

    def after(self, slug: str) -> str:
        """Return the step that follows."""
        return self.slugs[self.slugs.index(slug) + 1]

    def before(self, slug: str) -> str | None:
        """Return the step before; None for the first."""
        place = self.slugs.index(slug)
        return self.slugs[place - 1] if place else None

    def words_of(self, row: QueuedOperation) -> dict[str, dict[str, str]]:
        """Return the words of all steps with which this operation would be asked for again."""
        zone = row.server.zone_info
        kept = {step.slug: step.words_from(row.parameters, zone) for step in self.steps}
        if notified := row.parameters.get("notifications"):
            kept[SUMMARY] = {"notifications": notified.replace(",", ", ")}
        return kept


def start(
    wizard: Wizard,
    *,
    owner: User,
    server: Server,
    account_id: str,
    words: Mapping[str, Mapping[str, str]] | None = None,
    resumes: QueuedOperation | None = None,
) -> Draft:
    """Begin a run of a wizard, with words by step if some are known, and return its draft.

    `resumes` is the ended operation that is asked for again.
    """
    return Draft.objects.create(
        owner=owner,
        wizard=wizard.name,
        server=server,
        account_id=account_id,
        words={slug: dict(kept) for slug, kept in (words or {}).items()},
        resumes=resumes,
    )


# The summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All that the last page shows of an operation that nobody has asked for yet."""

    choices: list[Choice]
    remarks: Remarks
    others: list[QueuedOperation]
    """Operations on the same account that wait or run."""
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
    remarks = run.wizard.remarks(run, operation)
    others = _others(row)
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


def _others(row: QueuedOperation) -> list[QueuedOperation]:
    """Return the open operations of the same command and source."""
    found = QueuedOperation.objects.filter(
        server=row.server, command=row.command, state__in=OPEN_STATES
    ).order_by("seq")
    source = row.parameters.get("source_account")
    return [other for other in found if other.parameters.get("source_account") == source]


def finish(run: Run, operation: Operation) -> QueuedOperation:
    """Ask for the operation and close the draft, in one transaction; returns what is queued.

    A draft that was finished before returns the operation it had become. Raises BackupError if the
    operation's own check finds something against it, and Draft.DoesNotExist for a cancelled draft.
    """
    try:
        # Before the transaction, which holds up every writer: a check reads the Backup Path.
        with connect.context(run.server) as ctx:
            operation.check(ctx)
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
    for form in run.forms:
        if name := form.refusals.get(error.code):
            form.add_error(name, " ".join(filter(None, (str(error), error.hint))))
            return form
    return None
