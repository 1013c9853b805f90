"""The Operation Queue, and each operation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Max
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backupng.engine.errors import BackupError
from backupng.engine.operations import OPERATIONS
from console import (
    again,
    audit,
    hosting,
    ledger,
    logbook,
    queue,
    remedies,
    standing,
    telling,
    verdict,
)
from console.access import allowed, live
from console.ledger import Filters, Line
from console.models import Delivery, Notification, QueuedOperation, Server, State
from console.templatetags.console import state_text
from console.views.parts import SeeOther

_QUARTERS = (25, 50, 75)
_MAIL_WATCHED = timedelta(minutes=1)
_STATE_LABELS = {state.value: state.label for state in State} | {
    ledger.LOSSES: "Successful, with losses"
}

# The queue


@allowed("view_status")
@require_safe
def operations(request: HttpRequest) -> HttpResponse:
    """Show what runs, what waits and what is done."""
    context = {
        **_open_context(request),
        **_done_context(request),
        "choices": {
            "states": [(state, gettext(_STATE_LABELS[state])) for state in ledger.END_STATES],
            "commands": [(name, each.title) for name, each in sorted(OPERATIONS.items())],
            "servers": Server.objects.order_by("name").values_list("name", flat=True),
            "days": ledger.DAYS,
        },
    }
    return render(request, "console/operations.html", context)


@live
@allowed("view_status")
@require_safe
def operation_queue(request: HttpRequest) -> HttpResponse:
    """Draw what runs and what waits, if that is not what the page has."""
    context = _open_context(request)
    if request.GET.get("version") == context["open"].version:
        return HttpResponse(status=204)
    return render(request, "console/_operation_queue.html", context)


@live
@allowed("view_status")
@require_safe
def operations_done(request: HttpRequest) -> HttpResponse:
    """Draw a page of what is done, if that is not what the page has."""
    context = _done_context(request)
    if request.GET.get("version") == context["version"]:
        return HttpResponse(status=204)
    return render(request, "console/_operations_done.html", context)


def _open_context(request: HttpRequest) -> dict[str, Any]:
    now = timezone.now()
    found = ledger.open_operations(now=now)
    last = None if found.running or found.queued else ledger.last_ended()
    return {
        "open": found,
        "running": [_shown(request, line, now) for line in found.running],
        "queued": [_shown(request, line, now) for line in found.queued],
        "last": last,
        "last_title": telling.title(last) if last else "",
    }


def _shown(request: HttpRequest, line: Line, now: datetime) -> dict[str, Any]:
    return {
        "line": line,
        "row": line.row,
        "title": telling.title(line.row),
        "subject": telling.subject(line.row),
        "by": telling.requested_by(line.row),
        "took": verdict.taken(line.row, now),
        "may_stop": _may_stop(request, line.row),
    }


def _done_context(request: HttpRequest) -> dict[str, Any]:
    filters = Filters.read(request.GET)
    rows = ledger.done(filters, now=timezone.now())
    seen = rows.order_by().aggregate(number=Count("pk"), last=Max("ended_at"))
    busy = QueuedOperation.objects.filter(state=State.STARTED).exists()
    paginator = Paginator(rows, ledger.PAGE_ROWS)
    paginator.count = seen["number"]
    page = paginator.get_page(request.GET.get("page"))
    last = seen["last"]
    return {
        "filters": filters,
        "query": urlencode(filters.words()),
        "page": page,
        "done": [
            {
                "row": row,
                "title": telling.title(row),
                "subject": telling.subject(row),
                "by": telling.requested_by(row),
                "took": verdict.taken(row),
                "submitted": verdict.beside(row.created_at, row.ended_at),
                "started": verdict.beside(row.started_at, row.ended_at),
                "ended": verdict.beside(row.ended_at),
                "amount": ledger.amount(row),
            }
            for row in page
        ],
        "busy": busy,
        "version": f"{seen['number']}-{last.timestamp() if last else 0}-{int(busy)}",
    }


# One operation


@allowed("view_status")
@require_safe
def operation(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Show one operation: how it stands or ended, what was lost, its log, what was asked."""
    row = _find(operation_id)
    context = {
        **_progress_context(request, row),
        **_unrestored_context(request, row),
        **_log_context(request, row),
        "parameters": telling.parameters(row),
        "defaults": telling.defaults(row),
        "addresses": telling.addresses(row),
        "command_line": telling.command_line(row),
        "monitor_command": telling.monitor_command(row),
    }
    return render(request, "console/operation.html", context)


@live
@allowed("view_status")
@require_safe
def progress(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Draw how the operation stands, if that is not what the page has."""
    context = _progress_context(request, _find(operation_id))
    seen = request.GET.get("version", "")
    if seen == context["version"]:
        return HttpResponse(status=204)
    # Told to who cannot see it: a new state and each quarter, not every number.
    told, _, _ = seen.rpartition(".")
    step, _, _ = context["version"].rpartition(".")
    context["announced"] = "" if told == step else _announcement(context["line"])
    return render(request, "console/_operation_progress.html", context)


@live
@allowed("view_status")
@require_safe
def log(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Draw the end of the log, if it has grown since `after`, or will not grow any more."""
    row = _find(operation_id)
    size = logbook.size(row.pk)
    if not row.has_ended and request.GET.get("after") == str(size or 0):
        return HttpResponse(status=204)
    return render(request, "console/_operation_log.html", _log_context(request, row))


@allowed("view_status")
@require_safe
def log_download(request: HttpRequest, operation_id: UUID) -> HttpResponseBase:
    """Return the whole log as a file."""
    row = _find(operation_id)
    try:
        content = hosting.log_file(row.pk).read_bytes()
    except OSError as error:
        raise Http404 from error
    audit.note(request, "download log", subject=str(row.pk))
    return _attachment(content, "text/plain; charset=utf-8", f"operation-{row.pk}.log")


@live
@allowed("view_status")
@require_safe
def unrestored(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Draw what was lost, once that is known."""
    row = _find(operation_id)
    if not row.has_ended:
        return HttpResponse(status=204)
    return render(request, "console/_operation_unrestored.html", _unrestored_context(request, row))


@allowed("view_status")
@require_safe
def unrestored_csv(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Return everything that was lost as a table."""
    row = _find(operation_id)
    audit.note(request, "download unrestored items", subject=str(row.pk))
    name = f"unrestored-{str(row.pk)[:8]}.csv"
    return _attachment(remedies.as_csv(row).encode(), "text/csv; charset=utf-8", name)


def _find(operation_id: UUID) -> QueuedOperation:
    return get_object_or_404(QueuedOperation.objects.select_related("server"), pk=operation_id)


def _attachment(content: bytes, kind: str, name: str) -> HttpResponse:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(content, content_type=kind, headers=disposition)


def _progress_context(request: HttpRequest, row: QueuedOperation) -> dict[str, Any]:
    now = timezone.now()
    line = ledger.waiting(row, now=now)
    counters = dict(telling.report(row).get("counters", {}))
    found = Notification.objects.filter(operation=row).order_by("created_at")
    told = list(found.prefetch_related("delivery_set"))
    mailing = _is_mailing(row, told, now)
    return {
        "row": row,
        "line": line,
        "title": telling.title(row),
        "subject": telling.subject(row),
        "sentence": verdict.sentence(line),
        "reason": telling.error(row),
        "after_interruption": telling.after_interruption(row),
        "unit": standing.unit(row),
        "counts": [(telling.label(name), line.standing.counts[name]) for name in _known(line)],
        "took": verdict.taken(row, now),
        "counters": telling.counters(row),
        "sums": counters if counters.get("planned") and not telling.is_dry_run(row) else None,
        "is_balanced": counters.get("planned", 0)
        == sum(counters.get(name, 0) for name in ("restored", "skipped", "unrestored")),
        "notes": telling.report(row).get("notes", ()),
        "warnings": telling.report(row).get("warnings", ()),
        "notifications": told,
        "may_stop": _may_stop(request, row),
        "may_repeat": again.may_repeat(request.user, row),
        "repeat_page": again.own_page(row),
        "by": telling.requested_by(row),
        "followers": row.queuedoperation_set.defer("outcome").order_by("created_at"),
        "now": now,
        "form_id": uuid4(),
        "version": f"{_version(line)}-{int(mailing)}",
        "is_live": mailing or not row.has_ended,
    }


def _is_mailing(row: QueuedOperation, told: list[Notification], now: datetime) -> bool:
    """Say whether mails about an operation that has just ended are still to go out."""
    if row.ended_at is None or now - row.ended_at > _MAIL_WATCHED:
        return False
    mails = (mail for each in told for mail in each.delivery_set.all())
    return any(mail.state == Delivery.State.WAITING for mail in mails)


def _known(line: Line) -> list[str]:
    """Return the counts in a fixed order, but for one that the bar shows already."""
    first = ("restored", "skipped", "unrestored", "accounts_scanned", "items_checked")
    unit, now = standing.unit(line.row), line.standing
    known = now.counts.keys() - ({unit} if now.total and now.counts.get(unit) == now.done else ())
    return [name for name in first if name in known] + sorted(known - set(first))


def _version(line: Line) -> str:
    """Name what the page shows: state and quarter, then everything that moves."""
    row, quarter = line.row, sum(line.standing.percent >= each for each in _QUARTERS)
    moment = row.progress_at.timestamp() if row.progress_at else 0
    step = f"{row.shown_state}-{quarter}-{int(line.standing.silent_since is not None)}"
    return f"{step}.{int(moment * 1000)}-{line.position}"


def _announcement(line: Line) -> str:
    if line.row.state == State.STARTED and not line.standing.silent_since:
        return gettext("%(state)s, %(percent)d %%") % {
            "state": state_text(line.row),
            "percent": line.standing.percent,
        }
    return verdict.sentence(line)


def _unrestored_context(request: HttpRequest, row: QueuedOperation) -> dict[str, Any]:
    if telling.is_check(row):
        return {"row": row, "findings": remedies.by_class(row)}
    lost = {"groups": remedies.groups(row), "searches": remedies.searches(row)}
    return {"row": row, "may_retry": again.may_retry(request.user, row), **lost}


def _log_context(request: HttpRequest, row: QueuedOperation) -> dict[str, Any]:
    level = "WARNING" if request.GET.get("level") == "WARNING" else ""
    found = logbook.tail(row.pk, warnings_only=bool(level))
    is_here = row.server.identity in ("", hosting.identity())
    log = {"log": found or logbook.Tail(), "is_logged": found is not None, "level": level}
    return {"row": row, "is_here": is_here, **log}


# Acts


@allowed("stop_operation")
@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Ask whether the operation is to be stopped, and stop it."""
    row = _find(operation_id)
    if not _is_allowed_to_stop(request, row):
        audit.note(request, "stop operation", subject=str(row.pk), result=audit.REFUSED)
        raise PermissionDenied
    if row.has_ended:
        messages.info(request, gettext("It had ended before it could be stopped."))
        return SeeOther(_page(row))
    if request.method == "POST":
        was = queue.stop(row, by=request.user.get_username())
        audit.note(request, "stop operation", subject=str(row.pk), detail=was or "had ended")
        messages.info(request, _stopped(was))
        return SeeOther(_page(row))
    context = {"row": row, "title": telling.title(row), "subject": telling.subject(row)}
    return render(request, "console/operation_stop.html", context)


@allowed("view_status")
@require_POST
def retry(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Ask for the same again: a scan at once, anything else where it is asked for first."""
    row = _find(operation_id)
    if not again.may_repeat(request.user, row):
        audit.note(request, "repeat operation", subject=str(row.pk), result=audit.REFUSED)
        raise PermissionDenied
    if page := again.own_page(row):
        return SeeOther(page)
    user = cast("User", request.user)
    try:
        if again.has_wizard(row):
            return SeeOther(again.begin_wizard(user, row, is_retry="these" in request.POST))
        asked = again.ask(user, row, form=request.POST.get("form", ""))
    except BackupError as error:
        audit.note(
            request,
            "repeat operation",
            subject=str(row.pk),
            result=audit.REFUSED,
            detail=str(error),
        )
        messages.error(request, f"{error} {error.hint}".strip(), extra_tags="err")
        return SeeOther(_page(row))
    if asked.is_new:
        audit.note(request, "repeat operation", subject=str(row.pk), detail=str(asked.row.pk))
    else:
        messages.info(request, gettext("The same was asked for already: this is that operation."))
    return SeeOther(_page(asked.row))


def _may_stop(request: HttpRequest, row: QueuedOperation) -> bool:
    return not row.has_ended and _is_allowed_to_stop(request, row)


def _is_allowed_to_stop(request: HttpRequest, row: QueuedOperation) -> bool:
    user, asker = request.user, row.requester_id
    return user.has_perm("console.stop_operation") and (
        (asker is not None and asker == user.pk) or user.has_perm("console.stop_any_operation")
    )


def _stopped(was: State | None) -> str:
    if was == State.QUEUED:
        return gettext("It was removed from the queue; nothing of it was done.")
    if was == State.STARTED:
        return gettext("It was asked to stop, and ends at its next safe point.")
    return gettext("It had ended before it could be stopped.")


def _page(row: QueuedOperation) -> str:
    return reverse("operation", args=[row.pk])
