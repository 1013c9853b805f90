"""What a scanner's process tells, on its way into the scanner's row: once a second at most."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from console import connect, hosting, queue, scheduling, suspicion
from console.alerting import tell
from console.capture import LAG_SAMPLES, Sample, Scanner
from console.models import Server
from console.scanner import alerts, switching

_FAR_BYTES = 1 << 20
_FAR_MS = 10_000
"""Behind so much, or for so long, it is catching up."""
_MINUTE = timedelta(minutes=1)


class Recorder:
    """The record of one server's scanner for the life of one process.

    Nothing is lost while the database is away: what was not written is written by the next call.
    """

    def __init__(self, server: Server, *, clock: Callable[[], datetime] = timezone.now) -> None:
        row = Scanner.objects.get(server=server)
        self._server = server
        self._clock = clock
        self._state, self._since = Scanner.State(row.state), row.since
        self._day, self._peak_ms, self._events = row.day, row.peak_ms, row.events
        self._has_stood = row.sequence is not None
        self._stood_first: datetime | None = None
        self._halted_first: bool | None = None
        """True from its first halt before it ever stood until that is acted upon."""
        self._began = clock()
        self._counted = 0
        self._changes: dict[str, Any] = {}
        self._gaps: list[dict[str, Any]] = []
        self._suspected: dict[str, set[int]] = {}
        self._minute: datetime | None = None
        self._longest_ms = 0
        self._samples: dict[datetime, int] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Note an event of the process."""
        match event:
            case {"event": "standing"}:
                self._standing(event)
            case {"event": "halted", "reason": reason, "hint": hint, "since_ms": since_ms}:
                self.halted(str(reason), hint=str(hint), since=_moment(since_ms))
            case {"event": "suspicion", "account": account, "item": item}:
                self._suspected.setdefault(str(account), set()).add(int(item))
            case {"event": "gap"}:
                self._gaps.append({name: event[name] for name in event if name != "event"})

    def idle(self, reason: str) -> None:
        """Note that it waits, and for what."""
        self._enter(Scanner.State.IDLE, reason=reason)

    def ended(self, reason: str) -> None:
        """Note that its service ends: it is idle then, unless it is halted, which that ends not."""
        if self._state != Scanner.State.HALTED:
            self.idle(reason)

    def halted(self, reason: str, *, hint: str = "", since: datetime | None = None) -> None:
        """Note that nothing is captured."""
        if not self._has_stood and self._halted_first is None:
            self._halted_first = True
        self._enter(Scanner.State.HALTED, reason=reason, hint=hint, since=since)

    def write(self) -> None:
        """Write what is new. Raises DatabaseError; then the next call writes it."""
        if self._stood_first is not None:
            self._write_first(self._stood_first)
            self._stood_first = None
        if self._halted_first:
            scheduling.scan_of_start(self._server, os.environ.get(hosting.START, ""))
            self._halted_first = False
        while self._gaps:
            self._write_gap(self._gaps[0])
            self._gaps.pop(0)
        if self._suspected:
            with transaction.atomic():
                suspicion.look_into(self._server, self._suspected, queue.queue_check)
            self._suspected = {}
        if self._changes:
            # A scanner that was disabled meanwhile stays so, whatever its process still says.
            mine = Scanner.objects.filter(server=self._server, enabled=True)
            mine.update(**self._changes)
            self._changes = {}
        for minute, longest_ms in list(self._samples.items()):
            Sample.objects.update_or_create(
                server=self._server,
                name=LAG_SAMPLES,
                at=minute,
                defaults={"value": longest_ms},
            )
            del self._samples[minute]

    def _enter(
        self,
        state: Scanner.State,
        *,
        reason: str = "",
        hint: str = "",
        since: datetime | None = None,
    ) -> None:
        now = self._clock()
        if state != self._state:
            self._state, self._since = state, since or now
        self._changes |= {
            "state": state,
            "since": self._since,
            "reason": reason,
            "hint": hint,
            "seen_at": now,
        }

    def _standing(self, event: Mapping[str, Any]) -> None:
        now = self._clock()
        behind, lag_ms = int(event["behind_bytes"]), self._lag_ms(event, now)
        far = behind > _FAR_BYTES or (behind > 0 and lag_ms > _FAR_MS)
        self._enter(Scanner.State.CATCHING_UP if far else Scanner.State.FOLLOWING)
        self._count(event, lag_ms, now)
        self._changes |= {
            "sequence": event["sequence"],
            "offset": event["offset"],
            "behind_bytes": behind,
            "lag_ms": lag_ms,
            "uncertain": event["uncertain"],
        }
        moments = {"last_change_at": "last_change_ms", "captured_at": "captured_ms"}
        told = {name: _moment(event[key]) for name, key in moments.items()}
        # A new process has saved nothing yet; what the last one has saved stays true.
        self._changes |= {name: moment for name, moment in told.items() if moment is not None}
        if not self._has_stood:
            self._has_stood, self._stood_first = True, now

    def _lag_ms(self, event: Mapping[str, Any], now: datetime) -> int:
        """Return how far behind it is: by its last group, by what waits, else not at all."""
        lag_ms = 0
        if event["events"] > self._counted and event["lag_ms"] is not None:
            lag_ms = max(0, int(event["lag_ms"]))
        if event["behind_bytes"] and event["last_change_ms"] is not None:
            lag_ms = max(lag_ms, int(now.timestamp() * 1000) - int(event["last_change_ms"]))
        return lag_ms

    def _count(self, event: Mapping[str, Any], lag_ms: int, now: datetime) -> None:
        today = now.astimezone(self._server.zone_info).date()
        if today != self._day:
            self._day, self._peak_ms, self._events = today, 0, 0
        self._events += max(0, int(event["events"]) - self._counted)
        self._counted = int(event["events"])
        # What happened while nobody followed has not waited for this process.
        own_ms = min(lag_ms, int((now - self._began).total_seconds() * 1000))
        self._peak_ms = max(self._peak_ms, own_ms)
        self._changes |= {"day": today, "peak_ms": self._peak_ms, "events": self._events}
        self._sample(own_ms, now)

    def _sample(self, lag_ms: int, now: datetime) -> None:
        """Remember the longest lag of each minute; a minute is told when it is over."""
        minute = now.replace(second=0, microsecond=0)
        if self._minute is not None and minute != self._minute:
            self._samples[self._minute] = self._longest_ms
            self._longest_ms = 0
        self._minute = minute
        self._longest_ms = max(self._longest_ms, lag_ms)

    def _write_first(self, stood_at: datetime) -> None:
        """Have the first SmartScan begin after that: what changed before was never followed."""
        connect.remember_tree(self._server)
        Scanner.objects.filter(server=self._server).update(due_since=stood_at)
        switching.queue_scan(self._server, scheduling.BY_TIMETABLE)

    def _write_gap(self, found: dict[str, Any]) -> None:
        """Keep a gap and tell of it, both or neither."""
        now = self._clock()
        with transaction.atomic():
            row = Scanner.objects.select_for_update().get(server=self._server)
            changes = {
                "gap": found,
                "gap_at": now,
                "due_since": now,
                "due_why": Scanner.Why.GAP,
                "missed_from": _latest(_moment(found.get("since_ms")), row.captured_at),
                "missed_until": _moment(found.get("before_ms")) or now,
            }
            for name, value in changes.items():
                setattr(row, name, value)
            Scanner.objects.filter(pk=row.pk).update(**changes)
            row.server = self._server
            tell(self._server, alerts.gap(row))


def _latest(*moments: datetime | None) -> datetime | None:
    """Return the last moment up to which all is known to be saved."""
    return max((moment for moment in moments if moment), default=None)


def _moment(milliseconds: Any) -> datetime | None:
    """Return the moment that milliseconds since the epoch mean."""
    if not isinstance(milliseconds, int):
        return None
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
