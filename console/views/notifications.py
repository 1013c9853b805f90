"""What was told about operations and alarms."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse

from console.access import allowed


@allowed("view_status")
def notifications(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("view_status")
def mark_all_read(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("view_status")
def notification(request: HttpRequest, notification_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
