"""The scanner's service with its real process on a sandbox: follow, switch, kill, resume."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from getpass import getuser
from typing import Any

import pytest

from tests.commandline import ROOT, ForkingCommandLine, forking
from tests.console.holding import children
from tests.processes import DEADLINE_S, lives, until

ACCOUNT = "a1@example.com"
SCANNER = "ZxBackup_RealTimeScanner"


class Shop:
    """A sandbox, the command line, and the service of its scanner."""

    def __init__(self, backupng: ForkingCommandLine) -> None:
        self.backupng = backupng
        self.mail = backupng.data / "mail.eml"
        self.mail.write_text("From: x@example.com\nSubject: news\n\nbody\n", encoding="ascii")
        self.service: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Start the service and return the number of the process that follows, once it does."""
        self.begin()
        return self.await_process()

    def begin(self) -> None:
        """Start the service, whatever becomes of it."""
        variables = {"DJANGO_SETTINGS_MODULE": "backupng.settings"}
        with (self.backupng.data / "scanner.log").open("ab") as log:
            self.service = subprocess.Popen(
                [sys.executable, "-m", "django", "scanner", "mail1"],
                cwd=ROOT,
                env=self.backupng.environment | variables,
                stderr=log,
            )

    def await_process(self) -> int:
        """Return the number of the process that follows, once it does."""
        assert self.service
        service = self.service.pid
        until(lambda: bool(children(service)) and self.row().get("state") == "following")
        (process,) = children(service)
        return process

    def end(self, number: signal.Signals) -> int:
        """Signal the service and wait for its end."""
        assert self.service
        self.service.send_signal(number)
        return self.service.wait(DEADLINE_S)

    def row(self) -> dict[str, Any]:
        """Return what the database says of the scanner; empty before it first ran."""
        return next(iter(self.rows("SELECT * FROM console_scanner")), {})

    def told(self) -> list[str]:
        """Return the events that notifications told of the scanner, the first one first."""
        found = self.rows("SELECT event FROM console_notification ORDER BY created_at")
        return [each["event"] for each in found]

    def rows(self, question: str) -> list[dict[str, Any]]:
        """Ask the database."""
        with closing(sqlite3.connect(self.backupng.data / "db.sqlite3")) as database:
            database.row_factory = sqlite3.Row
            return [dict(each) for each in database.execute(question)]

    def deliver(self) -> int:
        """Deliver a mail and return its item."""
        found: int = self.backupng.json("sandbox", "deliver", "mail1", ACCOUNT, self.mail)["id"]
        return found

    def is_captured(self, item: int) -> bool:
        """Say whether the Backup Path has an item."""
        return self.backupng("--json", "getItem", ACCOUNT, item).exit_status == 0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with forking(tmp_path_factory.mktemp("scanner")) as backupng:
        backupng.json("sandbox", "createServer", "mail1", "accounts", 1, "items", 0)
        made = Shop(backupng)
        yield made
        if made.service and made.service.poll() is None:
            made.end(signal.SIGTERM)


def test_it_follows_obeys_its_switch_and_goes_on_where_it_was(shop: Shop) -> None:
    first = shop.start()
    live = shop.deliver()
    until(lambda: shop.is_captured(live))

    shop.backupng.json("config", "set", "server", "mail1", SCANNER, "FALSE")
    until(lambda: not lives(first))
    missed, who = shop.deliver(), shop.row()["reason"]
    captured_while_off = shop.is_captured(missed)
    invited = shop.backupng.json("setProperty", SCANNER, "TRUE")
    shop.await_process()
    until(lambda: shop.is_captured(missed))

    row = shop.row()
    assert not captured_while_off
    assert who == getuser()
    assert shop.told() == ["scanner_on", "scanner_off", "scanner_on"]
    assert "doSmartScan" in invited["invitation"]
    assert (row["state"], row["due_why"], row["gap_at"]) == ("following", "enabled", None)


def test_a_kill_takes_the_process_along_and_the_next_start_goes_on(shop: Shop) -> None:
    process = shop.await_process() if shop.service else shop.start()
    due = shop.row()["due_since"]
    shop.end(signal.SIGKILL)
    until(lambda: not lives(process))
    meanwhile = shop.deliver()
    shop.start()
    until(lambda: shop.is_captured(meanwhile))

    assert shop.row()["due_since"] == due


def test_a_second_one_is_refused(shop: Shop) -> None:
    if shop.service is None:
        shop.start()
    second = subprocess.run(
        [sys.executable, "-m", "django", "scanner", "mail1"],
        cwd=ROOT,
        env=shop.backupng.environment | {"DJANGO_SETTINGS_MODULE": "backupng.settings"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert second.returncode == 1
    assert "A scanner for mail1 is running already." in second.stderr


def test_a_process_that_dies_is_told_and_started_again(shop: Shop) -> None:
    process = shop.await_process() if shop.service else shop.start()
    os.kill(process, signal.SIGKILL)
    until(lambda: shop.row()["state"] == "halted")
    again = shop.await_process()

    assert again != process
    assert shop.end(signal.SIGTERM) == 0
    assert not lives(again)
    assert shop.row()["state"] == "idle"


def test_without_a_redo_log_it_is_halted_and_tries_again_by_itself(shop: Shop) -> None:
    if shop.service and shop.service.poll() is None:
        shop.end(signal.SIGTERM)
    logs = shop.backupng.data / "servers" / "mail1" / "redolog"
    logs.rename(logs.with_name("away"))
    shop.begin()
    until(lambda: shop.row().get("state") == "halted")
    reason = shop.row()["reason"]
    logs.with_name("away").rename(logs)
    shop.await_process()

    assert str(logs) in reason
