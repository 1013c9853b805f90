"""Ends that are hard to write down: odd texts, ends of another shape, many removed at once."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django_q.models import OrmQ

from backupng.engine.operations.smart_scan import SmartScan
from console import bells, connect, hosting, notify, properties, queue, tasks
from console.models import Notification, QueuedOperation, Server, State
from console.progress import Progress
from tests.console import rows

SCAN = SmartScan()
REPORT: dict[str, Any] = {"losses": False, "counters": {}, "notes": []}
END: dict[str, Any] = {"state": "successful", "error": None, "report": REPORT}


def started(server: Server) -> QueuedOperation:
    """Return a row that a drain has left started."""
    row = queue.submit(server, SCAN)
    QueuedOperation.objects.filter(pk=row.pk).update(
        state=State.STARTED, token=uuid.uuid4(), runner=hosting.runner()
    )
    return QueuedOperation.objects.get(pk=row.pk)


# Texts that a database refuses


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (r'"a\u0000b"', r"a\x00b"),
        (r'"a\ud800b"', r"a\ud800b"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        ("NaN", "nan"),
        ("1e999", "inf"),
        (r'{"a\u0000": ["\udfff", 1, null]}', {r"a\x00": [r"\udfff", 1, None]}),
    ],
)
def test_an_event_is_read_as_it_can_be_stored(sent: str, kept: object) -> None:
    event = hosting._parse_event(f'{{"event": "end", "report": {sent}}}'.encode())
    assert ascii(event["report"]) == ascii(kept)


def test_an_event_that_is_none_is_empty() -> None:
    assert hosting._parse_event(b"[" * 100_000) == hosting._parse_event(b"[1]") == {}


def test_the_journal_of_an_earlier_version_is_read_as_it_can_be_stored(data: Path) -> None:
    operation = uuid.uuid4()
    hosting.write_journal(operation, {"report": {"notes": ["a\x00b\ud800"]}})
    kept = {"report": {"notes": [r"a\x00b\ud800"]}}
    assert ascii(hosting.read_journal(operation)) == ascii(kept)


def test_a_notification_holds_nothing_that_a_database_refuses(db: None) -> None:
    row = rows.asked()
    report = rows.RESTORED | {"counters": {"odd\ud800": 3}}
    rows.ends(row, State.SUCCESSFUL, report=report)
    notify.ended(row)
    told = Notification.objects.get()
    assert ascii(told.counters) == ascii({r"odd\ud800": 3})


@pytest.mark.parametrize(
    "odd",
    [
        {"report": REPORT | {"rate": float("nan")}},
        {"state": "splendid"},
        {"report": {1, 2}},
    ],
)
def test_an_end_that_cannot_be_stored_is_a_defect_and_does_not_stay_open(
    server: Server, odd: dict[str, Any]
) -> None:
    row = started(server)
    assert queue.finish(row, END | odd)
    row.refresh_from_db()
    assert (row.state, row.outcome["error"]["code"]) == ("failed", "defect")
    assert str(hosting.log_file(row.pk)) in row.outcome["error"]["hint"]
    assert Notification.objects.get(operation=row).event == "ended"


@pytest.mark.parametrize("journal", [{}, {"state": "successful"}, {"state": 7, "report": []}])
def test_a_journal_of_another_shape_does_not_block_the_queue(
    server: Server, journal: dict[str, Any]
) -> None:
    row, following = started(server), queue.submit(server, SCAN)
    hosting.write_journal(row.pk, journal | {"token": str(row.token)})
    queue.drain(server)
    row.refresh_from_db()
    following.refresh_from_db()
    assert (row.state, following.state) == ("failed", "successful")
    assert hosting.journals() == []


def test_progress_that_cannot_be_stored_does_not_end_the_operation(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Progress(started(server))
    watched.note({"phase": "x", "done": float("nan"), "total": 0, "counts": {}})
    with caplog.at_level(logging.WARNING):
        assert not watched.look()
    assert "cannot be stored" in caplog.text


# The tree of a Backup Path


def test_a_path_that_was_set_while_an_operation_ran_gets_no_tree_of_the_old_one(
    server: Server, tmp_path: Path
) -> None:
    queue.submit(server, SCAN)
    queue.drain(server)
    row = queue.submit(server, SCAN)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def ending() -> bool:
        if QueuedOperation.objects.filter(state=State.STARTED).exists() and (
            Server.objects.get().path != elsewhere
        ):
            connect.set_property(Server.objects.get(), properties.DEST_PATH, str(elsewhere))
        return False

    queue.drain(server, ending=ending)
    assert (Server.objects.get().path, Server.objects.get().tree_id) == (elsewhere, "")
    row = queue.submit(server, SCAN)
    queue.drain(server)
    row.refresh_from_db()
    assert row.state == "successful", row.outcome


# Many removed at once


def told(server: Server) -> int:
    return Notification.objects.filter(server=server, event="ended").count()


@pytest.mark.usefixtures("unscheduled")
def test_many_that_are_removed_are_told_about_in_steps_each_once(server: Server) -> None:
    running = started(server)
    with transaction.atomic():
        waiting = [queue.submit(server, SCAN) for _ in range(53)]
    OrmQ.objects.all().delete()

    assert queue.stop_all(server, by="john") == (1, 53)
    running.refresh_from_db()
    assert running.stop_requested_by == "john"
    states = set(QueuedOperation.objects.exclude(pk=running.pk).values_list("state", flat=True))
    assert states == {"removed"}
    assert told(server) == 50
    assert bells.TICK in [each.func() for each in OrmQ.objects.all()]

    QueuedOperation.objects.filter(pk=running.pk).update(state=State.STOPPED)
    for _ in range(2):
        tasks.tick("mail1")
    assert told(server) == len(waiting)


def test_what_was_removed_by_a_process_that_was_killed_then_is_told_about(server: Server) -> None:
    row = queue.submit(server, SCAN)
    QueuedOperation.objects.update(state=State.REMOVED, ended_at=row.created_at)
    queue.recover(server)
    assert Notification.objects.get().operation == row
