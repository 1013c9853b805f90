"""What is shown instead of a page: one sentence, and what to do now."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that makes no sense."""
    return _answer(
        request,
        400,
        gettext("This request makes no sense"),
        gettext("Go back and try again; if a link brought you here, it is damaged."),
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that does not come from a page of this login."""
    return _answer(
        request,
        403,
        gettext("This form is out of date"),
        gettext("Nothing was done. Go back, reload the page and send the form again."),
    )


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer who lacks the permission for a page or an act."""
    return _answer(
        request,
        403,
        gettext("Your role does not allow this"),
        gettext(
            "Nothing was done. An administrator of this console can do it, or change your role."
        ),
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an address that leads nowhere."""
    return _answer(
        request,
        404,
        gettext("There is no such page"),
        gettext("What it showed is gone, or the address has a mistake in it."),
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer when the program has a defect, or its database is away."""
    return _answer(
        request,
        500,
        gettext("This page could not be made"),
        gettext(
            "Nothing was done. Try again in a minute; the log of the web process has the reason."
        ),
    )


def _answer(request: HttpRequest, status: int, title: str, advice: str) -> HttpResponse:
    # Loaded earlier or not at all: a page about a database that is away asks it nothing.
    preferences = getattr(request, "preferences", None)
    context = {
        "title": title,
        "advice": advice,
        "status": status,
        "chosen_theme": preferences.theme if preferences else "",
    }
    return render(request, "console/error.html", context, status=status)
