"""Keeps processes alive: each service in a session of its own, started again when it ends.

The loop knows neither Django nor the database: it goes on while both are away. What there is to
keep is told to it by other threads. When a service ends, for whatever reason, its whole process
group is killed before it starts again; when the supervisor itself is killed, the kernel sends
SIGTERM to each service.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from backupng.engine.operations import tether

_LOOK_EVERY_S = 0.2
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
"""Who ran so long is started again after the shortest pause."""
_LAST_SWEEP_S = 5.0
_LARGEST_LOG_BYTES = 10 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program to keep running; when anything of it changes, it is started anew."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path = Path("/")
    descriptors: tuple[int, ...] = ()
    """Open files of the supervisor that the program gets, under the same numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds: for an end that was asked for, before a new start."""

    grace_s: float = 60.0
    first_pause_s: float = 1.0


class StopSignal:
    """Remembers SIGTERM, SIGINT and SIGHUP; they and the end of a child end a wait at once."""

    def __init__(self) -> None:
        self.count = 0
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask)
        # A handler of its own: an ignored signal wakes nobody.
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)

    def wait(self, seconds: float) -> None:
        """Wait that long, or until something comes."""
        if select.select([self._reader], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self._reader, 512)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1


class _Kept:
    """One service and its process, while it has one."""

    def __init__(self, service: Service, patience: Patience) -> None:
        self.service = service
        self.process: subprocess.Popen[bytes] | None = None
        self.kill_at = 0.0
        """When an end was asked for: the moment to insist on it."""
        self._patience = patience
        self._pause = patience.first_pause_s
        self._started = 0.0
        self._due = 0.0
        self._last_group = 0

    @property
    def is_due(self) -> bool:
        """Say whether it is time to start it: after the pause, with all of the old one gone."""
        if time.monotonic() < self._due:
            return False
        # Killed members of its last group have become our children; the group's number itself
        # may be somebody else's by now.
        return not (self._last_group and _has_children_in(self._last_group))

    def start(self, log: IO[bytes]) -> None:
        """Start its process. Raises OSError."""
        self._started = time.monotonic()
        self.kill_at = 0.0
        tied = (sys.executable, "-S", "-E", str(tether.__file__), str(os.getpid()))
        self.process = subprocess.Popen(  # noqa: S603 - commands are the program's own
            [*tied, *self.service.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.service.folder,
            env=dict(self.service.environment),
            pass_fds=self.service.descriptors,
            start_new_session=True,
        )
        self._last_group = self.process.pid

    def ask_to_end(self) -> None:
        """Send SIGTERM to the leader alone: it ends what it has started."""
        if self.process and not self.kill_at:
            self.kill_at = time.monotonic() + self._patience.grace_s
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)

    def insist(self, *, now: bool = False) -> None:
        """Kill the whole group if an end was asked for and the grace period is over."""
        if self.process and self.kill_at and (now or time.monotonic() >= self.kill_at):
            _signal_group(self.process.pid, signal.SIGKILL)

    def bury(self) -> int | None:
        """Return the exit code if the process has ended, its group killed first; else None."""
        if self.process is None:
            return None
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, self.process.pid, look) is None:
            return None
        # The group bears the leader's number, which nobody can get before the leader is reaped.
        _signal_group(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.process = None
        self._plan_start()
        return code

    def fail(self) -> None:
        """Note that it could not be started."""
        self._plan_start()

    def _plan_start(self) -> None:
        now = time.monotonic()
        if self.kill_at or now - self._started >= _STEADY_S:
            self._pause = self._patience.first_pause_s
        self._due = now + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_S)

    @property
    def next_start_s(self) -> float:
        """The seconds until it may start again."""
        return max(0.0, self._due - time.monotonic())

    @property
    def age_s(self) -> float:
        """The seconds since its last start."""
        return time.monotonic() - self._started


class Supervisor:
    """Keeps services running until a signal comes. Make and run it in the main thread."""

    def __init__(
        self,
        stop: StopSignal,
        *,
        logs: Path,
        say: Callable[[str], None],
        patience: Patience = Patience(),
    ) -> None:
        self._stop = stop
        self._logs = logs
        self._say = say
        self._patience = patience
        self._kept: dict[str, _Kept] = {}
        self._wanted: dict[str, Service] = {}
        self._stuck: set[str] = set()

    def want(self, services: Iterable[Service]) -> None:
        """Say what is to run from now on; any thread may call it."""
        self._wanted = {service.name: service for service in services}

    def replace(self, name: str) -> None:
        """Have a service that hangs killed and started again; any thread may call it."""
        self._stuck.add(name)

    def age_s(self, name: str) -> float:
        """Return how long ago a service was started, 0 for one that is not there."""
        kept = self._kept.get(name)
        return kept.age_s if kept and kept.process else 0.0

    def run(self) -> None:
        """Keep all that is wanted until SIGTERM, SIGINT or SIGHUP; then end it all."""
        tether.adopt_orphans()
        try:
            while not self._stop.count:
                self._turn()
                self._stop.wait(_LOOK_EVERY_S)
        finally:
            self._end_all()

    def log_file(self, name: str) -> Path:
        """Return where the output of a service goes."""
        return self._logs / f"{name.replace(' ', '-')}.log"

    def _turn(self) -> None:
        for name, service in self._wanted.items():
            self._kept.setdefault(name, _Kept(service, self._patience))
        for name, kept in list(self._kept.items()):
            self._look_after(kept, self._wanted.get(name))
            if kept.process is None and name not in self._wanted:
                del self._kept[name]
        self._reap_orphans()

    def _look_after(self, kept: _Kept, wanted: Service | None) -> None:
        name = kept.service.name
        asked = bool(kept.kill_at)
        code = kept.bury()
        if code is not None:
            self._tell_end(kept, code, asked=asked)
        if kept.process and name in self._stuck:
            self._say(f"{name}: gives no sign of life; it is killed and started again")
            _signal_group(kept.process.pid, signal.SIGKILL)
        elif kept.process and kept.service != wanted:
            kept.ask_to_end()
        elif kept.process is None and wanted and kept.is_due:
            kept.service = wanted
            self._start(kept)
        self._stuck.discard(name)
        kept.insist()

    def _start(self, kept: _Kept) -> None:
        name = kept.service.name
        try:
            with _appending(self.log_file(name)) as log:
                kept.start(log)
        except OSError as error:
            kept.fail()
            self._say(f"{name}: cannot be started: {error}")
        else:
            self._say(f"{name}: started")

    def _tell_end(self, kept: _Kept, code: int, *, asked: bool) -> None:
        name = kept.service.name
        if asked:
            self._say(f"{name}: ended")
            return
        # What it left in sessions of its own is now ours, and nobody's.
        _kill_orphans(self._leaders())
        why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        again = f"starts again in {kept.next_start_s:.0f} s"
        self._say(f"{name}: {why}; {again}; its output: {self.log_file(name)}")

    def _end_all(self) -> None:
        """Ask all leaders to end; after the grace period, or a second signal, kill the groups."""
        asked = self._stop.count
        self._say("stopping")
        for kept in self._kept.values():
            kept.ask_to_end()
        while running := [kept for kept in self._kept.values() if kept.process]:
            for kept in running:
                kept.insist(now=self._stop.count > asked)
                if kept.bury() is not None:
                    self._say(f"{kept.service.name}: ended")
            self._reap_orphans()
            self._stop.wait(_LOOK_EVERY_S)
        give_up = time.monotonic() + _LAST_SWEEP_S
        while _kill_orphans(set()) and time.monotonic() < give_up:
            self._reap_orphans()
            time.sleep(0.05)
        self._say("stopped")

    def _leaders(self) -> set[int]:
        return {kept.process.pid for kept in self._kept.values() if kept.process}

    def _reap_orphans(self) -> None:
        """Take leave of adopted processes that have ended; a leader is left to `bury`."""
        with suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in self._leaders():
                    return
                os.waitpid(ended.si_pid, 0)


def _kill_orphans(leaders: set[int]) -> bool:
    """Kill all children that are no leaders; says whether there were any."""
    orphans = [child for child in _children() if child not in leaders]
    for child in orphans:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return bool(orphans)


def _children() -> Iterator[int]:
    """Yield the numbers of all own children, adopted ones included."""
    me = os.getpid()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                # The name of the program stands in brackets and may hold anything.
                stat = (folder / "stat").read_text(encoding="ascii", errors="replace")
                if int(stat.rpartition(")")[2].split()[1]) == me:
                    yield int(folder.name)


def _has_children_in(group: int) -> bool:
    """Say whether children of ours, adopted ones included, are in that process group."""
    try:
        os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    """Signal a process group whose leader has not been reaped."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


@contextmanager
def _appending(path: Path) -> Iterator[IO[bytes]]:
    """Open a log at its end; one that has grown large makes room and is kept as `.1`."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if path.stat().st_size > _LARGEST_LOG_BYTES:
            path.rename(path.with_name(f"{path.name}.1"))
    with path.open("ab", buffering=0) as file:
        yield file
