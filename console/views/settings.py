"""Settings of the console and of all servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from backupng.engine.errors import BackupError
from console import audit, notify, properties
from console.access import allowed
from console.models import AuditEntry, Level, Setting
from console.views import schedules
from console.views.parts import SeeOther
from console.views.schedules import ScheduleForm

_ACTION = "set property"
_NAMES = (
    properties.NOTIFICATION_RECIPIENTS,
    properties.NOTIFICATION_FROM,
    properties.NOTIFICATION_LEVEL,
    *schedules.NAMES,
)
_ADMINISTRATORS = "administrators"


class NotificationsForm(forms.Form):
    """Who is mailed, from whom, from which level on; its fields are named like the properties."""

    notificationRecipients = forms.CharField(  # noqa: N815 - the property's name
        label=gettext_lazy("Notification E-Mail recipient address"),
        help_text=gettext_lazy("Addresses with commas between them."),
        required=False,
        max_length=4000,
        widget=forms.TextInput(attrs={"class": "wide", "inputmode": "email"}),
    )
    administrators = forms.BooleanField(
        label=gettext_lazy("Mail the administrators of this console"), required=False
    )
    notificationFrom = forms.CharField(  # noqa: N815 - the property's name
        label=gettext_lazy("Sender"),
        help_text=gettext_lazy("Empty: the address of the first administrator."),
        required=False,
        max_length=254,
        widget=forms.TextInput(attrs={"class": "wide", "inputmode": "email"}),
    )
    notificationLevel = forms.ChoiceField(  # noqa: N815 - the property's name
        label=gettext_lazy("Mail from this level on"),
        help_text=gettext_lazy("Who starts an operation is told of its start and end anyway."),
        choices=Level.choices,
    )

    def clean_notificationRecipients(self) -> str:  # noqa: N802 - named after its field
        """Return the addresses as the property spells them."""
        return _spelled(properties.NOTIFICATION_RECIPIENTS, self.cleaned_data)

    def clean_notificationFrom(self) -> str:  # noqa: N802 - named after its field
        """Return the address; empty for the default."""
        if not self.cleaned_data[properties.NOTIFICATION_FROM]:
            return ""
        return _spelled(properties.NOTIFICATION_FROM, self.cleaned_data)

    def clean(self) -> dict[str, Any]:
        """Refuse addresses beside a tick that says to take others."""
        found = super().clean() or {}
        if found.get(_ADMINISTRATORS) and found.get(properties.NOTIFICATION_RECIPIENTS):
            self.add_error(
                properties.NOTIFICATION_RECIPIENTS,
                gettext("Empty this field to mail the administrators, or untick that below."),
            )
        return found

    @property
    def texts(self) -> dict[str, str | None]:
        """The texts to keep, by property; None for what is to have its default."""
        found = self.cleaned_data
        level, sender = found[properties.NOTIFICATION_LEVEL], found[properties.NOTIFICATION_FROM]
        default = properties.find(properties.NOTIFICATION_LEVEL).default
        typed = found[properties.NOTIFICATION_RECIPIENTS]
        return {
            properties.NOTIFICATION_RECIPIENTS: None if found[_ADMINISTRATORS] else typed,
            properties.NOTIFICATION_FROM: sender or None,
            properties.NOTIFICATION_LEVEL: None if level == default else level,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page says about one property."""

    name: str
    value: str
    default: str
    is_set: bool
    servers: tuple[str, ...]
    """Servers with a value of their own, which counts there."""
    changed: AuditEntry | None


@allowed("view_status")
@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: HttpRequest) -> HttpResponse:
    """Show the settings; who may changes those of notifications, at once."""
    form = NotificationsForm(request.POST or None, initial=_initial(_texts()))
    if request.method == "POST":
        _require_change(request, "notifications")
        if form.is_valid():
            return _kept(request, form.texts)
    return _page(request, form, ScheduleForm(initial=schedules.initial(_texts())))


@allowed("change_settings")
@require_POST
def schedule_settings(request: HttpRequest) -> HttpResponse:
    """Change what runs by itself, at once."""
    form = ScheduleForm(request.POST)
    if form.is_valid():
        return _kept(request, form.texts)
    return _page(request, NotificationsForm(initial=_initial(_texts())), form)


def _require_change(request: HttpRequest, subject: str) -> None:
    if not request.user.has_perm("console.change_settings"):
        audit.note(request, _ACTION, subject=subject, result=audit.REFUSED)
        raise PermissionDenied


def _kept(request: HttpRequest, texts: Mapping[str, str | None]) -> HttpResponse:
    changed = _keep(texts)
    for name, (old, new) in changed.items():
        audit.note(request, _ACTION, subject=name, detail=f"{_told(old)} → {_told(new)}")
    done = gettext("The settings apply from now on.") if changed else gettext("No change.")
    messages.success(request, done)
    return SeeOther(reverse("settings"))


def _page(request: HttpRequest, form: NotificationsForm, schedule: ScheduleForm) -> HttpResponse:
    texts = _texts()
    context = {
        "form": form,
        "schedule": schedule,
        "wrong": [each for each in (form, schedule) if each.is_bound and each.errors],
        "runs": schedules.runs(timezone.now()),
        "shown": {name: _shown(name, texts) for name in _NAMES},
        "may_change": request.user.has_perm("console.change_settings"),
        "sender": notify.sender(),
        "recipients": notify.default_recipients(),
    }
    status = 422 if form.is_bound or schedule.is_bound else 200
    return render(request, "console/settings.html", context, status=status)


def _spelled(name: str, found: Mapping[str, Any]) -> str:
    """Return a text as the property spells it. Raises ValidationError if it takes no such text."""
    chosen = properties.find(name)
    try:
        return chosen.spell(chosen.parse(str(found[name])))
    except BackupError as error:
        raise ValidationError(f"{error} {error.hint}") from error


def _texts() -> dict[str, str]:
    """Return the texts that are set for all servers."""
    rows = Setting.objects.filter(server=None, name__in=_NAMES)
    return dict(rows.values_list("name", "value"))


def _initial(texts: Mapping[str, str]) -> dict[str, Any]:
    level = properties.find(properties.NOTIFICATION_LEVEL).default
    return {
        properties.NOTIFICATION_RECIPIENTS: texts.get(properties.NOTIFICATION_RECIPIENTS, ""),
        _ADMINISTRATORS: properties.NOTIFICATION_RECIPIENTS not in texts,
        properties.NOTIFICATION_FROM: texts.get(properties.NOTIFICATION_FROM, ""),
        properties.NOTIFICATION_LEVEL: texts.get(properties.NOTIFICATION_LEVEL, level),
    }


def _keep(texts: Mapping[str, str | None]) -> dict[str, tuple[str | None, str | None]]:
    """Keep what differs, and return the old and the new text of it."""
    with transaction.atomic():
        kept = _texts()
        changed = {
            name: (kept.get(name), text) for name, text in texts.items() if kept.get(name) != text
        }
        for name, (_old, text) in changed.items():
            if text is None:
                Setting.objects.filter(server=None, name=name).delete()
            else:
                Setting.objects.update_or_create(server=None, name=name, defaults={"value": text})
    return changed


def _told(text: str | None) -> str:
    return "default" if text is None else repr(text)


def _shown(name: str, texts: Mapping[str, str]) -> Shown:
    chosen = properties.find(name)
    own = Setting.objects.filter(name=name).exclude(server=None).order_by("server__name")
    changes = AuditEntry.objects.filter(action=_ACTION, subject=name, result=audit.DONE)
    return Shown(
        name=name,
        value=texts.get(name, ""),
        default=chosen.default_label or chosen.spell(chosen.default),
        is_set=name in texts,
        servers=tuple(own.values_list("server__name", flat=True)),
        changed=changes.order_by("-pk").first(),
    )
