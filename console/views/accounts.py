"""The accounts of all servers, and each of them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from console.access import allowed


@allowed("browse_accounts")
def accounts(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)


@allowed("browse_accounts")
def account(request: HttpRequest, account_id: str) -> HttpResponse:
    """To be written."""
    return HttpResponse(status=501)
