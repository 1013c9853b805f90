"""A host under test: a data folder, a database, and real processes of workers on them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from backupng.engine.operations import tether
from tests.console.holding import children, command_line, held_up
from tests.processes import DEADLINE_S, lives, until

ROOT = Path(__file__).resolve().parent.parent.parent
_HAND = "from tests.console import hand; hand.serve()"


class Away(Exception):
    """The hand could not reach the database."""


@dataclass
class Machine:
    """A data folder and the URL of the console's database."""

    data: Path
    url: str
    workers: dict[str, Worker] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    _hand: subprocess.Popen[str] | None = None
    _nurseries: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process on it."""
        return os.environ | {
            "BACKUPNG_DATA": str(self.data),
            "DATABASE_URL": self.url,
            "DJANGO_SETTINGS_MODULE": "tests.console.quick_settings",
        }

    def start(self, *words: str, log: IO[str] | None = None, **more: str) -> subprocess.Popen[str]:
        """Start a command of manage.py, in a session of its own; it writes to `log` or to pipes."""
        return self._start("django", *words, log=log, **more)

    def _start(
        self, program: str, *words: str, log: IO[str] | None = None, **more: str
    ) -> subprocess.Popen[str]:
        """Start a module, which ends with the tests at the latest, however those end."""
        tied = (sys.executable, "-S", "-E", str(tether.__file__), str(os.getpid()))
        process = subprocess.Popen(
            [*tied, sys.executable, "-m", program, *words],
            cwd=ROOT,
            env=self.environment | more,
            stdin=subprocess.DEVNULL if log else subprocess.PIPE,
            stdout=log or subprocess.PIPE,
            stderr=log or subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def ask(self, deed: str, *words: object) -> Any:
        """Have the hand do something and return what it found. Raises Away."""
        if self._hand is None:
            self._hand = self.start("shell", "--no-imports", "-v", "0", "-c", _HAND)
        answer = json.loads(answered(self._hand, json.dumps({"do": deed, "words": words})))
        if "error" in answer:
            raise Away(answer["error"])
        return answer["found"]

    def make(self, *names: str) -> None:
        """Migrate the database and make servers."""
        self.ask("migrate")
        for name in names:
            self.paths[name] = self.ask("create", name)

    def worker(self, server: str = "mail1") -> Worker:
        """Return the worker of a server, started if it does not run."""
        known = self.workers.get(server)
        if known is None or not known.is_alive():
            known = self.start_worker(server)
            self.wait_until(lambda: f"worker: serving {server}" in known.said, lambda: known.said)
        return known

    def start_worker(self, server: str = "mail1") -> Worker:
        """Start the worker of a server, whatever becomes of it."""
        log = self.data / f"{server}-{time.monotonic_ns()}.log"
        log.touch()
        if server not in self._nurseries:
            nursery = self._start("tests.console.nursery", server, BACKUPNG_SERVER=server)
            self._nurseries[server] = nursery
        self.workers[server] = Worker(self._nurseries[server], log)
        return self.workers[server]

    def submit(self, server: str = "mail1", count: int = 1) -> list[str]:
        """Queue SmartScans and return their ids."""
        found: list[str] = self.ask("submit", server, count)
        return found

    def rows(self, server: str = "mail1") -> list[dict[str, Any]]:
        """Return a server's operations in the order of its queue."""
        return [row for row in self.ask("rows") if row["server"] == server]

    def states(self, server: str = "mail1") -> list[str]:
        """Return their states."""
        return [row["state"] for row in self.rows(server)]

    def await_states(self, *states: str, server: str = "mail1") -> list[dict[str, Any]]:
        """Return the operations once these are their states."""
        self.wait_until(lambda: self.states(server) == list(states), lambda: self.rows(server))
        return self.rows(server)

    def await_work(self, server: str = "mail1") -> dict[str, Any]:
        """Return the operation that runs, once it is at work, and its process as `process`."""
        at_work: list[dict[str, Any]] = []

        def look() -> bool:
            running = [row for row in self.rows(server) if row["state"] == "started"]
            at_work[:] = [row for row in running if row["progress"]]
            return bool(at_work)

        self.wait_until(look, lambda: self.rows(server))
        (row,) = at_work
        (process,) = children(row["pid"])
        return row | {"process": process}

    def wait_until(
        self,
        condition: Callable[[], bool],
        explain: Callable[[], object] = lambda: "",
        *,
        patience_s: float = DEADLINE_S,
    ) -> None:
        """Wait for what other processes bring about."""
        until(condition, explain, deadline_s=patience_s)

    def held(self, server: str = "mail1") -> AbstractContextManager[None]:
        """Let something happen on a server, and no scan save it."""
        self.ask("news", server)
        return held_up(self.paths[server])

    def other_host(self, data: Path) -> Machine:
        """Return another host on the same database: the same key, another identity."""
        data.mkdir()
        shutil.copy(self.data / "secret.key", data)
        return Machine(data=data, url=self.url, started=self.started)

    def end(self) -> None:
        """End all processes, those that a failed test has left included."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=DEADLINE_S)


class Worker:
    """The main process of a worker, a child of its nursery, and those it has forked."""

    def __init__(self, nursery: subprocess.Popen[str], log: Path) -> None:
        self.pid = int(answered(nursery, str(log)))
        self._nursery = nursery
        self._log = log

    @property
    def said(self) -> str:
        """What it and its processes have written to standard error."""
        return self._log.read_text()

    def is_alive(self) -> bool:
        """Say whether its main process is there."""
        return lives(self.pid)

    def wait(self) -> int:
        """Wait for the end of its main process and return the exit status."""
        until(lambda: not self.is_alive(), lambda: self.said)
        return int(answered(self._nursery, str(self.pid)))

    @property
    def sentinel(self) -> int:
        """The process that guards the others."""
        (found,) = children(self.pid)
        return found

    @property
    def family(self) -> list[int]:
        """All its processes: itself, the sentinel, then those that the sentinel guards."""
        return family(self.pid)

    def terminate(self) -> int:
        """Ask it to end, as a service is asked; return its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill it and all of its group, as a supervisor does."""
        if self.is_alive():
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()


def answered(process: subprocess.Popen[str], line: str) -> str:
    """Say a line to a process and return the line that it answers with."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, process.communicate(timeout=DEADLINE_S)[1]
    return answer


def family(process: int) -> list[int]:
    """Return a process and all it has forked, generation by generation."""
    found = [process]
    for parent in found:
        with suppress(FileNotFoundError):
            found += children(parent)
    return found


def kill(*processes: int) -> None:
    """Kill processes that are there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def last_words(process: subprocess.Popen[str]) -> str:
    """Return what a process that ends by itself says on standard error."""
    return process.communicate(timeout=DEADLINE_S)[1]


def are_gone(processes: list[int]) -> bool:
    """Say whether none of them is there any more."""
    return not any(command_line(process) for process in processes)


@contextmanager
def ended(machine: Machine) -> Iterator[Machine]:
    """End the processes of a machine, whatever happens."""
    try:
        yield machine
    finally:
        machine.end()
