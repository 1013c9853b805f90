"""How views answer: a live part with itself or with nothing new, a form with the page to see."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string

from console.templatetags.console import enliven, version


class SeeOther(HttpResponseRedirect):
    """To the page that shows what a form has done; loading that again repeats nothing."""

    status_code = HTTPStatus.SEE_OTHER


def answer(
    request: HttpRequest, template: str, context: dict[str, Any], *, part: str
) -> HttpResponse:
    """Draw a live part; 204 when the page has just that already. `part` is the id of the part."""
    text = render_to_string(template, context, request)
    if request.GET.get("version") == version(text):
        return HttpResponse(status=204)
    return HttpResponse(enliven(text, part=part, address=request.path))
