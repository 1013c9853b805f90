"""Login, logout, preferences; and the sign of life for whoever watches the web process."""

from __future__ import annotations

from typing import cast

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods

from console import roles
from console.access import everyone, open_to_all
from console.models import Preferences

_log_in = LoginView.as_view(
    template_name="console/login.html",
    redirect_authenticated_user=True,
)
_log_out = LogoutView.as_view()


class PreferencesForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """How the console looks."""

    class Meta:
        model = Preferences
        fields = ("theme", "zone")


@open_to_all
def login(request: HttpRequest) -> HttpResponseBase:
    """Let a user in; without any administrator say which command makes one."""
    if not _has_administrator():
        return render(request, "console/no_administrator.html", status=503)
    return _log_in(request)


@everyone
def logout(request: HttpRequest) -> HttpResponse:
    """End the login."""
    return _log_out(request)


@everyone
@require_http_methods(["GET", "POST"])
def preferences(request: HttpRequest) -> HttpResponse:
    """Show and keep the preferences of the user."""
    user = cast("User", request.user)
    mine = Preferences.objects.filter(user=user).first() or Preferences(user=user)
    form = PreferencesForm(request.POST or None, instance=mine)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, gettext("Your preferences are kept."))
        return redirect("preferences")
    status = 422 if form.is_bound else 200
    return render(request, "console/preferences.html", {"form": form}, status=status)


@open_to_all
@require_GET
def health(_request: HttpRequest) -> HttpResponse:
    """Answer 200 while the database does, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return HttpResponse("database\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")


def _has_administrator() -> bool:
    users: type[User] = get_user_model()
    return users.objects.filter(is_active=True, groups__name=roles.ADMINISTRATOR).exists()
