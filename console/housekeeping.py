"""Deletes, once a day, what nobody needs any more and what would otherwise grow for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone
from django_q.models import Task

from console import hosting
from console.models import Notification, QueuedOperation, Sample

_EVERY = timedelta(days=1)
_ACCESS_KEPT = timedelta(days=90)
_TASKS_KEPT = timedelta(days=7)
_LOGS_KEPT = timedelta(days=7)
"""A log whose operation the database does not know; it may have been put back to an older state."""
_NOTIFICATIONS_KEPT = timedelta(days=400)
_SAMPLES_KEPT = timedelta(days=2)
_AT_ONCE = 500


def tidy() -> None:
    """Delete what is too old, unless a process of this host has done so within a day."""
    with hosting.locked(hosting.TIDY_LOCK) as lock:
        if lock is None:
            return
        now = timezone.now()
        done = hosting.state_folder() / "tidied"
        if done.exists() and abs(now.timestamp() - done.stat().st_mtime) < _EVERY.total_seconds():
            return
        for rows in _outdated(now):
            _delete(rows)
        _drop_logs(now)
        done.touch()
        os.utime(done, (now.timestamp(), now.timestamp()))


def _outdated(now: datetime) -> Iterator[QuerySet[Any]]:
    yield Session.objects.filter(expire_date__lt=now)
    for accesses in (AccessAttempt, AccessFailureLog, AccessLog):
        yield accesses.objects.filter(attempt_time__lt=now - _ACCESS_KEPT)
    yield Task.objects.filter(stopped__lt=now - _TASKS_KEPT)
    yield Sample.objects.filter(at__lt=now - _SAMPLES_KEPT)
    yield Notification.objects.filter(
        created_at__lt=now - _NOTIFICATIONS_KEPT, read_at__isnull=False
    )


def _delete(rows: QuerySet[Any]) -> None:
    """Delete rows in small transactions: others write in between."""
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]):
        rows.filter(pk__in=keys).delete()


def _drop_logs(now: datetime) -> None:
    """Delete the logs of operations that no row tells of."""
    oldest_kept = (now - _LOGS_KEPT).timestamp()
    known = {str(key) for key in QueuedOperation.objects.values_list("pk", flat=True)}
    for path in hosting.log_file("x").parent.glob("*.log"):
        if path.stem not in known and path.stat().st_mtime < oldest_kept:
            path.unlink(missing_ok=True)
