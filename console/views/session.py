"""Login, logout, preferences; and the sign of life for whoever watches the web process."""

from __future__ import annotations

from typing import Any, ClassVar, cast
from zoneinfo import available_timezones

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods

from console import hosting, roles
from console.access import everyone, no_administrator, open_to_all
from console.models import Preferences
from console.views.parts import SeeOther

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
        widgets: ClassVar[dict[str, forms.Widget]] = {
            "zone": forms.TextInput(attrs={"list": "zones", "autocomplete": "off"})
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        theme, zone = self.fields["theme"], self.fields["zone"]
        theme.label, zone.label = gettext("Theme"), gettext("Time zone")
        theme.choices = [(value, gettext(str(label))) for value, label in theme.choices]  # type: ignore[attr-defined]
        zone.help_text = gettext("Times are shown in it. Empty: %s, the zone of this host.") % (
            hosting.zone()
        )

    def clean_zone(self) -> str:
        """Take a zone that there is, in any case of its letters."""
        typed: str = self.cleaned_data["zone"].strip()
        names = {name.lower(): name for name in available_timezones()}
        if typed and typed.lower() not in names:
            message = gettext("There is no time zone %s. Expected: a name such as Europe/Rome.")
            raise forms.ValidationError(message % typed)
        return names[typed.lower()] if typed else ""


@open_to_all
def login(request: HttpRequest) -> HttpResponseBase:
    """Let a user in; without any administrator say which command makes one."""
    if not request.user.is_authenticated and not roles.has_administrator():
        return no_administrator(request)
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
        return SeeOther(reverse("preferences"))
    context = {"form": form, "zones": sorted(available_timezones())}
    status = 422 if form.is_bound else 200
    return render(request, "console/preferences.html", context, status=status)


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
