"""The queue of each server: its rows in the order of `seq`, one started at a time.

Every step is one short transaction that first locks the server's row. A drain runs under the
server's kernel lock, so a row that is started while nobody drains is an operation that was cut off.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from backupng.engine.errors import BackupError, MailServerUnreachable
from backupng.engine.operations import OPERATIONS, parameters
from backupng.engine.operations.base import Operation
from console import connect, hosting
from console.models import OPEN_STATES, Origin, QueuedOperation, Server, State

logger = logging.getLogger(__name__)

_PROGRESS_PAUSE_S = 1.0
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
    name: str = ""
    address: str = ""


def submit(
    server: Server,
    operation: Operation,
    *,
    requester: Requester = Requester(),
    dedupe: str | None = None,
    resumes: QueuedOperation | None = None,
) -> QueuedOperation:
    """Put an operation at the end of its server's queue, durably.

    With a `dedupe` key that is known, nothing is added and the row of that key is returned.
    """
    texts = parameters.spell(operation, server.zone_info)
    with transaction.atomic():
        locked = _lock(server)
        if dedupe and (known := QueuedOperation.objects.filter(dedupe=dedupe).first()):
            return known
        row = QueuedOperation.objects.create(
            server=locked,
            seq=locked.next_seq,
            command=operation.command,
            parameters=texts,
            dedupe=dedupe,
            origin=requester.origin,
            requester=requester.user,
            requester_name=requester.name,
            requester_address=requester.address,
            resumes=resumes,
        )
        Server.objects.filter(pk=locked.pk).update(next_seq=row.seq + 1, drain_pending=True)
    return row


def stop(row: QueuedOperation, *, by: str) -> State | None:
    """Ask for the end of an operation: what waits is removed, what runs ends at a safe point.

    Returns the state it was in, None if it had ended before.
    """
    with transaction.atomic():
        _lock(row.server)
        return _stop(QueuedOperation.objects.get(pk=row.pk), by)


def stop_all(server: Server, *, by: str) -> tuple[int, int]:
    """Stop what runs and remove what waits; returns how many of each."""
    with transaction.atomic():
        locked = _lock(server)
        rows = QueuedOperation.objects.filter(server=locked, state__in=OPEN_STATES)
        states = [_stop(row, by) for row in rows.order_by("-seq")]
    return states.count(State.STARTED), states.count(State.QUEUED)


def _stop(row: QueuedOperation, by: str) -> State | None:
    now = timezone.now()
    if row.move(State.QUEUED, State.REMOVED, ended_at=now, stop_requested_by=by):
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
    """Say whether a process on this host drains the server's queue, now or as its duty."""
    locks = (
        hosting.worker_lock(),
        hosting.worker_lock(server.name),
        hosting.queue_lock(server.name),
    )
    return any(map(hosting.is_locked, locks))


def drain(
    server: Server, *, until: uuid.UUID | None = None, ending: Callable[[], bool] = lambda: False
) -> Drained:
    """Run the server's queued operations in order, until none is left or `until` has ended.

    As soon as `ending` says so, the running operation is interrupted and the rest stays queued.
    Call it from the main thread. Raises MailServerUnreachable for another host's server.
    """
    with hosting.locked(hosting.queue_lock(server.name)) as lock:
        if lock is None:
            return Drained.BUSY
        _bind(server)
        recover(server)
        while not (ending() or _has_ended(until)):
            row = _claim(server)
            if row is None:
                break
            _run(row, lock, ending)
    return Drained.DONE


def recover(server: Server) -> None:
    """Close what an earlier drain left started: by its end journal, else as interrupted.

    The caller holds the server's kernel lock, so nothing of this server can be running.
    """
    for row in QueuedOperation.objects.filter(server=server, state=State.STARTED):
        end = hosting.read_journal(row.pk)
        if end is None or end["token"] != str(row.token):
            end = _cut_off(row)
        finish(row, end)
    for operation in hosting.journals():
        if QueuedOperation.objects.filter(pk=operation, server=server).exists():
            hosting.remove_journal(operation)


def finish(row: QueuedOperation, end: dict[str, Any]) -> bool:
    """Move a started row to its end state; False when it had been closed before."""
    outcome = {key: end[key] for key in ("state", "error", "report")}
    closed = row.move(State.STARTED, State(end["state"]), outcome=outcome, ended_at=timezone.now())
    if not closed:
        logger.warning("%s was closed by somebody else before it ended as %s", row, end["state"])
    return closed


def _lock(server: Server) -> Server:
    """Lock the server's row to the end of the transaction and return it as it is now."""
    return Server.objects.select_for_update().get(pk=server.pk)


def _bind(server: Server) -> None:
    """Take a server that no host has. Raises MailServerUnreachable if another one has it."""
    mine = hosting.identity()
    Server.objects.filter(pk=server.pk, identity="").update(identity=mine)
    if not Server.objects.filter(pk=server.pk, identity=mine).exists():
        raise MailServerUnreachable(
            f"The operations of {server.name} run on another host.", hint="Run the command there."
        )


def _has_ended(operation: uuid.UUID | None) -> bool:
    return (
        operation is not None
        and QueuedOperation.objects.filter(pk=operation).exclude(state__in=OPEN_STATES).exists()
    )


def _claim(server: Server) -> QueuedOperation | None:
    """Move the oldest queued row to started and return it; None if there is nothing to run."""
    # Made once: a retry after a lost answer finds its own token and knows that it has claimed.
    token = uuid.uuid4()
    return _persistently(lambda: _claim_as(server, token))


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
        return rows.get(pk=row.pk)


def _run(row: QueuedOperation, lock: int, ending: Callable[[], bool]) -> None:
    """Run a claimed operation to its end, whatever happens, and record that end."""
    progress = _Progress(row)
    try:
        watch = hosting.Watch(progress=progress.note, ending=ending)
        line = _persistently(lambda: connect.line(row))
        end = hosting.execute(line, lock=lock, watch=watch)
    except BackupError as error:
        end = _end("failed", error.code, str(error), hint=error.hint)
    except Exception:
        logger.exception("%s could not be run", row)
        end = _end("failed", "defect", "The operation could not be started or not be watched.")
    if ending() and (end is None or end["state"] == "stopped"):
        end = _interrupted(row, "The service was stopped while it ran.")
    elif end is None:
        end = _persistently(lambda: _vanished(row))
    if end["error"] and end["error"]["code"] == "defect":
        end["error"]["hint"] = f"Its log tells more: {hosting.log_file(row.pk)}."
    hosting.write_journal(row.pk, end | {"token": str(row.token)})
    _persistently(lambda: connect.remember_tree(row.server))
    _persistently(progress.write)
    _persistently(lambda: finish(row, end))
    hosting.remove_journal(row.pk)


class _Progress:
    """The last progress of a running operation, written to its row at most once a second."""

    def __init__(self, row: QueuedOperation) -> None:
        self._row = row
        self._noted: dict[str, Any] = {}
        self._next_write = 0.0

    def note(self, progress: dict[str, Any]) -> None:
        """Remember progress and write it if the last one was written a second ago."""
        self._noted = progress
        if time.monotonic() >= self._next_write:
            self._next_write = time.monotonic() + _PROGRESS_PAUSE_S
            try:
                self.write()
            except (OperationalError, InterfaceError) as error:
                logger.warning("progress of %s was not written: %s", self._row, error)
                connection.close()

    def write(self) -> None:
        """Write what was noted last."""
        row = self._row
        mine = QueuedOperation.objects.filter(pk=row.pk, token=row.token, state=State.STARTED)
        mine.update(progress=self._noted, progress_at=timezone.now())


def _cut_off(row: QueuedOperation) -> dict[str, Any]:
    if row.stop_requested_at:
        return _end("stopped", "stopped", "It was stopped, and ended before it could say so.")
    restarted = row.runner.get("boot_id") != hosting.boot_id()
    reason = "The host was restarted" if restarted else "The process that ran it ended"
    return _interrupted(row, f"{reason} before the operation had ended.")


def _vanished(row: QueuedOperation) -> dict[str, Any]:
    if QueuedOperation.objects.filter(pk=row.pk).exclude(stop_requested_at=None).exists():
        return _end("stopped", "stopped", "It was stopped, and ended before it could say so.")
    return _interrupted(row, "The operation's process was killed or broke down.")


def _interrupted(row: QueuedOperation, message: str) -> dict[str, Any]:
    known = OPERATIONS.get(row.command, Operation)
    return _end("interrupted", "interrupted", message, hint=known.after_interruption)


def _end(state: str, code: str, message: str, *, hint: str = "") -> dict[str, Any]:
    return {
        "state": state,
        "error": {"code": code, "message": message, "hint": hint},
        "report": {},
    }


def _persistently(step: Callable[[], _T]) -> _T:
    """Repeat a step until the database takes it: what has happened must be recorded."""
    pause = _FIRST_RETRY_S
    while True:
        try:
            return step()
        except (OperationalError, InterfaceError) as error:
            logger.warning("the database does not answer, next try in %s s: %s", pause, error)
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_RETRY_S)
