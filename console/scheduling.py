"""SmartScans and Purges that nobody asks for: by timetable, and scans when the backup starts.

Rows of the queue are the memory: each has a key that a second one cannot have. What was missed,
because no worker was at work, is not caught up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils import timezone

from backupng.engine.operations.base import Operation
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_purge import DoPurge
from backupng.engine.operations.smart_scan import SmartScan
from console import connect, hosting, properties, queue
from console.capture import Scanner
from console.models import Origin, QueuedOperation, Server, Setting, State
from console.queue import Requester
from console.timetable import Timetable

logger = logging.getLogger(__name__)

_LATE = timedelta(minutes=5)
"""A worker that is restarted at the time of a run still begins it."""
BY_TIMETABLE = Requester(origin=Origin.SCHEDULE, name="", address="")
"""Who asks for what a timetable starts: nobody."""


SCAN = properties.SMART_SCAN_SCHEDULER
PURGE = properties.PURGE_SCHEDULER
CHECK = properties.CHECK_SCHEDULER
"""Timetables, by the property that keeps them."""


def timetable(server: Server | None, name: str = SCAN) -> Timetable:
    """Return when something runs by itself: on a server, or on all that have no own word."""
    return Timetable.parse(_value(server, name).value)


def in_force(server: Server | None, name: str = SCAN) -> Timetable:
    """Return when something really runs by itself: a Purge never does without the SmartScan."""
    found = timetable(server, name)
    if name == PURGE and not timetable(server, SCAN).enabled:
        return replace(found, enabled=False)
    return found


def source(server: Server | None, name: str = SCAN) -> str:
    """Return where that is set: `server`, `global` or `default`."""
    return _value(server, name).source


def set_timetable(server: Server | None, wanted: Timetable, name: str = SCAN) -> None:
    """Set it for a server, or for all that have no own word. Raises BadRequest."""
    if server is not None:
        connect.set_property(server, name, wanted.spell())
        return
    chosen = properties.find(name)
    text = chosen.spell(chosen.parse(wanted.spell()))
    Setting.objects.update_or_create(server=None, name=chosen.name, defaults={"value": text})


def _value(server: Server | None, name: str) -> properties.Value:
    if server is not None:
        return connect.values(server)[name]
    everywhere = Setting.objects.filter(server=None).values_list("name", "value")
    return properties.resolve({}, dict(everywhere))[name]


def run_due(server: Server, *, clock: Callable[[], datetime] = timezone.now) -> str:
    """Queue the SmartScan whose time has come; called every minute, says what it did."""
    return _run_due(server, SCAN, SmartScan(), clock())


def purge_due(server: Server, *, clock: Callable[[], datetime] = timezone.now) -> str:
    """Queue the Purge whose time has come, behind a SmartScan of the same time; none without."""
    return _run_due(server, PURGE, DoPurge(), clock())


def check_due(server: Server, *, clock: Callable[[], datetime] = timezone.now) -> str:
    """Queue the Coherency Check whose time has come."""
    return _run_due(server, CHECK, DoCoherencyCheck(backup_path=server.path), clock())


def _run_due(server: Server, name: str, operation: Operation, now: datetime) -> str:
    run = in_force(server, name).last_run(now - _LATE, now, server.zone_info)
    if run is None:
        return "nothing is due"
    same = QueuedOperation.objects.filter(server=server, command=operation.command)
    if same.filter(started_at__gte=run).exists():
        return "one has begun since"
    key = f"schedule {server.pk} {operation.command} {int(run.timestamp())}"
    return str(_queue(server, operation, requester=BY_TIMETABLE, dedupe=key))


def on_start(server: Server, start: str) -> QueuedOperation | None:
    """Queue the SmartScan of a start of the backup, if the property asks for it.

    `start` names the start: a worker that comes again in the same one queues no other. A scanner
    that has never stood has it queued where it first does, or when it is halted: before that no
    SmartScan would be enough.
    """
    wanted = connect.values(server)[properties.REAL_TIME_SCANNER].value
    if wanted and not Scanner.objects.filter(server=server, sequence__isnull=False).exists():
        return None
    return scan_of_start(server, start)


def scan_of_start(server: Server, start: str) -> QueuedOperation | None:
    """Queue the SmartScan of a start, once, if the property asks for one."""
    if not connect.values(server)[properties.SCAN_ON_STARTUP].value:
        return None
    key = f"start {server.pk} {hosting.boot_id()} {start}"
    return queue_smartscan(server, requester=BY_TIMETABLE, dedupe=key)


def queue_smartscan(
    server: Server, *, requester: Requester, dedupe: str | None = None
) -> QueuedOperation:
    """Queue a SmartScan, or return the one that waits already: it will do the same."""
    return _queue(server, SmartScan(), requester=requester, dedupe=dedupe)


def _queue(
    server: Server, operation: Operation, *, requester: Requester, dedupe: str | None
) -> QueuedOperation:
    if found := _waiting(server, operation.command):
        return found
    row = queue.submit(server, operation, requester=requester, dedupe=dedupe)
    logger.info("a %s of %s is queued: %s", operation.title, server, dedupe or requester.origin)
    return row


def waiting_smartscan(server: Server) -> QueuedOperation | None:
    """Return the SmartScan that waits; None without one."""
    return _waiting(server, SmartScan.command)


def _waiting(server: Server, command: str) -> QueuedOperation | None:
    waiting = QueuedOperation.objects.filter(
        server=server, command=command, state=State.QUEUED, parameters={}
    )
    return waiting.order_by("seq").first()
