"""Classes of service, and whether their accounts are backed up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods

from backupng.engine.errors import BackupError
from console import audit, browse, cosflags, scheduling
from console.access import allowed
from console.models import CosFlag, QueuedOperation, Server, State
from console.views.parts import SeeOther


class SwitchForm(forms.Form):
    """What is asked before a switch: for switching off, the name of the class, typed."""

    disabled = forms.BooleanField(required=False, widget=forms.HiddenInput)
    name = forms.CharField(label=gettext_lazy("Name of the class of service"), required=False)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=200,
        help_text=gettext_lazy("Kept in the audit log."),
    )

    def __init__(self, flag: CosFlag, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flag = flag

    def clean(self) -> dict[str, Any]:
        """Refuse to switch off a class whose name was not typed."""
        found: dict[str, Any] = super().clean() or {}
        if found.get("disabled") and found.get("name", "").strip() != self._flag.name.strip():
            wrong = gettext("Type the name of the class exactly: %(name)s")
            self.add_error("name", ValidationError(wrong % {"name": self._flag.name}))
        return found


@dataclass(frozen=True, slots=True)
class Row:
    """A class of service as the page shows it; without an address where it can have none."""

    flag: CosFlag
    href: str
    scan_is_due: bool


@allowed("view_status")
@require_http_methods(["GET", "POST"])
def classes(request: HttpRequest) -> HttpResponse:
    """Show the classes of service as they were read last; POST reads them again."""
    if request.method == "POST":
        if not request.user.has_perm("console.change_cos"):
            raise PermissionDenied
        _read_all(request)
        return SeeOther(reverse("cos"))
    rows = list(_rows())
    off = [row for row in rows if row.flag.disabled]
    context = {
        "rows": rows,
        "off": off,
        "accounts_off": sum(row.flag.accounts for row in off),
        "due": sorted({row.flag.server.name for row in rows if row.scan_is_due}),
        "unread": list(
            Server.objects.filter(cosflag=None).order_by("name").values_list("name", flat=True)
        ),
        "read_at": min((row.flag.read_at for row in rows), default=None),
    }
    return render(request, "console/cos.html", context)


@allowed("change_cos")
@require_http_methods(["GET", "POST"])
def switch(request: HttpRequest, server: str, cos_id: str) -> HttpResponse:
    """Say what a switch means, then write or remove the marker in the Notes of the class."""
    flag = get_object_or_404(
        CosFlag.objects.select_related("server"), server__name=server, cos_id=cos_id
    )
    initial = {"disabled": not flag.disabled}
    form = SwitchForm(flag, request.POST or None, initial=initial)
    context: dict[str, Any] = {"flag": flag, "form": form, "disabling": not flag.disabled}
    if request.method == "GET":
        return render(request, "console/cos_switch.html", context)
    if not form.is_valid():
        context["disabling"] = form.data.get("disabled") == "True"
        return render(request, "console/cos_switch.html", context, status=422)
    disabled = form.cleaned_data["disabled"]
    try:
        _switch(request, flag, disabled=disabled, reason=form.cleaned_data["reason"])
    except BackupError as error:
        context |= {"error": error, "disabling": disabled}
        return render(request, "console/cos_switch.html", context, status=503)
    return SeeOther(reverse("cos"))


def _switch(request: HttpRequest, flag: CosFlag, *, disabled: bool, reason: str) -> None:
    action = "cos_disable" if disabled else "cos_enable"
    subject = f"{flag.name} on {flag.server.name}"
    try:
        switched = cosflags.switch(
            flag.server, flag.cos_id, disabled=disabled, by=request.user.get_username()
        )
    except BackupError as error:
        audit.note(request, action, subject=subject, result="failed", detail=str(error))
        raise
    result = audit.DONE if switched.changed else "unchanged"
    audit.note(request, action, subject=subject, result=result, detail=reason)
    is_queued = scheduling.waiting_smartscan(flag.server) is not None
    messages.add_message(request, messages.INFO, _said(switched, is_queued=is_queued))


def _said(switched: browse.Switched, *, is_queued: bool) -> str:
    """Tell what a switch has done, and what is due now."""
    if not switched.changed and switched.disabled:
        text = gettext("Backup was off already for the class of service %(name)s.")
    elif not switched.changed:
        text = gettext("Backup was on already for the class of service %(name)s.")
    elif switched.disabled:
        text = gettext("Backup is off for the class of service %(name)s.")
    elif is_queued:
        text = gettext("Backup is on for the class of service %(name)s. A SmartScan is queued.")
    else:
        text = gettext("Backup is on for the class of service %(name)s. A SmartScan is due.")
    return text % {"name": switched.name}


def _read_all(request: HttpRequest) -> None:
    """Bring the cache of every server up to its directory; say which did not answer."""
    for server in browse.servers_here():
        try:
            cosflags.read(server)
        except BackupError as error:
            messages.warning(request, f"{server.name}: {error}")


def _rows() -> Iterator[Row]:
    flags = CosFlag.objects.select_related("server").order_by("server__name", "name", "cos_id")
    for flag in flags:
        try:
            href = reverse("cos-switch", args=[flag.server.name, flag.cos_id])
        except NoReverseMatch:
            href = ""
        yield Row(flag, href, _scan_is_due(flag))


def _scan_is_due(flag: CosFlag) -> bool:
    """Say whether backup was switched on and no SmartScan that began later has ended well."""
    if flag.disabled or flag.changed_at is None:
        return False
    scans = QueuedOperation.objects.filter(
        server=flag.server_id, command="doSmartScan", state=State.SUCCESSFUL
    )
    return not scans.filter(started_at__gte=flag.changed_at).exists()
