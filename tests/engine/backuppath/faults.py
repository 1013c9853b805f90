"""A disk that fails at one call: whatever it is, nothing is half, and the next run completes it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backupng.engine.errors import BackupError, BackupPathUnwritable, ReadError
from tests.engine.backuppath.calls import Countdown, ShortWrite, watched
from tests.engine.backuppath.powerlosses import content, prepare, short_bodies, work, wrong

Fault = Callable[[int], Any]

FAULTS: dict[str, Fault] = {
    "EIO": lambda left: Countdown(left, errno.EIO),
    "EROFS": lambda left: Countdown(left, errno.EROFS),
    "ESTALE": lambda left: Countdown(left, errno.ESTALE),
    "ENOSPC": lambda left: Countdown(left, errno.ENOSPC),
    "a short write": ShortWrite,
    "a failed fdatasync": lambda left: Countdown(left, errno.EIO, only="fdatasync"),
    "a failed fsync": lambda left: Countdown(left, errno.EIO, only="fsync"),
}
"""By what goes wrong: what does it at the call of a number."""


@dataclass
class FaultyDisk:
    """Runs a scan on a disk that fails once; `folder` is where the trees lie."""

    folder: Path

    def __post_init__(self) -> None:
        lived = self.folder / "lived"
        with short_bodies():
            prepare(lived)
            work(lived, lambda _word: None)
        self.complete = content(lived)

    def failure(self, fault: str, at: int) -> str | None:
        """Return what is wrong after the fault at call `at`; None if there were fewer calls."""
        root = self.folder / "faulty"
        shutil.rmtree(root, ignore_errors=True)
        with short_bodies():
            prepare(root)
            return self._failure(root, fault, at)

    def _failure(self, root: Path, fault: str, at: int) -> str | None:
        told: set[str] = set()
        failing = FAULTS[fault](at)
        where = f"{fault} at call {at}"
        try:
            with watched(failing):
                work(root, told.add)
        except (BackupPathUnwritable, ReadError):
            pass
        except BackupError as error:
            return f"{where}: {type(error).__name__}: {error}"
        if not failing.failed:
            return None
        if found := wrong(root, told):
            return f"{where}: {found}"
        work(root, told.add)
        return "" if content(root) == self.complete else f"{where}: the next run completes nothing"
