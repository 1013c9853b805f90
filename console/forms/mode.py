"""The first step of Restore: what to make of an account's backup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from console.forms.destination import DestinationStep
from console.wizard import Choice, Run, Words

NEW, UNDELETE = "new", "undelete"
MODES = ((NEW, _("Restore on New Account")), (UNDELETE, _("Undelete")))


class ModeStep(DestinationStep):
    """The Restore Mode; for a new account, its name and boxes besides."""

    slug = "mode"
    title = _("Mode")
    template = "console/wizard_mode.html"

    mode = forms.ChoiceField(
        label=_("Restore Mode"),
        choices=MODES,
        initial=NEW,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose a mode.")},
    )
    field_order = ("mode",)

    def __init__(self, run: Run, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(run, data, **options)
        self.fields["destination_account"].widget.attrs["hx-include"] = "#mode"
        if self["mode"].value() == UNDELETE:
            self.fields["destination_account"].required = False

    @classmethod
    def words_from(cls, texts: Mapping[str, str], zone: ZoneInfo) -> Words:
        """Return the words of a restore there was."""
        if "destination_account" in texts:
            return super().words_from(texts, zone) | {"mode": NEW}
        return {"mode": UNDELETE}

    @property
    def is_undelete(self) -> bool:
        """Whether the mailbox itself gets back what was deleted."""
        return bool(self["mode"].value() == UNDELETE)

    def clean_mode(self) -> str:
        """Return the mode; what was deleted can only come back into a mailbox that is there."""
        mode = str(self.cleaned_data["mode"])
        if mode == UNDELETE and not self.run.account.exists:
            raise ValidationError(
                gettext(
                    "The mail server no longer has this account: "
                    "choose Restore on New Account to bring it back."
                )
            )
        return mode

    def clean_destination_account(self) -> str:
        """Return the whole address if a new account can have it; an Undelete needs none."""
        typed = str(self.cleaned_data["destination_account"])
        return typed if self.is_undelete else super().clean_destination_account()

    def parameters(self) -> dict[str, str]:
        """Return what the chosen mode takes."""
        return {"account": self.source} if self.is_undelete else super().parameters()

    def choices(self) -> list[Choice]:
        """Return the mode, and what it takes."""
        mode = dict(MODES)[self.cleaned_data["mode"]]
        found = [Choice(label=gettext("Mode"), text=str(mode))]
        if not self.is_undelete:
            return found + super().choices()
        return [*found, Choice(label=gettext("Account"), text=self.run.account.name)]
