"""The queue, with real processes: what runs, in which order, and what a kill leaves behind."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django import Settings

from backupng.engine.errors import MailServerUnreachable
from backupng.engine.operations.smart_scan import SmartScan
from console import hosting, queue
from console.letter.text import ENDED, PHASE_1
from console.models import Notification, QueuedOperation, Server, State
from console.queue import Drained
from tests.console.holding import held_up, operations_of

SCAN = SmartScan()
END = {"state": "successful", "error": None, "report": {"losses": False, "counters": {"n": 1}}}


def once_running(act: Callable[[int], object]) -> Callable[[], bool]:
    """Return an `ending` that calls `act` once with the process of an operation at work."""
    waiting = [act]

    def ending() -> bool:
        if waiting and is_at_work():
            waiting.pop()(operations_of(os.getpid())[0])
        return False

    return ending


def is_at_work() -> bool:
    """Say whether an operation has come so far that it reports progress."""
    return QueuedOperation.objects.filter(state=State.STARTED).exclude(progress={}).exists()


def started(server: Server, **changes: Any) -> QueuedOperation:
    """Return a row that a drain has left started."""
    row = queue.submit(server, SCAN)
    found = {
        "state": State.STARTED,
        "token": uuid.uuid4(),
        "runner": hosting.runner(),
        **changes,
    }
    QueuedOperation.objects.filter(pk=row.pk).update(**found)
    return QueuedOperation.objects.get(pk=row.pk)


def state_of(row: QueuedOperation) -> str:
    row.refresh_from_db()
    return row.state


def message_of(row: QueuedOperation) -> str:
    row.refresh_from_db()
    message: str = row.outcome["error"]["message"]
    return message


def test_operations_run_in_the_order_they_came_one_at_a_time(server: Server) -> None:
    rows = [queue.submit(server, SCAN) for _ in range(3)]
    assert queue.drain(server) is Drained.DONE
    ran = list(QueuedOperation.objects.order_by("started_at"))
    assert ran == rows
    assert [row.state for row in ran] == ["successful"] * 3
    moments = [str(moment) for row in ran for moment in (row.started_at, row.ended_at)]
    assert moments == sorted(moments)


def test_what_an_operation_did_is_kept_in_its_row(server: Server) -> None:
    row = queue.submit(server, SCAN)
    queue.drain(server)
    row.refresh_from_db()
    assert row.outcome["report"]["counters"]["accounts_scanned"] == 2
    assert row.progress["total"] == 2
    assert not row.losses


def test_an_end_leaves_its_log_and_no_journal(server: Server) -> None:
    row = queue.submit(server, SCAN)
    queue.drain(server)
    left = {path.name for path in hosting.state_folder().rglob("*") if path.is_file()}
    assert left == {"host", "mail1.lock", "mail1.making", f"{row.pk}.log"}


def test_places_in_the_queue_have_no_gaps(server: Server) -> None:
    rows = [queue.submit(server, SCAN) for _ in range(3)]
    assert [row.seq for row in rows] == [1, 2, 3]
    assert [queue.position(row) for row in rows] == [1, 2, 3]


def test_only_parameters_that_differ_from_their_defaults_are_kept(server: Server) -> None:
    row = queue.submit(server, SmartScan(deep=True))
    assert row.parameters == {"deep": "true"}


def test_the_same_request_twice_is_one_operation(server: Server) -> None:
    row = queue.submit(server, SCAN, dedupe="draft 1")
    assert queue.submit(server, SCAN, dedupe="draft 1") == row
    assert QueuedOperation.objects.count() == 1


def test_a_drain_up_to_an_operation_leaves_the_later_ones_queued(server: Server) -> None:
    first, second = queue.submit(server, SCAN), queue.submit(server, SCAN)
    queue.drain(server, until=first.pk)
    assert (state_of(first), state_of(second)) == ("successful", "queued")


def test_a_second_drain_is_busy_and_touches_nothing(server: Server) -> None:
    row = queue.submit(server, SCAN)
    with hosting.locked(hosting.queue_lock(server.name)):
        assert queue.drain(server) is Drained.BUSY
    assert state_of(row) == "queued"


def test_the_process_of_an_operation_holds_the_lock_too(server: Server) -> None:
    seen: list[bool] = []
    queue.submit(server, SCAN)

    def look(process: int) -> None:
        links = Path(f"/proc/{process}/fd").iterdir()
        seen.append(any(os.readlink(link).endswith("/mail1.lock") for link in links))
        os.killpg(process, signal.SIGKILL)

    with held_up(server.path):
        queue.drain(server, ending=once_running(look))
    assert seen == [True]


def test_a_killed_operation_is_interrupted_and_the_next_one_runs(server: Server) -> None:
    first, second = queue.submit(server, SCAN), queue.submit(server, SCAN)
    hold = ExitStack()
    hold.enter_context(held_up(server.path))

    def kill(process: int) -> None:
        os.kill(process, signal.SIGKILL)
        hold.close()

    queue.drain(server, ending=once_running(kill))
    assert (state_of(first), state_of(second)) == ("interrupted", "successful")
    assert message_of(first) == "The operation's process was killed or broke down."


def test_an_operation_that_is_told_to_stop_ends_at_its_next_step(server: Server) -> None:
    row = queue.submit(server, SCAN)
    hold = ExitStack()
    hold.enter_context(held_up(server.path))

    def stop(process: int) -> None:
        os.kill(process, signal.SIGTERM)
        hold.close()

    queue.drain(server, ending=once_running(stop))
    assert state_of(row) == "stopped"
    assert message_of(row) == "The operation was stopped before its end."


def test_a_service_that_stops_interrupts_its_operation_and_keeps_the_rest(
    server: Server, settings: Settings
) -> None:
    settings.OPERATION_GRACE_S = 0.1
    first, second = queue.submit(server, SCAN), queue.submit(server, SCAN)
    asked: list[bool] = []

    def ending() -> bool:
        if is_at_work():
            asked.append(True)
        return bool(asked)

    with held_up(server.path):
        queue.drain(server, ending=ending)
    assert (state_of(first), state_of(second)) == ("interrupted", "queued")
    assert message_of(first) == "The service was stopped while it ran."


def test_a_row_left_started_is_interrupted_before_the_next_one_runs(server: Server) -> None:
    cut_off, waiting = started(server), queue.submit(server, SCAN)
    queue.drain(server)
    assert (state_of(cut_off), state_of(waiting)) == ("interrupted", "successful")
    assert message_of(cut_off) == "The process that ran it ended before the operation had ended."


def test_a_restart_of_the_host_is_named_as_the_reason(server: Server) -> None:
    row = started(server, runner={"boot_id": "another boot"})
    queue.recover(server)
    assert message_of(row) == "The host was restarted before the operation had ended."


def test_an_end_that_the_database_missed_is_applied_from_its_journal(server: Server) -> None:
    row = started(server)
    hosting.write_journal(row.pk, END | {"token": str(row.token)})
    queue.recover(server)
    assert state_of(row) == "successful"
    assert row.outcome == END
    assert hosting.journals() == []


def test_phase_1_that_the_database_missed_is_told_before_the_end(server: Server) -> None:
    row = started(server)
    hosting.write_journal(row.pk, {"phase1": {"items": 5, "mailboxes": 1}})
    queue.recover(server)
    told = Notification.objects.filter(operation=row.pk).order_by("created_at")
    assert [each.event for each in told] == [PHASE_1, ENDED]
    assert "expected from here on: 5 items" in told[0].text
    assert hosting.journals() == []


def test_the_journal_of_an_earlier_claim_does_not_count(server: Server) -> None:
    row = started(server)
    hosting.write_journal(row.pk, END | {"token": str(uuid.uuid4())})
    queue.recover(server)
    assert state_of(row) == "interrupted"


def test_a_journal_that_was_applied_already_is_removed(server: Server) -> None:
    row = started(server, state=State.SUCCESSFUL)
    hosting.write_journal(row.pk, END | {"token": str(row.token)})
    queue.recover(server)
    assert hosting.journals() == []


def test_what_somebody_else_closed_is_never_overwritten(server: Server) -> None:
    row = started(server)
    QueuedOperation.objects.filter(pk=row.pk).update(state=State.STOPPED)
    assert not queue.finish(row, END)
    assert state_of(row) == "stopped"


def test_a_claim_whose_answer_was_lost_finds_its_own_row(server: Server) -> None:
    queue.submit(server, SCAN)
    token = uuid.uuid4()
    first = queue._claim_as(server, token)
    assert first is not None
    assert queue._claim_as(server, token) == first


def test_the_database_refuses_a_second_started_operation(server: Server) -> None:
    started(server)
    with pytest.raises(IntegrityError):
        started(server)


def test_the_queue_of_another_host_is_refused(server: Server) -> None:
    Server.objects.update(identity="another host")
    row = queue.submit(server, SCAN)
    with pytest.raises(MailServerUnreachable):
        queue.drain(server)
    assert state_of(row) == "queued"


def test_a_server_that_no_host_has_is_taken(server: Server) -> None:
    Server.objects.update(identity="")
    queue.drain(server)
    server.refresh_from_db()
    assert server.identity == hosting.identity()


def test_a_paused_queue_waits(server: Server) -> None:
    Server.objects.update(paused=True)
    row = queue.submit(server, SCAN)
    queue.drain(server)
    assert state_of(row) == "queued"


def test_an_operation_of_another_version_fails_with_a_sentence(server: Server) -> None:
    row = queue.submit(server, SCAN)
    QueuedOperation.objects.filter(pk=row.pk).update(command="doTimeTravel")
    queue.drain(server)
    assert state_of(row) == "failed"
    assert message_of(row) == "This version knows no operation doTimeTravel."


def test_parameters_of_another_version_fail_with_a_sentence(server: Server) -> None:
    row = queue.submit(server, SCAN)
    QueuedOperation.objects.filter(pk=row.pk).update(parameters={"colour": "red"})
    queue.drain(server)
    assert state_of(row) == "failed"
    assert message_of(row) == "The parameters of doSmartScan do not fit this version: colour."


def test_an_operation_that_cannot_go_on_fails_with_its_reason(server: Server) -> None:
    row = queue.submit(server, SCAN)
    Server.objects.update(backup_path="/nowhere/at/all")
    queue.drain(server)
    row.refresh_from_db()
    assert (row.state, row.outcome["error"]["code"]) == ("failed", "path_missing")


def test_a_defect_of_the_program_fails_and_leaves_its_trace_in_the_log(server: Server) -> None:
    row = queue.submit(server, SCAN)
    Server.objects.update(connection={})
    queue.drain(server)
    row.refresh_from_db()
    assert (row.state, row.outcome["error"]["code"]) == ("failed", "defect")
    assert "KeyError" in hosting.log_file(row.pk).read_text()
