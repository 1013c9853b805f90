"""How well each server is saved, and what its queue does: from the console's database alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from django.db.models import BooleanField, Case, Count, OuterRef, Q, QuerySet, Subquery, When
from django.utils.translation import gettext

from backupng.engine.errors import BackupError
from backupng.engine.operations import OPERATIONS
from console import connect, hosting, telling
from console.capture import Scanner
from console.models import OPEN_STATES, Level, Notification, QueuedOperation, Server, State

SMART_SCAN = "doSmartScan"
_WITH_DRY_RUNS = frozenset(
    command
    for command, operation in OPERATIONS.items()
    if any(each.name == "dryrun" for each in fields(operation))
)
OLD_AFTER = timedelta(hours=26)
"""A nightly SmartScan, and two hours for it to end."""
MATRIX_DAYS = 30
LOSSES = "losses"
"""A column of the matrix, and a state of the queue's filter: successful, but something was lost."""
COLUMNS = (
    *(State.SUCCESSFUL.value, LOSSES, State.FAILED.value),
    *(State.INTERRUPTED.value, State.STOPPED.value),
)
_SHOWN = 5
_SHOWN_OPEN = 50


class Fault(StrEnum):
    """What keeps a server from being well saved, the sharpest first."""

    PATH_MISSING = "path_missing"
    NEVER = "never"
    SCANNER_HALTED = "scanner_halted"
    SCANNER_SILENT = "scanner_silent"
    UNSUCCESSFUL = "unsuccessful"
    SCANNER_OFF = "scanner_off"
    SCAN_DUE = "scan_due"
    LOSSES = "losses"
    OLD = "old"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk of a Backup Path, in bytes."""

    total: int
    free: int

    @property
    def used(self) -> int:
        """What is taken, by whatever it is."""
        return self.total - self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How well one server is saved.

    `last` is the SmartScan that ended last, `good` the last one that ended well, `pending` one
    that waits or runs. `disk` is None for a missing Backup Path, and for that of another host;
    `scanner` for a server whose Real-Time Scanner was never started.
    """

    server: Server
    last: QueuedOperation | None
    good: QueuedOperation | None
    pending: QueuedOperation | None
    disk: Disk | None
    is_here: bool
    fault: Fault | None
    scanner: Scanner | None = None
    is_live: bool = False
    """Whether its scanner captures what happens now."""

    @property
    def scan_due(self) -> bool:
        """Whether a SmartScan is required since its scanner was enabled or found a gap."""
        return _is_scan_due(self.scanner, self.good)

    @property
    def settles(self) -> QueuedOperation | None:
        """The SmartScan that waits or runs and whose good end will be enough."""
        due = self.scanner.due_since if self.scanner else None
        if self.pending is None or due is None:
            return self.pending
        begun = self.pending.started_at
        return self.pending if begun is None or begun > due else None

    @property
    def captured(self) -> datetime | None:
        """The moment up to which everything is captured, while it is captured as it happens."""
        return self.scanner.captured_at if self.scanner and self.is_live else None

    @property
    def as_of(self) -> datetime | None:
        """The moment that everything was saved up to: what changed during a scan may be missing."""
        return self.good.started_at if self.good else None

    @property
    def accounts(self) -> int:
        """How many accounts the last good SmartScan has saved."""
        return _counters(self.good).get("accounts_scanned", 0)

    @property
    def unread(self) -> int:
        """How many items it could not read."""
        return _counters(self.good).get("read_errors", 0)

    @property
    def numbers(self) -> dict[str, int]:
        """The counters of the last SmartScan."""
        return _counters(self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All servers, and their operations: those that have not ended, then the last that have.

    `lossy` are those of the last days that lost something, if they were asked for; newest first.
    """

    protections: list[Protection]
    open: list[QueuedOperation]
    finished: list[QueuedOperation]
    lossy: list[QueuedOperation]

    @property
    def faulty(self) -> list[Protection]:
        """The servers with a fault, the sharpest first."""
        ranks = list(Fault)
        found = [each for each in self.protections if each.fault]
        return sorted(found, key=lambda each: ranks.index(each.fault or Fault.OLD))

    @property
    def accounts(self) -> int:
        """How many accounts are saved on all servers together."""
        return sum(each.accounts for each in self.protections)

    @property
    def as_of(self) -> datetime | None:
        """The moment that every server was saved up to."""
        return min((each.as_of for each in self.protections if each.as_of), default=None)

    @property
    def captured(self) -> datetime | None:
        """The last moment that all servers have captured; None unless all capture live."""
        found = [each.captured for each in self.protections]
        return None if None in found else min(filter(None, found), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How many operations of one kind ended in one way, and the query that lists them."""

    number: int
    query: str


def overview(*, now: datetime, with_losses: bool = False) -> Overview:
    """Return how all servers are, in two questions to the database."""
    servers = list(_with_scans(Server.objects.order_by("name")))
    wanted = {key for server in servers for key in _scan_keys(server) if key}
    ended = QueuedOperation.objects.exclude(state__in=OPEN_STATES).order_by("-ended_at")
    lost = _of_late(now).filter(state=State.SUCCESSFUL, losses=True)
    chosen = Q(pk__in=wanted) | Q(pk__in=ended.values("pk")[:_SHOWN]) | Q(state__in=OPEN_STATES)
    if with_losses:
        chosen |= Q(pk__in=lost.order_by("-ended_at").values("pk")[:_SHOWN])
    # `started` sorts after `queued`.
    rows = list(QueuedOperation.listed().filter(chosen).order_by("-state", "server__name", "seq"))
    newest = _newest(row for row in rows if row.has_ended)
    late = now - timedelta(days=MATRIX_DAYS)
    lossy = [row for row in newest if row.losses and row.ended_at and row.ended_at >= late]
    return Overview(
        protections=_protections(servers, rows, now),
        open=[row for row in rows if not row.has_ended][:_SHOWN_OPEN],
        finished=newest[:_SHOWN],
        lossy=lossy[:_SHOWN] if with_losses else [],
    )


def protection(server: Server, *, now: datetime) -> Protection:
    """Return how one server is."""
    found = _with_scans(Server.objects.filter(pk=server.pk)).get()
    rows = QueuedOperation.listed().filter(pk__in=[key for key in _scan_keys(found) if key])
    return _protections([found], rows, now)[0]


def operations(server: Server) -> tuple[list[QueuedOperation], list[QueuedOperation]]:
    """Return a server's operations that have not ended, and the last that have."""
    ended = QueuedOperation.listed().filter(server=server).exclude(state__in=OPEN_STATES)
    newest = ended.order_by("-ended_at")[:_SHOWN]
    return open_operations(server)[:_SHOWN_OPEN], list(newest)


def open_operations(server: Server) -> list[QueuedOperation]:
    """Return a server's operations that have not ended, in the order of the queue."""
    return list(
        QueuedOperation.listed().filter(server=server, state__in=OPEN_STATES).order_by("seq")
    )


def alarms() -> list[Notification]:
    """Return the errors that nobody has read yet, newest first."""
    found = Notification.objects.filter(read_at=None, level__in=(Level.ERROR, Level.CRITICAL))
    return list(found.order_by("-created_at")[:_SHOWN])


def matrix(*, now: datetime) -> list[tuple[str, list[Cell]]]:
    """Count the last operations: for each kind a title, and a cell for each of `COLUMNS`."""
    found = _of_late(now).exclude(state__in=(*OPEN_STATES, State.REMOVED))
    is_dry = Case(When(telling.DRY_RUNS, then=True), default=False, output_field=BooleanField())
    kinds = found.annotate(is_dry=is_dry).values_list("command", "is_dry", "state", "losses")
    counted: dict[tuple[str, bool], dict[str, int]] = {}
    for command, dry, state, lossy, number in kinds.annotate(number=Count("pk")):
        column = LOSSES if state == State.SUCCESSFUL and lossy else state
        row = counted.setdefault((command, dry), dict.fromkeys(COLUMNS, 0))
        row[column] += number
    return [
        (
            _title(command, is_dry=dry),
            [_cell(command, column, row[column], is_dry=dry) for column in COLUMNS],
        )
        for (command, dry), row in sorted(counted.items())
    ]


def form_of(server: Server) -> dict[str, Any]:
    """Look into a Backup Path: `version` of its format, since when it is there, `problem` if any.

    `initialised` is whether a SmartScan has ever completed on it.
    """
    try:
        with connect.context(server) as ctx:
            form = ctx.path.form
            return {
                "version": form.version,
                "created": form.created,
                "initialised": bool(ctx.path.checkpoint()),
            }
    except BackupError as error:
        return {"problem": str(error), "hint": error.hint}


def why_nothing_is_saved(server: Server) -> str:
    """Say why nothing of a server's Backup Path can be restored or exported; empty if it can."""
    form = form_of(server)
    if problem := form.get("problem"):
        return " ".join(filter(None, (problem, form["hint"])))
    if not form["initialised"]:
        return gettext("No SmartScan has ended yet: nothing is in the backup.")
    return ""


def _with_scans(servers: QuerySet[Server]) -> QuerySet[Any]:
    scans = QueuedOperation.objects.filter(server=OuterRef("pk"), command=SMART_SCAN)
    scans = scans.order_by("-seq")
    never_ran = (*OPEN_STATES, State.REMOVED)
    return servers.select_related("scanner").annotate(
        last_scan=Subquery(scans.exclude(state__in=never_ran).values("pk")[:1]),
        good_scan=Subquery(scans.filter(state=State.SUCCESSFUL).values("pk")[:1]),
        pending_scan=Subquery(scans.filter(state__in=OPEN_STATES).values("pk")[:1]),
    )


def _scan_keys(server: Any) -> tuple[Any, Any, Any]:
    return server.last_scan, server.good_scan, server.pending_scan


def _protections(
    servers: Iterable[Server], rows: Iterable[QueuedOperation], now: datetime
) -> list[Protection]:
    known = {row.pk: row for row in rows}
    return [
        _protection(each, [known.get(key) for key in _scan_keys(each)], now) for each in servers
    ]


def _protection(
    server: Server, scans: Sequence[QueuedOperation | None], now: datetime
) -> Protection:
    last, good, pending = scans
    is_here = server.identity in ("", hosting.identity())
    disk = _disk(server) if is_here else None
    scanner: Scanner | None = getattr(server, "scanner", None)
    is_live = scanner is not None and scanner.is_at_work and not scanner.is_silent(now)
    fault = _scan_fault(last, good)
    if fault is not Fault.NEVER:
        trouble = None if is_live else _scanner_fault(scanner, now)
        due = Fault.SCAN_DUE if _is_scan_due(scanner, good) else None
        old = None if is_live else _age_fault(good, now)
        fault = _sharpest(fault, trouble, due, old)
    return Protection(
        server=server,
        last=last,
        good=good,
        pending=pending,
        disk=disk,
        is_here=is_here,
        fault=Fault.PATH_MISSING if is_here and disk is None else fault,
        scanner=scanner,
        is_live=is_live,
    )


def _scan_fault(last: QueuedOperation | None, good: QueuedOperation | None) -> Fault | None:
    if good is None or good.started_at is None:
        return Fault.NEVER
    if last is not None and last.state != State.SUCCESSFUL:
        return Fault.UNSUCCESSFUL
    return Fault.LOSSES if good.losses else None


def _age_fault(good: QueuedOperation | None, now: datetime) -> Fault | None:
    begun = good.started_at if good else None
    return Fault.OLD if begun and now - begun > OLD_AFTER else None


def _scanner_fault(scanner: Scanner | None, now: datetime) -> Fault | None:
    """Return why nothing is captured live; None where a scanner was never there."""
    if scanner is None:
        return None
    if not scanner.enabled:
        return Fault.SCANNER_OFF if scanner.off_since else None
    if scanner.is_silent(now):
        return Fault.SCANNER_SILENT
    return Fault.SCANNER_HALTED if scanner.state == Scanner.State.HALTED else None


def _is_scan_due(scanner: Scanner | None, good: QueuedOperation | None) -> bool:
    if scanner is None or not scanner.enabled:
        return False
    return scanner.is_due(good.started_at if good else None)


def _sharpest(*faults: Fault | None) -> Fault | None:
    ranks = list(Fault)
    return min(filter(None, faults), key=ranks.index, default=None)


def _disk(server: Server) -> Disk | None:
    try:
        found = shutil.disk_usage(server.path)
    except OSError:
        return None
    return Disk(total=found.total, free=found.free)


def _counters(row: QueuedOperation | None) -> dict[str, int]:
    found: dict[str, int] = row.counters if row else {}
    return found


def _newest(rows: Iterable[QueuedOperation]) -> list[QueuedOperation]:
    dated = [(row.ended_at, row.seq, row) for row in rows if row.ended_at]
    return [row for _, _, row in sorted(dated, key=lambda each: each[:2], reverse=True)]


def _of_late(now: datetime) -> QuerySet[QueuedOperation]:
    return QueuedOperation.objects.filter(ended_at__gte=now - timedelta(days=MATRIX_DAYS))


def _title(command: str, *, is_dry: bool) -> str:
    texts = {"dryrun": str(is_dry).lower()} if command in _WITH_DRY_RUNS else {}
    return telling.title(QueuedOperation(command=command, parameters=texts))


def _cell(command: str, state: str, number: int, *, is_dry: bool) -> Cell:
    words = {"command": command, "state": state, "days": MATRIX_DAYS}
    if command in _WITH_DRY_RUNS:
        words["dryrun"] = str(is_dry).lower()
    return Cell(number=number, query=urlencode(words))
