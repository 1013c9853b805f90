"""The Operation Queue, and each operation."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse

from console.access import allowed, live


@allowed("view_status")
def operations(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@live
@allowed("view_status")
def operation_queue(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("view_status")
def operation(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@live
@allowed("view_status")
def progress(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@live
@allowed("view_status")
def log(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("view_status")
def log_download(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@live
@allowed("view_status")
def unrestored(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("view_status")
def unrestored_csv(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("stop_operation")
def stop(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("view_status")
def retry(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
