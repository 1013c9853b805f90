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
from console import browse, hosting, notify, queue
from console.models import Draft, Server

logger = logging.getLogger(__name__)

_TRIES = 4
_TRY_EVERY_S = 0.2


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
    """Do all that is due, every minute: also what a bell was for that nobody heard."""
    _answer(server_name, _see)
    _answer(server_name, browse.read_cos_flags)
    for step in (notify.send_due, checkpoint, drop_drafts):
        try:
            step()
        except Exception:
            logger.exception("a step of the tick of %s failed: %s", server_name, step.__name__)
            connection.close()
    return drain(server_name)


def post(server_name: str) -> str:
    """Send the mails that are due."""
    return _answer(server_name, lambda _server: f"{notify.send_due()} sent")


def checkpoint() -> None:
    """Move SQLite's log into its database, as the only process of this host that does."""
    if connection.vendor != "sqlite":
        return
    with hosting.locked(hosting.WAL_LOCK) as lock:
        if lock is not None:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def drop_drafts() -> None:
    """Delete the runs of wizards that ended long ago; until then their pages say so."""
    Draft.objects.filter(created_at__lt=timezone.now() - 7 * Draft.LIFETIME).delete()


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
    for _ in range(_TRIES):
        drained = queue.drain(server, ending=ENDING.announced)
        if drained is queue.Drained.DONE or ENDING.announced():
            break
        time.sleep(_TRY_EVERY_S)
    return drained


def _see(server: Server) -> None:
    queue.see_worker(server)
