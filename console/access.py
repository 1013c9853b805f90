"""Who may open what: login on every page, a permission on every view, and when a login ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from console import hosting, roles
from console.models import Preferences

_STARTED, _PROLONGED = "login_started", "login_prolonged"
_PROLONG_EVERY_S = 60
"""Not at each request: a write is the dearest thing a page does."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_View = TypeVar("_View", bound=Callable[..., HttpResponseBase])


def allowed(permission: str) -> Callable[[_View], _View]:
    """Open a view to users who have the permission; others get 403."""

    def decorate(view: _View) -> _View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.has_perm(f"console.{permission}"):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        checked.permission = permission  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorate


def everyone(view: _View) -> _View:
    """Open a view to whoever is logged in, whatever the role."""
    view.permission = ""  # type: ignore[attr-defined]
    return view


def open_to_all(view: _View) -> _View:
    """Open a view to the world: it asks for no login."""
    view.permission = None  # type: ignore[attr-defined]
    return login_not_required(view)


def live(view: _View) -> _View:
    """Mark a view as a part that pages fetch by themselves: it does not prolong the login.

    Without a login it answers 401, so that no login page lands inside another page.
    """
    view.live = True  # type: ignore[attr-defined]
    return view


def client_address(request: HttpRequest) -> str:
    """Return the address of the browser, for locks and for the audit log.

    What is asked on loopback may come from the proxy of the site, which adds the address that it
    sees to the end of `X-Forwarded-For`. From anywhere else nobody vouches for that header.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    said = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(said)) if said and ip_address(peer).is_loopback else peer
    except ValueError:
        return peer


def failures_allowed(request: HttpRequest, _credentials: dict[str, Any] | None = None) -> int:
    """Return after how many failures a name is locked out for an address: django-axes asks.

    It counts by name and address together. Once an address has failed too often under whatever
    names, none is allowed any more.
    """
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    failed = AccessAttempt.objects.filter(
        ip_address=client_address(request) or None, attempt_time__gte=since
    ).aggregate(number=Sum("failures_since_start"))["number"]
    used_up = (failed or 0) >= settings.ADDRESS_FAILURE_LIMIT
    return 0 if used_up else int(settings.NAME_FAILURE_LIMIT)


class AddressMiddleware:
    """Refuses addresses with characters that no page has: a database takes no NUL."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer as the rest does."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: Any) -> None:
        """Refuse what is asked, once it is known who asks. Raises Http404 or BadRequest."""
        if _CONTROLS.search(request.path):
            raise Http404("control characters in the address")
        if "\0" in unquote_plus(request.META.get("QUERY_STRING", "")):
            raise BadRequest("a NUL in the query")


class LoginMiddleware(LoginRequiredMiddleware):
    """Asks for a login everywhere, ends one that was idle or is too old, and sets its time zone.

    `request.preferences` are those of the user. Nothing that a login was needed for is kept by a
    browser: after it, the back button shows nothing.
    """

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., HttpResponseBase],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        """Refuse who is not logged in; prolong the login of who is, unless a page polls."""
        is_live = getattr(view_func, "live", False)
        if request.user.is_authenticated:
            self._keep(request, prolong=not is_live)
        self._prefer(request)
        if request.user.is_authenticated or getattr(view_func, "permission", "") is None:
            return super().process_view(request, view_func, view_args, view_kwargs)
        if is_live:
            return HttpResponse(status=401)
        if not roles.has_administrator():
            return no_administrator(request)
        return super().process_view(request, view_func, view_args, view_kwargs)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Keep pages of a login out of the browser's store."""
        timezone.deactivate()
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _keep(self, request: HttpRequest, *, prolong: bool) -> None:
        session, now = request.session, timezone.now().timestamp()
        started = session.setdefault(_STARTED, now)
        left = started + settings.SESSION_ABSOLUTE.total_seconds() - now
        if left <= 0:
            session.flush()
            request.user = AnonymousUser()
        elif prolong and now - session.get(_PROLONGED, 0) >= _PROLONG_EVERY_S:
            session[_PROLONGED] = now
            session.set_expiry(int(min(left, settings.SESSION_IDLE.total_seconds())))

    def _prefer(self, request: HttpRequest) -> None:
        """Load the user's preferences and take on the time zone."""
        mine = None
        if request.user.is_authenticated:
            mine = Preferences.objects.filter(user=request.user.pk).first()
        mine = mine or Preferences()
        request.preferences = mine  # type: ignore[attr-defined]
        timezone.activate(_zone(mine.zone))


def no_administrator(request: HttpRequest) -> HttpResponse:
    """Say which command makes the first administrator: until then, nothing opens."""
    return render(request, "console/no_administrator.html", status=503)


def _zone(name: str) -> ZoneInfo:
    """Return a user's zone, else the host's; one that was known once may be gone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(hosting.zone())
