"""What is told of the scanner, how urgently, and how often again.

The notifications themselves are the memory: what was told, when, and how often, they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from console import properties
from console.alerting import Alert, spelled, tell
from console.capture import LAG_LIMIT, Scanner
from console.letter import layout
from console.models import Level, Notification, QueuedOperation, Server, State
from console.overview import SMART_SCAN

ENABLED, DISABLED = "scanner_on", "scanner_off"
HALTED, GAP, LAG, RECOVERED = "scanner_halted", "scanner_gap", "scanner_lag", "scanner_back"
"""Events of notifications."""

_HALT_IS_TOLD_AFTER = timedelta(minutes=1)
"""A mail server that starts anew is away for less."""
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_HOURLY = 3


# What there is to tell


def enabled(row: Scanner, *, by: str) -> Alert:
    """Tell that it was enabled, and that a SmartScan is required."""
    first = row.due_why == Scanner.Why.FIRST
    return Alert(
        event=ENABLED,
        level=Level.WARNING,
        subject="Real-Time Scanner enabled – a SmartScan is required",
        lead=(
            "The Real-Time Scanner was enabled for the first time."
            if first
            else "The Real-Time Scanner was enabled again."
        )
        + " A SmartScan is required: what changed before is not in the backup for certain.",
        fields={
            "enabled": spelled(row.server, row.due_since),
            "by": by,
            "off since": spelled(row.server, row.missed_from),
            "off for": layout.duration(row.missed) if row.missed is not None else "",
        },
        advice="This is told again every day until a SmartScan that began later has ended.",
        commands=_scan_command(row.server),
    )


def disabled(row: Scanner, *, by: str, reminds: bool = False) -> Alert:
    """Tell that it was disabled, and what to remember."""
    lead = (
        "The Real-Time Scanner is still disabled: changes are saved by SmartScans only."
        if reminds
        else "The Real-Time Scanner was disabled: from now on changes are saved by SmartScans only."
    )
    name = row.server.name
    command = f"backupng --host {name} backup setProperty {properties.REAL_TIME_SCANNER} TRUE"
    return Alert(
        event=DISABLED,
        level=Level.WARNING if reminds else Level.INFORMATION,
        subject=f"Real-Time Scanner {'still ' if reminds else ''}disabled",
        lead=lead,
        fields={"disabled": spelled(row.server, row.off_since), "by": by},
        advice=(
            "The only recommended reason is an External Restore of several domains. Enable it "
            "again afterwards, and run a SmartScan then."
        ),
        commands={"enable it": command},
    )


def halted(row: Scanner) -> Alert:
    """Tell that nothing is captured."""
    return Alert(
        event=HALTED,
        level=Level.CRITICAL,
        subject="Real-Time Scanner halted",
        lead="The Real-Time Scanner is halted: changes are not saved as they happen.",
        fields={
            "halted since": spelled(row.server, row.since),
            "reason": row.reason,
            "hint": row.hint,
            "captured": _captured(row),
        },
        advice=(
            "It tries again by itself and goes on where it was. What the redo log does not keep so "
            "long is told as a gap."
        ),
    )


def gap(row: Scanner) -> Alert:
    """Tell what the redo log lacks."""
    return Alert(
        event=GAP,
        level=Level.CRITICAL,
        subject="gap in the redo log – a SmartScan is required",
        lead=(
            "The redo log does not hold everything that happened: a part of the history is "
            "missing. A SmartScan saves what is there now."
        ),
        fields={
            "reason": str(row.gap.get("reason") or ""),
            "missing from": spelled(row.server, row.missed_from),
            "missing until": spelled(row.server, row.missed_until),
            "noticed": spelled(row.server, row.gap_at),
        },
        advice=(
            "Between these two moments states of items may be missing. Every moment up to the "
            "first, and every one after the end of the SmartScan, can be restored."
        ),
        commands=_scan_command(row.server),
    )


def lag(row: Scanner) -> Alert:
    """Tell that it is far behind."""
    return Alert(
        event=LAG,
        level=Level.WARNING,
        subject="Real-Time Scanner is behind",
        lead=(
            "The Real-Time Scanner is more than "
            f"{layout.duration(LAG_LIMIT)} behind the mail server."
        ),
        fields={
            "behind": layout.duration(timedelta(milliseconds=row.lag_ms)),
            "captured": _captured(row),
            "backlog": layout.size(row.behind_bytes),
        },
        advice="Nothing is lost while the redo log is kept. The end of the backlog is told.",
        counters={"lag_ms": row.lag_ms, "behind_bytes": row.behind_bytes},
    )


def recovered(row: Scanner) -> Alert:
    """Tell that what was told is over."""
    return Alert(
        event=RECOVERED,
        level=Level.INFORMATION,
        subject="Real-Time Scanner recovered",
        lead="The Real-Time Scanner follows the mail server again.",
        fields={"captured": _captured(row)},
    )


def _captured(row: Scanner) -> str:
    return f"up to {spelled(row.server, row.captured_at)}" if row.captured_at else ""


def _scan_command(server: Server) -> dict[str, str]:
    return {"start it": f"backupng --host {server.name} backup {SMART_SCAN}"}


# Again and again


def good_scan_began(server: Server) -> datetime | None:
    """Return when the last successful SmartScan began."""
    scans = QueuedOperation.objects.filter(
        server=server, command=SMART_SCAN, state=State.SUCCESSFUL
    )
    return scans.order_by("-seq").values_list("started_at", flat=True).first()


def remind(server: Server, *, now: datetime) -> None:
    """Tell what is wrong and was not told lately, and what is over; call it every minute."""
    with transaction.atomic():
        row = Scanner.objects.select_related("server").filter(server=server).first()
        if row is None:
            return
        for step in (_remind_of_switch, _remind_of_trouble, _remind_of_scan):
            step(row, now)


def _remind_of_switch(row: Scanner, now: datetime) -> None:
    began = row.off_since
    if not row.enabled and began and now - began >= _DAY and _is_time(row, DISABLED, began, now):
        tell(row.server, disabled(row, by="", reminds=True))


def _remind_of_trouble(row: Scanner, now: datetime) -> None:
    """Tell of a halt and of a great lag, and of the end of what was told."""
    if row.state == Scanner.State.HALTED:
        if now - row.since >= _HALT_IS_TOLD_AFTER and _is_time(
            row, HALTED, row.since, now, hourly=True
        ):
            tell(row.server, halted(row))
    elif _lags(row, now):
        known = _newest(row, (LAG, RECOVERED))
        told_ms = int(known.counters.get("lag_ms", 0)) if known and known.event == LAG else 0
        if row.lag_ms >= 2 * told_ms:
            tell(row.server, lag(row))
    elif row.state == Scanner.State.FOLLOWING:
        known = _newest(row, (HALTED, LAG, RECOVERED))
        if known and known.event != RECOVERED:
            tell(row.server, recovered(row))


def _lags(row: Scanner, now: datetime) -> bool:
    """Say whether it is far behind, and for so long that it is no matter of a moment."""
    return (
        row.state == Scanner.State.CATCHING_UP
        and now - row.since >= _HALT_IS_TOLD_AFTER
        and timedelta(milliseconds=row.lag_ms) > LAG_LIMIT
    )


def _remind_of_scan(row: Scanner, now: datetime) -> None:
    if not row.enabled or row.due_since is None or not row.is_due(good_scan_began(row.server)):
        return
    is_gap = row.due_why == Scanner.Why.GAP
    event = GAP if is_gap else ENABLED
    if _is_time(row, event, row.due_since, now, hourly=is_gap):
        tell(row.server, gap(row) if is_gap else enabled(row, by=""))


def _is_time(
    row: Scanner, event: str, began: datetime, now: datetime, *, hourly: bool = False
) -> bool:
    """Say whether to tell again of what began then: hourly a few times, then daily."""
    told = Notification.objects.filter(server=row.server, event=event, created_at__gte=began)
    last = told.order_by("-created_at").values_list("created_at", flat=True).first()
    if last is None:
        return True
    pause = _HOUR if hourly and told.count() <= _HOURLY else _DAY
    return now - last >= pause


def _newest(row: Scanner, events: Sequence[str]) -> Notification | None:
    found = Notification.objects.filter(server=row.server, event__in=events)
    return found.order_by("-created_at").first()
