"""Asking again while a mail server does not answer: a restart of it must not end a scan."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from backupng.engine.errors import BackupError

_T = TypeVar("_T")
_STEP_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to ask again: pauses from `first_s` on, each twice the last, up to `total_s`."""

    log: Callable[[str], None]
    pause: Callable[[], None]
    """Called while waiting; raises Stopped when somebody asks for the end."""
    first_s: float = 1.0
    longest_s: float = 30.0
    total_s: float = 300.0

    def run(self, work: Callable[[], _T]) -> _T:
        """Do the work, again and again while what it raises is transient; it can be repeated."""
        waited, pause_s = 0.0, self.first_s
        while True:
            try:
                return work()
            except BackupError as error:
                if not error.transient or waited >= self.total_s:
                    raise
                self.log(f"{error} The scan tries again in {pause_s:.0f} s.")
            self._wait(pause_s)
            waited, pause_s = waited + pause_s, min(pause_s * 2, self.longest_s)

    def _wait(self, pause_s: float) -> None:
        end = time.monotonic() + pause_s
        while (left := end - time.monotonic()) > 0:
            self.pause()
            time.sleep(min(_STEP_S, left))
