"""Badges, times and numbers as every page shows them, and the shell around the pages."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django import template
from django.db.models import Count, Q
from django.http import HttpRequest
from django.template import Engine
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from backupng.engine.model import ItemKind
from console import telling
from console.capture import Scanner
from console.forms.search import KINDS, MANY
from console.models import Level, Notification, QueuedOperation, Server, State

register = template.Library()

_THIN_SPACE = "\u202f"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_STATES = {
    State.QUEUED: ("idle", "…"),
    State.STARTED: ("run", "◐"),
    State.SUCCESSFUL: ("ok", "✓"),
    State.FAILED: ("err", "✕"),
    State.STOPPED: ("warn", "■"),
    State.REMOVED: ("idle", "–"),
    State.INTERRUPTED: ("err", "↯"),
}
_LEVELS = {
    Level.INFORMATION: ("info", "i"),
    Level.WARNING: ("warn", "!"),
    Level.ERROR: ("err", "✕"),
    Level.CRITICAL: ("err", "‼"),
}
_SCANNERS = {
    Scanner.State.OFF: ("idle", "■"),
    Scanner.State.IDLE: ("idle", "…"),
    Scanner.State.FOLLOWING: ("ok", "✓"),
    Scanner.State.CATCHING_UP: ("run", "◐"),
    Scanner.State.HALTED: ("err", "✕"),
}
_DATE = "%d/%m/%Y %H:%M:%S"
_TOKEN = re.compile('name="csrfmiddlewaretoken" value="[^"]*"')


# Badges


@register.simple_tag
def op_badge(row: QueuedOperation) -> SafeString:
    """Draw the state of an operation: a colour, a sign and a word."""
    kind, sign = _STATES[State(row.state)]
    if row.state == State.SUCCESSFUL and row.losses:
        kind, sign = "warn", "!"
    return _badge(kind, sign, state_text(row))


def state_text(row: QueuedOperation) -> str:
    """Return the state of an operation in the words of the pages."""
    if row.state == State.STARTED and not row.stop_requested_at:
        return gettext("Running")
    if row.state == State.SUCCESSFUL and row.losses:
        return gettext("Successful, with losses")
    return gettext(row.shown_state)


@register.simple_tag
def level_badge(level: str) -> SafeString:
    """Draw the level of a notification."""
    kind, sign = _LEVELS[Level(level)]
    return _badge(kind, sign, gettext(Level(level).label))


@register.simple_tag
def scanner_badge(row: Scanner | None) -> SafeString:
    """Draw the state of a Real-Time Scanner; one that gives no sign of life has none."""
    if row is None:
        return _badge("idle", "…", gettext("Never started"))
    if row.is_silent(timezone.now()):
        return _badge("err", "✕", gettext("No sign of life"))
    kind, sign = _SCANNERS[Scanner.State(row.state)]
    return _badge(kind, sign, gettext(row.get_state_display()))


def _badge(kind: str, sign: str, text: str) -> SafeString:
    return format_html(
        '<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>', kind, sign, text
    )


# Operations


@register.filter
def op_title(row: QueuedOperation) -> str:
    """Return the operation's name in words."""
    return telling.title(row)


@register.filter
def op_subject(row: QueuedOperation) -> str:
    """Return what an operation is about; a dash for the whole server."""
    return telling.subject(row) or "–"


@register.filter
def asked_by(row: QueuedOperation) -> str:
    """Return who asked for an operation, and from where."""
    return telling.requested_by(row)


@register.filter
def op_duration(row: QueuedOperation) -> str:
    """Spell how long an operation ran; a dash while it has not ended."""
    if row.started_at is None or row.ended_at is None:
        return "–"
    return duration(row.ended_at - row.started_at)


# Times and numbers


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """Show a moment in the user's zone, which is named."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}">{}</time>', value.isoformat(), local.strftime(f"{_DATE} %Z")
    )


@register.filter
def kind_word(kind: ItemKind) -> str:
    """Name the type of an item."""
    return str(KINDS.get(kind, kind))


@register.filter
def kind_words(kind: ItemKind) -> str:
    """Name the type of several items."""
    return str(MANY.get(kind, kind))


@register.filter
def clock_time(value: datetime | None) -> SafeString | str:
    """Show the time of day of a moment of today, else the whole moment."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    if local.date() != timezone.localdate():
        return moment(value)
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), f"{local:%H:%M:%S}")


@register.filter
def from_ms(value: int | None) -> datetime | None:
    """Return the moment that milliseconds since the epoch mean."""
    return None if value is None else datetime.fromtimestamp(value / 1000, tz=UTC)


@register.filter
def duration(value: timedelta | None) -> str:
    """Spell a duration in its two largest units: `4 min 11 s`."""
    if value is None:
        return "–"
    seconds = max(0, int(value.total_seconds()))
    days, seconds = divmod(seconds, 86400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


@register.filter
def number(value: Any) -> str:
    """Group the digits of a whole number by thin spaces."""
    return "–" if value is None else f"{int(value):,}".replace(",", _THIN_SPACE)


@register.filter
def size(value: int | None) -> str:
    """Spell a size in bytes with three digits, base 10."""
    if value is None:
        return "–"
    amount, unit = float(value), 0
    # Compared as rounded, so that 999 999 is no 1000 kB.
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    digits = 0 if unit == 0 or amount >= 99.95 else 1
    return f"{amount:.{digits}f} {_UNITS[unit]}"


# Live parts


@register.simple_tag(takes_context=True)
def live_part(context: template.Context, name: str, *, part: str, address: str) -> SafeString:
    """Draw a template as a part with the id `part` that is fetched anew from `address`."""
    source = cast("Engine", context.template.engine).get_template(name)  # type: ignore[union-attr]
    return enliven(source.render(context), part=part, address=address)


def enliven(text: SafeString, *, part: str, address: str) -> SafeString:
    """Make a drawn text a part that pages fetch anew every 3 seconds, naming what they have."""
    return format_html(
        '<div id="{}" hx-get="{}?version={}" hx-trigger="every 3s" hx-swap="morph:outerHTML"'
        ' hx-ext="morph">{}</div>',
        part,
        address,
        version(text),
        text,
    )


def version(text: str) -> str:
    """Return a short name for a text: another one as soon as anything in it has changed.

    The token of a form is spelled in another way each time it is drawn, and stays the same.
    """
    return hashlib.sha256(_TOKEN.sub("", text).encode()).hexdigest()[:16]


# The shell


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> SafeString | str:
    """Write the theme that the user chose as an attribute of the page."""
    request = context.get("request")
    chosen = getattr(getattr(request, "preferences", None), "theme", "")
    return format_html(' data-theme="{}"', chosen) if chosen else ""


@register.inclusion_tag("console/_navigation.html", takes_context=True)
def navigation(context: template.Context) -> dict[str, Any]:
    """Draw the left pane."""
    request: HttpRequest = context["request"]
    # A wizard belongs to the page that it was begun on.
    place = getattr(context.get("run"), "home", request.path)
    return {
        "path": place,
        "perms": context["perms"],
        "servers": Server.objects.order_by("name"),
        "unread": Notification.objects.filter(read_at=None).count(),
    }


@register.inclusion_tag("console/_queue_badge.html")
def queue_badge() -> dict[str, Any]:
    """Draw how many operations run and wait."""
    return queue_counts()


def queue_counts() -> dict[str, Any]:
    """Return how many operations run and wait, in numbers and in words."""
    counts = QueuedOperation.objects.aggregate(
        running=Count("pk", filter=Q(state=State.STARTED)),
        queued=Count("pk", filter=Q(state=State.QUEUED)),
    )
    running, queued = counts["running"], counts["queued"]
    words = []
    if running:
        words.append(ngettext("%d running", "%d running", running) % running)
    if queued:
        words.append(ngettext("%d queued", "%d queued", queued) % queued)
    text = " · ".join(words) or gettext("Nothing is running")
    return {"running": running, "queued": queued, "text": text}


@register.inclusion_tag("console/_clock.html")
def clock() -> dict[str, Any]:
    """Draw the moment of this page and the zone that times are shown in."""
    now = timezone.localtime()
    return {
        "now": now,
        "text": now.strftime("%d/%m/%Y %H:%M"),
        "zone": timezone.get_current_timezone_name(),
    }


@register.inclusion_tag("console/_user_menu.html", takes_context=True)
def user_menu(context: template.Context) -> dict[str, Any]:
    """Draw the menu of the user: preferences, log out."""
    return {"user": context["user"], "csrf_token": context["csrf_token"]}
