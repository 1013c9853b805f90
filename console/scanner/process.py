"""The engine's process of a scanner: started with a line, heard by its events, asked to end."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any, cast

from django.conf import settings

from console import hosting

logger = logging.getLogger(__name__)

_MODULE = "backupng.engine.operations.realtime_scanner"
_GRACE_S = 30.0
"""What it is at when it is asked to end is written before; then it is killed."""
_LOOK_EVERY_S = 0.2


class ScannerProcess:
    """A running process. It dies with the thread that made it, whatever becomes of that.

    What it prints by itself goes where our own output goes. It holds the lock whose descriptor it
    is given, so nobody follows beside a stray one.
    """

    def __init__(self, line: Mapping[str, Any], *, lock: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the engine's own module
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=settings.BASE_DIR,
            env=hosting.engine_environment(),
            start_new_session=True,
            pass_fds=[lock],
        )
        self._waiting = b""
        self._at_end = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        with suppress(BrokenPipeError), cast("IO[bytes]", self._process.stdin) as stdin:
            stdin.write(json.dumps(line).encode())

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """True once it has ended and all it said was heard."""
        return self._at_end

    def events(self, wait_s: float) -> Iterator[dict[str, Any]]:
        """Yield what it says, waiting so long for the first word."""
        if self._at_end or not self._selector.select(wait_s):
            return
        chunk = os.read(self._stdout.fileno(), 1 << 16)
        if not chunk:
            self._at_end = True
            return
        *lines, self._waiting = (self._waiting + chunk).split(b"\n")
        for line in lines:
            event = hosting.read_object(line)
            if event is None:
                logger.warning("not an event of a scanner: %r", line[:200])
            else:
                yield event

    def end(self) -> Iterator[dict[str, Any]]:
        """Ask it to end, yield what it still says, and take leave of it."""
        self._signal(signal.SIGTERM)
        give_up = time.monotonic() + _GRACE_S
        try:
            while not self._at_end and time.monotonic() < give_up:
                yield from self.events(_LOOK_EVERY_S)
        finally:
            self.bury()

    def bury(self) -> int:
        """Kill whatever is left of it and return its exit status."""
        with suppress(ProcessLookupError, PermissionError):
            # Its session bears its number until it is reaped below.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._selector.close()
        self._stdout.close()
        return self._process.wait()

    @property
    def _stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdout)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
