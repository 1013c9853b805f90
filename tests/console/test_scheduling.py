"""SmartScans that run by themselves: the timetable, the start, the command and the settings."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from backupng.engine.errors import BadRequest
from backupng.engine.operations.smart_scan import SmartScan
from console import properties, queue, scheduling
from console.cli import program
from console.models import AuditEntry, QueuedOperation, Server, Setting, State
from console.timetable import Timetable, check_pattern, is_timetable
from tests.console import scanning
from tests.console.test_settings_page import admin as admin
from tests.console.test_settings_page import as_role

ROME = ZoneInfo("Europe/Rome")
NIGHT = datetime(2026, 3, 3, 4, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NIGHTLY = Timetable(enabled=True, pattern="0 4 * * *")


def scans() -> list[tuple[str, str]]:
    rows = QueuedOperation.objects.order_by("seq")
    return list(rows.values_list("command", "origin"))


def run_at(server: Server, moment: datetime) -> None:
    scheduling.run_due(server, clock=lambda: moment)


# The timetable


def test_a_timetable_reads_what_it_writes() -> None:
    assert Timetable.parse(" TRUE  0 4 * *  mon-fri").spell() == "true 0 4 * * mon-fri"


@pytest.mark.parametrize(
    "text", ["", "true", "0 4 * * *", "true 0 4 31 2 *", "true 0 4 * * * *", "true @daily"]
)
def test_what_is_no_timetable_is_refused(text: str) -> None:
    assert not is_timetable(text)


def test_a_time_that_comes_twice_in_autumn_counts_once() -> None:
    twice = Timetable(enabled=True, pattern="30 2 * * *")
    noon = datetime(2026, 10, 24, 12, tzinfo=ROME)

    first = twice.next_run(noon, ROME)
    assert first is not None
    second = twice.next_run(first, ROME)

    assert second is not None
    assert (second - first.astimezone(UTC)) == timedelta(hours=25)


def test_what_is_switched_off_never_runs() -> None:
    off = Timetable(enabled=False, pattern="* * * * *")

    assert off.last_run(NIGHT - MINUTE, NIGHT, UTC) is None


def test_a_pattern_that_cannot_be_is_refused_with_what_is_expected() -> None:
    with pytest.raises(BadRequest, match=r"'0 4 \* \*' is no cron pattern: it has 4 fields"):
        check_pattern("0 4 * *")


@pytest.mark.parametrize("pattern", ["0 0 */29 2 MON#5", "0 0 30 2 *"])
def test_a_pattern_that_no_day_matches_is_refused(pattern: str) -> None:
    with pytest.raises(BadRequest, match="is no cron pattern: "):
        check_pattern(pattern)
    assert not is_timetable(f"true {pattern}")


# The queue


def test_a_scan_is_queued_once_when_its_time_has_come(server: Server) -> None:
    run_at(server, NIGHT - MINUTE)
    assert scans() == []

    run_at(server, NIGHT)
    QueuedOperation.objects.update(state=State.REMOVED)
    run_at(server, NIGHT + MINUTE)

    assert scans() == [("doSmartScan", "schedule")]


def test_the_pattern_is_in_the_time_zone_of_the_server(server: Server) -> None:
    server.zone = "Europe/Rome"

    run_at(server, NIGHT - timedelta(hours=1))

    assert len(scans()) == 1


def test_what_was_missed_is_not_caught_up(server: Server) -> None:
    run_at(server, NIGHT + timedelta(hours=1))

    assert scans() == []


def test_one_that_waits_already_or_has_begun_since_is_enough(server: Server) -> None:
    waiting = queue.submit(server, SmartScan())
    run_at(server, NIGHT)
    assert len(scans()) == 1

    QueuedOperation.objects.filter(pk=waiting.pk).update(state=State.STARTED, started_at=NIGHT)
    run_at(server, NIGHT + MINUTE)

    assert len(scans()) == 1


def test_a_start_queues_one_scan_however_often_its_worker_comes_again(server: Server) -> None:
    scanning.scanner(server)
    scheduling.on_start(server, "a")
    QueuedOperation.objects.update(state=State.SUCCESSFUL)
    scheduling.on_start(server, "a")
    assert len(scans()) == 1

    scheduling.on_start(server, "b")

    assert len(scans()) == 2


@pytest.mark.parametrize("row", [None, {"sequence": None}])
def test_a_start_leaves_the_scan_to_a_scanner_that_has_never_stood(
    server: Server, row: dict[str, Any] | None
) -> None:
    if row is not None:
        scanning.scanner(server, **row)

    assert scheduling.on_start(server, "a") is None
    assert scans() == []


def test_a_start_queues_the_scan_where_the_scanner_is_disabled(server: Server) -> None:
    Setting.objects.create(name=properties.REAL_TIME_SCANNER, value="false")
    scheduling.on_start(server, "a")

    assert scans() == [("doSmartScan", "schedule")]


def test_a_start_queues_nothing_where_the_property_says_so(server: Server) -> None:
    scanning.scanner(server)
    Setting.objects.create(name=properties.SCAN_ON_STARTUP, value="false")

    assert scheduling.on_start(server, "a") is None
    assert scans() == []


# The command


def test_the_command_shows_where_a_timetable_comes_from_and_its_next_run(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    Setting.objects.create(name=properties.SMART_SCAN_SCHEDULER, value="true 30 1 * * *")

    status = program.run(["scheduler", "SmartScan", "get", "server", "--json"])

    found = json.loads(capfd.readouterr().out)["mail1"]["response"]
    assert status == 0
    assert (found["enabled"], found["pattern"]) == (True, "30 1 * * *")
    assert found["inherited_from"] == "global"
    assert found["next_run"] > timezone.now().timestamp() * 1000


def test_the_command_sets_a_server_or_all_and_keeps_what_is_not_named(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    first = program.run(["scheduler", "SmartScan", "set", "global", "pattern", "5 3 * * *"])
    second = program.run(["scheduler", "smartscan", "set", "server", "enabled", "false"])

    assert (first, second) == (0, 0)
    kept = Setting.objects.order_by("server").values_list("server", "value")
    assert set(kept) == {(None, "true 5 3 * * *"), (server.pk, "false 5 3 * * *")}
    assert "5 3 * * *" in capfd.readouterr().out
    assert AuditEntry.objects.filter(subject=properties.SMART_SCAN_SCHEDULER).count() == 2


def test_what_is_set_for_all_servers_needs_none_to_be_named(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    Server.objects.create(name="mail2", kind="sandbox")

    status = program.run(["scheduler", "SmartScan", "set", "global", "pattern", "5 3 * * *"])
    lines = capfd.readouterr().out.splitlines()
    program.run(["--json", "scheduler", "SmartScan", "get", "global"])

    found = json.loads(capfd.readouterr().out)["localhost"]["response"]
    zone = ZoneInfo(found["zone"])
    next_run = datetime.fromtimestamp(found["next_run"] / 1000, tz=zone)
    assert status == 0
    assert f"next run         {next_run:%d/%m/%Y} 03:05:00 {next_run:%Z}" in lines[-1]
    assert "changed" not in found


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("coffee", "get", "server"), "schedule: 'coffee' is not accepted."),
        (("SmartScan", "set", "server"), "Nothing to set was given."),
        (("SmartScan", "set", "server", "pattern", "0 4 31 2 *"), "is no cron pattern"),
        (("SmartScan", "get", "server", "target_server", "other"), "target_server: 'other'"),
    ],
)
def test_the_command_refuses_what_cannot_be(
    server: Server, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    status = program.run(["scheduler", *words])

    assert status == 64
    assert sentence in capfd.readouterr().err
    assert not Setting.objects.exists()


# The page


def test_the_box_and_the_pattern_of_the_page_are_kept_for_all_servers(admin: Client) -> None:
    answer = admin.post(
        "/settings/schedules/",
        {"pattern": "0 5 * * mon", "purging": "on", "purge_pattern": "0 5 * * 0"},
    )

    assert answer.headers["Location"] == "/settings/"
    assert dict(Setting.objects.values_list("name", "value")) == {
        properties.SMART_SCAN_SCHEDULER: "false 0 5 * * mon",
        properties.SCAN_ON_STARTUP: "false",
        properties.PURGE_SCHEDULER: "true 0 5 * * 0",
    }


def test_the_page_shows_what_is_set_and_the_next_runs(admin: Client, server: Server) -> None:
    text = admin.get("/settings/").content.decode()

    assert "Scan Operation Scheduling" in text
    assert text.count("04:00:00 UTC") == 10
    assert "a SmartScan every day at 04:00, next at" in text
    assert "a Purge every Saturday at 04:00, next at" in text


def test_saving_the_defaults_keeps_nothing(admin: Client) -> None:
    scans = {"scheduling": "on", "pattern": "0 4 * * *", "on_start": "on"}
    purges = {"purging": "on", "purge_pattern": "0 4 * * 6"}
    admin.post("/settings/schedules/", scans | purges)

    assert not Setting.objects.exists()


def test_a_wrong_pattern_is_told_on_the_page_and_changes_nothing(admin: Client) -> None:
    answer = admin.post("/settings/schedules/", {"scheduling": "on", "pattern": "0 4 31 2 *"})

    assert answer.status_code == 422
    assert "is no cron pattern" in answer.content.decode()
    assert not Setting.objects.exists()


def test_only_who_may_change_settings_changes_them(client: Client, db: None) -> None:
    viewer = as_role(client, "Viewer")

    assert viewer.post("/settings/schedules/", {"pattern": "0 5 * * *"}).status_code == 403
    assert not Setting.objects.exists()


@pytest.mark.parametrize(
    ("text", "words", "has_next"),
    [
        ("true 30 4 * * *", "every day at 04:30", True),
        ("true 0 4 * * mon", "by the pattern 0 4 * * mon", True),
        ("false 0 4 * * *", "off", False),
    ],
)
def test_the_tab_of_a_server_says_when_smartscans_run_by_themselves(
    admin: Client, server: Server, *, text: str, words: str, has_next: bool
) -> None:
    Setting.objects.create(server=server, name=properties.SMART_SCAN_SCHEDULER, value=text)

    page = admin.get("/servers/mail1/").content.decode()

    shown = page.partition(f">{properties.SMART_SCAN_SCHEDULER}</dt>")[2].partition("</dd>")[0]
    assert f"<dd>{words} <span" in shown
    assert f">{properties.SCAN_ON_STARTUP}</dt>" in page
    assert (">Next SmartScan</dt>" in page) == has_next
