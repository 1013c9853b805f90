"""Who may open what: login on every page, a permission on every view, and when a login ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

_STARTED = "login_started"
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


class LoginMiddleware(LoginRequiredMiddleware):
    """Asks for a login everywhere, and ends one that was idle or is too old."""

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
        if is_live and not request.user.is_authenticated:
            return HttpResponse(status=401)
        return super().process_view(request, view_func, view_args, view_kwargs)

    def _keep(self, request: HttpRequest, *, prolong: bool) -> None:
        now = timezone.now().timestamp()
        started = request.session.setdefault(_STARTED, now)
        left = started + settings.SESSION_ABSOLUTE.total_seconds() - now
        if left <= 0:
            request.session.flush()
            request.user = AnonymousUser()
        elif prolong:
            request.session.set_expiry(int(min(left, settings.SESSION_IDLE.total_seconds())))
