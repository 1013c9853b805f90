"""class Crew: processes that share the accounts of a scan, and die with the one that made them.

They are forked once all that they need is in memory, and open connections and a writer of their
own. What the parent has open they never touch: they leave without closing anything of it.
"""

from __future__ import annotations

import gc
import os
import pickle
import selectors
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn

from backupng.engine.errors import BackupError, OperationError, Stopped

_LENGTH: Final = struct.Struct("!I")
_LOOK_S: Final = 0.2
_GRACE_S: Final = 0.5
"""How long a worker may take to end by itself; what a killed one leaves is a normal event."""
_AT_ONCE: Final = 1 << 16
_GARBAGE: Final = 20_000
"""So many objects come and go with a group of items: none of them makes a circle."""

Tell = Callable[[Any], None]
"""Tells the parent something; raises Stopped once the parent wants no more."""
Work = Callable[[int, Tell], Any]
"""Does the job of a number and returns what it came to."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker told while it was at a job."""

    job: int
    what: Any


@dataclass(frozen=True, slots=True)
class Done:
    """What a job came to."""

    job: int
    result: Any


@dataclass(slots=True)
class _Worker:
    pid: int
    line: socket.socket
    heard: bytearray = field(default_factory=bytearray)


class Crew:
    """Workers, each with a job or ready for one; a context manager that ends them."""

    def __init__(
        self, count: int, begin: Callable[[], AbstractContextManager[Work]], tie: Callable[[], None]
    ) -> None:
        """Start workers. Each calls `tie`, which ties it to this process, then enters `begin`."""
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        gc.freeze()
        try:
            for _ in range(count):
                self._start(begin, tie)
        except BaseException:
            self._end()
            raise
        finally:
            gc.unfreeze()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, jobs: Iterable[int], pause: Callable[[], None]) -> Iterator[Told | Done]:
        """Have all jobs done, the first ones first; yield what is told, and what each came to.

        `pause` is called several times a second and may raise Stopped. Raises what a worker raised,
        OperationError if one died.
        """
        left, busy = iter(jobs), 0
        for worker in self._workers:
            busy += _hand(worker, next(left, None))
        while busy:
            pause()
            for key, _ in self._selector.select(_LOOK_S):
                worker = key.data
                for said in _heard(worker):
                    if isinstance(said, BaseException):
                        raise said
                    if isinstance(said, Done):
                        busy += _hand(worker, next(left, None)) - 1
                    yield said

    def _start(self, begin: Callable[[], AbstractContextManager[Work]], tie: Any) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            # Or none of them would notice when the parent is done with it.
            for each in (ours, *(other.line for other in self._workers)):
                each.close()
            _be_worker(theirs, parent, begin, tie)
        theirs.close()
        worker = _Worker(pid, ours)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _end(self) -> None:
        self._selector.close()
        for worker in self._workers:
            worker.line.close()
        deadline = time.monotonic() + _GRACE_S
        for worker in self._workers:
            _reap(worker.pid, deadline)
        self._workers.clear()


def _hand(worker: _Worker, job: int | None) -> bool:
    """Give a worker its next job; False without one."""
    if job is not None:
        with suppress(OSError):
            # One that has died is found out when it is listened to.
            worker.line.sendall(_LENGTH.pack(job))
    return job is not None


def _heard(worker: _Worker) -> Iterator[Any]:
    """Yield what a worker has said. Raises OperationError if it is gone."""
    try:
        data = worker.line.recv(_AT_ONCE)
    except ConnectionError:
        data = b""
    if not data:
        raise OperationError(
            "A process of the scan ended unexpectedly: the scan ends here.",
            hint="Nothing is lost: run it again. The system's log may say who ended it.",
        )
    worker.heard += data
    while len(worker.heard) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(worker.heard)
        end = _LENGTH.size + length
        if len(worker.heard) < end:
            return
        said = bytes(worker.heard[_LENGTH.size : end])
        del worker.heard[:end]
        yield pickle.loads(said)  # noqa: S301  # from our own child alone


def _reap(pid: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                time.sleep(0.002)
                continue
        return
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _be_worker(
    line: socket.socket,
    parent: int,
    begin: Callable[[], AbstractContextManager[Work]],
    tie: Callable[[], None],
) -> NoReturn:
    """Work until the parent has no more jobs; never returns, whatever happens."""
    code = 1
    try:
        tie()
        if os.getppid() == parent:
            _work(line, begin)
            code = 0
    except Stopped:
        code = 0
    except BackupError as error:
        # Only what is meant for people goes to the parent; a defect is seen by its trace.
        with suppress(OSError):
            _say(line, error)
        code = 0
    except Exception:  # noqa: BLE001 - a defect ends the process, and the parent sees that
        traceback.print_exc()
    finally:
        # Not sys.exit: connections and buffers of the parent are not ours to close or flush.
        os._exit(code)


def _work(line: socket.socket, begin: Callable[[], AbstractContextManager[Work]]) -> None:
    gc.set_threshold(_GARBAGE)
    with begin() as work:
        while data := _next(line):
            (job,) = _LENGTH.unpack(data)
            _tell(line, Done(job, work(job, partial(_tell_of, line, job))))


def _tell_of(line: socket.socket, job: int, what: Any) -> None:
    _tell(line, Told(job, what))


def _next(line: socket.socket) -> bytes:
    try:
        return line.recv(_LENGTH.size, socket.MSG_WAITALL)
    except ConnectionError:
        return b""


def _tell(line: socket.socket, said: Any) -> None:
    try:
        gone = line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        gone = False
    except ConnectionError:
        gone = True
    if gone:
        raise Stopped("The scan has ended.")
    _say(line, said)


def _say(line: socket.socket, said: Any) -> None:
    data = pickle.dumps(said)
    try:
        line.sendall(_LENGTH.pack(len(data)) + data)
    except ConnectionError as error:
        raise Stopped("The scan has ended.") from error
