"""The step that asks what to make of an account's backup, and under which name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations.restore_on_new_account import check_destination, full_name
from backupng.engine.restore.select import find_account
from console import connect
from console.models import OPEN_STATES, QueuedOperation
from console.wizard import Choice, Run, StepForm


class ModeStep(StepForm):
    """What to make of the account's backup, and under which name."""

    slug = "mode"
    title = _("Mode")
    template = "console/wizard_mode.html"
    refusals: ClassVar[Mapping[str, str]] = {
        "already_exists": "destination_account",
        "no_such_domain": "destination_account",
        "bad_value": "destination_account",
    }
    fragments: ClassVar[Mapping[str, str]] = {"destination_account": "console/_destination.html"}

    mode = forms.ChoiceField(
        label=_("Restore Mode"),
        choices=[("new", _("Restore on New Account"))],
        initial="new",
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose a mode.")},
    )
    destination_account = forms.CharField(
        label=_("Destination account name"),
        max_length=254,
        widget=forms.TextInput(
            attrs={
                "class": "wide",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
        error_messages={"required": _("Type the name of the new account.")},
    )
    hide_in_gal = forms.BooleanField(label=_("Hide in GAL"), required=False)

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(run, data, **options)
        check = reverse("wizard-check", args=[run.draft.pk, self.slug])
        self.fields["destination_account"].widget.attrs.update(
            {
                "hx-get": f"{check}?field=destination_account",
                "hx-trigger": "change",
                "hx-target": "#destination",
                "hx-swap": "morph:outerHTML",
                "hx-ext": "morph",
            }
        )

    known_as_deleted = False
    """Whether the backup has a deleted account of the accepted name."""

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> dict[str, str]:
        """Return the words of a Restore on New Account there was."""
        kept = {"mode": "new", "destination_account": texts.get("destination_account", "")}
        return kept | ({"hide_in_gal": "on"} if texts.get("hide_in_gal") == "true" else {})

    @property
    def domain(self) -> str:
        """The domain of the source, which a bare local part gets."""
        return self.run.account.name.partition("@")[2]

    def clean_destination_account(self) -> str:
        """Return the whole address if a new account can have it."""
        name = full_name(self.cleaned_data["destination_account"], self.run.account.name)
        try:
            with connect.context(self.run.server) as ctx:
                check_destination(ctx.destination, name)
                with suppress(BadRequest):
                    _, history = find_account(ctx.path, name)
                    self.known_as_deleted = history[-1].deleted
        except BackupError as error:
            raise ValidationError(" ".join(filter(None, (str(error), error.hint)))) from error
        if self._is_promised(name):
            raise ValidationError(
                gettext("An operation in the queue makes the account %s. Choose another name.")
                % name
            )
        return name

    @property
    def accepted_name(self) -> str:
        """The whole address, if what was typed is one that a new account can have."""
        found = self.cleaned_data.get("destination_account") if self.is_bound else None
        return str(found or "")

    def parameters(self) -> dict[str, str]:
        """Return source, destination and whether the GAL shows it."""
        return {
            "source_account": self._source(),
            "destination_account": self.cleaned_data["destination_account"],
            "hide_in_gal": str(self.cleaned_data["hide_in_gal"]).lower(),
        }

    def choices(self) -> list[Choice]:
        """Return mode, accounts and Hide in GAL."""
        made = gettext("%s (will be made)") % self.cleaned_data["destination_account"]
        hidden = gettext("Yes") if self.cleaned_data["hide_in_gal"] else gettext("No")
        return [
            Choice(label=gettext("Mode"), text=gettext("Restore on New Account")),
            Choice(label=gettext("Source"), text=self.run.account.name),
            Choice(label=gettext("Destination"), text=made),
            Choice(label=gettext("Hide in GAL"), text=hidden),
        ]

    def _source(self) -> str:
        """Return the source's name; its id where the name alone may mean another account."""
        account = self.run.account
        with suppress(BackupError), connect.context(self.run.server) as ctx:
            if find_account(ctx.path, account.name)[0] == account.account_id:
                return account.name
        return account.account_id

    def _is_promised(self, name: str) -> bool:
        """Say whether an operation that waits or runs is about to make that account."""
        return any(
            row.parameters.get("destination_account", "").lower() == name
            for row in QueuedOperation.objects.filter(
                server=self.run.server, state__in=OPEN_STATES
            ).only("parameters")
        )
