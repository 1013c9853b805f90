"""The commands that watch, list and stop operations."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console import hosting
from console.cli import program
from console.models import AuditEntry, QueuedOperation, Server, State
from tests.commandline import forking
from tests.console.holding import held_up, is_waiting, operations_of, wakeups
from tests.console.queued import PROGRESS, RESTORE, add, bare_server, lossy, report, running
from tests.console.test_cli import ROOT, Shop, scan_and_change
from tests.processes import DEADLINE_S

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(data: Path, db: None) -> Server:
    """Return a server that only has a row: these commands open none."""
    return bare_server()


@pytest.fixture
def run(server: Server, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs the words of one command line in this process."""

    def command(*words: str) -> tuple[int, str, str]:
        status = program.run(words)
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return command


def response(out: str, host: str = "mail1") -> dict[str, Any]:
    body = json.loads(out)[host]
    assert body["ok"], body
    found: dict[str, Any] = body["response"]
    return found


def error(out: str, host: str) -> dict[str, Any]:
    body = json.loads(out)[host]
    assert not body["ok"]
    found: dict[str, Any] = body["error"]
    return found


# getAllOperations


def test_what_runs_is_listed_first_then_the_queue_in_order(run: Run) -> None:
    first, second, third = running(), add(State.QUEUED), add(State.QUEUED)
    add(State.FAILED)
    found = response(run("--json", "getAllOperations")[1])
    assert [(each["id"], each["state"], each["position"]) for each in found["operationList"]] == [
        (str(first.pk), "Started", 1),
        (str(second.pk), "Queued", 2),
        (str(third.pk), "Queued", 3),
    ]
    assert found["realTimeScanOperations"] == 0


def test_an_operation_is_listed_with_the_known_keys(run: Run) -> None:
    row = running()
    (listed,) = response(run("--json", "getAllOperations")[1])["operationList"]
    assert listed == {
        "id": str(row.pk),
        "module": "backup",
        "name": "Restore on New Account",
        "descName": "Restore on New Account a1@example.com → new@example.com",
        "state": "Started",
        "host": "mail1",
        "queuedTime": int(row.created_at.timestamp() * 1000),
        "startTime": int(row.started_at.timestamp() * 1000) if row.started_at else None,
        "parameters": RESTORE,
        "monitorCommand": f"backupng backup monitor {row.pk} operation_host mail1",
        "position": 1,
    }


def test_verbose_tells_who_asked_and_how_far_it_is(run: Run) -> None:
    notified = RESTORE | {"notifications": "b@example.com,c@example.com"}
    running(requester_name="root", parameters=notified)
    out = run("--json", "getAllOperations", "verbose", "true")[1]
    (listed,) = response(out)["operationList"]
    assert (listed["requester"], listed["origin"]) == ("root", "CLI")
    assert listed["progress"] == PROGRESS
    assert listed["extraAddresses"] == ["b@example.com", "c@example.com"]
    assert listed["parameters"] == RESTORE


def test_operations_are_listed_as_blocks(run: Run) -> None:
    row = add(State.QUEUED)
    _, out, _ = run("getAllOperations")
    assert out == (
        "operations\n"
        f"        id           {row.pk}\n"
        "        name         SmartScan\n"
        "        state        Queued\n"
        "        host         mail1\n"
        f"        queued at    {row.created_at:%d/%m/%Y %H:%M:%S}\n"
        "        started at\n"
        "        position     1\n"
    )
    assert "monitor command" in run("getAllOperations", "verbose", "true")[1]


def test_an_empty_queue_says_so(run: Run) -> None:
    assert run("getAllOperations")[1] == "operations   none is running or queued\n"


def test_with_several_servers_one_must_be_named_or_all(run: Run) -> None:
    bare_server("mail2")
    status, out, _ = run("--json", "getAllOperations")
    assert (status, error(out, "localhost")["code"]) == (64, "usage")
    status, out, _ = run("--json", "--host", "all_servers", "getAllOperations")
    assert (status, list(json.loads(out))) == (0, ["mail1", "mail2"])


# monitor


@pytest.mark.parametrize(
    ("state", "fields", "status"),
    [
        (State.SUCCESSFUL, {"outcome": report()}, 0),
        (State.SUCCESSFUL, lossy(), 5),
        (State.FAILED, {}, 1),
        (State.STOPPED, {}, 2),
        (State.REMOVED, {}, 3),
        (State.INTERRUPTED, {}, 4),
    ],
)
def test_monitor_ends_with_the_result_of_what_has_ended(
    run: Run, state: State, fields: dict[str, Any], status: int
) -> None:
    row = add(state, **fields)
    assert run("--sync", "monitor", str(row.pk))[0] == status
    assert run("monitor", str(row.pk))[0] == 0


def test_monitor_prints_the_stored_result_at_once(run: Run) -> None:
    _, out, _ = run("monitor", str(add(**lossy()).pk))
    assert "        state        Successful, with losses\n" in out
    assert "        Unrestored Items   3\n" in out
    assert "        unrestored items   856,13339\n" in out


def test_monitor_answers_in_json_under_the_host_of_the_operation(run: Run) -> None:
    out = run("--json", "monitor", str(add(**lossy()).pk))[1]
    assert response(out)["counters"]["unrestored"] == 3


def test_the_beginning_of_an_id_is_enough(run: Run) -> None:
    row = add()
    assert str(row.pk) in run("monitor", str(row.pk)[:6])[1]
    assert str(row.pk) in run("monitor", str(row.pk)[:13].upper())[1]


def test_a_beginning_that_fits_several_is_refused_with_their_names(run: Run) -> None:
    names = [uuid.UUID(f"30ed9eb9-eb28-4ca6-b65e-99406{digit}4b8601") for digit in range(2)]
    for name in names:
        add(id=name)
    status, out, _ = run("--json", "monitor", "30ed9eb9")
    found = error(out, "localhost")
    assert (status, found["code"]) == (64, "bad_value")
    assert all(str(name) in found["hint"] for name in names)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (str(uuid.UUID(int=7)), "no_such_operation"),
        ("30ed9", "bad_value"),
        ("30ed9eb9%", "bad_value"),
        ("the last one", "bad_value"),
    ],
)
def test_an_id_that_is_unknown_or_none_is_refused(run: Run, text: str, code: str) -> None:
    add()
    status, out, _ = run("--json", "monitor", text)
    assert (status, error(out, "localhost")["code"]) == (64, code)


def test_an_operation_of_another_host_is_hinted_at(run: Run) -> None:
    row = add()
    status, out, _ = run("--json", "monitor", str(row.pk), "operation_host", "mail2")
    found = error(out, "localhost")
    assert (status, found["code"]) == (64, "no_such_operation")
    assert f"monitor {row.pk} operation_host mail1" in found["hint"]
    assert run("monitor", str(row.pk), "operation_host", "MAIL1")[0] == 0


# Stopping


def test_what_waits_is_removed_and_who_did_it_is_kept(run: Run) -> None:
    row = add(State.QUEUED)
    out = run("--json", "doStopOperation", str(row.pk))[1]
    row.refresh_from_db()
    assert response(out)["state"] == "Removed"
    assert (row.state, row.stop_requested_by) == ("removed", hosting.user_name())
    entry = AuditEntry.objects.get(action="stop operation")
    assert (entry.user, entry.client, entry.subject) == (hosting.user_name(), "cli", str(row.pk))


def test_what_runs_is_asked_to_stop(run: Run) -> None:
    row = running()
    assert "state         Stopping" in run("doStopOperation", str(row.pk)[:8])[1]
    row.refresh_from_db()
    assert row.stop_requested_by == hosting.user_name()


def test_what_has_ended_cannot_be_stopped(run: Run) -> None:
    status, out, _ = run("--json", "doStopOperation", str(add(State.FAILED).pk))
    found = error(out, "mail1")
    assert (status, found["code"]) == (64, "already_ended")
    assert "had ended already: Failed" in found["message"]


def test_all_are_stopped_and_counted(run: Run) -> None:
    running()
    add(State.QUEUED)
    add(State.QUEUED)
    assert run("doStopAllOperations")[1] == "stopped   1\nremoved   2\n"
    assert sorted(row.shown_state for row in QueuedOperation.objects.all()) == [
        *("Removed", "Removed", "Stopping"),
    ]
    assert AuditEntry.objects.get(action="stop all operations").detail == "1 stopped, 2 removed"


# With operations that really run


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Return a sandbox after a SmartScan, with new mail since."""
    shop = Shop(tmp_path_factory.mktemp("operations") / "data")
    with forking(shop.data) as backupng:
        backupng.json("sandbox", "createServer", "mail1", "accounts", 2, "items", 0)
        scan_and_change(backupng)
    return shop


@pytest.fixture
def shop(template: Shop, tmp_path: Path) -> Iterator[Shop]:
    """Return a copy of it while no scan can write the new mail, until `shop.release()`."""
    copy = Shop(tmp_path / "data")
    shutil.copytree(template.data, copy.data)
    with copy.hold:
        copy.hold.enter_context(held_up(copy.backup_path))
        yield copy


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read standard error up to the line with that text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text} was never printed")


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it holds: of a signal that reached another process no event tells."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def operation_of(shop: Shop) -> str:
    """Return the id of the one that runs."""
    (listed,) = shop.response("getAllOperations")["operationList"]
    found: str = listed["id"]
    return found


def test_monitor_watches_to_the_end_and_ctrl_c_only_leaves(shop: Shop) -> None:
    drain = shop.start("--sync", "--progress", "doSmartScan")
    read_until(drain, "0/2")
    operation = operation_of(shop)
    leaving, staying = shop.start("monitor", operation), shop.start("monitor", operation)
    read_until(leaving, "0/2")
    read_until(staying, "0/2")
    leaving.send_signal(signal.SIGINT)
    _, err = leaving.communicate(timeout=DEADLINE_S)
    assert (leaving.returncode, "goes on; follow it" in err) == (0, True)
    shop.release()
    out, _ = staying.communicate(timeout=DEADLINE_S)
    drain.communicate(timeout=DEADLINE_S)
    assert (staying.returncode, drain.returncode) == (0, 0)
    assert "result\n        state                Successful\n" in out


def test_what_runs_ends_as_stopped_at_its_next_safe_point(shop: Shop) -> None:
    drain = shop.start("--sync", "doSmartScan")
    read_until(drain, "0/2")
    (process,) = operations_of(drain.pid)
    wait_until(lambda: is_waiting(process))
    woken = wakeups(process)
    assert shop.response("doStopOperation", operation_of(shop))["state"] == "Stopping"
    wait_until(lambda: wakeups(process) > woken)
    shop.release()
    drain.communicate(timeout=DEADLINE_S)
    assert drain.returncode == 2


def test_an_interactive_terminal_is_asked_before_all_are_stopped(shop: Shop) -> None:
    shop.run("doSmartScan")
    shop.release()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "console.cli", "doStopAllOperations"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "BACKUPNG_DATA": str(shop.data)},
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
    )
    os.close(theirs)
    asked = b""
    while b"[yes/no]" not in asked:
        asked += os.read(ours, 4096)
    os.write(ours, b"no\n")
    out, _ = process.communicate(timeout=DEADLINE_S)
    os.close(ours)
    assert b"removes all that waits on mail1." in asked
    assert (process.returncode, out) == (64, b"")
    _, out_of_all, _ = shop.run("--yes", "doStopAllOperations")
    assert out_of_all == "stopped   0\nremoved   1\n"
