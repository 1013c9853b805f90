"""The queue of each server: its rows in the order of `seq`, one started at a time.

Every step is one short transaction that first locks the server's row. A drain runs under the
server's kernel lock, so a row that is started while nobody drains is an operation that was cut off.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from backupng.engine.errors import BackupError, MailServerUnreachable
from backupng.engine.operations import parameters
from backupng.engine.operations.base import Operation
from console import bells, connect, hosting, notify, outcomes, roles, suspicion
from console.models import OPEN_STATES, Origin, QueuedOperation, Server, State
from console.progress import Progress

logger = logging.getLogger(__name__)

AWAY_AFTER = timedelta(seconds=200)
"""A worker ticks every minute; one that was not seen for so long is gone or hangs."""

_RUNS_PER_DRAIN = 200
_TOLD_AT_ONCE = 50
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 10.0
_T = TypeVar("_T")


class Drained(StrEnum):
    """How a drain ended: nothing left to do for it, or somebody else is at it."""

    DONE = "done"
    BUSY = "busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks for an operation: of the console its user, of the command line the system user."""

    origin: Origin = Origin.CLI
    user: User | None = None
    name: str = field(default_factory=hosting.user_name)
    address: str = ""


def submit(
    server: Server,
    operation: Operation,
    *,
    source_name: str = "",
    requester: Requester | None = None,
    dedupe: str | None = None,
    resumes: QueuedOperation | None = None,
) -> QueuedOperation:
    """Put an operation at the end of its server's queue, durably, and ring its worker's bell.

    A `dedupe` key that is known adds nothing and returns its row; `source_name` goes with an id.
    """
    requester = requester or Requester()
    with transaction.atomic():
        locked = _lock(server)
        if dedupe and (known := QueuedOperation.objects.filter(dedupe=dedupe).first()):
            return known
        row = QueuedOperation.objects.create(
            server=locked,
            seq=locked.next_seq,
            command=operation.command,
            parameters=parameters.spell(operation, server.zone_info),
            source_name=source_name,
            dedupe=dedupe,
            origin=requester.origin,
            requester=requester.user,
            requester_name=requester.name,
            requester_address=requester.address,
            resumes=resumes,
        )
        Server.objects.filter(pk=locked.pk).update(next_seq=row.seq + 1, drain_pending=True)
        # In the same transaction and database: either both are there or neither.
        if not locked.drain_pending:
            bells.ring(locked, bells.DRAIN)
    return row


def pause(server: Server, *, paused: bool) -> None:
    """Let the queue wait after what runs now, or go on."""
    with transaction.atomic():
        locked = _lock(server)
        Server.objects.filter(pk=locked.pk).update(paused=paused)
        if not paused:
            bells.ring(locked, bells.DRAIN)


def stop(row: QueuedOperation, *, by: str) -> State | None:
    """Ask for the end of an operation: what waits is removed, what runs ends at a safe point.

    Returns the state it was in, None if it had ended before.
    """
    with transaction.atomic():
        _lock(row.server)
        return _stop(QueuedOperation.objects.get(pk=row.pk), by)


def stop_all(server: Server, *, by: str) -> tuple[int, int]:
    """Stop what runs and remove what waits; returns how many of each.

    Many removed ones are told about in several steps: here the first ones, by the tick the rest.
    """
    now = timezone.now()
    with transaction.atomic():
        rows = QueuedOperation.objects.filter(server=_lock(server))
        waiting, running = rows.filter(state=State.QUEUED), rows.filter(state=State.STARTED)
        removed = waiting.update(state=State.REMOVED, ended_at=now, stop_requested_by=by)
        running.filter(stop_requested_at=None).update(stop_requested_at=now, stop_requested_by=by)
        stopped = running.count()
        if removed > _TOLD_AT_ONCE:
            bells.ring(server, bells.TICK)
    try:
        tell_removed(server)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("what was removed is told about later: %s", error)
    return stopped, removed


def tell_removed(server: Server) -> bool:
    """Tell about some of the removed operations that were not told about; False if none is left."""
    if not notify.untold(server).exists():
        return False
    with transaction.atomic():
        _lock(server)
        rows = list(notify.untold(server)[:_TOLD_AT_ONCE])
        for row in rows:
            notify.ended(row)
        notify.ring(server, rows)
    return len(rows) == _TOLD_AT_ONCE


def _stop(row: QueuedOperation, by: str) -> State | None:
    now = timezone.now()
    if row.move(State.QUEUED, State.REMOVED, ended_at=now, stop_requested_by=by):
        notify.ended(row)
        notify.ring(row.server, [row])
        return State.QUEUED
    asked = {"stop_requested_at": now, "stop_requested_by": by}
    running = QueuedOperation.objects.filter(pk=row.pk, state=State.STARTED)
    if running.filter(stop_requested_at=None).update(**asked) or running.exists():
        return State.STARTED
    return None


def position(row: QueuedOperation) -> int:
    """Return the place in the queue: 1 for what is started or next, 0 for what has ended."""
    rows = QueuedOperation.objects.filter(
        server=row.server_id, state__in=OPEN_STATES, seq__lte=row.seq
    )
    return 0 if row.has_ended else rows.count()


def is_served(server: Server) -> bool:
    """Say whether a process drains the server's queue, now or as its duty.

    On this host locks tell; of another one its last sign of life.
    """
    if server.identity not in ("", hosting.identity()):
        seen = server.worker_seen_at
        return seen is not None and timezone.now() - seen < AWAY_AFTER
    locks = (hosting.worker_lock(server.name), hosting.queue_lock(server.name))
    return any(map(hosting.is_locked, locks))


def see_worker(server: Server) -> None:
    """Note a sign of life of the server's worker, on the host that has the server."""
    mine = Server.objects.filter(pk=server.pk, identity__in=("", hosting.identity()))
    mine.update(worker_seen_at=timezone.now())


def drain(
    server: Server, *, until: uuid.UUID | None = None, ending: Callable[[], bool] = lambda: False
) -> Drained:
    """Run the server's queued operations in order, until none is left or `until` has ended.

    As soon as `ending` says so, the running operation is interrupted and the rest stays queued.
    After many operations it returns and leaves the rest to the next ring. Call it from the main
    thread. Raises MailServerUnreachable for another host's server.
    """
    with hosting.locked(hosting.queue_lock(server.name)) as lock:
        if lock is None:
            return Drained.BUSY
        bind(server)
        recover(server)
        for _ in range(_RUNS_PER_DRAIN):
            if ending() or _has_ended(until):
                break
            row = _claim(server, ending)
            if row is None:
                break
            _run(row, lock, ending)
    # After the lock: who heard the bell while it was held has found this drain busy and gone away.
    if not ending():
        _persistently(lambda: _ring_for_the_rest(server), ending)
    return Drained.DONE


def recover(server: Server) -> None:
    """Close what an earlier drain left started: by its end journal, else as interrupted.

    The caller holds the server's kernel lock, so nothing of this server can be running.
    """
    for row in QueuedOperation.objects.filter(server=server, state=State.STARTED):
        kept = hosting.read_journal(row.pk) or {}
        end = kept if kept.get("token") == str(row.token) else outcomes.cut_off(row)
        finish(row, end | {"phase1": kept.get("phase1")})
    for operation in hosting.journals():
        if QueuedOperation.objects.filter(pk=operation, server=server).exists():
            hosting.remove_journal(operation)
    tell_removed(server)


def finish(row: QueuedOperation, end: dict[str, Any]) -> bool:
    """Move a started row to its end state; False when it had been closed before.

    An end that cannot be stored is a defect; it must not keep the operation open for ever.
    """
    try:
        return _finish(row, end)
    except (OperationalError, InterfaceError):
        raise
    except (DatabaseError, KeyError, TypeError, ValueError):
        logger.exception("the end of %s cannot be stored", row)
        return _finish(row, outcomes.not_storable(row))


def _finish(row: QueuedOperation, end: dict[str, Any]) -> bool:
    outcome = {key: end[key] for key in ("state", "error", "report")}
    state, now = State(end["state"]), timezone.now()
    with transaction.atomic():
        _lock(row.server)
        if said := end.get("phase1"):
            notify.phase1_done(row, said)
        if row.move(State.STARTED, state, ended_at=now, **row.ended_with(outcome)):
            notify.ended(row)
            suspicion.look_into(row.server, suspicion.in_report(outcome), queue_check)
            notify.ring(row.server, [row])
            return True
    logger.warning("%s was closed by somebody else before it ended as %s", row, state)
    return False


def queue_check(server: Server, operation: Operation, key: str) -> QueuedOperation:
    """Queue the check that nobody asks for."""
    nobody = Requester(origin=Origin.SCHEDULE, name="", address="")
    return submit(server, operation, requester=nobody, dedupe=key)


def bind(server: Server) -> None:
    """Take a server that no host has. Raises MailServerUnreachable if another one has it."""
    mine = hosting.identity()
    Server.objects.filter(pk=server.pk, identity="").update(identity=mine)
    if not Server.objects.filter(pk=server.pk, identity=mine).exists():
        raise MailServerUnreachable(
            f"The operations of {server.name} run on another host.", hint="Run the command there."
        )


def _lock(server: Server) -> Server:
    """Lock the server's row to the end of the transaction and return it as it is now."""
    return Server.objects.select_for_update().get(pk=server.pk)


def _ring_for_the_rest(server: Server) -> None:
    with transaction.atomic():
        locked = _lock(server)
        if locked.paused or not locked.drain_pending:
            return
        if QueuedOperation.objects.filter(server=locked, state=State.QUEUED).exists():
            bells.ring(locked, bells.DRAIN)
        else:
            Server.objects.filter(pk=locked.pk).update(drain_pending=False)


def _has_ended(operation: uuid.UUID | None) -> bool:
    return (
        operation is not None
        and QueuedOperation.objects.filter(pk=operation).exclude(state__in=OPEN_STATES).exists()
    )


def _claim(server: Server, ending: Callable[[], bool]) -> QueuedOperation | None:
    """Move the oldest queued row to started and return it; None if there is nothing to run."""
    # Made once: a retry after a lost answer finds its own token and knows that it has claimed.
    token = uuid.uuid4()
    return _persistently(lambda: _claim_as(server, token), ending)


def _claim_as(server: Server, token: uuid.UUID) -> QueuedOperation | None:
    with transaction.atomic():
        locked = _lock(server)
        rows = QueuedOperation.objects.filter(server=locked).select_related("server")
        if claimed := rows.filter(token=token).first():
            return claimed
        if locked.paused or rows.filter(state=State.STARTED).exists():
            return None
        row = rows.filter(state=State.QUEUED).order_by("seq").first()
        if row is None:
            Server.objects.filter(pk=locked.pk).update(drain_pending=False)
            return None
        row.move(
            State.QUEUED,
            State.STARTED,
            token=token,
            runner=hosting.runner(),
            started_at=timezone.now(),
        )
        claimed = rows.get(pk=row.pk)
        notify.started(claimed)
        notify.ring(server, [claimed])
        return claimed


def _run(row: QueuedOperation, lock: int, ending: Callable[[], bool]) -> None:
    """Run a claimed operation to its end, whatever happens, and record that end."""
    progress = Progress(row)
    try:
        watch = hosting.Watch(
            progress=progress.note,
            ending=lambda: progress.look() or ending(),
            phase1=lambda said: _tell_phase1(row, progress, said, ending=ending),
        )
        _persistently(lambda: roles.check_requester(row), ending)
        line = _persistently(lambda: connect.line(row), ending)
        end = hosting.execute(line, lock=lock, watch=watch)
    except (OperationalError, InterfaceError):
        # The service ends while the database is away: it has not begun.
        end = None
    except BackupError as error:
        end = outcomes.refused("failed", error.code, str(error), hint=error.hint)
    except Exception:
        logger.exception("%s could not be run", row)
        text = "The operation could not be started or not be watched."
        end = outcomes.refused("failed", "defect", text)
    if end is None and not ending():
        progress.stop_asked = _persistently(lambda: _stop_asked(row), ending)
    end = outcomes.judge(row, end, ending=ending(), stopped=progress.stop_asked)
    _record(row, progress, end | {"phase1": progress.phase1}, ending)


def _tell_phase1(
    row: QueuedOperation, progress: Progress, said: dict[str, Any], *, ending: Callable[[], bool]
) -> None:
    """Tell what phase 1 of an import came to; a kill on the way undoes nothing, as with an end."""
    progress.phase1 = said
    hosting.write_journal(row.pk, {"phase1": said})
    _persistently(lambda: notify.phase1_done(row, said), ending)


def _record(
    row: QueuedOperation, progress: Progress, end: dict[str, Any], ending: Callable[[], bool]
) -> None:
    """Write an end down, first where no database is needed; a kill on the way undoes nothing.

    Where the database is away and the service ends, the journal is left to the next drain.
    """
    hosting.write_journal(row.pk, end | {"token": str(row.token)})
    _persistently(lambda: connect.remember_tree(row.server), ending)
    _persistently(progress.write, ending)
    _persistently(lambda: finish(row, end), ending)
    hosting.remove_journal(row.pk)


def _stop_asked(row: QueuedOperation) -> bool:
    return QueuedOperation.objects.filter(pk=row.pk).exclude(stop_requested_at=None).exists()


def _persistently(step: Callable[[], _T], ending: Callable[[], bool]) -> _T:
    """Repeat a step until the database takes it: what has happened must be recorded.

    Raises the database's error when the service ends before.
    """
    pause = _FIRST_RETRY_S
    while True:
        try:
            return step()
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if ending():
                raise
            logger.warning("the database does not answer, next try in %s s: %s", pause, error)
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_RETRY_S)
