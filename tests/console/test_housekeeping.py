"""What is deleted once a day, and what is not."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import time_machine
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_q.models import Task

from backupng.engine.operations.smart_scan import SmartScan
from console import hosting, housekeeping, queue
from console.models import Delivery, Level, Notification, Server

ACCESSES = (AccessAttempt, AccessFailureLog, AccessLog)


def ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def session(days: float) -> None:
    Session.objects.create(session_key=uuid4().hex, session_data="", expire_date=ago(days))


def told(days: float, *, read: bool) -> Notification:
    made = Notification.objects.create(
        level=Level.WARNING,
        group="operations",
        created_at=ago(days),
        read_at=ago(days) if read else None,
    )
    Delivery.objects.create(notification=made, address="a@x.org", state="sent")
    return made


def log_of(operation: object, days: float) -> Path:
    path = hosting.log_file(str(operation))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (ago(days).timestamp(), ago(days).timestamp()))
    return path


@pytest.mark.usefixtures("data", "db")
def test_sessions_that_have_expired_are_deleted() -> None:
    session(1)
    session(-1)
    housekeeping.tidy()
    assert Session.objects.get().expire_date > timezone.now()


@pytest.mark.usefixtures("data", "db")
@pytest.mark.parametrize("table", ACCESSES)
def test_what_tells_of_logins_is_kept_for_90_days(
    table: type[AccessAttempt | AccessFailureLog | AccessLog],
) -> None:
    for days in (89, 91):
        extra = {"failures_since_start": 1} if table is AccessAttempt else {}
        made = table.objects.create(username=f"u{days}", **extra)
        table.objects.filter(pk=made.pk).update(attempt_time=ago(days))
    housekeeping.tidy()
    assert table.objects.get().username == "u89"


@pytest.mark.usefixtures("data", "db")
def test_tasks_are_kept_for_a_week_whether_they_failed_or_not() -> None:
    for days, success in ((6, True), (6, False), (8, True), (8, False)):
        Task.objects.create(
            id=uuid4().hex, func="f", started=ago(days), stopped=ago(days), success=success
        )
    housekeeping.tidy()
    assert Task.objects.count() == Task.objects.filter(stopped__gt=ago(7)).count() == 2


@pytest.mark.usefixtures("data", "db")
def test_notifications_are_kept_until_they_are_read_and_400_days_old() -> None:
    kept = {told(399, read=True), told(401, read=False)}
    told(401, read=True)
    housekeeping.tidy()
    assert set(Notification.objects.all()) == kept
    assert Delivery.objects.count() == 2


def test_a_log_is_deleted_once_its_operation_is_unknown(server: Server) -> None:
    row = queue.submit(server, SmartScan())
    kept, fresh, lost = log_of(row.pk, 900), log_of(uuid4(), 6), log_of(uuid4(), 8)
    housekeeping.tidy()
    assert [path.exists() for path in (kept, fresh, lost)] == [True, True, False]


@pytest.mark.usefixtures("data", "db")
def test_it_is_done_once_a_day_by_one_process_of_the_host() -> None:
    session(1)
    with hosting.locked(hosting.TIDY_LOCK):
        housekeeping.tidy()
    assert Session.objects.count() == 1
    housekeeping.tidy()
    session(1)
    housekeeping.tidy()
    assert Session.objects.count() == 1
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        housekeeping.tidy()
    assert Session.objects.count() == 0
