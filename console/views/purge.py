"""Run Purge: the numbers of a dry run first, then a person says yes."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, cast
from uuid import uuid4

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations.do_purge import REASONS, DoPurge
from console import asking, audit, connect, properties, queue, telling
from console.access import allowed, live
from console.models import OPEN_STATES, QueuedOperation, Server, State
from console.views import parts
from console.views.parts import SeeOther

_FRESH: Final = timedelta(hours=1)
"""Older numbers say nothing of what a purge would do now."""
_DRY: Final = {"dryrun": "true"}
_ask_and_do = require_http_methods(["GET", "HEAD", "POST"])


@allowed("run_purge")
@_ask_and_do
def purge(request: HttpRequest, name: str) -> HttpResponse:
    """Ask whether to purge, with the numbers of a dry run, and queue it.

    What a brake would hold back, or an account that is still there, asks for the server's name.
    """
    found = get_object_or_404(Server, name=name)
    if request.method != "POST":
        return _page(request, found)
    look = _look(found)
    if look is None or request.POST.get("look") != str(look.pk):
        return _page(request, found, error=_outdated(), status=HTTPStatus.CONFLICT)
    asks = _asks(look)
    if asks and request.POST.get("typed", "").strip() != found.name:
        return _page(request, found, error=_untyped(found), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return _start(request, found, DoPurge(confirm=asks), about="purge")


@allowed("run_scan")
@_ask_and_do
def preview(request: HttpRequest, name: str) -> HttpResponse:
    """Show what a purge would remove, and queue a dry run that counts it."""
    found = get_object_or_404(Server, name=name)
    if request.method != "POST":
        return _page(request, found)
    if _running_look(found) is None:
        return _start(request, found, DoPurge(dryrun=True), about="purge look")
    return SeeOther(_back(request, found))


@live
@allowed("run_scan")
@require_safe
def preview_live(request: HttpRequest, name: str) -> HttpResponse:
    """Answer the numbers, or how far the dry run is."""
    context = _live_context(get_object_or_404(Server, name=name))
    return parts.answer(request, "console/_purge_look.html", context, part="purge-look")


def _start(request: HttpRequest, found: Server, operation: DoPurge, *, about: str) -> HttpResponse:
    user = cast("User", request.user)
    dedupe = asking.once(user, f"{about} {found.pk}", request.POST.get("form", ""))
    asker = asking.user_of_console(user)
    try:
        row = asking.start(found, operation, requester=asker, dedupe=dedupe)
    except BackupError as error:
        refused = audit.REFUSED
        audit.note(
            request, operation.command, subject=found.name, result=refused, detail=str(error)
        )
        return _page(request, found, error=error, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    audit.note(request, operation.command, subject=found.name, detail=str(row.pk))
    if operation.dryrun:
        return SeeOther(_back(request, found))
    return SeeOther(reverse("operation", args=[row.pk]))


def _back(request: HttpRequest, found: Server) -> str:
    page = "purge" if request.user.has_perm("console.run_purge") else "purge-preview"
    return reverse(page, args=[found.name])


def _page(
    request: HttpRequest,
    found: Server,
    *,
    error: BackupError | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    values = connect.values(found)
    context = _live_context(found) | {
        "items_days": values[properties.RETENTION].value,
        "accounts_days": values[properties.ACCOUNTS_RETENTION].value,
        "is_served": queue.is_served(found),
        "may_purge": request.user.has_perm("console.run_purge"),
        "error": error,
        "form_id": uuid4(),
    }
    return render(request, "console/purge.html", context, status=status)


def _live_context(found: Server) -> dict[str, Any]:
    look = _look(found)
    return {
        "server": found,
        "running": _running_look(found),
        "look": look,
        "counters": telling.counters(look) if look else (),
        "warnings": telling.report(look).get("warnings", ()) if look else (),
        "asks": look is not None and _asks(look),
        "notes": telling.report(look).get("notes", ()) if look else (),
    }


def _looks(found: Server) -> Any:
    rows = QueuedOperation.objects.filter(server=found, command=DoPurge.command, parameters=_DRY)
    return rows.order_by("-seq")


def _running_look(found: Server) -> QueuedOperation | None:
    row: QueuedOperation | None = _looks(found).filter(state__in=OPEN_STATES).first()
    return row


def _look(found: Server) -> QueuedOperation | None:
    """Return the dry run whose numbers count: nothing has been purged since."""
    row: QueuedOperation | None = _looks(found).filter(state=State.SUCCESSFUL).first()
    if row is None or row.ended_at is None or timezone.now() - row.ended_at > _FRESH:
        return None
    later = QueuedOperation.objects.filter(
        server=found, command=DoPurge.command, seq__gt=row.seq, ended_at__gt=row.ended_at
    )
    return None if later.exclude(parameters=_DRY).exists() else row


def _asks(look: QueuedOperation) -> bool:
    """Say whether the name of the server is asked for; a warning alone is only told."""
    return bool(telling.counts(look).get(REASONS))


def _outdated() -> BadRequest:
    return BadRequest(
        gettext("The numbers are not those that were shown."),
        hint=gettext("Look at them once more."),
    )


def _untyped(found: Server) -> BadRequest:
    return BadRequest(
        gettext("The name of the server was not typed."),
        hint=gettext("Type %s if this is what you want.") % found.name,
    )
