"""`backupng worker`: drains the queues of the servers of this host, in the foreground."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Exists, OuterRef

from backupng.engine.errors import BackupError, OperationError
from console import hosting, queue
from console.models import OPEN_STATES, QueuedOperation, Server

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_TRIES = 5
_TRY_EVERY_S = 0.05


class StopSignal:
    """Remembers SIGTERM and SIGINT, and ends a wait at once."""

    def __init__(self) -> None:
        self._asked = False
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def asked(self) -> bool:
        """Say whether one of them came."""
        return self._asked

    def wait(self, seconds: float) -> None:
        """Wait that long, or until one comes."""
        select.select([self._reader], [], [], 0 if self._asked else seconds)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True


def run(only: str = "") -> int:
    """Drain until a signal comes; `only` the server of that name, else all that this host serves.

    Raises OperationError when another worker is at it.
    """
    stop = StopSignal()
    only = only or os.environ.get("BACKUPNG_SERVER", "")
    with _sole_worker(only, stop):
        sys.stderr.write(f"worker: serving {only or 'the servers of this host'}\n")
        sys.stderr.flush()
        while not stop.asked():
            try:
                _drain_all(only, stop)
            except (OperationalError, InterfaceError) as error:
                logger.warning("the database does not answer: %s", error)
                connection.close()
            stop.wait(_LOOK_EVERY_S)
    return 0


def _drain_all(only: str, stop: StopSignal) -> None:
    waiting = QueuedOperation.objects.filter(server=OuterRef("pk"), state__in=OPEN_STATES)
    servers = Server.objects.filter(Exists(waiting), identity__in=("", hosting.identity()))
    for server in servers.filter(name=only) if only else servers:
        try:
            queue.drain(server, ending=stop.asked)
        except BackupError as error:
            sys.stderr.write(f"{server.name}: {error}\n")


@contextmanager
def _sole_worker(only: str, stop: StopSignal) -> Iterator[None]:
    """Hold the worker's lock. Whoever looks at it may have it for an instant, hence the tries."""
    for _ in range(_TRIES):
        with hosting.locked(hosting.worker_lock(only)) as lock:
            if lock is not None:
                yield
                return
        stop.wait(_TRY_EVERY_S)
    raise OperationError(
        f"A worker for {only or 'the servers of this host'} is running already.",
        hint="One is enough.",
    )
