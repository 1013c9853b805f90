"""The steps of Restore Deleted Account: a date, and which of the accounts as of that date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.restore.select import end_of_second
from console import browse
from console.browse import AccountLine
from console.calendar import Month
from console.forms.date import MomentsStep, moment_choices
from console.forms.picking import fitting
from console.forms.span import Span
from console.forms.when import When
from console.wizard import Choice, Run, StepForm, Words

_PAGE_ROWS = 50
_SHORTCUTS = 200


class DeletedSpan(Span):
    """The moments at which the backup knew an account that is deleted now."""

    suggestion: Any = _("Take the second before it")

    @cached_property
    def lines(self) -> list[AccountLine]:
        """The deleted accounts of the server that can be restored, by name."""
        return browse.deleted_accounts(self.run.server)

    @cached_property
    def first(self) -> datetime | None:
        """The first moment at which the backup knew one of them."""
        return min(
            (line.protected_since for line in self.lines if line.protected_since), default=None
        )

    @property
    def preset(self) -> datetime:
        """Just before the deletion of the account that was chosen already; else the present."""
        line = next((each for each in self.lines if each.account_id == self.run.account_id), None)
        return self.second_before(line) if line else self.run.now

    def second_before(self, line: AccountLine) -> datetime:
        """Return the second before a deletion, at which the account was still there."""
        if line.deleted_at is None:
            return self.run.now
        before = line.deleted_at - timedelta(seconds=1)
        return max(before, line.protected_since or before)

    def as_of(self, moment: datetime) -> list[AccountLine]:
        """Return the accounts that the backup knew by the end of that second."""
        end = end_of_second(moment)
        return [line for line in self.lines if line.protected_since and line.protected_since < end]

    def later_than(self, moment: datetime) -> AccountLine | None:
        """Return the account whose deletion follows a moment next."""
        later = [
            (line.deleted_at, line.account_id, line)
            for line in self.lines
            if line.deleted_at and line.deleted_at >= end_of_second(moment)
        ]
        return min(later)[-1] if later else None

    @property
    def suggested(self) -> datetime | None:
        """The second before the first deletion."""
        dated = [line for line in self.lines if line.deleted_at]
        first = min(dated, key=lambda line: (line.deleted_at, line.account_id), default=None)
        return self.second_before(first) if first else None

    def check(self, moment: datetime) -> None:
        """Refuse a moment at which none of them was known. Raises ValidationError."""
        if not self.lines:
            raise ValidationError(gettext("No deleted account is in the backup."))
        if self.as_of(moment):
            return
        said = gettext("No account had been deleted by that date.")
        raise ValidationError(f"{said} {self.nearest(moment)}".strip(), code="too_early")

    def nearest(self, moment: datetime) -> str:
        """Say which deletion followed next."""
        line = self.later_than(moment)
        if line is None or line.deleted_at is None:
            return ""
        said = {"name": line.name, "time": self.run.local_text(line.deleted_at)}
        return gettext("The nearest later deletion is that of %(name)s at %(time)s.") % said

    def gap(self, _moment: datetime) -> None:
        """Say nothing: which of the accounts is meant is not known yet."""

    def changed(self, month: Month) -> frozenset[date]:
        """Return the days of a month on which one of them was deleted."""
        days = (
            line.deleted_at.astimezone(self.run.zone).date()
            for line in self.lines
            if line.deleted_at
        )
        return frozenset(day for day in days if Month.of(day) == month)


class DeletedDateStep(MomentsStep):
    """The date whose accounts are listed, and as of which one is restored."""

    slug = "date"
    title = _("Date")
    template = "console/wizard_deleted_date.html"
    prefixes: ClassVar[Mapping[str, str]] = {"date": ""}
    legends: ClassVar[Mapping[str, Any]] = {"date": _("Restore an account as it was at")}
    spans: ClassVar[type[Span]] = DeletedSpan

    @property
    def when(self) -> When:
        """Its one widget."""
        return self.whens["date"]

    @property
    def accounts(self) -> DeletedSpan:
        """The deleted accounts."""
        return cast("DeletedSpan", self.span)

    @property
    def shortcuts(self) -> list[tuple[AccountLine, str]]:
        """The deleted accounts, the latest first, each with a link to the second before."""
        lines = self.accounts.lines
        latest = sorted(lines, key=lambda line: line.deleted_at or self.run.now, reverse=True)
        return [
            (line, urlencode(self.when.shown_as(self.accounts.second_before(line))))
            for line in latest[:_SHORTCUTS]
        ]

    def choices(self) -> list[Choice]:
        """Return the moment in the server's zone, the user's and UTC."""
        return moment_choices(self.run, self.when.chosen, label=gettext("As of"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One account of the list; `was_deleted` by the date: it comes back as it was until then."""

    line: AccountLine
    was_deleted: bool
    is_chosen: bool


class AccountStep(StepForm):
    """Which of the accounts as of the date."""

    slug = "account"
    title = _("Account")
    template = "console/wizard_account.html"
    fragments: ClassVar[Mapping[str, str]] = {"accounts": "console/_deleted_accounts.html"}

    account_id = forms.CharField(
        required=False, max_length=64, widget=forms.RadioSelect, label=_("Account")
    )
    q = forms.CharField(required=False, max_length=254)
    page = forms.CharField(required=False, max_length=6)

    @property
    def link_names(self) -> frozenset[str]:
        """The search, and the page of the list."""
        return frozenset({"q", "page"})

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(run, data, **options)
        before = run.form(DeletedDateStep.slug)
        self.span = before.accounts if isinstance(before, DeletedDateStep) else DeletedSpan(run)
        moment = run.accepted(DeletedDateStep.slug).get("date")
        self.at: datetime = moment.at if moment and moment.at else run.now

    @cached_property
    def known(self) -> list[AccountLine]:
        """The accounts as of the date."""
        return self.span.as_of(self.at)

    @property
    def listed(self) -> Page[AccountLine]:
        """The page of those that fit the search."""
        found = fitting(self.known, self["q"].value())
        return Paginator(found, _PAGE_ROWS).get_page(self["page"].value() or 1)

    @property
    def rows(self) -> list[Row]:
        """The accounts of that page; one that is chosen already comes first if it is not there."""
        # A search, or another page, that says nothing of a choice takes back none.
        chosen = str(self["account_id"].value() or self.run.account_id)
        lines = list(self.listed)
        if all(line.account_id != chosen for line in lines):
            lines = [line for line in self.known if line.account_id == chosen] + lines
        end = end_of_second(self.at)
        return [
            Row(
                line=line,
                was_deleted=line.deleted_at is not None and line.deleted_at < end,
                is_chosen=line.account_id == chosen,
            )
            for line in browse.detailed(self.run.server, lines)
        ]

    @property
    def note(self) -> str:
        """Say that none was deleted by the date, if that is so, and which deletion followed."""
        end = end_of_second(self.at)
        if any(line.deleted_at and line.deleted_at < end for line in self.known):
            return ""
        said = gettext("No account had been deleted by that date.")
        return f"{said} {self.span.nearest(self.at)}".strip()

    @property
    def at_text(self) -> str:
        """The date in the server's zone."""
        return self.run.local_text(self.at)

    def clean_account_id(self) -> str:
        """Return the id of one of the accounts as of the date."""
        chosen = str(self.cleaned_data["account_id"])
        if not chosen:
            raise ValidationError(gettext("Choose the account to restore."))
        if all(line.account_id != chosen for line in self.known):
            raise ValidationError(gettext("That account is not in the list as of this date."))
        return chosen

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The errors; they are about the list."""
        return [("accounts", text) for _, text in super().problems]

    def words(self) -> Words:
        """Return what is chosen, not what was searched for."""
        return {"account_id": self.cleaned_data["account_id"]}

    def parameters(self) -> dict[str, str]:
        """Return nothing: the destination step names the source."""
        return {}
