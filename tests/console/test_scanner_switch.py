"""Enabling and disabling the scanner, and the SmartScan that is required afterwards."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
import time_machine

from backupng.engine.errors import BadRequest
from console import connect, properties
from console.capture import Scanner
from console.cli import config
from console.cli.base import Console
from console.cli.operations import GetAllOperations
from console.models import AuditEntry, Level, Notification, Server, Setting, State
from console.overview import Fault, protection
from console.scanner import switching
from tests.console import scanning
from tests.console.scanning import DAY, HOUR, NOW


@pytest.fixture
def mail(data: Path, db: None) -> Server:
    return scanning.bare_server(data)


def at(moment: datetime) -> time_machine.travel:
    return time_machine.travel(moment, tick=False)


def is_due(server: Server, now: datetime = NOW) -> bool:
    return protection(server, now=now).scan_due


def test_the_first_start_requires_a_smartscan_and_tells_so(mail: Server) -> None:
    with at(NOW):
        acted = [switching.notice(mail), switching.notice(mail)]

    row = Scanner.objects.get()
    told = Notification.objects.get()
    assert acted == [True, False]
    assert (row.enabled, row.due_since, row.due_why, row.missed) == (True, NOW, "first", None)
    assert (told.level, told.event, told.group) == (Level.WARNING, "scanner_on", "alerts")
    assert "a SmartScan is required" in told.subject
    assert "backupng --host mail1 backup doSmartScan" in told.text


def test_disabling_is_told_with_who_did_it(mail: Server) -> None:
    scanning.scanner(mail)
    with at(NOW):
        switching.switch(mail, enabled=False, by="anna")

    row = Scanner.objects.get()
    told = Notification.objects.get()
    assert (row.state, row.off_since, row.enabled) == (Scanner.State.OFF, NOW, False)
    assert (told.level, told.event) == (Level.INFORMATION, "scanner_off")
    assert "anna" in told.text
    assert Setting.objects.get(name=properties.REAL_TIME_SCANNER).value == "false"


def test_enabling_again_says_how_long_it_was_off(mail: Server) -> None:
    scanning.scanner(mail)
    with at(NOW):
        switching.switch(mail, enabled=False, by="anna")
    with at(NOW + 4 * HOUR):
        switching.switch(mail, enabled=True, by="anna")

    row = Scanner.objects.get()
    assert (row.due_why, row.due_since, row.missed) == ("enabled", NOW + 4 * HOUR, 4 * HOUR)
    assert "4 hours" in Notification.objects.get(event="scanner_on").text


def test_to_set_what_is_set_changes_nothing(mail: Server) -> None:
    scanning.scanner(mail)

    assert not switching.switch(mail, enabled=True, by="anna")
    assert not Notification.objects.exists()


# Until when


def test_only_a_smartscan_that_began_later_ends_the_warning(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW)
    scanning.scan(mail, began=NOW)
    before = is_due(mail)
    scanning.scan(mail, began=NOW + HOUR)

    assert (before, is_due(mail)) == (True, False)


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED, State.STARTED, State.INTERRUPTED])
def test_one_that_was_not_successful_ends_no_warning(mail: Server, state: State) -> None:
    scanning.scanner(mail, due_since=NOW)
    scanning.scan(mail, began=NOW + HOUR, state=state)

    assert is_due(mail)


def test_one_with_losses_ends_it(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW)
    row = scanning.scan(mail, began=NOW + HOUR)
    type(row).objects.update(losses=True)

    assert not is_due(mail)


def test_a_running_scan_settles_it_only_if_it_began_later(mail: Server) -> None:
    scanning.scanner(mail, due_since=NOW)
    running = scanning.scan(mail, began=NOW - HOUR, state=State.STARTED)
    early = protection(mail, now=NOW).settles
    type(running).objects.update(started_at=NOW + HOUR)

    assert early is None
    assert protection(mail, now=NOW).settles == running


# How a server is


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"due_since": NOW}, Fault.SCAN_DUE),
        ({"state": Scanner.State.HALTED}, Fault.SCANNER_HALTED),
        ({"seen_at": NOW - HOUR}, Fault.SCANNER_SILENT),
        ({"enabled": False, "state": "off", "off_since": NOW - HOUR}, Fault.SCANNER_OFF),
        ({"enabled": False, "state": "off"}, None),
    ],
)
def test_the_sharpest_fault_is_told(
    mail: Server, changes: dict[str, object], fault: Fault | None
) -> None:
    scanning.scan(mail, began=NOW - HOUR)
    scanning.scanner(mail, **changes)

    assert protection(mail, now=NOW).fault == fault


def test_what_is_captured_live_is_not_old(mail: Server) -> None:
    scanning.scan(mail, began=NOW - 2 * DAY)
    row = scanning.scanner(mail, due_since=NOW - 3 * DAY)
    live = protection(mail, now=NOW)
    row.delete()

    assert (live.fault, live.captured) == (None, NOW)
    assert protection(mail, now=NOW).fault == Fault.OLD


# On the command line


def test_the_command_line_asks_for_a_smartscan(mail: Server) -> None:
    scanning.scanner(mail)
    connect.set_property(mail, properties.REAL_TIME_SCANNER, "false")
    switching.notice(mail)

    said = switching.after_setting(mail, properties.BLOB_CODEC)
    connect.set_property(mail, properties.REAL_TIME_SCANNER, "TRUE")
    invitation = switching.after_setting(mail, properties.REAL_TIME_SCANNER, by="root")

    assert said == ""
    assert invitation.endswith("backupng --host mail1 backup doSmartScan")
    assert AuditEntry.objects.count() == 0


def test_it_asks_for_none_when_it_is_disabled(mail: Server) -> None:
    scanning.scanner(mail)
    connect.set_property(mail, properties.REAL_TIME_SCANNER, "FALSE")

    assert switching.after_setting(mail, properties.REAL_TIME_SCANNER) == ""


def console_of(server: Server | None) -> Console:
    return Console(
        data=Path("/"), now=NOW, clock=lambda: NOW, read_input=lambda: b"", server=server
    )


def test_config_sets_shows_and_takes_back_what_a_server_has(mail: Server) -> None:
    about = {"scope": "server", "host": "MAIL1", "attribute": "zxbackup_realtimescanner"}
    console = console_of(None)

    done = config.ConfigSet(**about, value="FALSE").perform(console)
    own = config.ConfigGet(**about).perform(console)
    back = config.ConfigUnset(**(about | {"host": "localhost"})).perform(console)
    inherited = config.ConfigGet(**about).perform(console)

    assert done == {"server": "mail1", "properties": {properties.REAL_TIME_SCANNER: False}}
    assert (own["values"][0]["value"], own["values"][0]["isInherited"]) == ("false", False)
    assert back["invitation"].startswith("The Real-Time Scanner is enabled.")
    assert (inherited["values"][0]["value"], inherited["values"][0]["isInherited"]) == (
        "true",
        True,
    )
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scope": "domain"}, "scope: 'domain' is not accepted."),
        ({"host": "mail7"}, "There is no server mail7."),
        ({"attribute": "ZxBackup_RealTime"}, "There is no property ZxBackup_RealTime."),
        ({"value": "maybe"}, "maybe"),
    ],
)
def test_config_refuses_what_it_does_not_know(
    mail: Server, changes: dict[str, str], said: str
) -> None:
    words = {"scope": "server", "host": "mail1", "attribute": properties.REAL_TIME_SCANNER}
    with pytest.raises(BadRequest, match=re.escape(said)):
        config.ConfigSet(**(words | {"value": "FALSE"} | changes)).perform(console_of(None))

    assert not Setting.objects.exists()


def test_what_the_scanner_has_left_to_do_is_counted_with_the_operations(mail: Server) -> None:
    row = scanning.scanner(mail)
    before = GetAllOperations().perform(console_of(mail))["realTimeScanOperations"]
    Scanner.objects.filter(pk=row.pk).update(behind_bytes=1)

    assert before == 0
    assert GetAllOperations().perform(console_of(mail))["realTimeScanOperations"] == 1
