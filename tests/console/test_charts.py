"""Charts: what is drawn, and what is read out."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from console import charts
from console.charts import Point

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
STEP = timedelta(minutes=5)


def drawn(points: Sequence[Point]) -> ElementTree.Element:
    text = charts.line(
        points,
        end=NOON,
        length=timedelta(hours=24),
        step=STEP,
        limit=300,
        words=charts.Words(title="<Lag>", finding="It peaked at 41 s.", peak="41 s"),
        name="lag",
    )
    return ElementTree.fromstring(text)  # noqa: S314 - our own text


def test_the_greatest_value_of_each_piece_counts() -> None:
    samples = [(NOON + timedelta(minutes=number), number % 7) for number in range(10)]

    found = charts.maxima(samples, step=STEP)
    assert found == [Point(at=NOON, value=4), Point(at=NOON + STEP, value=6)]


def test_gaps_stay_gaps() -> None:
    points = [Point(at=NOON - number * STEP, value=1) for number in (9, 8, 4, 3, 1)]

    lines = drawn(points).findall("path[@class='l1']")
    assert len(lines) == 3
    assert all(each.attrib["d"].startswith("M") for each in lines)


def test_title_and_finding_are_read_out() -> None:
    svg = drawn([Point(at=NOON - STEP, value=1)])

    labels = svg.attrib["aria-labelledby"].split()
    assert [each.text for each in svg if each.get("id") in labels] == [
        "<Lag>",
        "It peaked at 41 s.",
    ]


def test_above_the_limit_there_is_a_band() -> None:
    low, high = drawn([Point(at=NOON, value=300)]), drawn([Point(at=NOON, value=600)])

    band = high.find("rect[@class='limit']")
    assert low.find("rect") is None
    assert band is not None
    assert float(band.attrib["height"]) == 22.5


# A strip of days


def strip_of(*numbers: tuple[int, int]) -> ElementTree.Element:
    days = [
        charts.DayBar(label=str(n), text=f"<{n}>", changes=changes, deletions=deletions)
        for n, (changes, deletions) in enumerate(numbers)
    ]
    words = charts.Words(title="<Days>", finding="Much happened.", peak="")
    return ElementTree.fromstring(charts.strip(days, words=words, name="strip"))  # noqa: S314


def test_a_strip_shades_each_day_by_how_much_happened() -> None:
    shades = [rect.get("class") for rect in strip_of((0, 0), (1, 0), (10**15, 3)).iter("rect")]
    assert shades == ["h0", "d0", "h1", "d0", "h4", "d1"]


def test_a_strip_of_no_days_can_be_drawn() -> None:
    assert list(strip_of().iter("rect")) == []
