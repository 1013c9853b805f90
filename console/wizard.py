"""The kernel of every wizard: a draft of accepted words, steps in order, one operation at the end.

A wizard has one mode or several; a mode is an operation class and the steps that ask for its
parameters. What a step accepted is kept as text in the draft; the operation is built from all of it
as if it had been typed. `console.summary` has the last page, and what `Finish` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BadRequest
from backupng.engine.operations import parameters, words
from backupng.engine.operations.base import Operation
from console import browse, connect, telling
from console.browse import AccountLine
from console.models import Draft, Preferences, QueuedOperation, Server

SUMMARY = "summary"
"""The last step of every wizard; the kernel's own."""
NEXT = _("Next")
Words = dict[str, str | list[str]]
"""What a step accepted: the texts of its fields, of some a list of texts."""


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
        self._forms: dict[str, StepForm] = {}

    # What it is about

    @property
    def account_id(self) -> str:
        """The account it is about: given, or chosen in a field `account_id`; empty without one."""
        chosen = (kept.get("account_id") for kept in self.draft.words.values())
        return str(self.draft.account_id or next(filter(None, chosen), ""))

    @cached_property
    def account(self) -> AccountLine:
        """The account it is about; there is one. Raises BackupError if it cannot be found now."""
        try:
            return browse.account_of(self.server, self.account_id)
        except BadRequest:
            # It was there when the run began: the backup may be the reason.
            with connect.context(self.server) as ctx:
                ctx.path.accounts()
            raise

    @property
    def subject(self) -> str:
        """The name of what it is about: an account, else the server."""
        return self.account.name if self.account_id else self.server.name

    @property
    def heading(self) -> str:
        """The title of its pages: what is done, with which account or on which server."""
        if self.draft.account_id:
            return str(self.wizard.heading) % {"account": self.account.name}
        names = {"wizard": self.wizard.title, "server": self.server.name}
        return gettext("%(wizard)s on %(server)s") % names

    @property
    def home(self) -> str:
        """The address of the page that it was begun on."""
        if self.draft.account_id:
            return reverse("account", args=[self.draft.account_id])
        return reverse("server", args=[self.server.name])

    @property
    def beginning(self) -> str:
        """The address at which such a run begins."""
        if self.draft.account_id:
            return reverse(self.wizard.name, args=[self.draft.account_id])
        return reverse("wizard-begin", args=[self.server.name, self.wizard.name])

    @cached_property
    def own_zone(self) -> ZoneInfo | None:
        """The zone its owner reads times in, if that is another one than the server's."""
        chosen = Preferences.objects.filter(user=self.draft.owner_id).first()
        try:
            zone = ZoneInfo(chosen.zone) if chosen and chosen.zone else self.zone
        except (ZoneInfoNotFoundError, ValueError):
            return None
        return None if zone.key == self.zone.key else zone

    def local_text(self, moment: datetime, zone: ZoneInfo | None = None) -> str:
        """Spell a moment in the server's zone, or another one, with the zone's name."""
        chosen = zone or self.zone
        return f"{moment.astimezone(chosen):{words.DATE_FORMAT}} {chosen.key}"

    # Its steps

    @property
    def mode(self) -> Mode:
        """The mode that the first step chose; the wizard's first one until then."""
        first, *others = self.wizard.modes
        chosen = (self.words(first.steps[0].slug) or {}).get("mode")
        return next((mode for mode in others if mode.name == chosen), first)

    @property
    def slugs(self) -> list[str]:
        """The steps in order, the summary last."""
        return [*(step.slug for step in self.mode.steps), SUMMARY]

    def after(self, slug: str) -> str:
        """Return the step that follows."""
        return self.slugs[self.slugs.index(slug) + 1]

    def before(self, slug: str) -> str | None:
        """Return the step before; None for the first."""
        place = self.slugs.index(slug)
        return self.slugs[place - 1] if place else None

    @property
    def forms(self) -> list[StepForm]:
        """The steps with the words they accepted, checked anew."""
        return [self.form(step.slug) for step in self.mode.asked]

    def form(self, slug: str) -> StepForm:
        """Return one of `forms`. A step may look at the ones before it, not at later ones."""
        if slug not in self._forms:
            step = next(step for step in self.mode.asked if step.slug == slug)
            self._forms[slug] = step(self, data=self.words(slug))
        return self._forms[slug]

    def accepted(self, slug: str) -> Mapping[str, Any]:
        """Return the cleaned data of an earlier step; empty if it is not valid."""
        form = self.form(slug)
        return form.cleaned_data if form.is_valid() else {}

    def words(self, slug: str) -> Words | None:
        """Return what a step accepted last; None if it was never sent."""
        found: Words | None = self.draft.words.get(slug)
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

    def keep_words(self, slug: str, words: Words) -> None:
        """Keep the words of a step."""
        with transaction.atomic():
            draft = Draft.objects.select_for_update().get(pk=self.draft.pk)
            draft.words[slug] = words
            Draft.objects.filter(pk=draft.pk).update(words=draft.words)
        self.draft.words = draft.words
        # A step looks at the ones before it, never at later ones.
        before = [step.slug for step in takewhile(lambda step: step.slug != slug, self.mode.asked)]
        self._forms = {each: form for each, form in self._forms.items() if each in before}

    def url(self, slug: str) -> str:
        """Return the address of a step."""
        return reverse("wizard-step", args=[self.draft.pk, slug])

    @property
    def first_url(self) -> str:
        """The address of the first step."""
        return self.url(self.slugs[0])

    def operation(self, addresses: Sequence[str] = ()) -> Operation:
        """Build the operation from all steps, which are valid. Raises BadRequest."""
        texts: dict[str, str] = {}
        for form in self.forms:
            texts |= form.parameters()
        if addresses:
            texts["notifications"] = ",".join(addresses)
        return parameters.parse(self.mode.operation, texts, self.zone)


class StepForm(forms.Form):
    """One step. Its fields are parameters by name, or words that `parameters` spells them from."""

    slug: ClassVar[str]
    title: ClassVar[Any]
    template: ClassVar[str]
    refusals: ClassVar[Mapping[str, str]] = {}
    """Which field an error of the operation's own check belongs to, by the error's code."""
    fragments: ClassVar[Mapping[str, str]] = {}
    """The parts that are checked while the step is filled in, and their templates."""
    findings: ClassVar[str] = ""
    """The template of what a valid step found, which the summary shows, too."""
    use_required_attribute = False  # the server's own messages say more than the browser's

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.run = run
        super().__init__(data, **options)

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> Words:
        """Return the words that stand for the parameters of an operation there was."""
        return {name: texts[name] for name in cls.base_fields if name in texts}

    def words(self) -> Words:
        """Return the texts to keep of a valid form; what is left out means no."""
        kept = {name: self.cleaned_data[name] for name in self.fields}
        return {
            name: "on" if value is True else value if isinstance(value, list) else str(value)
            for name, value in kept.items()
            if value not in (None, False, "", [])
        }

    def parameters(self) -> dict[str, str]:
        """Return the texts of the parameters that a valid form chose."""
        return {name: _spelled(value) for name, value in self.cleaned_data.items()}

    def choices(self) -> list[Choice]:
        """Return what a valid form chose, in words."""
        return []

    def redrawn(self) -> StepForm | None:
        """Return what to draw if it was sent by a button that leads nowhere, such as a search."""
        return None

    def drawn(self) -> StepForm:
        """Return what to draw of a step that is come to: its kept words, and what is wrong now."""
        return self if self.is_bound else type(self)(self.run)

    def fragment(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return template and context of a part that is drawn alone; None if there is none."""
        return (self.fragments[name], {}) if name in self.fragments else None

    @property
    def link_names(self) -> frozenset[str]:
        """The names in a query by which links of the step put something into its fields."""
        return frozenset()

    def refuse(self, error: BadRequest) -> bool:
        """Put an error of the operation's own check on the field it is about, if that is here."""
        name = self.refusals.get(error.code)
        if name:
            self.add_error(name, " ".join(filter(None, (str(error), error.hint))))
        return bool(name)

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The errors: the id of the field that each is about, empty for none, and its text."""
        return problems_of(self)


def _spelled(value: Any) -> str:
    """Spell a cleaned value as a parameter."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def problems_of(form: forms.Form) -> list[tuple[str, str]]:
    """Return the errors of a form, in the order of its fields."""
    found = [("", str(error)) for error in form.non_field_errors()]
    for each in form:
        # A set of radio buttons has no id of its own.
        anchor = each.id_for_label or f"{each.auto_id}_0"
        found += [(anchor, str(error)) for error in each.errors]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """What a mode says on its summary besides the choices: what will be, and what will not."""

    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _nothing(_run: Run, _operation: Any) -> Remarks:
    return Remarks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way through a wizard: the steps that lead to one operation, and what its summary says.

    `expected` counts what the operation would find, `expected_template` says that in words; where
    `is_large` says so, only on demand.
    """

    operation: type[Operation]
    steps: tuple[type[StepForm], ...]
    name: str = ""
    """The value by which a field `mode` of the first step chooses it, where there are several."""
    remarks: Callable[[Run, Any], Remarks] = _nothing
    expected: Callable[[Run, Any], Any] | None = None
    expected_template: str = "console/_expected_items.html"
    is_large: Callable[[Run], bool] = field(default=lambda _run: False)
    options: type[StepForm] | None = None
    """What may be chosen on the summary itself: boxes, each with a default."""

    @property
    def asked(self) -> tuple[type[StepForm], ...]:
        """The steps, and what the summary asks besides."""
        return (*self.steps, *filter(None, [self.options]))

    def words_of(self, row: QueuedOperation) -> dict[str, Words]:
        """Return the words of all steps with which this operation would be asked for again."""
        texts, zone = telling.parameters_again(row), row.server.zone_info
        kept = {step.slug: step.words_from(texts, zone) for step in self.asked}
        if notified := texts.get("notifications"):
            kept[SUMMARY] = {"notifications": notified.replace(",", ", ")}
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Wizard:
    """What a button opens: one mode, or several between which the first step chooses.

    `permission` is what it takes to use it, `onward` the word on the button that leads on. Where it
    is about a server, `obstacle` says why it cannot be used there now; empty if it can. Where it is
    about an account, `heading` has a place for its name.
    """

    name: str
    title: Any
    permission: str
    modes: tuple[Mode, ...]
    heading: Any = ""
    onward: Any = NEXT
    obstacle: Callable[[Server], str] = field(default=lambda _server: "")

    @property
    def slugs(self) -> frozenset[str]:
        """The steps of all modes."""
        return frozenset(step.slug for mode in self.modes for step in mode.steps) | {SUMMARY}


def start(
    wizard: Wizard,
    *,
    owner: User,
    server: Server,
    account_id: str = "",
    words: Mapping[str, Words] | None = None,
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
