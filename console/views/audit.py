"""The audit log."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from console.access import allowed


@allowed("view_audit")
def audit_log(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
