"""What one command costs: CPU of its whole process tree, wall time, memory of all together."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_SAMPLE_S: Final = 0.05
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU (user and system) and wall in seconds; memory in MB, 0 where it was not watched."""

    cpu_s: float
    wall_s: float
    memory_mb: float = 0.0


def cost_of(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    said: bytes = b"",
    watch: bool = False,
    takes: Callable[[bytes], None] = lambda _output: None,
) -> Cost:
    """Run a command to its end; `takes` gets its standard output. Raises RuntimeError if it fails.

    `watch` samples the memory of all its processes, pages that they share counted once; that costs
    CPU of its own, so it is not done where CPU is compared.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(said)
        given.seek(0)
        os.sync()
        begin = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdin=given, stdout=output, stderr=output, env=env, cwd=cwd
        )
        sampler = _Sampler(process.pid)
        if watch:
            sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.done.set()
        output.seek(0)
        told = output.read()
    if process.returncode:
        words = " ".join(map(str, command))
        raise RuntimeError(f"{words} ended with {process.returncode}: {told[-2000:].decode()}")
    takes(told)
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, sampler.peak_mb)


def read_all(folder: Path) -> None:
    """Read every file below a folder, so that all of it is in the page cache."""
    for root, _, names in os.walk(folder):
        for name in names:
            with (Path(root) / name).open("rb", buffering=0) as file:
                while file.read(_READ_BYTES):
                    pass


def disk_mb(folder: Path) -> float:
    """Return what a folder takes on its disk, in MiB: blocks of files and folders."""
    found = [folder.lstat().st_blocks]
    for root, folders, files in os.walk(folder):
        found += [Path(root, name).lstat().st_blocks for name in (*folders, *files)]
    return sum(found) * 512 / (1 << 20)


class _Sampler(threading.Thread):
    """Looks again and again how much memory a process and its descendants have together."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self.done = threading.Event()
        self._pid = pid

    def run(self) -> None:
        while not self.done.wait(_SAMPLE_S):
            self.peak_mb = max(self.peak_mb, sum(map(_memory_mb, _family(self._pid))))


def _family(pid: int) -> list[int]:
    found, left = [], [pid]
    while left:
        each = left.pop()
        found.append(each)
        with suppress(OSError):
            children = (_PROC / str(each) / "task" / str(each) / "children").read_text()
            left += map(int, children.split())
    return found


def _memory_mb(pid: int) -> float:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
