"""What was told about operations and alarms, and whether the mails got out."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import notify, remedies
from console.access import allowed, live
from console.models import Level, Notification
from console.views.parts import SeeOther

_PAGE_ROWS = 50
_LONGEST_SEARCH = 200


@allowed("view_status")
@require_safe
def notifications(request: HttpRequest) -> HttpResponse:
    """List what was told, newest first."""
    return render(request, "console/notifications.html", _list_context(request))


@live
@allowed("view_status")
@require_safe
def notification_list(request: HttpRequest) -> HttpResponse:
    """Draw the list, if it is not what the page has."""
    context = _list_context(request)
    if request.GET.get("version") == context["version"]:
        return HttpResponse(status=204)
    return render(request, "console/_notification_list.html", context)


@allowed("view_status")
@require_POST
def mark_all_read(request: HttpRequest) -> HttpResponse:
    """Mark as read what the page had shown; what came later stays unread."""
    try:
        shown_at = parse_datetime(request.POST.get("shown_at", ""))
    except ValueError:
        shown_at = None
    until = shown_at if shown_at and timezone.is_aware(shown_at) else timezone.now()
    number = _mark(request, Notification.objects.filter(created_at__lte=until))
    messages.success(
        request,
        ngettext(
            "%d notification is marked as read.", "%d notifications are marked as read.", number
        )
        % number,
    )
    return SeeOther(reverse("notifications"))


@allowed("view_status")
@require_http_methods(["GET", "HEAD", "POST"])
def notification(request: HttpRequest, notification_id: UUID) -> HttpResponse:
    """Show one notification; only a button marks it as read."""
    found = get_object_or_404(
        Notification.objects.select_related("operation__server"), pk=notification_id
    )
    if request.method == "POST":
        _mark(request, Notification.objects.filter(pk=found.pk))
        return SeeOther(reverse("notification", args=[found.pk]))
    row = found.operation
    context = {
        "notification": found,
        "headline": _headline(found),
        "deliveries": found.delivery_set.order_by("pk"),
        "searches": remedies.searches(row) if row and found.event == "ended" else (),
    }
    return render(request, "console/notification.html", context)


def _headline(found: Notification) -> str:
    """Return its subject without what the page says beside it."""
    return found.subject.removeprefix(f"[Backup NG] {found.server_name}: ")


def _mark(request: HttpRequest, rows: QuerySet[Notification]) -> int:
    unread = rows.filter(read_at=None)
    return unread.update(read_at=timezone.now(), read_by=request.user.get_username())


def _list_context(request: HttpRequest) -> dict[str, Any]:
    filters = _filters(request.GET)
    rows, is_filtered = _filtered(filters), any(filters.values())
    seen = _counted(rows)
    everything = _counted(Notification.objects.all()) if is_filtered else seen
    paginator = Paginator(rows, _PAGE_ROWS)
    paginator.count = seen["number"]
    page = paginator.get_page(request.GET.get("page"))
    trouble = notify.trouble()
    newest = seen["last"].timestamp() if seen["last"] else 0
    parts = (page.number, everything["number"], everything["unread"], seen["number"], newest)
    troubled = (trouble.waiting, trouble.given_up, trouble.error) if trouble else ()
    return {
        "page": page,
        "rows": [(each, _headline(each)) for each in page],
        "filters": filters,
        "query": urlencode({name: value for name, value in filters.items() if value}),
        "levels": [(level.value, gettext(level.label)) for level in Level],
        "total": everything["number"],
        "unread": everything["unread"],
        "trouble": trouble,
        "recipients": () if everything["number"] else notify.default_recipients(),
        "now": timezone.now(),
        "version": "-".join(map(str, (*parts, *troubled))),
    }


def _counted(rows: QuerySet[Notification]) -> dict[str, Any]:
    return rows.order_by().aggregate(
        number=Count("pk"), unread=Count("pk", filter=Q(read_at=None)), last=Max("created_at")
    )


def _filters(query: QueryDict) -> dict[str, str]:
    level = query.get("level", "")
    return {
        "level": level if level in Level.values else "",
        "unread": "1" if query.get("unread") else "",
        "q": query.get("q", "").strip()[:_LONGEST_SEARCH],
    }


def _filtered(filters: dict[str, str]) -> QuerySet[Notification]:
    rows = Notification.objects.order_by("-created_at", "-pk")
    if filters["level"]:
        rows = rows.filter(level=filters["level"])
    if filters["unread"]:
        rows = rows.filter(read_at=None)
    if text := filters["q"]:
        found = Q(subject__icontains=text) | Q(text__icontains=text)
        rows = rows.filter(found | Q(server_name__icontains=text))
    return rows
