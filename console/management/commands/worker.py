"""`manage.py worker`: runs what is queued for one server, by a cluster of django-q2's processes.

All of them die with the one that forked them, however it dies. The main process knows of no work:
it holds the worker's lock, and it ends everything when the sentinel, which guards the others, ends
unasked.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections
from django.utils import timezone
from django_q.cluster import Cluster
from django_q.models import Schedule
from django_q.signals import post_spawn

from backupng.engine.errors import BadRequest, OperationError
from backupng.engine.operations import tether
from console import bells, hosting, queue, scheduling
from console.management.base import HostCommand
from console.models import Server
from console.tasks import ENDING

VARIABLE = "BACKUPNG_SERVER"
_LOOK_EVERY_S = 0.25
_TRIES = 5
_TRY_EVERY_S = 0.05
_LATEST_TICK = timedelta(minutes=2)
"""None is planned later than in a minute."""
_LEAVE_S = 45.0
"""How long the cluster may take to end once its operation has ended."""


class Command(HostCommand):
    """Drains the queue of one server, in the foreground, until SIGTERM or SIGINT."""

    help = "Run what is queued for a server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the name of the server."""
        parser.add_argument("server", nargs="?", default="", help="its name; unneeded for only one")

    def handle(self, *, server: str, **_options: Any) -> None:
        """Wait for the database, then serve."""
        signal.signal(signal.SIGTERM, lambda _signal, _frame: ENDING.announce())
        signal.signal(signal.SIGINT, lambda _signal, _frame: ENDING.announce())
        if not self.wait_for_database(ending=ENDING.announced, say=_say):
            return
        chosen = choose(server or os.environ.get(VARIABLE, ""))
        if os.environ.get(VARIABLE) != chosen.name:
            # django-q2 has read the settings, with the name of the cluster in them, long ago.
            os.environ[VARIABLE] = chosen.name
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell meant
        with _sole_worker(chosen):
            queue.bind(chosen)
            serve(chosen)


def choose(name: str) -> Server:
    """Return the server of that name, without one the only one. Raises BadRequest."""
    servers = list(Server.objects.order_by("name"))
    names = ", ".join(server.name for server in servers)
    if not servers:
        raise BadRequest(
            "There is no mail server yet.", hint="Make one: backupng sandbox createServer NAME."
        )
    found = [server for server in servers if not name or server.name.lower() == name.lower()]
    if not found:
        raise BadRequest(f"There is no server {name}.", hint=f"There are: {names}.")
    if len(found) > 1:
        raise BadRequest(
            "There are several servers.",
            code="usage",
            hint=f"Name one with --host: {names}. For all of this host: backupng run.",
        )
    return found[0]


def serve(server: Server) -> None:
    """Be the cluster's main process until a signal comes; the caller holds the worker's lock."""
    plan_tick(server)
    if start := os.environ.get(hosting.START):
        # A worker by itself cannot tell a start of the backup from its own restart.
        scheduling.on_start(server, start)
    post_spawn.connect(_ring, dispatch_uid="ring")
    cluster = ServerCluster()
    tie_what_is_forked()
    connections.close_all()
    cluster.start()
    _say(f"worker: serving {server}")
    cluster.watch()


def plan_tick(server: Server) -> None:
    """Have the server's cluster do once a minute what is due, beginning now."""
    Schedule.objects.update_or_create(
        name=f"tick {server.pk}",
        defaults={
            "func": bells.TICK,
            "args": repr((server.name,)),
            "kwargs": repr({"q_options": {"timeout": -1}}),
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
            "repeats": -1,
            "next_run": timezone.now(),
            "cluster": bells.cluster(server.name),
        },
    )


def hasten_ticks(servers: Iterable[str]) -> None:
    """Have ticks come now that a clock which was set back has put off."""
    ticks = Schedule.objects.filter(
        func=bells.TICK,
        cluster__in=list(map(bells.cluster, servers)),
        next_run__gt=timezone.now() + _LATEST_TICK,
    )
    # Asked first: SQLite takes its one lock for an update of nothing, too.
    if ticks.exists():
        ticks.update(next_run=timezone.now())


class ServerCluster(Cluster):  # type: ignore[misc]  # django-q2 ships no types
    """A cluster that is told to end by one byte of memory, and whose loss of a part is its end."""

    def sig_handler(self, _signal: int, _frame: object) -> None:
        """Have a running operation interrupted; `watch` ends the processes."""
        ENDING.announce()

    def watch(self) -> None:
        """Return when a signal has come and all processes have ended."""
        while not ENDING.announced():
            self.sentinel.join(_LOOK_EVERY_S)
            if not self.sentinel.is_alive():
                # Whoever stops a service may signal all of its processes, this one last.
                time.sleep(_LOOK_EVERY_S)
                if not ENDING.announced():
                    _end_abruptly()
        self.stop_event.set()
        self.sentinel.join(settings.OPERATION_GRACE_S + _LEAVE_S)
        if self.sentinel.is_alive():
            # A process was killed that held a lock of django-q2's: the others wait for ever.
            _say("worker: the processes do not end; they are killed")
            self.sentinel.kill()
            self.sentinel.join()


def tie_what_is_forked() -> None:
    """Have every process forked from now on, by this one or by those, die with its parent."""
    parents = [os.getpid()]

    def tie() -> None:
        tether.die_with_parent()
        if os.getppid() != parents[-1]:
            os._exit(1)
        parents.append(os.getpid())

    os.register_at_fork(after_in_child=tie)


def _ring(**_about: object) -> None:
    """Have a new process look at the queue: the one it replaces may have been killed at it."""
    try:
        bells.ring(Server.objects.get(name=os.environ[VARIABLE]), bells.DRAIN)
    except (DatabaseError, InterfaceError) as error:
        _say(f"worker: the database does not answer: {error}")
        connection.close()


def _end_abruptly() -> None:
    """Take along whatever the sentinel has left, which is nothing but what the kernel missed."""
    _say("worker: the sentinel was killed; all ends")
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


@contextmanager
def _sole_worker(server: Server) -> Iterator[None]:
    """Hold the worker's lock. Whoever looks at it may have it for an instant, hence the tries."""
    for _ in range(_TRIES):
        with hosting.locked(hosting.worker_lock(server.name)) as lock:
            if lock is not None:
                yield
                return
        time.sleep(_TRY_EVERY_S)
    raise OperationError(f"A worker for {server} is running already.", hint="One is enough.")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
