"""What django-q2 calls: bells that say "look", without any work of their own.

Each may ring twice, late or never: whoever hears it does what the tables say is due.
"""

from __future__ import annotations

import logging
import mmap
import time
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from backupng.engine.errors import BackupError
from console import bells, cosflags, hosting, housekeeping, notify, queue, scheduling
from console.models import Draft, Server

logger = logging.getLogger(__name__)

_TRIES = 4
_TRY_EVERY_S = 0.2
_SHIFT_S = 30.0
_SIGN_EVERY_S = 5.0
_BATCHES_TOLD = 20
_LET_OTHERS_WRITE_S = 0.12
"""SQLite has whoever waits look again after a tenth of a second."""


class Ending:
    """Tells all processes forked from this one that the service ends.

    One byte of shared memory: there is no lock that a killed process could keep.
    """

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def announce(self) -> None:
        """Say so, from a signal handler too."""
        self._byte[0] = 1

    def announced(self) -> bool:
        """Say whether it was said."""
        return self._byte[0] != 0


ENDING = Ending()


def drain(server_name: str) -> str:
    """Run what is queued for a server, if this is its host and nobody else is at it."""
    return _answer(server_name, _drain)


def tick(server_name: str) -> str:
    """Do all that is due, every minute: also what a bell was for that nobody heard.

    The queue comes first. While a tick drains it for hours, the next ones find it busy and do the
    rest: nothing of that may take long.
    """
    try:
        return drain(server_name)
    finally:
        # A SmartScan and a Purge that are due at the same time run in this order.
        due = (scheduling.run_due, scheduling.purge_due, scheduling.check_due)
        for step in (_ring_for_post, _tell_removed, *due, cosflags.read):
            _attempt(_answer, server_name, step)
        for upkeep in (checkpoint, drop_drafts, housekeeping.tidy):
            _attempt(upkeep)


def post(server_name: str) -> str:
    """Send the mails that are due, as the only process of this host that does."""
    return _answer(server_name, _post)


def checkpoint() -> None:
    """Move SQLite's log into its database, as the only process of this host that does.

    Nobody waits for that: the log is cut short only where no reader is in the way.
    """
    if connection.vendor != "sqlite":
        return
    with hosting.locked(hosting.WAL_LOCK) as lock, connection.cursor() as cursor:
        if lock is None:
            return
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        is_busy, frames, moved = cursor.fetchone()
        if is_busy or moved != frames:
            return
        cursor.execute("PRAGMA busy_timeout")
        (patience_ms,) = cursor.fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(patience_ms)}")


def drop_drafts() -> None:
    """Delete the runs of wizards that ended long ago; until then their pages say so."""
    Draft.objects.filter(created_at__lt=timezone.now() - 7 * Draft.LIFETIME).delete()


def _attempt(step: Callable[..., object], *words: object) -> None:
    """Take a step of the tick, unless the service ends; its failure is not that of the others."""
    if ENDING.announced():
        return
    try:
        step(*words)
    except Exception:
        logger.exception("a step of the tick failed: %s %s", step, words)
        connection.close()


def _answer(server_name: str, step: Callable[[Server], object]) -> str:
    """Do something for a server and say what came of it: a refusal is no failure of a bell."""
    try:
        server = Server.objects.filter(name=server_name).first()
        return str(step(server)) if server else f"there is no server {server_name}"
    except BackupError as error:
        logger.warning("%s", error)
        return str(error)
    except (OperationalError, InterfaceError) as error:
        logger.warning("the database does not answer: %s", error)
        connection.close()
        return "the database does not answer"


def _drain(server: Server) -> queue.Drained:
    """Drain; who holds the lock may be the operation of a killed process, about to die with it."""
    queue.see_worker(server)
    bells.wake_tick(server)
    for _ in range(_TRIES):
        drained = queue.drain(server, ending=ENDING.announced)
        if drained is queue.Drained.DONE or ENDING.announced():
            break
        time.sleep(_TRY_EVERY_S)
    return drained


def _post(server: Server) -> str:
    """Send for as long as a shift lasts; what is left rings for another one.

    Only where mails went out: a mail server that takes none is asked again by the next tick.
    """
    with hosting.locked(hosting.POST_LOCK) as lock:
        if lock is None:
            return "somebody else sends"
        sent = notify.send_due(goes_on=_Shift(server).goes_on)
    # After the lock: who heard the bell while it was held has found this sender and gone away.
    if sent and notify.is_due() and not ENDING.announced():
        bells.ring(server, bells.POST)
    return f"{sent} sent"


class _Shift:
    """How long a sender goes on; it gives a sign of life now and then."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.monotonic()
        self._next_sign = 0.0

    def goes_on(self) -> bool:
        """Say whether there is time for one more mail."""
        now = time.monotonic()
        if now >= self._began + _SHIFT_S or ENDING.announced():
            return False
        if now >= self._next_sign:
            queue.see_worker(self._server)
            self._next_sign = now + _SIGN_EVERY_S
        return True


def _ring_for_post(server: Server) -> None:
    if notify.is_due():
        bells.ring(server, bells.POST)


def _tell_removed(server: Server) -> None:
    for _ in range(_BATCHES_TOLD):
        if not queue.tell_removed(server) or ENDING.announced():
            break
        time.sleep(_LET_OTHERS_WRITE_S)
