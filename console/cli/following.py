"""Follows a queued operation to its end, and drains its queue for that if nobody else does."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
import uuid
from typing import NoReturn

from django.db import connections

from backupng.engine.operations import tether
from console import hosting, queue
from console.cli import operations
from console.cli.terminal import Terminal
from console.models import QueuedOperation, Server

_LOOK_EVERY_S = 0.25
_DRAIN_EVERY_S = 0.5
_GRACE_S = 5.0
_READY, _LET_GO = b"r", b"g"


class Left(Exception):
    """The admin pressed Ctrl+C; the operation goes on."""


def follow(
    row: QueuedOperation, terminal: Terminal, *, may_drain: bool, in_blocks: bool = False
) -> QueuedOperation:
    """Return the row of the operation once it has ended; shows its progress meanwhile.

    The progress is a line, or with `in_blocks` what `monitor` prints.

    With `may_drain`, a queue that nobody drains is drained, up to this operation, by a child of
    this process that dies with it. Raises Left.
    """
    drainers = _Drainers(row, may_drain=may_drain)
    shown = ""
    try:
        while True:
            row = QueuedOperation.objects.select_related("server").get(pk=row.pk)
            spelled = operations.progress_text(row) if in_blocks else _spell(row.progress)
            if spelled != shown:
                shown = spelled
                terminal.progress(shown)
            if row.has_ended:
                drainers.finish()
                return row
            drainers.work()
    except KeyboardInterrupt as error:
        drainers.let_go()
        raise Left from error


def _spell(progress: dict[str, object]) -> str:
    """Spell progress as one line; empty while there is none."""
    if not progress:
        return ""
    total = progress["total"]
    return f"{progress['phase']}  {progress['done']}/{total}" if total else f"{progress['phase']}"


class _Drainers:
    """One drainer after the other, as long as the operation has not ended and the queue is free."""

    def __init__(self, row: QueuedOperation, *, may_drain: bool) -> None:
        self._server = row.server
        self._until = row.pk
        self._may_drain = may_drain
        self._now: Drainer | None = None
        self._next_s = 0.0

    def work(self) -> None:
        """Let time pass, with a drainer at work if there can be one."""
        if self._now is None and self._may_start():
            # Not at once again: a paused queue is free, and its drain ends immediately.
            self._next_s = time.monotonic() + _DRAIN_EVERY_S
            self._now = Drainer(self._server, until=self._until)
        if self._now is None:
            select.select([], [], [], _LOOK_EVERY_S)
        elif self._now.has_ended_after(_LOOK_EVERY_S):
            self._now = None

    def finish(self) -> None:
        """Let the drainer put away what it used."""
        if self._now:
            self._now.has_ended_after(_GRACE_S)

    def let_go(self) -> None:
        """Let the drainer outlive this process."""
        if self._now:
            self._now.let_go()

    def _may_start(self) -> bool:
        return (
            self._may_drain
            and time.monotonic() >= self._next_s
            and not hosting.is_locked(hosting.queue_lock(self._server.name))
        )


class Drainer:
    """A child process that drains a server's queue up to one operation.

    It is forked, and dies with this process: a command killed with -9 takes its operation along. It
    stands in a session of its own, so that Ctrl+C reaches the command alone, which can then let it
    go.
    """

    def __init__(self, server: Server, *, until: uuid.UUID) -> None:
        # Neither process may use a connection that the other one has too.
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _drain(server, until, parent=parent, writer=writer)
        os.close(writer)
        # It listens to `let_go` from now on; nothing to read means that it has ended already.
        os.read(self._reader, 1)

    def has_ended_after(self, seconds: float) -> bool:
        """Wait for the end, no longer than that; True when it has come."""
        if not select.select([self._reader], [], [], seconds)[0]:
            return False
        os.close(self._reader)
        os.waitpid(self._pid, 0)
        return True

    def let_go(self) -> None:
        """Let it outlive this process."""
        os.kill(self._pid, signal.SIGUSR1)
        os.read(self._reader, 1)


def _drain(server: Server, until: uuid.UUID, *, parent: int, writer: int) -> NoReturn:
    """Be the child: drain, and leave without anything that the parent has yet to do."""
    status = 1
    try:
        os.setsid()
        tether.die_with_parent()
        if os.getppid() == parent:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, lambda _signal, _frame: _go_alone(writer))
            os.write(writer, _READY)
            queue.drain(server, until=until)
            status = 0
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run here
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _go_alone(writer: int) -> None:
    tether.outlive_parent()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.write(writer, _LET_GO)
