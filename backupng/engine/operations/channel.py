"""What a process of the engine writes to who started it, and how it learns that it is to end."""

from __future__ import annotations

import json
import signal
import time
from typing import Any, BinaryIO

_PROGRESS_PAUSE_S = 0.2


class Channel:
    """Writes events, and progress no more often than every `_PROGRESS_PAUSE_S`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: dict[str, Any] | None = None
        self._next_progress = 0.0

    def progress(self, **values: Any) -> None:
        """Write a progress event, now or with whatever is written next."""
        self._waiting = {"event": "progress", **values}
        if time.monotonic() >= self._next_progress:
            self._write_waiting()

    def write(self, event: str, **values: Any) -> None:
        """Write an event, after the progress that waits."""
        self._write_waiting()
        self._write({"event": event, **values})

    def _write_waiting(self) -> None:
        if self._waiting is not None:
            self._write(self._waiting)
            self._waiting = None
            self._next_progress = time.monotonic() + _PROGRESS_PAUSE_S

    def _write(self, event: dict[str, Any]) -> None:
        self._stream.write(json.dumps(event).encode() + b"\n")
        self._stream.flush()


class StopRequest:
    """Remembers that SIGTERM came."""

    def __init__(self) -> None:
        self.made = False
        signal.signal(signal.SIGTERM, self._make)

    def _make(self, _signal: int, _frame: object) -> None:
        self.made = True
