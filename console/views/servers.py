"""The servers, and the `Backup NG` tab of each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from backupng.engine.errors import BackupError
from backupng.engine.operations import OPERATIONS
from console import asking, audit, connect, properties, queue, scheduling, wizards
from console.access import allowed, live
from console.models import QueuedOperation, Server, State
from console.overview import (
    OLD_AFTER,
    SMART_SCAN,
    form_of,
    open_operations,
    operations,
    overview,
    protection,
    why_nothing_is_saved,
)
from console.views import parts, schedules
from console.views.parts import SeeOther
from console.views.scanner import card_context

_SHOWN_PROPERTIES = (
    *(properties.REAL_TIME_SCANNER, properties.SMART_SCAN_SCHEDULER, properties.SCAN_ON_STARTUP),
    *(properties.PURGE_SCHEDULER, properties.CHECK_SCHEDULER),
    *(properties.RETENTION, properties.ACCOUNTS_RETENTION),
    *(properties.BACKUP_CUSTOMIZATIONS, properties.PURGE_CUSTOMIZATIONS),
    *(properties.BLOB_CODEC, properties.COMPRESSION_LEVEL, properties.SPACE_THRESHOLD),
    *(properties.SKIP_LISTS, properties.NOTIFICATION_RECIPIENTS, properties.NOTIFICATION_LEVEL),
)
_TRANSFERS = ("export", "import")
"""The wizards whose buttons stand under Import/Export."""
_ask_and_do = require_http_methods(["GET", "HEAD", "POST"])


@allowed("view_status")
@require_safe
def servers(request: HttpRequest) -> HttpResponse:
    """List all servers and how well each is saved."""
    context = {"overview": overview(now=timezone.now()), "hours": _hours()}
    return render(request, "console/servers.html", context)


@allowed("view_status")
@require_safe
def server(request: HttpRequest, name: str) -> HttpResponse:
    """Show the `Backup NG` tab of a server."""
    found = _find(name)
    values = connect.values(found)
    spelled = {name: properties.find(name).spell(values[name].value) for name in _SHOWN_PROPERTIES}
    timetable = scheduling.timetable(found)
    spelled[properties.SMART_SCAN_SCHEDULER] = schedules.in_words(timetable)
    purges = scheduling.in_force(found, scheduling.PURGE)
    spelled[properties.PURGE_SCHEDULER] = schedules.in_words(purges)
    checks = scheduling.timetable(found, scheduling.CHECK)
    spelled[properties.CHECK_SCHEDULER] = schedules.in_words(checks)
    context = _live_context(found) | {
        **_buttons(request, found),
        "form": form_of(found),
        "values": [(name, text, values[name].source) for name, text in spelled.items()],
        "next_run": timetable.next_run(timezone.now(), found.zone_info),
        "next_purge": purges.next_run(timezone.now(), found.zone_info),
    }
    return render(request, "console/server.html", context)


@live
@allowed("view_status")
@require_safe
def server_live(request: HttpRequest, name: str) -> HttpResponse:
    """Answer the part of the tab that changes by itself."""
    context = _live_context(_find(name))
    return parts.answer(request, "console/_server_live.html", context, part="server-live")


@allowed("run_scan")
@_ask_and_do
def smartscan(request: HttpRequest, name: str) -> HttpResponse:
    """Ask whether to run a SmartScan, and queue it; another one that waits or runs is named."""
    found = _find(name)
    if request.method != "POST":
        return _ask_for_scan(request, found)
    user = cast("User", request.user)
    dedupe = asking.once(user, f"scan {found.pk}", request.POST.get("form", ""))
    pending = _pending_scan(found)
    if pending and request.POST.get("known") != str(pending.pk) and not _is_of(pending, dedupe):
        return _ask_for_scan(request, found, status=HTTPStatus.CONFLICT)
    asker = asking.user_of_console(user)
    try:
        row = asking.start(found, OPERATIONS[SMART_SCAN](), requester=asker, dedupe=dedupe)
    except BackupError as error:
        audit.note(request, SMART_SCAN, subject=found.name, result=audit.REFUSED, detail=str(error))
        return _ask_for_scan(request, found, error=error, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    audit.note(request, SMART_SCAN, subject=found.name, detail=str(row.pk))
    return SeeOther(reverse("operation", args=[row.pk]))


@allowed("stop_any_operation")
@_ask_and_do
def stop_all(request: HttpRequest, name: str) -> HttpResponse:
    """Ask whether to stop all operations of a server, and do."""
    found = _find(name)
    if request.method != "POST":
        rows = open_operations(found)
        running = [row for row in rows if row.state == State.STARTED]
        context = {"server": found, "running": len(running), "queued": len(rows) - len(running)}
        return render(request, "console/stop_all.html", context)
    by = cast("User", request.user).get_username()
    running_count, queued_count = queue.stop_all(found, by=by)
    audit.note(
        request,
        "doStopAllOperations",
        subject=found.name,
        detail=f"{running_count} running, {queued_count} queued",
    )
    messages.success(request, _stopped(running_count, queued_count))
    return SeeOther(reverse("server", args=[found.name]))


@allowed("stop_any_operation")
@_ask_and_do
def pause_queue(request: HttpRequest, name: str) -> HttpResponse:
    """Ask whether the queue of a server is to wait after what runs now, or to go on, and do."""
    found = _find(name)
    if request.method != "POST":
        return render(request, "console/pause_queue.html", {"server": found})
    wanted = {"yes": True, "no": False}.get(request.POST.get("paused", ""))
    if wanted is None:
        raise BadRequest("neither paused nor resumed")
    queue.pause(found, paused=wanted)
    audit.note(request, "pause queue" if wanted else "resume queue", subject=found.name)
    done = gettext("The queue is paused.") if wanted else gettext("The queue goes on.")
    messages.success(request, done)
    return SeeOther(reverse("server", args=[found.name]))


def _find(name: str) -> Server:
    return get_object_or_404(Server, name=name)


def _buttons(request: HttpRequest, found: Server) -> dict[str, Any]:
    """Return the buttons that may be disabled, and by reason the titles of those that are."""
    allowed_here = [
        each
        for each in wizards.OF_SERVERS.values()
        if request.user.has_perm(f"console.{each.permission}")
    ]
    buttons = [
        {"name": each.name, "title": each.title, "obstacle": each.obstacle(found)}
        for each in allowed_here
    ]
    purge = {"title": gettext("Run Purge"), "obstacle": why_nothing_is_saved(found)}
    drawn = ([purge] if request.user.has_perm("console.run_purge") else []) + buttons
    obstacles: dict[str, list[str]] = {}
    for each in drawn:
        if each["obstacle"]:
            obstacles.setdefault(each["obstacle"], []).append(each["title"])
    return {
        "purge": purge,
        "restores": [each for each in buttons if each["name"] not in _TRANSFERS],
        "transfers": [each for each in buttons if each["name"] in _TRANSFERS],
        "obstacles": obstacles,
    }


def _hours() -> int:
    return int(OLD_AFTER.total_seconds() // 3600)


def _live_context(found: Server) -> dict[str, Any]:
    open_rows, ended = operations(found)
    return {
        "server": found,
        "each": protection(found, now=timezone.now()),
        "open": open_rows,
        "ended": ended,
        "hours": _hours(),
        **card_context(found),
    }


def _pending_scan(found: Server) -> QueuedOperation | None:
    scans = (row for row in open_operations(found) if row.command == SMART_SCAN)
    return next(scans, None)


def _is_of(row: QueuedOperation, dedupe: str | None) -> bool:
    """Say whether it was asked for by the form with that key."""
    return dedupe is not None and row.dedupe == dedupe


def _ask_for_scan(
    request: HttpRequest,
    found: Server,
    *,
    error: BackupError | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    context = {
        "server": found,
        "each": protection(found, now=timezone.now()),
        "pending": _pending_scan(found),
        "is_served": queue.is_served(found),
        "error": error,
        "form_id": uuid4(),
    }
    return render(request, "console/smartscan.html", context, status=status)


def _stopped(running: int, queued: int) -> str:
    """Say how many operations were stopped, and how many removed from the queue."""
    if not running and not queued:
        return gettext("Nothing was running or queued.")
    said = []
    if running:
        said.append(
            ngettext("%d operation is being stopped.", "%d operations are being stopped.", running)
            % running
        )
    if queued:
        said.append(
            ngettext(
                "%d operation was removed from the queue.",
                "%d operations were removed from the queue.",
                queued,
            )
            % queued
        )
    return " ".join(said)
