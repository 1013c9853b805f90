"""What the card of a scanner shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from console import charts
from console.capture import LAG_LIMIT, LAG_SAMPLES, Sample, Scanner
from console.models import Server

_SHOWN = timedelta(hours=24)
_STEP = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The scanner of a server: its row if it ever ran, and its lag over a day."""

    scanner: Scanner | None
    is_silent: bool
    is_today: bool
    """Whether its numbers of the day are those of this day."""
    chart: SafeString
    points: list[charts.Point]
    """The longest lag, in ms, of each five minutes that had any."""


def card(server: Server, *, now: datetime) -> Card:
    """Return what the card shows at a moment."""
    row = Scanner.objects.filter(server=server).first()
    if row is not None:
        row.server = server
    samples = Sample.objects.filter(server=server, name=LAG_SAMPLES, at__gt=now - _SHOWN)
    points = charts.maxima(samples.values_list("at", "value"), step=_STEP)
    return Card(
        scanner=row,
        is_silent=row is not None and row.is_silent(now),
        is_today=row is not None and row.day == now.astimezone(server.zone_info).date(),
        chart=_chart(points, now) if points else SafeString(),
        points=points,
    )


def seconds(lag_ms: int) -> str:
    """Spell a lag: with a tenth where it is short."""
    if lag_ms < 10_000:
        return f"{lag_ms / 1000:.1f} s"
    minutes, rest = divmod(lag_ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _next_step(now: datetime) -> datetime:
    """Return the end of the present piece: a chart that moved each second would never rest."""
    step_s = int(_STEP.total_seconds())
    return datetime.fromtimestamp((int(now.timestamp()) // step_s + 1) * step_s, tz=UTC)


def _chart(points: list[charts.Point], now: datetime) -> SafeString:
    worst = max(points, key=lambda point: point.value)
    peak = seconds(worst.value)
    at = f"{timezone.localtime(worst.at):%H:%M}"
    return charts.line(
        points,
        end=_next_step(now),
        length=_SHOWN,
        step=_STEP,
        limit=int(LAG_LIMIT.total_seconds() * 1000),
        words=charts.Words(
            title=gettext("Scanner lag over 24 hours"),
            finding=gettext("The lag peaked at %(peak)s at %(at)s.") % {"peak": peak, "at": at},
            peak=peak,
        ),
        name="lag",
    )
