"""The rows of the Operation Queue page: what runs, what waits and why, what is done."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext

from backupng.engine.operations import OPERATIONS
from console import hosting, queue, telling
from console.models import OPEN_STATES, QueuedOperation, Server, State
from console.standing import Standing, standing

SHOWN_OPEN = 200
"""A queue may be longer; its end is counted, not shown."""
PAGE_ROWS = 50
DAYS = (1, 7, 30, 90)
LOSSES = "losses"
"""A state of the filter: successful, but something was lost."""
END_STATES = (
    *(State.SUCCESSFUL.value, LOSSES, State.FAILED.value),
    *(State.INTERRUPTED.value, State.STOPPED.value, State.REMOVED.value),
)
START_COMMAND = "backupng run"

# What runs and what waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One operation that has not ended; `why` says what it waits for, empty once it runs."""

    row: QueuedOperation
    standing: Standing
    position: int = 1
    why: str = ""

    @property
    def place(self) -> str:
        """The position as an ordinal."""
        endings = {1: gettext("st"), 2: gettext("nd"), 3: gettext("rd")}
        # 11th, 12th, 13th
        last = 0 if self.position % 100 in (11, 12, 13) else self.position % 10
        return f"{self.position}{endings.get(last, gettext('th'))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOperations:
    """What runs, and what waits in the order of each queue; `version` changes with any of it."""

    running: list[Line]
    queued: list[Line]
    paused: list[Server]
    """Servers whose queue waits until it is resumed."""
    waiting: int
    """How many wait in all; `queued` may be their beginning."""
    version: str

    @property
    def left_out(self) -> int:
        """How many wait and are not shown."""
        return self.waiting - len(self.queued)


def open_operations(*, now: datetime) -> OpenOperations:
    """Return all that has not ended, server by server."""
    rows = QueuedOperation.listed().filter(state__in=OPEN_STATES)
    # `started` sorts after `queued`, so what runs is never left out.
    found = list(rows.order_by("-state", "server__name", "seq")[: SHOWN_OPEN + 1])
    total = rows.count() if len(found) > SHOWN_OPEN else len(found)
    found = found[:SHOWN_OPEN]
    running = [
        Line(row=row, standing=standing(row, now=now))
        for row in found
        if row.state == State.STARTED
    ]
    paused = list(Server.objects.filter(paused=True).order_by("name"))
    queued = _queued([row for row in found if row.state == State.QUEUED], running, now)
    return OpenOperations(
        running=running,
        queued=queued,
        paused=paused,
        waiting=total - len(running),
        version=_version([*running, *queued], total, paused),
    )


def waiting(row: QueuedOperation, *, now: datetime) -> Line:
    """Return one row with its place in the queue and what it waits for."""
    line = Line(row=row, standing=standing(row, now=now))
    if row.state != State.QUEUED:
        return line
    ahead = QueuedOperation.objects.filter(
        server=row.server, state__in=OPEN_STATES, seq__lt=row.seq
    )
    last = ahead.order_by("-seq").first()
    why = why_waiting(row.server, last)
    return Line(row=row, standing=line.standing, position=ahead.count() + 1, why=why)


def why_waiting(server: Server, ahead: QueuedOperation | None) -> str:
    """Say what the operation behind `ahead` waits for; the first of a queue has nobody ahead."""
    if server.paused:
        return gettext("the queue of %s is paused") % server.name
    if ahead is not None:
        return gettext("starts when %(title)s %(id)s… ends") % {
            "title": telling.title(ahead),
            "id": str(ahead.pk)[:4],
        }
    if has_no_worker(server):
        return gettext("the server has no worker: start one with %s") % START_COMMAND
    return gettext("starts as soon as the worker takes it")


def has_no_worker(server: Server) -> bool:
    """Say whether it is known that nobody drains the server's queue; only its own host can know."""
    return server.identity in ("", hosting.identity()) and not queue.is_served(server)


def last_ended() -> QueuedOperation | None:
    """Return the operation that ended last."""
    ended = QueuedOperation.listed().exclude(state__in=OPEN_STATES)
    return ended.order_by("-ended_at").first()


def _queued(rows: Iterable[QueuedOperation], running: Iterable[Line], now: datetime) -> list[Line]:
    lines = []
    ahead = {line.row.server_id: line.row for line in running}
    places = dict.fromkeys(ahead, 1)
    for row in rows:
        places[row.server_id] = places.get(row.server_id, 0) + 1
        lines.append(
            Line(
                row=row,
                standing=standing(row, now=now),
                position=places[row.server_id],
                why=why_waiting(row.server, ahead.get(row.server_id)),
            )
        )
        ahead[row.server_id] = row
    return lines


def _version(lines: Iterable[Line], total: int, paused: Iterable[Server]) -> str:
    seen = [
        (
            line.row.pk,
            line.row.shown_state,
            line.row.progress,
            line.standing.silent_since,
            line.why,
        )
        for line in lines
    ]
    return f"{zlib.crc32(repr((total, seen, [server.pk for server in paused])).encode()):x}"


# What is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which ended operations are meant; what is empty or 0 does not matter."""

    state: str = ""
    command: str = ""
    dryrun: str = ""
    server: str = ""
    days: int = 0

    @classmethod
    def read(cls, query: Mapping[str, Any]) -> Filters:
        """Take the filters out of the query of an address; what makes no sense is left out."""
        state, command = str(query.get("state", "")), str(query.get("command", ""))
        days, dryrun = str(query.get("days", "")), str(query.get("dryrun", ""))
        return cls(
            state=state if state in END_STATES else "",
            command=command if command in OPERATIONS else "",
            dryrun=dryrun if dryrun in ("true", "false") else "",
            server=str(query.get("server", ""))[:253],
            days=int(days) if days.isascii() and days.isdigit() and len(days) < 5 else 0,
        )

    def words(self) -> dict[str, str]:
        """Return what is set, as the query of an address has it."""
        found = {"state": self.state, "command": self.command, "server": self.server}
        found |= {"dryrun": self.dryrun, "days": str(self.days) if self.days else ""}
        return {name: text for name, text in found.items() if text}


def done(filters: Filters, *, now: datetime) -> QuerySet[QueuedOperation]:
    """Return the ended operations that are meant, the last one first."""
    rows = QueuedOperation.listed().exclude(state__in=OPEN_STATES)
    if filters.state in (State.SUCCESSFUL, LOSSES):
        rows = rows.filter(state=State.SUCCESSFUL, losses=filters.state == LOSSES)
    elif filters.state:
        rows = rows.filter(state=filters.state)
    if filters.command:
        rows = rows.filter(command=filters.command)
    if filters.dryrun == "true":
        rows = rows.filter(telling.DRY_RUNS)
    elif filters.dryrun:
        rows = rows.exclude(pk__in=QueuedOperation.objects.filter(telling.DRY_RUNS).values("pk"))
    if filters.server:
        rows = rows.filter(server__name__iexact=filters.server)
    if filters.days:
        rows = rows.filter(ended_at__gte=now - timedelta(days=filters.days))
    return rows.order_by("-ended_at", "-seq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much an ended operation dealt with: `done` of `total`, or `done` alone."""

    done: int
    total: int | None = None


def amount(row: QueuedOperation) -> Amount | None:
    """Return the items of an ended operation; None if it counted none."""
    if row.counters.get("planned"):
        return Amount(done=row.counters.get("restored", 0), total=row.counters["planned"])
    if "items_checked" in row.counters:
        return Amount(done=row.counters["items_checked"])
    return None
