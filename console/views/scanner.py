"""The switch of a server's Real-Time Scanner, and what its card on the server's page shows."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from console import asking, audit
from console.access import allowed
from console.models import Server
from console.scanner import switching
from console.scanner.card import card, seconds
from console.views.parts import SeeOther


@allowed("toggle_scanner")
@require_http_methods(["GET", "HEAD", "POST"])
def scanner(request: HttpRequest, name: str) -> HttpResponse:
    """Ask whether the scanner is to be enabled or disabled, and do."""
    found = _find(name)
    if request.method != "POST":
        context = {"server": found, "wanted": switching.is_wanted(found)}
        return render(request, "console/scanner.html", context)
    wanted = {"yes": True, "no": False}.get(request.POST.get("enabled", ""))
    if wanted is None:
        raise BadRequest("neither enabled nor disabled")
    user = cast("User", request.user)
    changed = switching.switch(found, enabled=wanted, by=user.get_username())
    audit.note(
        request,
        "enable scanner" if wanted else "disable scanner",
        subject=found.name,
        result=audit.DONE if changed else "unchanged",
    )
    if wanted and changed:
        switching.queue_scan(found, asking.user_of_console(user))
    messages.success(request, _done(wanted=wanted))
    return SeeOther(reverse("server", args=[found.name]))


def card_context(found: Server) -> dict[str, Any]:
    """Return what the template of the card draws."""
    shown = card(found, now=timezone.now())
    row = shown.scanner
    return {
        "card": shown,
        "wanted": switching.is_wanted(found),
        "lag": seconds(row.lag_ms if row else 0),
        "peak": seconds(row.peak_ms if row and shown.is_today else 0),
        "table": [(point.at, seconds(point.value)) for point in reversed(shown.points)],
    }


def _find(name: str) -> Server:
    return get_object_or_404(Server, name=name)


def _done(*, wanted: bool) -> str:
    if wanted:
        return gettext("The Real-Time Scanner is enabled.")
    return gettext("The Real-Time Scanner is disabled.")
