"""The `backupng` command as an admin runs it: a process of its own, on a data folder of its own."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE_S = 120
_DATABASE = "db.sqlite3"
_CLOSED = 0o750
"""The mode of a data folder."""


@dataclass(frozen=True)
class Answer:
    """What one call left behind."""

    exit_status: int
    out: bytes
    err: str

    @property
    def response(self) -> dict[str, Any]:
        """The `response` of the one host that answered."""
        (answer,) = json.loads(self.out).values()
        assert answer["ok"], answer
        response: dict[str, Any] = answer["response"]
        return response

    @property
    def error(self) -> dict[str, Any]:
        """The `error` of the one host that refused."""
        (answer,) = json.loads(self.out).values()
        assert not answer["ok"], answer
        error: dict[str, Any] = answer["error"]
        return error


@dataclass(frozen=True)
class CommandLine:
    """Runs commands on the data folder `data`."""

    data: Path

    def __call__(self, *words: object, stdin: bytes = b"", cwd: Path | None = None) -> Answer:
        """Run one command line and wait for its end."""
        done = subprocess.run(
            self.arguments(*words),
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env=self.environment,
            timeout=_PATIENCE_S,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode())

    def json(self, *words: object, stdin: bytes = b"") -> dict[str, Any]:
        """Run a command that must succeed and return its `response`."""
        answer = self("--json", *words, stdin=stdin)
        assert answer.exit_status == 0, (words, answer)
        return answer.response

    def arguments(self, *words: object) -> list[str]:
        """Return the process arguments of a call."""
        return [str(Path(sys.executable).with_name("backupng")), *map(str, words)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a call."""
        return os.environ | {"BACKUPNG_DATA": str(self.data), "TZ": "Europe/Rome"}


@dataclass(frozen=True)
class ForkingCommandLine(CommandLine):
    """Runs each command as a fork of one process, which spares it the imports."""

    def __call__(self, *words: object, stdin: bytes = b"", cwd: Path | None = None) -> Answer:
        """Run one command line, which reads no input, and wait for its end."""
        assert not stdin
        forks = _forks()
        if not (self.data / _DATABASE).exists():
            forks.furnish(self.data)
        return forks.call(list(map(str, words)), cwd or Path.cwd(), self.data)


class _Forks:
    """A process that has imported the command and forks for each call."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="backupng-commands-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", self._folder.name],
            cwd=ROOT,
            env=CommandLine(Path(self._folder.name, "data")).environment
            | {"DJANGO_SETTINGS_MODULE": "backupng.settings", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def furnish(self, data: Path) -> None:
        """Put a database into a new data folder: what a first command makes is the same in each."""
        made = Path(self._folder.name, "data", _DATABASE)
        if not made.exists():
            # It fails for want of a server, and has made the database.
            self.call(["getProperty"], Path.cwd(), made.parent)
        data.mkdir(mode=_CLOSED, parents=True, exist_ok=True)
        shutil.copy(made, data)

    def call(self, words: Sequence[str], cwd: Path, data: Path) -> Answer:
        """Have one command run to its end."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps((words, str(cwd), str(data)))}\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        out, err = (Path(self._folder.name, name).read_bytes() for name in ("out", "err"))
        return Answer(status, out, err.decode())

    def end(self) -> None:
        """Let it end, which it also does by itself when the tests are killed."""
        self._process.communicate()
        self._folder.cleanup()


@cache
def _forks() -> _Forks:
    """Return the one of this test process, started by its first call."""
    made = _Forks()
    atexit.register(made.end)
    return made


@contextmanager
def forking(data: Path) -> Iterator[ForkingCommandLine]:
    """Run many commands, on this data folder and on others, at the cost of one."""
    yield ForkingCommandLine(data)


def comparable(listing: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a mailbox' listing as what a restore must bring back equal (`design.md`)."""
    compared = (
        *("type", "folder", "name", "subject", "flags"),
        *("unread", "tags", "color", "size", "digest"),
    )
    return sorted(
        tuple(repr(item[name]) for name in compared)
        for item in listing["items"]
        if item["type"] != "mountpoint"
    )
