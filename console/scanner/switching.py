"""Enabling and disabling the scanner: the property is the switch, and what follows happens once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from backupng.engine.operations.do_coherency_check import NEEDS_IT_ALONE, DoCoherencyCheck
from console import connect, properties, scheduling
from console.alerting import tell
from console.capture import Scanner
from console.models import QueuedOperation, Server, State
from console.overview import SMART_SCAN
from console.queue import Requester
from console.scanner import alerts


def is_wanted(server: Server) -> bool:
    """Say whether the property asks for the scanner."""
    return bool(connect.values(server)[properties.REAL_TIME_SCANNER].value)


def stands_aside(server: Server) -> bool:
    """Say whether a repair of the Backup Path waits for its writers to end, or is at it."""
    running = QueuedOperation.objects.filter(
        server=server, command=DoCoherencyCheck.command, state=State.STARTED
    )
    phases = {progress.get("phase") for progress in running.values_list("progress", flat=True)}
    return bool(phases & NEEDS_IT_ALONE)


def switch(server: Server, *, enabled: bool, by: str) -> bool:
    """Set the property and act upon it; False when it was so before."""
    with transaction.atomic():
        connect.set_property(server, properties.REAL_TIME_SCANNER, str(enabled).lower())
        return notice(server, by=by)


def notice(server: Server, *, by: str = "") -> bool:
    """Act upon the property if it has changed since: note it, and tell. False when it has not.

    Who sets the property calls it in the same transaction, so that it is told who it was; the
    scanner's service calls it each second, for whatever else may have set it.
    """
    known = Scanner.objects.filter(server=server).values_list("enabled", flat=True).first()
    if known == is_wanted(server):
        return False
    with transaction.atomic():
        Scanner.objects.get_or_create(server=server)
        row = Scanner.objects.select_for_update().get(server=server)
        # Asked again: what was read before the lock may be of yesterday.
        wanted = is_wanted(server)
        if row.enabled == wanted:
            return False
        now = timezone.now()
        changes = _enabled(row, now) if wanted else _disabled(by, now)
        for name, value in changes.items():
            setattr(row, name, value)
        Scanner.objects.filter(pk=row.pk).update(**changes)
        row.server = server
        alert = alerts.enabled(row, by=by) if wanted else alerts.disabled(row, by=by)
        tell(server, alert)
    return True


def _enabled(row: Scanner, now: datetime) -> dict[str, Any]:
    first = row.due_since is None
    return {
        "enabled": True,
        "state": Scanner.State.IDLE,
        "since": now,
        "reason": "",
        "hint": "",
        "seen_at": None,
        "off_since": None,
        "due_since": now,
        "due_why": Scanner.Why.FIRST if first else Scanner.Why.ENABLED,
        "missed_from": row.off_since,
        "missed_until": now,
    }


def _disabled(by: str, now: datetime) -> dict[str, Any]:
    return {
        "enabled": False,
        "state": Scanner.State.OFF,
        "since": now,
        "reason": by,
        "hint": "",
        "off_since": now,
    }


def invitation(server: Server) -> str:
    """Return the sentences that ask for a SmartScan; empty where none is required."""
    row = Scanner.objects.filter(server=server, enabled=True).first()
    if row is None or not row.is_due(alerts.good_scan_began(server)):
        return ""
    return (
        "The Real-Time Scanner is enabled. A SmartScan is required: "
        f"backupng --host {server.name} backup {SMART_SCAN}"
    )


def after_setting(server: Server, name: str, *, by: str = "") -> str:
    """Act upon a property that was set in this transaction; returns what who set it is to read."""
    if name != properties.REAL_TIME_SCANNER:
        return ""
    notice(server, by=by)
    return invitation(server)


def queue_scan(server: Server, requester: Requester) -> QueuedOperation | None:
    """Queue the SmartScan that enabling asks for, if the property says so."""
    if not connect.values(server)[properties.SCAN_ON_STARTUP].value:
        return None
    return scheduling.queue_smartscan(server, requester=requester)
