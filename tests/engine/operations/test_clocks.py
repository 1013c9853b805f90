"""Local times where clocks are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.operations.clocks import around_gap, readings

SECOND = timedelta(seconds=1)
CHANGES = [
    # zone, last second before the clocks are put back; last and first time that is there twice
    ("Europe/Rome", datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC), "02:59:59", "02:00:00"),
    ("America/New_York", datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC), "01:59:59", "01:00:00"),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 14, 59, 59, tzinfo=UTC), "01:59:59", "01:30:00"),
]
GAPS = [
    ("Europe/Rome", "2026-03-29 02:00:00", "01:59:59", "03:00:00"),
    ("Europe/Rome", "2026-03-29 02:59:59", "01:59:59", "03:00:00"),
    ("America/New_York", "2026-03-08 02:30:00", "01:59:59", "03:00:00"),
    ("Australia/Lord_Howe", "2026-10-04 02:00:00", "01:59:59", "02:30:00"),
    ("Australia/Lord_Howe", "2026-10-04 02:29:59", "01:59:59", "02:30:00"),
]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(("zone", "before", "last", "first"), CHANGES)
def test_a_time_that_was_twice_has_two_readings(
    zone: str, before: datetime, last: str, first: str
) -> None:
    day = before.astimezone(ZoneInfo(zone)).date()
    at_last = readings(local(f"{day} {last}"), ZoneInfo(zone))
    at_first = readings(local(f"{day} {first}"), ZoneInfo(zone))
    assert at_last[0] == before
    assert (at_first[1] - before).total_seconds() == 1
    assert at_last[1] - at_last[0] == at_first[1] - at_first[0]


@pytest.mark.parametrize(("zone", "before", "last", "first"), CHANGES)
def test_the_seconds_beside_such_times_have_one_reading(
    zone: str, before: datetime, last: str, first: str
) -> None:
    clock = ZoneInfo(zone)
    twice = before.astimezone(clock).replace(tzinfo=None)
    first_twice = local(f"{twice.date()} {first}")
    assert len(readings(first_twice - SECOND, clock)) == 1
    assert len(readings(twice + SECOND, clock)) == 1


@pytest.mark.parametrize(("zone", "never", "before", "after"), GAPS)
def test_a_time_that_never_was_lies_between_two_seconds(
    zone: str, never: str, before: str, after: str
) -> None:
    clock = ZoneInfo(zone)
    assert readings(local(never), clock) == ()
    beside = around_gap(local(never), clock)
    assert [f"{each.astimezone(clock):%H:%M:%S}" for each in beside] == [before, after]
    assert (beside[1] - beside[0]).total_seconds() == 1


def test_a_whole_day_can_be_missing() -> None:
    beside = around_gap(local("2011-12-30 12:00:00"), ZoneInfo("Pacific/Apia"))
    shown = [f"{each.astimezone(ZoneInfo('Pacific/Apia')):%d %H:%M:%S}" for each in beside]
    assert shown == ["29 23:59:59", "31 00:00:00"]
