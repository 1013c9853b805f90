"""What django-q2 calls: bells, the tick, and what is found when a bell is lost."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from backupng.engine.operations.smart_scan import SmartScan
from console import bells, connect, hosting, queue, roles, tasks
from console.management.commands import worker
from console.models import (
    CosFlag,
    Delivery,
    Draft,
    Level,
    Notification,
    QueuedOperation,
    Server,
    State,
)
from console.queue import Drained, Requester

SCAN = SmartScan()
LISTENING = "srv:mail1"
OPTIONS = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"}


def rung() -> list[tuple[str, str, Any]]:
    """Return the bells that wait: who listens, what they call, how long that may take."""
    return [(each.key, each.func(), each.task["timeout"]) for each in OrmQ.objects.order_by("pk")]


DRAIN = (LISTENING, "console.tasks.drain", -1)


# Bells of the queue


def test_a_submission_rings_once_until_the_queue_was_empty(server: Server) -> None:
    for _ in range(3):
        queue.submit(server, SCAN)
    assert rung() == [DRAIN]

    OrmQ.objects.all().delete()
    queue.submit(server, SCAN)
    assert rung() == []

    queue.drain(server)
    queue.submit(server, SCAN)
    assert rung() == [DRAIN]


def test_a_submission_that_is_taken_back_rings_no_bell(server: Server) -> None:
    with transaction.atomic():
        queue.submit(server, SCAN)
        transaction.set_rollback(True)
    assert rung() == []


def test_where_nobody_listens_bells_do_not_pile_up(server: Server) -> None:
    for bell in (bells.DRAIN, bells.POST, bells.DRAIN, bells.POST):
        bells.ring(server, bell)
    assert rung() == [DRAIN, (LISTENING, "console.tasks.post", -1)]


def test_a_drain_up_to_an_operation_rings_for_the_rest(server: Server) -> None:
    first, _ = queue.submit(server, SCAN), queue.submit(server, SCAN)
    OrmQ.objects.all().delete()
    queue.drain(server, until=first.pk)
    assert rung() == [DRAIN]


def test_a_drain_that_leaves_nothing_makes_the_next_submission_ring(server: Server) -> None:
    queue.drain(server, until=queue.submit(server, SCAN).pk)
    OrmQ.objects.all().delete()
    queue.submit(server, SCAN)
    assert rung() == [DRAIN]


def test_after_many_operations_a_drain_leaves_the_rest_to_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_RUNS_PER_DRAIN", 1)
    rows = [queue.submit(server, SCAN) for _ in range(2)]
    OrmQ.objects.all().delete()
    queue.drain(server)
    for row in rows:
        row.refresh_from_db()
    assert [row.state for row in rows] == ["successful", "queued"]
    assert rung() == [DRAIN]


def test_a_queue_that_goes_on_after_a_pause_rings(server: Server) -> None:
    queue.pause(server, paused=True)
    row = queue.submit(server, SCAN)
    tasks.drain("mail1")
    OrmQ.objects.all().delete()
    queue.pause(server, paused=False)
    assert rung() == [DRAIN]
    tasks.drain("mail1")
    row.refresh_from_db()
    assert row.state == "successful"


def test_names_of_any_length_fit_the_name_of_a_cluster() -> None:
    assert len(bells.cluster("m" * 253)) == 100


# What the bells call


def test_a_drain_runs_what_waits_and_shows_that_the_worker_lives(server: Server) -> None:
    row = queue.submit(server, SCAN)
    assert tasks.drain("mail1") == Drained.DONE
    row.refresh_from_db()
    server.refresh_from_db()
    assert row.state == "successful"
    assert server.worker_seen_at is not None


def test_a_bell_for_a_server_that_is_gone_is_harmless(transactional_db: None) -> None:
    assert tasks.drain("mail9") == "there is no server mail9"


def test_a_bell_on_a_host_that_has_not_the_server_is_no_sign_of_life(server: Server) -> None:
    Server.objects.update(identity="another host")
    queue.submit(server, SCAN)
    assert tasks.drain("mail1") == "The operations of mail1 run on another host."
    server.refresh_from_db()
    assert server.worker_seen_at is None


def test_a_busy_drain_looks_again_before_it_gives_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = queue.submit(server, SCAN)
    with hosting.locked(hosting.queue_lock("mail1")) as lock:
        assert lock is not None
        assert tasks.drain("mail1") == Drained.BUSY
        dying, pause = [os.dup(lock)], time.sleep

    def die_meanwhile(seconds: float) -> None:
        if dying:
            os.close(dying.pop())
        else:
            pause(seconds)

    monkeypatch.setattr(time, "sleep", die_meanwhile)
    assert tasks.drain("mail1") == Drained.DONE
    assert not dying
    row.refresh_from_db()
    assert row.state == "successful"


@pytest.mark.usefixtures("unscheduled")
def test_the_scheduler_of_the_server_makes_the_tick_and_the_tick_finds_lost_work(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_q.conf.Conf.CLUSTER_NAME", LISTENING)
    row = queue.submit(server, SCAN)
    OrmQ.objects.all().delete()
    for _ in range(2):
        worker.plan_tick(server)
    Schedule.objects.update(next_run=timezone.now() - timedelta(seconds=1))

    scheduler()
    (tick,) = OrmQ.objects.all()
    tasks.tick(*tick.args())

    assert rung() == [(LISTENING, "console.tasks.tick", -1)]
    row.refresh_from_db()
    assert row.state == "successful"


def test_a_tick_that_is_planned_too_late_is_rung_with_the_next_bell(server: Server) -> None:
    worker.plan_tick(server)
    now = timezone.now()
    soon = now + timedelta(seconds=90)
    for planned, ringing in ((now + timedelta(hours=1), True), (soon, False)):
        Schedule.objects.update(next_run=planned)
        tasks.drain("mail1")
        assert (Schedule.objects.get().next_run < soon) is ringing


@pytest.mark.usefixtures("unscheduled")
def test_a_tick_drops_the_drafts_that_expired_long_ago(server: Server) -> None:
    owner = User.objects.create(username="john")
    for age in (timedelta(days=6), timedelta(days=8)):
        Draft.objects.create(
            owner=owner, wizard="x", server=server, created_at=timezone.now() - age
        )
    tasks.tick("mail1")
    (left,) = Draft.objects.all()
    assert timezone.now() - left.created_at < timedelta(days=7)


@pytest.mark.usefixtures("unscheduled")
def test_a_tick_finds_a_class_of_service_that_was_switched_at_the_mail_server(
    server: Server,
) -> None:
    tasks.tick("mail1")
    with connect.sandbox("mail1") as client:
        client.set_cos_notes("default", "${ZxBackup_Disabled}")
    tasks.tick("mail1")
    flag = CosFlag.objects.get(server=server, name="default")
    assert flag.disabled
    assert flag.changed_at is not None


@pytest.mark.usefixtures("unscheduled")
def test_a_tick_goes_on_when_one_of_its_steps_fails(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("full")

    monkeypatch.setattr(tasks, "checkpoint", fail)
    row = queue.submit(server, SCAN)
    tasks.tick("mail1")
    row.refresh_from_db()
    assert row.state == "successful"


def test_the_checkpoint_is_made_by_one_process_of_the_host(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    def note(execute: Any, sql: str, *more: Any) -> Any:
        statements.append(sql)
        return execute(sql, *more)

    with connection.execute_wrapper(note):
        with hosting.locked(hosting.WAL_LOCK):
            tasks.checkpoint()
        assert statements == []
        tasks.checkpoint()
    assert statements[0] == "PRAGMA wal_checkpoint(PASSIVE)"


@pytest.mark.django_db
def test_a_checkpoint_waits_for_no_reader_and_keeps_no_writer_waiting(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = data / "own.sqlite3"
    own = DatabaseWrapper(connection.settings_dict | {"NAME": str(file), "OPTIONS": OPTIONS})
    monkeypatch.setattr(tasks, "connection", own)
    log, patience_s = file.with_name("own.sqlite3-wal"), 30
    with closing(own), own.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x)")
        with closing(sqlite3.connect(file, isolation_level=None)) as reader:
            for writes_after in (1, 0):  # readers of an older and of the present state
                reader.execute("BEGIN")
                reader.execute("SELECT * FROM t").fetchall()
                for _ in range(writes_after):
                    cursor.execute("INSERT INTO t VALUES (1)")
                begun = time.monotonic()
                tasks.checkpoint()
                assert time.monotonic() - begun < patience_s / 3
                assert log.stat().st_size > 0
                reader.execute("COMMIT")
            tasks.checkpoint()
            assert log.stat().st_size == 0
        assert cursor.execute("PRAGMA busy_timeout").fetchone() == (patience_s * 1000,)


def test_the_service_that_ends_is_seen_through_shared_memory() -> None:
    ending = tasks.Ending()
    assert not ending.announced()
    ending.announce()
    assert ending.announced()


# What the queue tells


def events(row: QueuedOperation) -> list[str]:
    found = Notification.objects.filter(operation=row).order_by("created_at")
    return list(found.values_list("event", flat=True))


def test_start_and_end_are_told_with_the_change_of_the_state(server: Server) -> None:
    row = queue.submit(server, SCAN)
    assert events(row) == []
    queue.drain(server)
    assert events(row) == ["started", "ended"]


def test_what_is_removed_has_an_end_only(server: Server) -> None:
    row = queue.submit(server, SCAN)
    assert queue.stop(row, by="john") == State.QUEUED
    assert events(row) == ["ended"]
    assert queue.stop(row, by="john") is None
    assert events(row) == ["ended"]


def test_an_end_found_by_recovery_is_told(server: Server) -> None:
    row = queue.submit(server, SCAN)
    QueuedOperation.objects.filter(pk=row.pk).update(state=State.STARTED, token=uuid.uuid4())
    queue.recover(server)
    assert events(row) == ["ended"]


def test_a_mail_that_waits_rings_for_the_post(server: Server) -> None:
    row = queue.submit(server, SCAN)
    OrmQ.objects.all().delete()
    told = Notification.objects.create(level=Level.WARNING, group="operations", operation=row)
    Delivery.objects.create(notification=told, address="admin@example.com")
    queue.stop(row, by="john")
    assert (LISTENING, "console.tasks.post", -1) in rung()


# Who asks


def test_who_lost_the_right_meanwhile_gets_a_refusal_in_the_queue(server: Server) -> None:
    roles.keep()
    john = User.objects.create(username="john")
    john.groups.add(Group.objects.get(name=roles.OPERATOR))
    row = queue.submit(server, SCAN, requester=Requester(user=john, name="john"))
    other = queue.submit(server, SCAN)
    john.groups.clear()
    queue.drain(server)
    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.state, row.outcome["error"]["code"]) == ("failed", "not_allowed")
    assert other.state == "successful"


def test_the_command_line_asks_in_the_name_of_the_system_user(server: Server) -> None:
    row = queue.submit(server, SCAN)
    assert (row.origin, row.requester_name) == ("cli", hosting.user_name())
    named = queue.submit(server, SCAN, requester=Requester(name="john"))
    assert named.requester_name == "john"


@pytest.mark.parametrize(("age_s", "served"), [(10, True), (400, False)])
def test_the_worker_of_another_host_is_believed_by_its_last_sign_of_life(
    server: Server, age_s: int, *, served: bool
) -> None:
    seen = timezone.now() - timedelta(seconds=age_s)
    Server.objects.update(identity="another host", worker_seen_at=seen)
    server.refresh_from_db()
    assert queue.is_served(server) is served


def test_the_worker_of_this_host_is_believed_by_its_lock(server: Server) -> None:
    assert not queue.is_served(server)
    with hosting.locked(hosting.worker_lock("mail1")):
        assert queue.is_served(server)
