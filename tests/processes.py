"""Processes that tests start and look for."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DEADLINE_S = 30.0


def until(holds: Callable[[], bool], *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until something holds."""
    give_up = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.02)


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
