"""The servers, and the `Backup NG` tab of each."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from console.access import allowed, live


@allowed("view_status")
def servers(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("view_status")
def server(request: HttpRequest, name: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@live
@allowed("view_status")
def server_live(request: HttpRequest, name: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("run_scan")
def smartscan(request: HttpRequest, name: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("stop_any_operation")
def stop_all(request: HttpRequest, name: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
