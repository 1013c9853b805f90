"""What benchmarks print: one short table each; and the raw limits they are compared with."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a server there: only our disk is measured
MEMORY: Final = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
"""A folder in memory, where there is one."""
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: what, how much, and that as a share of a raw limit."""

    what: str
    number: str
    ratio: str = ""


def show(title: str, lines: Sequence[Line]) -> None:
    """Print a table."""
    print(f"\n{title}")  # noqa: T201
    for line in lines:
        print(f"  {line.what:<44}{line.number:>14}  {line.ratio}".rstrip(), flush=True)  # noqa: T201


def note(text: str) -> None:
    """Print what is measured next."""
    print(f"\n{text}", flush=True)  # noqa: T201


def share(number: float, raw: float, of: str) -> str:
    """Spell a number as a share of a raw limit."""
    return f"{number / raw:.3g} × {of}" if raw else ""


def quantile(sorted_numbers: Sequence[float], share_below: float) -> float:
    """Return the number that so large a share of the others lies below."""
    return sorted_numbers[min(int(len(sorted_numbers) * share_below), len(sorted_numbers) - 1)]


def peak_mb() -> float:
    """Return the largest memory this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def places() -> Iterator[tuple[Path, Path]]:
    """Give a folder in memory, where it can be, for a server and one on the disk for a backup."""
    with (
        tempfile.TemporaryDirectory(prefix="backupng-bench-", dir=MEMORY) as server,
        tempfile.TemporaryDirectory(prefix="backupng-bench-") as path,
    ):
        yield Path(server) / "server", Path(path)


def raw_read_s(file: Path) -> float:
    """Return how many seconds it takes just to read a file."""
    begin = time.perf_counter()
    with file.open("rb", buffering=0) as source:
        while source.read(_CHUNK_BYTES):
            pass
    return time.perf_counter() - begin


def raw_appends_ms(folder: Path, *, count: int, length: int) -> list[float]:
    """Append so many bytes to a plain file, durably, so often; return the ms of each, sorted."""
    data, found = os.urandom(length), []
    with (folder / "raw").open("ab", buffering=0) as target:
        for _ in range(count):
            begin = time.perf_counter()
            target.write(data)
            os.fsync(target.fileno())
            found.append((time.perf_counter() - begin) * 1000)
    (folder / "raw").unlink()
    return sorted(found)
