"""Classes of service, and whether their accounts are backed up."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from console.access import allowed


@allowed("view_status")
def classes(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("change_cos")
def switch(request: HttpRequest, server: str, cos_id: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
