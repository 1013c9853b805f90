"""The step that asks under which name an account is restored."""

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
from console.wizard import Choice, Run, StepForm, Words

BOXES = ("hide_in_gal", "apply_hsm")


class DestinationStep(StepForm):
    """The name of the new account, Hide in GAL, Obey HSM Policy."""

    slug = "destination"
    title = _("Destination")
    template = "console/wizard_destination.html"
    refusals: ClassVar[Mapping[str, str]] = {
        "already_exists": "destination_account",
        "no_such_domain": "destination_account",
        "bad_value": "destination_account",
    }
    fragments: ClassVar[Mapping[str, str]] = {"destination_account": "console/_destination.html"}

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
    apply_hsm = forms.BooleanField(label=_("Obey HSM Policy"), required=False)

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
    """Whether the backup has another deleted account of the accepted name."""

    @classmethod
    def words_from(cls, texts: Mapping[str, str], _zone: ZoneInfo) -> Words:
        """Return the words of a restore there was."""
        boxes: Words = {name: "on" for name in BOXES if texts.get(name) == "true"}
        return boxes | {"destination_account": texts.get("destination_account", "")}

    @property
    def domain(self) -> str:
        """The domain of the source, which a bare local part gets."""
        return self.run.account.name.partition("@")[2]

    @property
    def accepted_name(self) -> str:
        """The whole address, if what was typed is one that a new account can have."""
        found = self.cleaned_data.get("destination_account") if self.is_bound else None
        return str(found or "")

    def clean_destination_account(self) -> str:
        """Return the whole address if a new account can have it."""
        name = full_name(self.cleaned_data["destination_account"], self.run.account.name)
        try:
            with connect.context(self.run.server) as ctx:
                check_destination(ctx.destination, name)
                with suppress(BadRequest):
                    account, history = find_account(ctx.path, name)
                    is_other = account != self.run.account_id
                    self.known_as_deleted = is_other and history[-1].deleted
        except BackupError as error:
            raise ValidationError(" ".join(filter(None, (str(error), error.hint)))) from error
        if self._is_promised(name):
            raise ValidationError(
                gettext("An operation in the queue makes the account %s. Choose another name.")
                % name
            )
        return name

    def parameters(self) -> dict[str, str]:
        """Return source and destination, and the boxes that are ticked."""
        ticked = {name: "true" for name in BOXES if self.cleaned_data[name]}
        return {
            "source_account": self.source,
            "destination_account": self.cleaned_data["destination_account"],
            **ticked,
        }

    def choices(self) -> list[Choice]:
        """Return the accounts and the boxes."""
        made = gettext("%s (will be made)") % self.cleaned_data["destination_account"]
        return [
            Choice(label=gettext("Source"), text=self._source_text()),
            Choice(label=gettext("Destination"), text=made),
            *(self._box(name) for name in BOXES),
        ]

    def _box(self, name: str) -> Choice:
        chosen = gettext("Yes") if self.cleaned_data[name] else gettext("No")
        return Choice(label=str(self.fields[name].label), text=chosen)

    def _source_text(self) -> str:
        account = self.run.account
        if account.exists:
            return account.name
        said = {"name": account.name, "id": account.account_id}
        if account.deleted_at is None:
            return gettext("%(name)s, deleted (%(id)s)") % said
        said["time"] = self.run.local_text(account.deleted_at)
        return gettext("%(name)s, deleted %(time)s (%(id)s)") % said

    @property
    def source(self) -> str:
        """The source's name; its id if it is deleted, or the name may mean another account."""
        account = self.run.account
        if account.exists:
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
