"""Charts as SVG: pure functions from numbers to text, with a title and a finding to be read out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log1p

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 300, 60
_TOP, _BOTTOM = 10, 55


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is read out: what the chart shows, and what it shows in this case."""

    title: str
    finding: str
    peak: str
    """The greatest value, written beside the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The greatest value of a piece of time that begins `at`."""

    at: datetime
    value: int


def maxima(samples: Iterable[tuple[datetime, int]], *, step: timedelta) -> list[Point]:
    """Return the greatest value of each piece of time that has any, oldest first, in UTC."""
    found: dict[int, int] = {}
    step_s = int(step.total_seconds())
    for at, value in samples:
        piece = int(at.timestamp()) // step_s
        found[piece] = max(value, found.get(piece, value))
    return [
        Point(at=datetime.fromtimestamp(piece * step_s, tz=UTC), value=found[piece])
        for piece in sorted(found)
    ]


def line(
    points: Sequence[Point],
    *,
    end: datetime,
    length: timedelta,
    step: timedelta,
    limit: int,
    words: Words,
    name: str,
) -> SafeString:
    """Draw values over the time up to `end`, with a band above `limit`; gaps stay gaps.

    `name` begins the ids of title and finding, so it differs between the charts of a page.
    """
    highest = max([point.value for point in points], default=0)
    scale = _Scale(begin=end - length, length=length, highest=max(highest, 1))
    strokes = format_html_join(
        "", '<path d="{}" class="l1"></path>', ((_path(run, scale),) for run in _runs(points, step))
    )
    band: SafeString | str = ""
    if highest > limit:
        height = scale.y(limit) - _TOP
        band = format_html(
            '<rect x="0" y="{}" width="{}" height="{}" class="limit"></rect>', _TOP, WIDTH, height
        )
    return format_html(
        '<svg viewBox="0 0 {} {}" class="chart" role="img" aria-labelledby="{}-title {}-finding">'
        '<title id="{}-title">{}</title><desc id="{}-finding">{}</desc>{}'
        '<path d="M0 {} H{}" class="grid"></path>{}<text x="0" y="8">{}</text></svg>',
        *(WIDTH, HEIGHT, name, name, name, words.title, name, words.finding),
        *(band, _BOTTOM, WIDTH, strokes, words.peak),
    )


# A strip of days

_DAY, _ROW, _STEPS = 20, 16, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """A day of a strip: what is written below it and said of it, and its two numbers."""

    label: str
    text: str
    changes: int
    deletions: int


def strip(days: Sequence[DayBar], *, words: Words, name: str) -> SafeString:
    """Draw how much happened each day: a row of changes, below it one of deletions."""
    most = max((max(day.changes, day.deletions) for day in days), default=0)
    cells = format_html_join(
        "",
        '<g><title>{}</title><rect x="{}" y="0" width="{}" height="{}" class="h{}"/>'
        '<rect x="{}" y="{}" width="{}" height="{}" class="d{}"/></g>',
        (
            (
                *(day.text, n * _DAY, _DAY - 2, _ROW - 2, _step(day.changes, most)),
                *(n * _DAY, _ROW, _DAY - 2, _ROW - 2, _step(day.deletions, most)),
            )
            for n, day in enumerate(days)
        ),
    )
    labels = format_html_join(
        "",
        '<text x="{}" y="{}">{}</text>',
        ((n * _DAY, 2 * _ROW + 9, day.label) for n, day in enumerate(days) if day.label),
    )
    return format_html(
        '<svg viewBox="0 0 {} {}" class="chart strip" role="img"'
        ' aria-labelledby="{}-title {}-finding"><title id="{}-title">{}</title>'
        '<desc id="{}-finding">{}</desc>{}{}</svg>',
        *(len(days) * _DAY, 2 * _ROW + 12, name, name, name, words.title, name, words.finding),
        *(cells, labels),
    )


def _step(value: int, most: int) -> int:
    """Return the shade of a value: 0 for nothing, up to `_STEPS`, by its order of magnitude."""
    if value <= 0:
        return 0
    return 1 + min(_STEPS - 1, int((_STEPS - 1) * log1p(value) / log1p(most)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """Where a moment and a value lie in the picture."""

    begin: datetime
    length: timedelta
    highest: int

    def x(self, at: datetime) -> float:
        return round(WIDTH * min(1.0, max(0.0, (at - self.begin) / self.length)), 1)

    def y(self, value: int) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * value / self.highest, 1)


def _runs(points: Sequence[Point], step: timedelta) -> Iterator[list[Point]]:
    """Yield the pieces of the line: between them there was nothing to measure."""
    run: list[Point] = []
    for point in points:
        if run and point.at - run[-1].at > step:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _path(run: Sequence[Point], scale: _Scale) -> str:
    places = [f"{scale.x(point.at)} {scale.y(point.value)}" for point in run]
    # A single one would not be seen.
    return "M" + " L".join(places) + (" h1" if len(places) == 1 else "")
