"""The dashboard: how well everything is saved, and what asks for attention."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from console.access import allowed, live
from console.models import State
from console.overview import (
    COLUMNS,
    LOSSES,
    MATRIX_DAYS,
    OLD_AFTER,
    alarms,
    matrix,
    overview,
)
from console.templatetags.console import queue_counts
from console.views import parts


@allowed("view_status")
@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """Show all servers, what runs, what needs attention and what was done."""
    now = timezone.now()
    context = _live_context(with_losses=True) | {
        "alarms": alarms(),
        "matrix": matrix(now=now),
        "columns": [_column(each) for each in COLUMNS],
        "days": MATRIX_DAYS,
    }
    return render(request, "console/dashboard.html", context)


@live
@allowed("view_status")
@require_safe
def cards(request: HttpRequest) -> HttpResponse:
    """Answer the part of the dashboard that changes by itself."""
    return parts.answer(request, "console/_dashboard_live.html", _live_context(), part="cards")


@live
@allowed("view_status")
@require_safe
def queue_badge(request: HttpRequest) -> HttpResponse:
    """Answer how many operations run and wait, if that differs from what the page shows."""
    counts = queue_counts()
    if request.GET.get("text") == counts["text"]:
        return HttpResponse(status=204)
    return render(request, "console/_queue_badge.html", counts)


def _live_context(*, with_losses: bool = False) -> dict[str, Any]:
    return {
        "overview": overview(now=timezone.now(), with_losses=with_losses),
        "hours": int(OLD_AFTER.total_seconds() // 3600),
    }


def _column(state: str) -> str:
    return gettext("With losses") if state == LOSSES else gettext(State(state).label)
