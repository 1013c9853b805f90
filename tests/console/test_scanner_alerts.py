"""When the scanner's troubles are told, and how often again."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from console import connect, properties
from console.alerting import tell
from console.capture import Scanner
from console.models import Delivery, Level, Notification, Server
from console.scanner import alerts
from tests.console import scanning
from tests.console.scanning import DAY, HOUR, NOW

MINUTE = timedelta(minutes=1)


@pytest.fixture
def mail(data: Path, db: None) -> Server:
    found = scanning.bare_server(data)
    connect.set_property(found, properties.NOTIFICATION_RECIPIENTS, "ops@example.com")
    return found


def remind(server: Server, *moments: datetime) -> list[tuple[str, str]]:
    """Look at each of these moments, and return what was told in all."""
    for moment in moments:
        with time_machine.travel(moment, tick=False):
            alerts.remind(server, now=moment)
    told = Notification.objects.order_by("created_at")
    return list(told.values_list("event", "level"))


def test_with_nothing_wrong_nothing_is_told(mail: Server) -> None:
    scanning.scanner(mail)
    scanning.scan(mail, began=NOW - HOUR)

    assert remind(mail, NOW, NOW + DAY) == []


def test_a_due_smartscan_is_told_daily_until_it_has_ended(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW)
    told = remind(mail, NOW, NOW + HOUR, NOW + 23 * HOUR, NOW + DAY)
    scanning.scan(mail, began=NOW + DAY)

    assert told == [("scanner_on", Level.WARNING)] * 2
    assert remind(mail, NOW + 3 * DAY) == told


def test_a_halt_is_told_after_a_minute_then_hourly_three_times_then_daily(mail: Server) -> None:
    scanning.scan(mail, began=NOW)
    scanning.scanner(mail, state=Scanner.State.HALTED, since=NOW, reason="The disk is full.")
    hours = [NOW + MINUTE + number * HOUR for number in range(28)]
    told = remind(mail, NOW + timedelta(seconds=30), *hours)

    assert told == [("scanner_halted", Level.CRITICAL)] * 5
    assert "The disk is full." in Notification.objects.first().text  # type: ignore[union-attr]


def test_its_end_is_told_once(mail: Server) -> None:
    scanning.scan(mail, began=NOW)
    scanning.scanner(mail, state=Scanner.State.HALTED, since=NOW)
    remind(mail, NOW + MINUTE)
    Scanner.objects.update(state=Scanner.State.FOLLOWING)

    told = remind(mail, NOW + 2 * MINUTE, NOW + 3 * MINUTE)
    assert [event for event, _ in told] == ["scanner_halted", "scanner_back"]


def test_a_great_lag_is_told_and_again_when_it_doubles(mail: Server) -> None:
    scanning.scan(mail, began=NOW)
    row = scanning.scanner(mail, state=Scanner.State.CATCHING_UP, since=NOW)
    seen = []
    for number, lag_ms in enumerate([299_000, 400_000, 500_000, 800_000], start=1):
        Scanner.objects.filter(pk=row.pk).update(lag_ms=lag_ms)
        seen.append(len(remind(mail, NOW + number * MINUTE)))

    assert seen == [0, 1, 1, 2]


def test_a_scanner_left_disabled_is_told_after_a_day(mail: Server) -> None:
    scanning.scanner(mail, enabled=False, state=Scanner.State.OFF, off_since=NOW)

    told = remind(mail, NOW + HOUR, NOW + DAY, NOW + 25 * HOUR, NOW + 2 * DAY)
    assert told == [("scanner_off", Level.WARNING)] * 2


def test_a_gap_is_told_more_urgently_than_a_switch(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW, due_why=Scanner.Why.GAP, gap_at=NOW)

    told = remind(mail, *[NOW + number * HOUR for number in range(6)])
    assert told == [("scanner_gap", Level.CRITICAL)] * 4


def test_below_the_mailed_level_only_the_page_has_it(mail: Server) -> None:
    row = scanning.scanner(mail)
    connect.set_property(mail, properties.NOTIFICATION_LEVEL, "warning")
    tell(mail, alerts.recovered(row))
    tell(mail, alerts.enabled(row, by="anna"))

    assert Notification.objects.count() == 2
    assert Delivery.objects.get().notification.level == Level.WARNING
