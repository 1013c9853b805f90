"""The audit log."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console import audit
from console.access import allowed
from console.models import AuditEntry

_PAGE_ROWS = 50


@allowed("view_audit")
@require_safe
def audit_log(request: HttpRequest) -> HttpResponse:
    """List who did what, newest first; with `verify` in the query, check the chain of all rows."""
    typed = request.GET.get("q", "").strip()[:254]
    verifies = "verify" in request.GET
    context = {
        "page": Paginator(_entries(typed), _PAGE_ROWS).get_page(request.GET.get("page")),
        "q": typed,
        "verifies": verifies,
        "broken": audit.verify() if verifies else None,
    }
    return render(request, "console/audit.html", context)


def _entries(typed: str) -> QuerySet[AuditEntry]:
    found = AuditEntry.objects.order_by("-pk")
    for word in typed.split():
        found = found.filter(
            Q(user__icontains=word)
            | Q(client__icontains=word)
            | Q(action__icontains=word)
            | Q(subject__icontains=word)
            | Q(result__icontains=word)
        )
    return found
