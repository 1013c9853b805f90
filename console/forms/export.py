"""The steps of Export Backup: where to, and which domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BackupError, BadRequest, MailServerError
from backupng.engine.operations import words
from console import browse
from console.browse import DomainToExport, Target
from console.models import QueuedOperation
from console.wizard import Choice, Run, StepForm, Words

EVERY = ["all"]
"""Stands in kept words for all domains, or all accounts: no domain and no account is called so."""
LOOK, ALL, NONE = "look", "all", "none"
"""The name of buttons that only change what is ticked or shown, and two of their values."""
REMEMBERED = 5
_NOT_EMPTY = "path_not_empty"
_PATH_CODES = (
    *("bad_value", "no_space", "path_case_insensitive", "path_in_use", "path_missing"),
    *("path_not_a_backup", "path_not_allowed", _NOT_EMPTY, "path_not_readable"),
    *("path_not_writable", "path_read_only", "not_initialized", "unsupported_format"),
)


class PathStep(StepForm):
    """A folder on the server's host; the last ones that were used are a click away."""

    slug = "path"
    field: ClassVar[str]
    """The parameter that the folder is."""

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(run, data, **options)
        check = reverse("wizard-check", args=[run.draft.pk, self.slug])
        self.fields[self.field].widget.attrs.update(
            {
                "class": "wide mono",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "hx-get": f"{check}?field={self.field}",
                "hx-trigger": "change",
                "hx-target": "#path",
                "hx-swap": "morph:outerHTML",
                "hx-ext": "morph",
            }
        )

    @property
    def link_names(self) -> frozenset[str]:
        """The folder: links take one that was used before."""
        return frozenset({self.field})

    @property
    def path_field(self) -> forms.BoundField:
        """The field of the folder."""
        return self[self.field]

    @cached_property
    def used(self) -> list[dict[str, Any]]:
        """The last folders that were used, the newest first, with what is free there."""
        rows = QueuedOperation.objects.filter(
            server=self.run.server, command=self.run.mode.operation.command
        )
        paths = (row.parameters.get(self.field) for row in rows.order_by("-seq").only("parameters"))
        found = [path for path in dict.fromkeys(paths) if path][:REMEMBERED]
        return [{"path": path, "free": browse.free_bytes(Path(path))} for path in found]

    def typed_path(self) -> Path:
        """Return the folder that was typed. Raises ValidationError."""
        text = self.cleaned_data[self.field]
        try:
            found: Path = words.parse(Path, text, name=self.field, zone=self.run.zone)
        except BadRequest as error:
            # Here nobody has to be told the name of the parameter.
            said = {"text": repr(text), "flaw": error.__cause__}
            raise ValidationError(
                gettext("%(text)s is %(flaw)s.") % said, code=error.code
            ) from error
        return found


def as_validation(error: BackupError) -> ValidationError:
    """Return what the engine refuses, and what helps, as the error of a field."""
    return ValidationError(" ".join(filter(None, (str(error), error.hint))), code=error.code)


class ExportPathStep(PathStep):
    """Where the export is written to."""

    title = _("Destination Path")
    template = "console/wizard_export_path.html"
    field = "destination_path"
    refusals: ClassVar[Mapping[str, str]] = dict.fromkeys(_PATH_CODES, "destination_path")
    fragments: ClassVar[Mapping[str, str]] = {"destination_path": "console/_export_path.html"}

    resume = forms.BooleanField(
        label=_("Go on with the export that was begun there"), required=False
    )
    destination_path = forms.CharField(
        label=_("Destination Path"),
        max_length=1100,
        strip=False,
        error_messages={"required": _("Type the folder that the export is to be written into.")},
    )
    permissions_fixed = forms.BooleanField(label=_("Permissions were fixed"), required=False)
    reindexed = forms.BooleanField(label=_("All mailboxes were reindexed"), required=False)
    blobs_checked = forms.BooleanField(label=_("Blobs were checked"), required=False)

    target: Target | None = None
    """The folder that was found to be good."""
    is_begun = False
    """Whether an export lies in the folder that is not empty."""

    def clean_destination_path(self) -> str:
        """Return the folder if an export can be written into it."""
        path = self.typed_path()
        try:
            self.target = browse.check_target(
                self.run.server, path, is_begun=self.cleaned_data["resume"]
            )
        except BackupError as error:
            if error.code != _NOT_EMPTY:
                raise as_validation(error) from error
            self.is_begun = browse.is_export_begun(self.run.server, path)
            # What the page offers is not what the command line has to be told.
            said = f"{error} {gettext('Name an empty folder.')}"
            raise ValidationError(said, code=error.code) from error
        return str(path)

    def parameters(self) -> dict[str, str]:
        """Return the folder, and whether to go on; the rest is for the admin's own memory."""
        found = {"destination_path": self.cleaned_data["destination_path"]}
        return found | ({"resume": "true"} if self.cleaned_data["resume"] else {})

    @property
    def may_resume(self) -> bool:
        """Whether the page offers to go on: an export was begun there, or that was chosen."""
        is_refused = self.has_error("destination_path", _NOT_EMPTY)
        return (is_refused and self.is_begun) or bool(self["resume"].value())

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> Words:
        """Return the folder of an export there was."""
        resume = {"resume": "on"} if texts.get("resume") == "true" else {}
        return {"destination_path": texts.get("destination_path", ""), **resume}

    def choices(self) -> list[Choice]:
        """Return the folder, and what was done before."""
        found = [Choice(label=gettext("Destination Path"), text=str(self.typed_path()))]
        if self.cleaned_data["resume"]:
            begun = gettext("the export that was begun there goes on")
            found.append(Choice(label=gettext("Resume"), text=begun))
        names = ("permissions_fixed", "reindexed", "blobs_checked")
        done = [str(self.fields[name].label) for name in names if self.cleaned_data[name]]
        if done:
            found.append(Choice(label=gettext("Before the export"), text=", ".join(done)))
        return found


class DomainsStep(StepForm):
    """Which of the domains; all of them unless some are taken out."""

    slug = "domains"
    title = _("Domains")
    refusals: ClassVar[Mapping[str, str]] = {"no_such_domain": "domains"}

    domains = forms.MultipleChoiceField(
        label=_("Domains"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": _("Choose at least one domain."),
            "invalid_choice": _("There is no domain %(value)s here any more."),
        },
    )

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.run = run
        if data is not None and data.get("domains") == EVERY:
            data = {"domains": self.names}
        super().__init__(run, data, **options)
        field = self.fields["domains"]
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = [(name, name) for name in self.names]
        self.initial.setdefault("domains", self.names)

    def redrawn(self) -> StepForm | None:
        """Return the step with all boxes ticked, or none, if a button asked for that."""
        look = self.data.get(LOOK) if self.is_bound else None
        if look not in (ALL, NONE):
            return None
        return type(self)(self.run, initial={"domains": self.names if look == ALL else []})

    @cached_property
    def names(self) -> list[str]:
        """The domains that there are."""
        raise NotImplementedError

    @property
    def ticked(self) -> frozenset[str]:
        """The domains whose boxes are drawn ticked."""
        return frozenset(self["domains"].value() or ())

    @property
    def chosen(self) -> list[str]:
        """The domains that a valid step chose."""
        found: list[str] = self.cleaned_data["domains"]
        return found

    @property
    def is_all(self) -> bool:
        """Whether a valid step chose all of them."""
        return set(self.chosen) == set(self.names)

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> Words:
        """Return the domains of an operation there was."""
        return {"domains": names_in(texts.get("domains", "").lower())}

    def parameters(self) -> dict[str, str]:
        """Return the domains; nothing, which means all, if all are chosen."""
        return {} if self.is_all else {"domains": ",".join(self.chosen)}

    def choices(self) -> list[Choice]:
        """Return the domains."""
        return [Choice(label=gettext("Domains"), text=listed(self.chosen, is_all=self.is_all))]


def names_in(text: str) -> list[str]:
    """Return the names of a parameter as words keep them; without one all are meant."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return names or EVERY


def listed(names: Iterable[str], *, is_all: bool) -> str:
    """Spell names for the summary."""
    text = ", ".join(names)
    return gettext("all: %s") % text if is_all and text else text


class ExportDomainsStep(DomainsStep):
    """Which domains of the mail server are exported."""

    template = "console/wizard_export_domains.html"

    @cached_property
    def known(self) -> list[DomainToExport]:
        """The domains of the mail server."""
        return browse.domains_to_export(self.run.server)

    @cached_property
    def names(self) -> list[str]:
        """Their names."""
        return [domain.name for domain in self.known]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many bytes each domain holds; nothing if the mail server does not say."""
        try:
            return browse.sizes_to_export(self.run.server)
        except MailServerError:
            return {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The domains as a table."""
        return [
            {
                "domain": domain,
                "size": self.sizes.get(domain.name, 0),
                "is_ticked": domain.name in self.ticked,
            }
            for domain in self.known
        ]

    @property
    def exported(self) -> list[DomainToExport]:
        """The domains that a valid step chose."""
        return [domain for domain in self.known if domain.name in self.chosen]

    def choices(self) -> list[Choice]:
        """Return the domains, and how many accounts stay out."""
        found = super().choices()
        if left_out := sum(domain.left_out for domain in self.exported):
            text = ngettext(
                "%d account: backup is off for its class of service",
                "%d accounts: backup is off for their class of service",
                left_out,
            )
            found.append(Choice(label=gettext("Left out"), text=text % left_out))
        return found
