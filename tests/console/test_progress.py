"""The progress of a running operation in its row, and the entries of its log."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.smart_scan import SmartScan
from backupng.engine.operations.words import LAST, AccountName, AccountNameOrId
from console import connect, hosting, queue
from console.models import QueuedOperation, Server, State
from console.progress import Progress, Rate

COUNTS = {"items_checked": 10}
NOTED = {"phase": "a1@example.com", "done": 0, "total": 2, "counts": COUNTS}


class Clock:
    """Time as a test sets it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def row(server: Server) -> QueuedOperation:
    """Return a started row."""
    made = queue.submit(server, SmartScan())
    QueuedOperation.objects.filter(pk=made.pk).update(state=State.STARTED, token=uuid.uuid4())
    made.refresh_from_db()
    return made


def test_progress_is_written_once_a_second_with_a_growing_number(
    row: QueuedOperation, clock: Clock
) -> None:
    watched = Progress(row, clock=clock)
    for second in (0.0, 0.4, 0.4, 0.4):
        clock.now += second
        watched.note(NOTED)
        watched.look()
    row.refresh_from_db()
    assert row.progress == NOTED | {"rate": 0.0, "rev": 2}


def test_a_sign_of_life_is_written_though_nothing_moves(row: QueuedOperation, clock: Clock) -> None:
    watched = Progress(row, clock=clock)
    watched.note(NOTED)
    watched.look()
    row.refresh_from_db()
    before = row.progress_at
    assert before is not None

    for _ in range(5):
        clock.now += 1
        watched.look()

    row.refresh_from_db()
    assert row.progress_at is not None
    assert row.progress_at > before
    assert row.progress["rev"] == 1


def test_a_stop_is_seen_within_a_second(row: QueuedOperation, clock: Clock) -> None:
    watched = Progress(row, clock=clock)
    assert not watched.look()
    queue.stop(row, by="john")
    assert not watched.look()
    clock.now += 1
    assert watched.look()


def test_progress_of_an_earlier_claim_is_not_written(row: QueuedOperation) -> None:
    watched = Progress(row)
    QueuedOperation.objects.filter(pk=row.pk).update(token=uuid.uuid4())
    watched.note(NOTED)
    watched.look()
    row.refresh_from_db()
    assert row.progress == {}


def test_the_rate_is_the_mean_of_the_last_minute() -> None:
    rate = Rate()
    for second in range(0, 200, 10):
        speed = 5 if second < 100 else 2
        rate.add(second, {"phase": "x", "done": speed * (second - 100), "total": 0, "counts": {}})
    assert rate.per_s() == 2.0


def test_a_new_phase_is_counted_anew() -> None:
    rate = Rate()
    rate.add(0, {"phase": "reading", "done": 50, "counts": {}})
    rate.add(1, {"phase": "restoring", "done": 0, "counts": {}})
    rate.add(3, {"phase": "restoring", "done": 8, "counts": {}})
    assert rate.per_s() == 4.0


def test_the_rate_of_a_scan_is_that_of_its_items() -> None:
    rate = Rate()
    rate.add(0, {"phase": "a1", "done": 0, "counts": {"items_checked": 0}})
    rate.add(2, {"phase": "a2", "done": 1, "counts": {"items_checked": 60}})
    assert rate.per_s() == 30.0


# What operations report


def entries(row: QueuedOperation) -> list[str]:
    """Return the log without its moments, which must be there."""
    lines = hosting.log_file(row.pk).read_text().splitlines()
    parts = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.*)", line) for line in lines]
    assert all(parts), lines
    return [part[1] for part in parts if part]


def test_a_scan_logs_each_account_that_changed(server: Server) -> None:
    row = queue.submit(server, SmartScan())
    queue.drain(server)
    log = entries(row)
    assert log[0].startswith("INFO doSmartScan begins in process ")
    assert [line.partition(":")[0] for line in log[1:-1]] == [
        "INFO a1@example.com",
        "INFO a2@example.com",
    ]
    assert log[1].endswith(" new, 0 updated, 0 deleted")
    assert log[-1] == "INFO Ended: successful."

    again = queue.submit(server, SmartScan())
    queue.drain(server)
    assert len(entries(again)) == 2


def test_a_restore_logs_its_phases_and_counts_in_its_progress(server: Server) -> None:
    with connect.sandbox("mail1") as client:
        client.create_folder("a1@example.com", "/Work")
    queue.submit(server, SmartScan())
    row = queue.submit(
        server,
        RestoreOnNewAccount(
            source_account=AccountNameOrId("a1@example.com"),
            destination_account=AccountName("new@example.com"),
            date=LAST,
        ),
    )
    queue.drain(server)
    row.refresh_from_db()
    assert row.state == "successful", row.outcome
    assert [line for line in entries(row) if "ing" in line.split()[1]] == [
        "INFO Reading the backup.",
        f"INFO Restoring items: {row.outcome['report']['counters']['planned']} in all.",
    ]
    done = row.outcome["report"]["counters"]
    assert row.progress["counts"] == {
        name: done[name] for name in ("restored", "skipped", "unrestored")
    }
    assert row.progress["done"] == row.progress["total"] == done["planned"]


def test_an_entry_of_a_log_is_one_line_without_control_characters(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb", buffering=0) as file:
        log = hosting._Log(file)
        log.add("a\r\nb\x1b[31m\x85\u2028c", level="WARNING")
        log.add("plain", level="\nforged")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.partition(" ")[2] == r"WARNING a\x0d\x0ab\x1b[31m\x85\u2028c"
    assert second.partition(" ")[2] == "INFO plain"
