"""Settings of the console and of all servers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from console.access import allowed


@allowed("view_status")
def settings_page(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
