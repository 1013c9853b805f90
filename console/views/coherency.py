"""Coherency Check: the last one of a server's Backup Path, and the form that starts one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods

from backupng.engine.errors import BackupError
from backupng.engine.operations import parameters
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from console import asking, audit, queue, suspicion, telling
from console.access import allowed
from console.models import OPEN_STATES, QueuedOperation, Server
from console.views.parts import SeeOther


class CheckForm(forms.Form):
    """What is to be checked; moving something needs the server's name, typed, and a reason."""

    accounts = forms.CharField(
        label=gettext_lazy("Accounts"),
        help_text=gettext_lazy("Addresses or ids with commas between them; empty: all."),
        required=False,
        max_length=4000,
        widget=forms.TextInput(attrs={"class": "wide"}),
    )
    compare = forms.BooleanField(
        label=gettext_lazy("Compare with the mail server (checkZimbra)"), required=False
    )
    fix = forms.BooleanField(
        label=gettext_lazy("Move what is broken into quarantine (fixBackup)"), required=False
    )
    typed = forms.CharField(
        label=gettext_lazy("Name of the server"),
        required=False,
        help_text=gettext_lazy("Only if something is to be moved: type it, to be sure."),
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=200,
        help_text=gettext_lazy("Only if something is to be moved; kept in the audit log."),
    )

    def __init__(self, server: Server, *args: Any, may_fix: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._server = server
        if not may_fix:
            for name in ("fix", "typed", "reason"):
                del self.fields[name]

    def clean(self) -> dict[str, Any]:
        """Refuse to move anything unless the name was typed, and a reason."""
        found: dict[str, Any] = super().clean() or {}
        if found.get("fix") and found.get("typed", "").strip() != self._server.name:
            wrong = gettext("Type the name of the server exactly: %(name)s")
            self.add_error("typed", ValidationError(wrong % {"name": self._server.name}))
        if found.get("fix") and not found.get("reason", "").strip():
            self.add_error("reason", ValidationError(gettext("Say why something is to be moved.")))
        return found

    @property
    def texts(self) -> dict[str, str]:
        """The parameters as they are typed on the command line."""
        found = self.cleaned_data
        texts = {"backup_path": str(self._server.path)}
        if found["accounts"].strip():
            texts["accounts"] = found["accounts"].strip()
        for name, parameter in (("compare", "checkZimbra"), ("fix", "fixBackup")):
            if found.get(name):
                texts[parameter] = "true"
        return texts


@allowed("check")
@require_http_methods(["GET", "HEAD", "POST"])
def check(request: HttpRequest, name: str) -> HttpResponse:
    """Show what the last check found, ask what to check, and queue it."""
    server = get_object_or_404(Server, name=name)
    may_fix = request.user.has_perm("console.fix_backup")
    if request.POST.get("fix") and not may_fix:
        _note(request, server, result=audit.REFUSED, detail="fixBackup")
        raise PermissionDenied
    sent = request.POST if request.method == "POST" else None
    filled = {name: request.GET.get(name, "") for name in ("accounts", "compare", "fix")}
    form = CheckForm(server, sent, may_fix=may_fix, initial=filled)
    if request.method != "POST":
        return _page(request, server, form)
    if not form.is_valid():
        return _page(request, server, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    user = cast("User", request.user)
    once = asking.once(user, f"check {server.pk}", request.POST.get("form", ""))
    try:
        operation = parameters.parse(DoCoherencyCheck, form.texts, server.zone_info)
        asker = asking.user_of_console(user)
        row = asking.start(server, operation, requester=asker, dedupe=once)
    except BackupError as error:
        _note(request, server, result=audit.REFUSED, detail=str(error))
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return _page(request, server, form, error=error, status=status)
    reason = form.cleaned_data.get("reason", "")
    _note(request, server, detail=f"{row.pk}{' fixBackup' if operation.fixBackup else ''} {reason}")
    return SeeOther(reverse("operation", args=[row.pk]))


def _note(
    request: HttpRequest, server: Server, *, result: str = audit.DONE, detail: str = ""
) -> None:
    command = DoCoherencyCheck.command
    audit.note(request, command, subject=server.name, result=result, detail=detail)


def _page(
    request: HttpRequest,
    server: Server,
    form: CheckForm,
    *,
    error: BackupError | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    last = suspicion.last_check(server)
    pending = QueuedOperation.listed().filter(
        server=server, command=DoCoherencyCheck.command, state__in=OPEN_STATES
    )
    context = {
        "server": server,
        "form": form,
        "last": last,
        "counters": telling.counters(last) if last else (),
        "pending": pending.order_by("seq").first(),
        "is_served": queue.is_served(server),
        "error": error,
        "form_id": uuid4(),
    }
    return render(request, "console/coherency.html", context, status=status)
