"""The dashboard."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from console.access import allowed, live


@allowed("view_status")
def dashboard(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@live
@allowed("view_status")
def cards(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@live
@allowed("view_status")
def queue_badge(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
