"""The steps of Import Backup: which backup, which domains, which accounts; and its options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BackupError
from console import browse
from console.browse import AccountToImport, BackupToImport
from console.forms.export import (
    ALL,
    EVERY,
    LOOK,
    NONE,
    DomainsStep,
    PathStep,
    as_validation,
    listed,
    names_in,
)
from console.forms.picking import fitting, search_field
from console.wizard import Choice, Run, StepForm, Words

_PATH, _DOMAINS = "path", "domains"
SURE = "IMPORT"
_NAMED = 10
"""So many accounts are named on the summary."""
_ONLY_NAMED = {"skip_system_accounts": "true"}
"""With false, all system accounts of the domains would come along with those that are named."""
_MOST_SHOWN = 500
"""A form of more boxes is refused; a search finds the others."""


class ImportPathStep(PathStep):
    """The folder of the backup that is imported."""

    title = _("Path of the backup")
    template = "console/wizard_import_path.html"
    field = "source_path"
    refusals: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("path_in_use", "path_missing", "path_not_a_backup", "path_not_allowed"),
            *("path_not_readable", "not_initialized", "unsupported_format"),
        ),
        "source_path",
    )
    fragments: ClassVar[Mapping[str, str]] = {
        "source_path": "console/_import_path.html",
    }
    findings = "console/_import_found.html"

    source_path = forms.CharField(
        label=_("Path of the backup"),
        max_length=1100,
        strip=False,
        error_messages={"required": _("Type the folder that the backup lies in.")},
    )

    backup: BackupToImport | None = None
    """What was found in the folder."""

    def clean_source_path(self) -> str:
        """Return the folder if there is a backup in it that can be imported."""
        path = self.typed_path()
        try:
            self.backup = browse.backup_to_import(self.run.server, path)
        except BackupError as error:
            raise as_validation(error) from error
        return str(path)

    def fragment(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return a part: the size is counted apart, which may take a while."""
        size = ("console/_import_size.html", {"counted": True})
        return size if name == "size" else super().fragment(name)

    @property
    def size(self) -> int | None:
        """How many bytes the backup's blobs have; None if that cannot be told."""
        if not self.is_valid():
            return None
        try:
            return browse.size_of_backup(self.run.server, self.typed_path())
        except BackupError:
            return None

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> Words:
        """Return the folder of an import there was."""
        return {"source_path": texts.get("source_path", "")}

    def choices(self) -> list[Choice]:
        """Return the folder, and whose backup it is."""
        text = str(self.typed_path())
        if self.backup:
            named = {"path": text, "server": self.backup.server_name}
            text = gettext("%(path)s, the backup of %(server)s") % named
        return [Choice(label=gettext("Path of the backup"), text=text)]


def backup_of(run: Run) -> BackupToImport | None:
    """Return what the first step found; None if it is not valid."""
    form = run.form(_PATH)
    return form.backup if isinstance(form, ImportPathStep) and form.is_valid() else None


class ImportDomainsStep(DomainsStep):
    """Which domains of the backup are imported."""

    template = "console/wizard_import_domains.html"

    @cached_property
    def names(self) -> list[str]:
        """The domains of the backup."""
        backup = backup_of(self.run)
        return list(backup.domains) if backup else []

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The domains as a table."""
        backup = backup_of(self.run)
        return [
            {"name": name, "accounts": total, "deleted": gone, "is_ticked": name in self.ticked}
            for name, (total, gone) in (backup.domains if backup else {}).items()
        ]


class AccountsField(forms.MultipleChoiceField):
    """Accounts by the words that stand for them; there may be very many."""

    known: frozenset[str] = frozenset()

    def valid_value(self, value: str) -> bool:
        """Say whether some account is meant."""
        return value in self.known


class ImportAccountsStep(StepForm):
    """Which accounts of those domains; a search changes what is shown, and unticks nothing."""

    slug = "accounts"
    title = _("Accounts")
    template = "console/wizard_import_accounts.html"
    refusals: ClassVar[Mapping[str, str]] = {
        "no_such_account": "accounts",
        "ambiguous_account": "accounts",
    }

    accounts = AccountsField(
        label=_("Accounts"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": _("There is no account %(value)s in these domains.")},
    )
    others = forms.CharField(required=False, widget=forms.HiddenInput)
    """The ids of what is ticked and not shown, with commas between them: boxes are few enough."""
    q = search_field(_("Search by address or id"))
    typed = forms.CharField(
        label=_("To be sure, type IMPORT"),
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(run, data, **options)
        field = self.fields["accounts"]
        if isinstance(field, AccountsField):
            # An operation there was names some by their addresses.
            field.known = frozenset(EVERY).union(*map(_words, self.known))
        self.initial.setdefault("accounts", [each.account_id for each in self.known])

    def redrawn(self) -> StepForm | None:
        """Return the step with what a button asked for: a search, all boxes ticked, or none."""
        look = self.data.get(LOOK) if self.is_bound else None
        if look is None:
            return None
        ticked = self.ticked
        if look in (ALL, NONE):
            shown = {account.account_id for account in self.found}
            ticked = ticked | shown if look == ALL else ticked - shown
        kept = {name: self[name].value() for name in ("q", "typed")}
        return type(self)(self.run, initial={"accounts": list(ticked), **kept})

    def drawn(self) -> StepForm:
        """Return the step; the word is not missed of who has not been asked for it yet."""
        if self.is_bound and set(self.errors) == {"typed"}:
            kept = {"accounts": list(self.ticked), "q": self["q"].value()}
            return type(self)(self.run, initial=kept)
        return super().drawn()

    @cached_property
    def known(self) -> list[AccountToImport]:
        """The accounts of the chosen domains."""
        backup, chosen = backup_of(self.run), self.run.accepted(_DOMAINS).get("domains", ())
        every = backup.accounts if backup else []
        return [account for account in every if account.domain in chosen]

    @property
    def ticked(self) -> frozenset[str]:
        """The ids of what is ticked, shown or not."""
        others = str(self["others"].value() or "").split(",")
        words = {*(self["accounts"].value() or ()), *others}
        if words >= {*EVERY}:
            return frozenset(each.account_id for each in self.known)
        ids = (each.account_id for each in self.known if not words.isdisjoint(_words(each)))
        return frozenset(ids)

    # What is shown

    @cached_property
    def found(self) -> list[AccountToImport]:
        """The accounts that the search leaves."""
        return fitting(self.known, self["q"].value())

    @cached_property
    def shown(self) -> list[AccountToImport]:
        """The first of them."""
        return self.found[:_MOST_SHOWN]

    @property
    def hidden_text(self) -> str:
        """What `others` holds for these boxes."""
        return ",".join(sorted(self.ticked - {account.account_id for account in self.shown}))

    @property
    def groups(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """What is shown, by domain."""
        ticked, found = self.ticked, dict[str, list[dict[str, Any]]]()
        for account in self.shown:
            row = {"account": account, "is_ticked": account.account_id in ticked}
            found.setdefault(account.domain, []).append(row)
        return list(found.items())

    # What is accepted

    def clean(self) -> dict[str, Any]:
        """Refuse nothing at all, and what is not there."""
        cleaned = super().clean() or {}
        if "accounts" in self.errors:
            return cleaned
        ticked = self.ticked
        chosen = [each.account_id for each in self.known if each.account_id in ticked]
        if not chosen:
            self.add_error("accounts", gettext("Choose at least one account."))
        self._require_typed(sum(each.exists for each in self.known if each.account_id in ticked))
        return cleaned | {"accounts": chosen}

    @property
    def existing(self) -> int:
        """How many of the accounts this server has already."""
        return sum(account.exists for account in self.known)

    def _require_typed(self, existing: int) -> None:
        if existing and str(self.cleaned_data.get("typed") or "").strip() != SURE:
            text = ngettext(
                "%(n)d of the chosen accounts exists here already. Type %(word)s to add to it.",
                "%(n)d of the chosen accounts exist here already. Type %(word)s to add to them.",
                existing,
            )
            self.add_error("typed", text % {"n": existing, "word": SURE})

    @property
    def chosen(self) -> list[AccountToImport]:
        """The accounts that a valid step chose."""
        ids = set(self.cleaned_data["accounts"])
        return [account for account in self.known if account.account_id in ids]

    @property
    def is_all(self) -> bool:
        """Whether a valid step chose all of them."""
        return len(self.chosen) == len(self.known)

    def words(self) -> Words:
        """Return the ids of the accounts, and the word that was typed."""
        typed = {"typed": SURE} if self.cleaned_data["typed"] else {}
        return {"accounts": self.cleaned_data["accounts"], **typed}

    def parameters(self) -> dict[str, str]:
        """Return nothing: what is left out of the chosen ones, the options say."""
        return {}

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> Words:
        """Return the accounts of an import there was."""
        return {"accounts": names_in(texts.get("accounts", ""))}

    def choices(self) -> list[Choice]:
        """Return the accounts, the first of them by name."""
        text = listed([some([each.name for each in self.chosen])], is_all=self.is_all)
        return [Choice(label=gettext("Accounts"), text=text)]


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    text, more = ", ".join(names[:_NAMED]), len(names) - _NAMED
    if more > 0:
        text += ngettext(" and %d more", " and %d more", more) % more
    return text


def _words(account: AccountToImport) -> tuple[str, str]:
    return account.account_id, account.name


class ImportOptions(StepForm):
    """What of it is left out; on the summary, and never asked for before."""

    slug = "options"
    title = _("Options")
    template = ""

    skip_system_accounts = forms.BooleanField(
        label=_("Skip system accounts"),
        required=False,
        initial=True,
        help_text=_("Spam and ham training, quarantine, GAL synchronisation and the like."),
    )
    filter_deleted = forms.BooleanField(
        label=_("Leave out accounts that were deleted at the source"), required=False, initial=True
    )
    provisioning_only = forms.BooleanField(
        label=_("Provisioning only: domains, classes of service, lists and accounts, no items"),
        required=False,
    )
    skip_aliases = forms.BooleanField(label=_("Skip aliases"), required=False)
    skip_distribution_lists = forms.BooleanField(label=_("Skip distribution lists"), required=False)
    skip_coses = forms.BooleanField(label=_("Skip classes of service"), required=False)
    restore_admin_rights = forms.BooleanField(
        label=_("Import rights of administrators"),
        required=False,
        help_text=_(
            "What makes somebody an administrator or decides who is let in: administrator flags,"
            " access rights, external authentication. Only for a backup that is trusted like this"
            " server itself."
        ),
    )

    retry = forms.BooleanField(
        label=_("Only try again what an earlier import of this backup could not bring"),
        required=False,
    )

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(run, self._defaults() if data is None else data, **options)

    @classmethod
    def _defaults(cls) -> dict[str, str]:
        return {name: "true" for name, field in cls.base_fields.items() if field.initial}

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> Words:
        """Return the boxes that an import there was had ticked; what it did not say was default."""
        said = {name: texts[name] for name in cls.base_fields if name in texts}
        return {name: text for name, text in (cls._defaults() | said).items() if text == "true"}

    def parameters(self) -> dict[str, str]:
        """Return the options, and the accounts unless all are chosen.

        Accounts that are named are taken, system accounts too: so those that an option leaves out
        are not named.
        """
        found, step = super().parameters(), self.run.form(ImportAccountsStep.slug)
        if not isinstance(step, ImportAccountsStep) or step.is_all:
            return found
        skips = self.cleaned_data["skip_system_accounts"]
        named = [each for each in step.chosen if not (skips and each.is_system)] or step.chosen
        return found | {"accounts": ",".join(self._names(named))} | _ONLY_NAMED

    def _names(self, accounts: Iterable[AccountToImport]) -> Iterator[str]:
        """Yield the addresses of accounts; the id of one whose address several have."""
        backup = backup_of(self.run)
        same = Counter(each.name for each in (backup.accounts if backup else ()))
        yield from (each.name if same[each.name] == 1 else each.account_id for each in accounts)
