"""Processes that tests start and look for."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

DEADLINE_S = 100.0
"""Whatever is waited for comes much earlier; a machine that is busy with others may need this."""

_PORTS = range(20000, 30000)  # below those that the kernel gives to who asks for any
_claims: list[socket.socket] = []


def until(
    holds: Callable[[], bool],
    explain: Callable[[], object] = lambda: "it did not come true",
    *,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Wait until something holds; the longer that takes, the less often it is looked at."""
    begin = time.monotonic()
    while not holds():
        waited = time.monotonic() - begin
        assert waited < deadline_s, explain()
        time.sleep(min(0.02 + waited / 10, 0.5))


def descriptors() -> int:
    """Count what this process has open."""
    # What earlier tests left behind is closed before it is counted, not in between.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def lives(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def with_data(data: Path) -> dict[int, str]:
    """Return the command lines of all processes that have a data folder, by number."""
    variable = f"BACKUPNG_DATA={data}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if variable in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found[int(folder.name)] = b" ".join(words).decode().strip()
    return found


@contextmanager
def open_port() -> Iterator[int]:
    """Listen on a free port of loopback and yield its number."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def own_port() -> int:
    """Return a port that nobody has, and that no other test process is given while this one lives.

    A name without a file claims it: the kernel forgets it with the process.
    """
    first = os.getpid() * 10 % len(_PORTS)
    for number in chain(_PORTS[first:], _PORTS[:first]):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0backupng-test-port-{number}")
            socket.create_server(("127.0.0.1", number)).close()
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return number
    raise AssertionError("all ports for tests are taken")
