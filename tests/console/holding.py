"""Ways to hold an operation up at a known point, and to find its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOT_BY_ITSELF = {
    "backupSmartScanScheduler": "false 0 4 * * *",
    "ZxBackup_DoSmartScanOnStartup": "false",
}
"""Properties of a server on which SmartScans only run when a test asks for them."""


@contextmanager
def held_up(backup_path: str | Path) -> Iterator[None]:
    """Let no scan get past the first account it writes: the folders of all accounts are locked.

    The accounts must be in the Backup Path already.
    """
    descriptors = [
        os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for folder in Path(backup_path, "accounts").iterdir()
    ]
    try:
        for descriptor in descriptors:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def children(process: int) -> list[int]:
    """Return the ids of a process' children."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def operations_of(process: int) -> list[int]:
    """Return the ids of the operation processes that a process or a child of it has started."""
    family = [process, *children(process)]
    found = [child for parent in family for child in children(parent)]
    return [child for child in found if b"backupng.engine.operations" in command_line(child)]


def command_line(process: int) -> bytes:
    """Return what a process was started with; empty once it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def state(process: int) -> str:
    """Return what the kernel says of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return ""


def is_waiting(process: int) -> bool:
    """Say whether a process sleeps until somebody lets go of a lock."""
    lines = (line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines())
    return any(words[1] == "->" and words[5] == str(process) for words in lines)


def wakeups(process: int) -> int:
    """Return how often a process has gone to sleep: a signal wakes one that waits for a lock."""
    lines = [line for line in state(process).splitlines() if line.startswith("voluntary")]
    return int(lines[0].split()[1]) if lines else 0
