"""What a scanner's process tells, as it is written down."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from console import housekeeping
from console.capture import Sample, Scanner
from console.models import Level, Notification, Origin, QueuedOperation, Server, State
from console.scanner.record import Recorder
from tests.console import scanning
from tests.console.scanning import HOUR, NOW, standing

MINUTE = timedelta(minutes=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def mail(data: Path, db: None) -> Server:
    return scanning.bare_server(data)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def recorder(mail: Server, clock: Clock, **changes: object) -> Recorder:
    """Return the record of a process that has followed for an hour."""
    scanning.scanner(mail, **changes)
    clock.now = NOW - HOUR
    found = Recorder(mail, clock=clock)
    clock.now = NOW
    return found


def test_what_happened_before_it_began_was_no_lag_of_its_own(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    clock.now += timedelta(seconds=2)
    found.take(standing(lag_ms=4 * 3_600_000))

    row = written(found)
    assert (row.lag_ms, row.peak_ms) == (4 * 3_600_000, 3_602_000)


def test_what_the_last_process_had_saved_stays_saved(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock, last_change_at=NOW - HOUR)
    found.take(standing(last_change_ms=None, captured_ms=None))

    row = written(found)
    assert (row.last_change_at, row.captured_at) == (NOW - HOUR, NOW)


def written(found: Recorder) -> Scanner:
    found.write()
    return Scanner.objects.get()


def test_a_standing_becomes_the_row(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock, state=Scanner.State.IDLE)
    found.take(standing())

    row = written(found)
    assert (row.state, row.since, row.seen_at) == (Scanner.State.FOLLOWING, NOW, NOW)
    assert (row.sequence, row.offset, row.lag_ms, row.peak_ms) == (7, 4096, 180, 180)
    assert (row.events, row.captured_at) == (12, NOW)


def test_events_of_a_day_outlive_the_process_and_not_the_day(mail: Server, clock: Clock) -> None:
    first = recorder(mail, clock)
    first.take(standing(events=12))
    first.write()
    found = Recorder(mail, clock=clock)
    found.take(standing(events=5, lag_ms=90))
    same_day = written(found)
    clock.now = NOW + 6 * HOUR  # past midnight in Rome
    found.take(standing(events=8, lag_ms=20))

    next_day = written(found)
    assert (same_day.events, same_day.peak_ms) == (17, 180)
    assert (next_day.events, next_day.peak_ms) == (3, 20)


def test_at_the_end_of_the_log_without_news_there_is_no_lag(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    found.take(standing(events=1, lag_ms=60_000))
    late = written(found).lag_ms
    found.take(standing(events=1, lag_ms=60_000))

    assert (late, written(found).lag_ms) == (60_000, 0)


def test_far_behind_it_is_catching_up_and_its_lag_grows(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    found.take(standing(behind_bytes=1 << 21, last_change_ms=int(NOW.timestamp() * 1000) - 60_000))

    row = written(found)
    assert (row.state, row.lag_ms, row.behind_bytes) == ("catching_up", 60_000, 1 << 21)


def test_a_halt_keeps_its_beginning(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    halted = {"event": "halted", "reason": "The disk is full.", "hint": "Make room.", "code": "x"}
    since_ms = int((NOW - HOUR).timestamp() * 1000)
    found.take(halted | {"since_ms": since_ms})
    clock.now += MINUTE
    found.take(halted | {"since_ms": since_ms})

    row = written(found)
    assert (row.state, row.since, row.seen_at) == ("halted", NOW - HOUR, NOW + MINUTE)
    assert (row.reason, row.hint) == ("The disk is full.", "Make room.")


def test_a_halt_outlasts_the_service(mail: Server, clock: Clock) -> None:
    halted = {"event": "halted", "reason": "The redo log is of another server.", "hint": ""}
    first = recorder(mail, clock)
    first.take(halted | {"since_ms": int((NOW - HOUR).timestamp() * 1000)})
    first.ended("Its service is not running.")
    first.write()
    clock.now += HOUR
    second = Recorder(mail, clock=clock)
    second.take(halted | {"since_ms": int(clock.now.timestamp() * 1000)})

    row = written(second)
    assert (row.state, row.since, row.reason) == ("halted", NOW - HOUR, halted["reason"])


def test_without_a_halt_it_is_idle_once_its_service_ends(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    clock.now += MINUTE
    found.ended("Its service is not running.")

    row = written(found)
    assert (row.state, row.since) == ("idle", NOW + MINUTE)


def test_a_gap_requires_a_smartscan_and_is_told(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock, captured_at=NOW - 2 * HOUR)
    milliseconds = int(NOW.timestamp() * 1000)
    found.take(
        {
            "event": "gap",
            "after": "the end of sequence 3",
            "until": "the beginning of sequence 5",
            "reason": "the redo log of sequence 4 is missing",
            "since_ms": milliseconds - 3_600_000,
            "before_ms": milliseconds,
        }
    )

    row, told = written(found), Notification.objects.get()
    assert (row.due_why, row.due_since, row.gap_at) == ("gap", NOW, NOW)
    assert (row.missed, row.gap["until"]) == (HOUR, "the beginning of sequence 5")
    assert row.missed_from == NOW - HOUR
    assert (told.level, told.event) == (Level.CRITICAL, "scanner_gap")
    assert "the redo log of sequence 4 is missing" in told.text


def test_a_gap_without_times_begins_where_the_capture_ended(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock, captured_at=NOW - HOUR)
    found.take({"event": "gap", "reason": "x", "since_ms": None, "before_ms": None})

    assert written(found).missed == HOUR


def test_what_a_disabled_scanner_still_says_enables_nothing(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    Scanner.objects.update(enabled=False, state=Scanner.State.OFF)
    found.take(standing())

    assert written(found).state == Scanner.State.OFF


def test_before_it_first_stood_no_smartscan_counts(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock, sequence=None, due_since=NOW - HOUR)
    found.take(standing())
    first = written(found).due_since
    clock.now += HOUR
    found.take(standing())

    assert (first, written(found).due_since) == (NOW, NOW)


def test_where_it_first_stands_the_smartscan_that_is_due_is_queued_once(
    mail: Server, clock: Clock
) -> None:
    found = recorder(mail, clock, sequence=None, due_since=NOW - HOUR)
    found.take(standing())
    found.write()
    found.take(standing(events=13))
    found.write()

    (scan,) = QueuedOperation.objects.all()
    assert (scan.command, scan.origin) == ("doSmartScan", Origin.SCHEDULE)


def test_halted_before_it_ever_stood_the_smartscan_is_queued_once(
    mail: Server, clock: Clock
) -> None:
    scanning.scanner(mail, sequence=None)
    for _process in range(2):
        found = Recorder(mail, clock=clock)
        found.take({"event": "halted", "reason": "x", "hint": "", "since_ms": None})
        found.write()
        QueuedOperation.objects.update(state=State.SUCCESSFUL)

    assert [each.command for each in QueuedOperation.objects.all()] == ["doSmartScan"]


def test_halted_once_it_has_stood_it_queues_nothing(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    found.take({"event": "halted", "reason": "x", "hint": "", "since_ms": None})
    found.write()

    assert not QueuedOperation.objects.exists()


def test_enabled_again_before_it_ever_stood_it_queues_the_smartscan_where_it_stands(
    mail: Server, clock: Clock
) -> None:
    found = recorder(mail, clock, sequence=None, due_why=Scanner.Why.ENABLED)
    found.take(standing())

    assert written(found).due_since == NOW
    assert QueuedOperation.objects.count() == 1


def test_samples_are_kept_for_two_days(mail: Server) -> None:
    for age in (HOUR, 47 * HOUR, 49 * HOUR):
        Sample.objects.create(server=mail, name="x", at=timezone.now() - age, value=1)

    housekeeping.tidy()
    assert Sample.objects.count() == 2


def test_of_each_minute_the_longest_lag_is_kept(mail: Server, clock: Clock) -> None:
    found = recorder(mail, clock)
    for number, lag_ms in enumerate([40, 900, 60], start=1):
        found.take(standing(events=number, lag_ms=lag_ms))
    clock.now += MINUTE
    found.take(standing(events=9, lag_ms=10))
    found.write()

    (sample,) = Sample.objects.all()
    assert (sample.at, sample.value) == (NOW.replace(second=0), 900)
