"""The `backupng` command as processes of its own: first use, `--sync`, kills, worker, users."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from backupng.engine.errors import BadRequest
from console.cli import user
from tests.commandline import CommandLine, forking
from tests.console.holding import NOT_BY_ITSELF, held_up, operations_of
from tests.processes import DEADLINE_S

ROOT = Path(__file__).resolve().parent.parent.parent
OWNER = pwd.struct_passwd(("zimbra", "x", 54321, 999, "", "/opt/zimbra", "/bin/sh"))


class Shop:
    """A data folder, and the command run on it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.backup_path = data / "backup" / "mail1"
        self.hold = ExitStack()

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "console.cli", *words],
            cwd=ROOT,
            env={**os.environ, "BACKUPNG_DATA": str(self.data)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command to its end; where it is no matter that it is a process of its own."""
        with forking(self.data) as backupng:
            answer = backupng(*words)
        return answer.exit_status, answer.out.decode(), answer.err

    def response(self, *words: str) -> dict[str, Any]:
        _, out, _ = self.run("--json", *words)
        (body,) = json.loads(out.splitlines()[-1]).values()
        found: dict[str, Any] = body["response"]
        return found

    def release(self) -> None:
        """Let the scans go on."""
        self.hold.close()

    def states(self) -> list[str]:
        """Return the states of all operations, in the order of the queue."""
        with closing(sqlite3.connect(self.data / "db.sqlite3")) as database:
            rows = database.execute("SELECT state FROM console_queuedoperation ORDER BY seq")
            return [state for (state,) in rows]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, tuple[int, str, str]]:
    """Return an empty data folder's first command, which makes a sandbox, and how it ended."""
    shop = Shop(tmp_path_factory.mktemp("first") / "data")
    process = shop.start("sandbox", "createServer", "mail1", "accounts", "2", "items", "0")
    out, err = process.communicate(timeout=DEADLINE_S)
    return shop, (process.returncode, out, err)


def scan_and_change(backupng: CommandLine) -> None:
    """Run a first SmartScan, then have something for the next one; none starts by itself."""
    for name, value in NOT_BY_ITSELF.items():
        backupng.json("setProperty", name, value)
    backupng.json("--sync", "doSmartScan")
    backupng.json("sandbox", "createFolder", "mail1", "a1@example.com", "/New")


@pytest.fixture(scope="module")
def template(first: tuple[Shop, tuple[int, str, str]]) -> Shop:
    """Return that sandbox after a SmartScan, with new mail since."""
    shop, _ = first
    with forking(shop.data) as backupng:
        scan_and_change(backupng)
    return shop


@pytest.fixture
def shop(template: Shop, tmp_path: Path) -> Shop:
    """Return a copy of it for one test."""
    copy = Shop(tmp_path / "data")
    shutil.copytree(template.data, copy.data)
    return copy


@pytest.fixture
def held(shop: Shop) -> Iterator[Shop]:
    """Return it while no scan can write the new mail, until `shop.release()`."""
    with shop.hold:
        shop.hold.enter_context(held_up(shop.backup_path))
        yield shop


def wait_for_progress(process: subprocess.Popen[str]) -> None:
    """Return once the command shows that its operation is at work."""
    assert process.stderr is not None
    assert "0/2" in process.stderr.readline()


def wait_for_lock(shop: Shop) -> None:
    """Return once nobody drains the queue any more."""
    with (shop.data / "state" / "mail1.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


# First use


def test_the_first_command_makes_the_database_silently(
    first: tuple[Shop, tuple[int, str, str]],
) -> None:
    shop, (status, _, err) = first
    assert (status, err) == (0, "")
    assert (shop.data / "db.sqlite3").exists()


def test_what_the_command_makes_is_closed_to_others(template: Shop) -> None:
    assert {path.stat().st_mode & 0o007 for path in template.data.rglob("*")} == {0}


def test_two_first_commands_at_once_are_safe(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "data")
    processes = [shop.start("--json", "getProperty") for _ in range(2)]
    codes = [
        json.loads(each.communicate(timeout=DEADLINE_S)[0])["localhost"]["error"]["code"]
        for each in processes
    ]
    assert codes == ["bad_value", "bad_value"]


def test_a_database_of_a_newer_version_is_refused(shop: Shop) -> None:
    with closing(sqlite3.connect(shop.data / "db.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('console', '9999_later', '2030-01-01')"
        )
    status, out, _ = shop.run("--json", "getProperty")
    assert (status, json.loads(out)["localhost"]["error"]["code"]) == (69, "database_not_ready")


# --sync


def test_sync_works_without_a_worker_and_answers_with_the_counters(shop: Shop) -> None:
    status, out, err = shop.run("--sync", "--json", "doSmartScan")
    response = json.loads(out.splitlines()[-1])["mail1"]["response"]
    assert (status, response["state"], response["losses"]) == (0, "Successful", False)
    assert response["name"] == "SmartScan"
    assert response["counters"]["accounts_scanned"] == 2
    assert response["counters"]["restored"] == 0
    assert "/2" in err


def test_sync_drains_what_was_queued_before_it(shop: Shop) -> None:
    shop.run("doSmartScan")
    status, out, _ = shop.run("--sync", "doSmartScan")
    assert status == 0
    assert "        position          2\n" in out
    assert "result\n        state                Successful\n" in out
    assert shop.states() == ["successful"] * 3


def test_an_operation_that_fails_exits_with_1_and_says_why(shop: Shop) -> None:
    with (shop.backup_path / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, out, _ = shop.run("--sync", "--json", "doSmartScan")
    body = json.loads(out.splitlines()[-1])["mail1"]
    assert (status, body["ok"], body["response"]["state"]) == (1, False, "Failed")
    assert body["error"]["code"] == "path_in_use"


def test_a_killed_command_takes_its_operation_along_and_the_next_drain_says_so(held: Shop) -> None:
    process = held.start("--sync", "doSmartScan")
    wait_for_progress(process)
    (operation,) = operations_of(process.pid)
    end = os.pidfd_open(operation)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    assert select.select([end], [], [], DEADLINE_S)[0] == [end]
    os.close(end)
    assert held.states() == ["successful", "started"]
    held.release()
    status, _, _ = held.run("--sync", "doSmartScan")
    assert (status, held.states()) == (0, ["successful", "interrupted", "successful"])


def test_a_killed_operation_exits_with_4(held: Shop) -> None:
    process = held.start("--sync", "--json", "doSmartScan")
    wait_for_progress(process)
    os.kill(operations_of(process.pid)[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4
    assert json.loads(out)["mail1"]["response"]["state"] == "Interrupted"


def test_ctrl_c_leaves_and_the_operation_goes_on(held: Shop) -> None:
    process = held.start("--sync", "doSmartScan")
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "goes on; follow it: backupng backup monitor " in err
    assert held.states() == ["successful", "started"]
    held.release()
    wait_for_lock(held)
    assert held.states() == ["successful", "successful"]


def test_sync_only_watches_while_somebody_else_drains(held: Shop) -> None:
    first = held.start("--sync", "doSmartScan")
    wait_for_progress(first)
    second = held.start("--sync", "--quiet", "doSmartScan")
    held.release()
    first.communicate(timeout=DEADLINE_S)
    second.communicate(timeout=DEADLINE_S)
    assert (first.returncode, second.returncode) == (0, 0)
    assert held.states() == ["successful"] * 3


# The worker


@pytest.fixture
def worker(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """Return a worker that has begun."""
    process = shop.start("worker")
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "worker: serving mail1\n"
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


def test_a_worker_runs_what_is_queued_until_it_is_told_to_end_and_a_second_one_is_refused(
    shop: Shop, worker: subprocess.Popen[str]
) -> None:
    status, _, err = shop.run("--progress", "doSmartScan")
    assert (status, "no worker" in err) == (0, False)
    assert shop.states() == ["successful", "successful"]
    refused, _, why = shop.run("worker")
    assert (refused, "is running already" in why) == (1, True)
    worker.terminate()
    assert worker.wait(timeout=DEADLINE_S) == 0


# Users


def test_the_data_folder_is_found_as_the_settings_find_it() -> None:
    assert user.data_folder() == settings.DATA_DIR


def test_another_user_than_the_owner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(BadRequest) as caught:
        user.become_owner()
    assert caught.value.code == "not_allowed"


def test_root_starts_anew_as_the_owner_of_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[object, ...]] = []
    monkeypatch.setenv("BACKUPNG_DATA", str(tmp_path))
    monkeypatch.setattr(user, "_ROOT", os.geteuid())
    monkeypatch.setattr(os, "geteuid", lambda: user._ROOT)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: OWNER)
    for name in ("initgroups", "setgid", "setuid", "execve"):
        monkeypatch.setattr(os, name, lambda *words, name=name: steps.append((name, *words)))
    monkeypatch.setattr(
        Path, "stat", lambda _path: os.stat_result((0o700, *(0,) * 3, 54321, 54321, *(0,) * 4))
    )
    user.become_owner()
    assert steps[:3] == [("initgroups", "zimbra", 999), ("setgid", 999), ("setuid", 54321)]
    assert steps[3][:3] == ("execve", sys.executable, [sys.executable, *sys.orig_argv[1:]])
