"""How the address of a live part answers: with the part, or with nothing new."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from console.templatetags.console import enliven, version


def answer(
    request: HttpRequest, template: str, context: dict[str, Any], *, part: str
) -> HttpResponse:
    """Draw a live part; 204 when the page has just that already. `part` is the id of the part."""
    text = render_to_string(template, context, request)
    if request.GET.get("version") == version(text):
        return HttpResponse(status=204)
    return HttpResponse(enliven(text, part=part, address=request.path))
