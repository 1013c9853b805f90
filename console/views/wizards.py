"""The pages of every wizard."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse

from console.access import allowed


@allowed("restore")
def restore(request: HttpRequest, account_id: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("restore")
def step(request: HttpRequest, draft_id: UUID, step: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("restore")
def minical(request: HttpRequest, draft_id: UUID, step: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("restore")
def check(request: HttpRequest, draft_id: UUID, step: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
