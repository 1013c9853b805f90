"""The steps that ask for moments: the one to restore, and the period of an Undelete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BadRequest
from backupng.engine.operations import words
from backupng.engine.operations.words import Moment
from console import browse
from console.browse import Deletions
from console.forms.span import Span
from console.forms.when import FIRST, LAST, OF_LINKS, When, shown
from console.wizard import Choice, Run, StepForm, Words


class MomentsStep(StepForm):
    """A step of date widgets, each for one parameter of the operation."""

    prefixes: ClassVar[Mapping[str, str]]
    """By parameter: the prefix of its widget's names."""
    refused: ClassVar[frozenset[str]] = frozenset({"before_first_backup", "date_in_future"})
    """Codes of what the operation's own check has against the first of the moments."""
    offers: ClassVar[Mapping[str, str]] = {}
    legends: ClassVar[Mapping[str, Any]]
    """By parameter: the word that its widget offers for an end, and what it asks."""
    spans: ClassVar[type[Span]] = Span

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        texts = options.pop("initial", None) if data is None else data
        super().__init__(run, data, **options)
        self.span = self.spans(run)
        self.whens = {
            name: When(
                self.span,
                texts,
                legend=self.legends[name],
                offered=self.offers.get(name, ""),
                prefix=prefix,
                is_bound=self.is_bound,
            )
            for name, prefix in self.prefixes.items()
        }

    @property
    def link_names(self) -> frozenset[str]:
        """What the links of the widgets carry."""
        return frozenset(when.key + name for when in self.whens.values() for name in OF_LINKS)

    @classmethod
    def words_from(cls, texts: Mapping[str, str], zone: ZoneInfo) -> Words:
        """Return the words for the moments of an operation there was."""
        found: Words = {}
        for name, prefix in cls.prefixes.items():
            moment: Moment = words.parse(Moment, texts[name], name=name, zone=zone)
            fields = shown(moment.at, zone) if moment.at else {"keyword": moment.keyword}
            found |= {f"{prefix}-{each}" if prefix else each: fields[each] for each in fields}
        return found

    def is_valid(self) -> bool:
        """Say whether each widget means a moment, and they fit together."""
        # `clean` has asked each, so that each shows its errors.
        return super().is_valid() and all(when.is_valid() for when in self.whens.values())

    def clean(self) -> dict[str, Any]:
        """Return the moments by parameter, as far as they are valid."""
        super().clean()
        return {name: when.chosen for name, when in self.whens.items() if when.is_valid()}

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The errors of all widgets."""
        return super().problems + [each for when in self.whens.values() for each in when.problems]

    @property
    def shown(self) -> dict[str, str]:
        """All that is shown, by the names in a query."""
        return {name: text for when in self.whens.values() for name, text in when.shown.items()}

    @property
    def shown_as_query(self) -> str:
        """All that is shown, for a link that is to keep it."""
        return urlencode(self.shown)

    def refuse(self, error: BadRequest) -> bool:
        """Put an error of the operation's own check on the day of the first widget."""
        if error.code not in self.refused:
            return False
        first = next(iter(self.whens.values()))
        first.add_error("day", " ".join(filter(None, (str(error), error.hint))))
        return True

    def words(self) -> Words:
        """Return the fields as they show what was accepted."""
        return {name: text for when in self.whens.values() for name, text in when.words().items()}

    def parameters(self) -> dict[str, str]:
        """Return the moments as the command line takes them."""
        return {
            name: words.spell(Moment, when.chosen, self.run.zone)
            for name, when in self.whens.items()
        }

    def fragment(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return a widget, its calendar or the moment that it means."""
        for when in self.whens.values():
            part = name.removeprefix(when.key) if name.startswith(when.key) else ""
            if part in ("when", "minical", "moment"):
                return f"console/_{part}.html", {"when": when}
        return super().fragment(name)


class DateStep(MomentsStep):
    """The moment to restore, or the newest state there is."""

    slug = "date"
    title = _("Date")
    template = "console/wizard_date.html"
    prefixes: ClassVar[Mapping[str, str]] = {"date": ""}
    offers: ClassVar[Mapping[str, str]] = {"date": LAST}
    legends: ClassVar[Mapping[str, Any]] = {"date": _("Restore the mailbox as it was at")}
    refused: ClassVar[frozenset[str]] = frozenset(
        {"before_first_backup", "date_in_future", "no_such_account", "ambiguous_account"}
    )

    @property
    def when(self) -> When:
        """Its one widget."""
        return self.whens["date"]

    def choices(self) -> list[Choice]:
        """Return the moment in the server's zone, the user's and UTC."""
        return moment_choices(self.run, self.when.chosen, label=gettext("At"))


class SlotStep(MomentsStep):
    """The period of an Undelete: what was deleted in it comes back."""

    slug = "slot"
    title = _("Slot")
    template = "console/wizard_slot.html"
    prefixes: ClassVar[Mapping[str, str]] = {"start_date": "start", "end_date": "end"}
    offers: ClassVar[Mapping[str, str]] = {"start_date": FIRST, "end_date": LAST}
    legends: ClassVar[Mapping[str, Any]] = {
        "start_date": _("Deleted from"),
        "end_date": _("Deleted until"),
    }
    refused: ClassVar[frozenset[str]] = frozenset(
        {"bad_period", "before_first_backup", "date_in_future", "no_such_account"}
    )
    fragments: ClassVar[Mapping[str, str]] = {"deleted": "console/_deleted.html"}

    def clean(self) -> dict[str, Any]:
        """Return start and end; the period must not end before it starts."""
        cleaned = super().clean()
        start, end = (cleaned[name].at if name in cleaned else None for name in self.prefixes)
        if start and end and start > end:
            self.whens["end_date"].add_error("day", gettext("The period ends before it starts."))
        return cleaned

    @property
    def deleted(self) -> Deletions | None:
        """What was deleted in the period; None while there is no valid one."""
        if self.is_bound and not self.is_valid():
            return None
        texts = {} if self.is_bound else self.shown
        chosen = self if self.is_bound else type(self)(self.run, data=texts)
        if not chosen.is_valid():
            return None
        start, end = (when.chosen for when in chosen.whens.values())
        return browse.deletions(self.run.server, self.run.account_id, start, end)

    @property
    def folder(self) -> str:
        """The folder that would be made if it began now."""
        return browse.undelete_folder(self.run.server, self.run.account_id)

    def choices(self) -> list[Choice]:
        """Return start and end."""
        start, end = self.whens.values()
        return [
            *moment_choices(self.run, start.chosen, label=gettext("Deleted from")),
            *moment_choices(self.run, end.chosen, label=gettext("Deleted until")),
        ]


def moment_choices(run: Run, moment: Moment, *, label: str) -> list[Choice]:
    """Return a moment in words: in the server's zone, the user's and UTC."""
    if moment.at is None:
        said = {
            FIRST: gettext("First: the beginning of the backup"),
            LAST: gettext("Last: the newest state in the backup"),
        }
        return [Choice(label=label, text=said[moment.keyword])]
    found = [Choice(label=label, text=run.local_text(moment.at))]
    if own := run.own_zone:
        found.append(Choice(label=gettext("In your zone"), text=run.local_text(moment.at, own)))
    if run.zone.key != "UTC":
        text = f"{moment.at:{words.DATE_FORMAT}} UTC"
        found.append(Choice(label=gettext("In UTC"), text=text))
    return found
