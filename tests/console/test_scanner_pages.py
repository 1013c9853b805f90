"""The scanner on the pages: its card, its switch, and the warning that stays."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from console import connect, properties
from console.capture import LAG_SAMPLES, Sample, Scanner
from console.models import AuditEntry, Notification, QueuedOperation, Server, State
from console.scanner import switching
from tests.console import scanning
from tests.console.scanning import HOUR, NOW

TAB, SWITCH, LIVE = "/servers/mail1/", "/servers/mail1/scanner/", "/servers/mail1/live/"
REQUIRED = "a SmartScan is required."


@pytest.fixture
def mail(data: Path, db: None) -> Server:
    return scanning.bare_server(data)


@pytest.fixture
def moment() -> time_machine.travel:
    """Let it be NOW while a page is drawn."""
    return time_machine.travel(NOW, tick=False)


def browser(role: str) -> Client:
    user, _made = User.objects.get_or_create(username=role.lower())
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def text_of(client: Client, path: str) -> str:
    text = unescape(client.get(path).content.decode())
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))


def test_the_verdict_names_the_last_captured_second(
    mail: Server, moment: time_machine.travel
) -> None:
    scanning.scan(mail, began=NOW - HOUR)
    scanning.scanner(mail)
    with moment:
        viewer = browser("Viewer")
        tab, dashboard = text_of(viewer, TAB), text_of(viewer, "/")
        clock = f"{NOW.astimezone():%H:%M:%S}"

    last = f"last captured second {clock}."
    assert f"Backup NG on mail1: protecting 182 accounts; {last}" in tab
    assert f"182 accounts on 1 server are protected; {last}" in dashboard


def test_the_card_shows_position_lag_events_and_the_last_gap(
    mail: Server, moment: time_machine.travel
) -> None:
    day = NOW.astimezone(mail.zone_info).date()
    gap = {"reason": "the redo log of sequence 4 is missing"}
    scanning.scanner(
        mail, day=day, events=48_210, lag_ms=1800, peak_ms=41_000, gap=gap, gap_at=NOW - HOUR
    )
    Sample.objects.create(server=mail, name=LAG_SAMPLES, at=NOW - HOUR, value=41_000)
    with moment:
        viewer = browser("Viewer")
        text, drawn = text_of(viewer, TAB), viewer.get(TAB).content.decode()

    assert "✓ Following" in text
    assert "redo 2041 · 18 442 112" in text
    assert "1.8 s (peak today 41 s)" in text
    assert "48 210" in text
    assert gap["reason"] in text
    assert '<svg viewBox="0 0 300 60" class="chart" role="img"' in drawn
    assert "The lag peaked at 41 s at" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seen_at": NOW - HOUR}, "✕ No sign of life"),
        ({"state": "halted", "reason": "The disk is full.", "hint": "Make room."}, "Make room."),
        ({"state": "off", "enabled": False, "off_since": NOW, "reason": "anna"}, "by anna since"),
        ({"state": "idle", "reason": "The Backup Path does not exist yet."}, "does not exist yet"),
    ],
)
def test_the_card_says_why_nothing_is_captured(
    mail: Server, moment: time_machine.travel, changes: dict[str, object], said: str
) -> None:
    scanning.scanner(mail, **changes)
    with moment:
        assert said in text_of(browser("Viewer"), LIVE)


def test_a_server_whose_scanner_never_ran_says_how_it_starts(mail: Server) -> None:
    text = text_of(browser("Viewer"), LIVE)

    assert "Never started" in text
    assert "backupng run" in text


# The warning


def test_the_warning_stays_for_everybody_until_a_later_scan_has_ended(
    mail: Server, moment: time_machine.travel
) -> None:
    scanning.scan(mail, began=NOW - HOUR)
    connect.set_property(mail, properties.SCAN_ON_STARTUP, "false")
    with moment:
        anna, other = browser("Administrator"), browser("Operator")
        anna.post(SWITCH, {"enabled": "yes"})
        seen = [text_of(anna, TAB), text_of(anna, TAB), text_of(other, TAB), text_of(other, "/")]
        anna.post(reverse("logout"))
        again = text_of(browser("Administrator"), TAB)
        scanning.scan(mail, began=NOW + HOUR)
        after = text_of(other, TAB)

    assert [REQUIRED in text for text in seen[:3]] == [True] * 3
    assert "requires a SmartScan" in seen[3]
    assert "backupng --host mail1 backup doSmartScan" in again
    assert REQUIRED not in after


def test_it_says_how_long_the_scanner_was_off(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW, due_why="enabled", missed_from=NOW - 4 * HOUR)
    Scanner.objects.update(missed_until=NOW + timedelta(minutes=12))

    assert "in the 4 h 12 min from" in text_of(browser("Viewer"), TAB)


def test_a_scan_that_will_do_takes_the_place_of_the_button(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW)
    row = scanning.scan(mail, began=None, state=State.QUEUED)
    operator = browser("Operator")
    drawn = operator.get(LIVE).content.decode()

    assert "A SmartScan is queued: this passes when it has ended successfully." in unescape(drawn)
    assert reverse("operation", args=[row.pk]) in drawn
    assert "Run SmartScan" not in drawn


def test_one_that_began_before_does_not(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW)
    scanning.scan(mail, began=NOW - HOUR, state=State.STARTED)
    text = text_of(browser("Operator"), LIVE)

    assert "began before that: another one is required." in text
    assert "Run SmartScan" in text


# The switch


def test_disable_asks_first_and_the_safe_answer_has_the_focus(mail: Server) -> None:
    scanning.scanner(mail)
    client = browser("Administrator")
    text, drawn = text_of(client, SWITCH), client.get(SWITCH).content.decode()

    assert "The only recommended reason is an External Restore of several domains" in text
    assert "then a SmartScan is required" in text
    assert "autofocus>Keep it enabled</a>" in drawn
    assert Scanner.objects.get().enabled


def test_an_administrator_disables_and_enables_and_it_is_written_down(mail: Server) -> None:
    scanning.scanner(mail)
    client = browser("Administrator")
    answers = [client.post(SWITCH, {"enabled": word}) for word in ("no", "yes", "yes")]

    found = AuditEntry.objects.exclude(action="login").order_by("pk")
    assert [answer.status_code for answer in answers] == [303] * 3
    assert list(found.values_list("action", "subject", "result")) == [
        ("disable scanner", "mail1", "done"),
        ("enable scanner", "mail1", "done"),
        ("enable scanner", "mail1", "unchanged"),
    ]
    assert connect.values(mail)[properties.REAL_TIME_SCANNER].value is True


def test_enabling_queues_the_smartscan_that_the_property_asks_for(mail: Server) -> None:
    scanning.scanner(mail, enabled=False, state="off", off_since=NOW)
    connect.set_property(mail, properties.REAL_TIME_SCANNER, "false")
    client = browser("Administrator")
    client.post(SWITCH, {"enabled": "yes"})

    row = QueuedOperation.objects.get()
    text = text_of(client, TAB)
    assert (row.command, row.requester_name) == ("doSmartScan", "administrator")
    assert "A SmartScan is queued: this passes when it has ended successfully." in text


@pytest.mark.parametrize("role", ["Viewer", "Operator"])
def test_nobody_else_may_and_no_control_is_drawn(mail: Server, role: str) -> None:
    scanning.scanner(mail)
    client = browser(role)

    assert client.post(SWITCH, {"enabled": "no"}).status_code == 403
    assert SWITCH not in client.get(LIVE).content.decode()
    assert switching.is_wanted(mail)


def test_its_notifications_have_pages(mail: Server) -> None:
    scanning.scanner(mail)
    client = browser("Administrator")
    client.post(SWITCH, {"enabled": "no"})

    told = Notification.objects.get(event="scanner_off")
    assert "Real-Time Scanner disabled" in text_of(client, f"/notifications/{told.pk}/")


# The live part


def test_the_card_is_answered_only_when_something_changed(
    mail: Server, moment: time_machine.travel
) -> None:
    scanning.scanner(mail, enabled=False, state="off", off_since=NOW)
    connect.set_property(mail, properties.REAL_TIME_SCANNER, "false")
    with moment:
        client = browser("Administrator")
        drawn = client.get(TAB).content.decode().partition(LIVE)[2]
        version = drawn.partition("?version=")[2].partition('"')[0]
        same = client.get(f"{LIVE}?version={version}")
        Scanner.objects.update(offset=5)
        changed = client.get(f"{LIVE}?version={version}")

    assert 'name="csrfmiddlewaretoken"' in drawn
    assert (same.status_code, changed.status_code) == (204, 200)
    assert 'hx-trigger="every 3s"' in changed.content.decode()
