"""`manage.py scanner`: the Real-Time Scanner of one server, while its property asks for it.

It stays while the scanner is disabled, so that enabling acts at once. What it starts dies with it.
"""

from __future__ import annotations

import os
import signal
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backupng.engine.errors import OperationError
from console import hosting, queue
from console.management.base import HostCommand
from console.management.commands import worker
from console.models import Server
from console.scanner.keeper import Keeper, say

_TRIES = 5
_TRY_EVERY_S = 0.05


class Command(HostCommand):
    """Follows the redo log of one server, in the foreground, until SIGTERM or SIGINT."""

    help = "Run the Real-Time Scanner of a server."

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ending = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the name of the server."""
        parser.add_argument("server", nargs="?", default="", help="its name; unneeded for only one")

    def handle(self, *, server: str, **_options: Any) -> None:
        """Wait for the database, then serve."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        if not self.wait_for_database(ending=lambda: self._ending, say=say):
            return
        chosen = worker.choose(server or os.environ.get(worker.VARIABLE, ""))
        with _sole_scanner(chosen) as lock:
            queue.bind(chosen)
            say(f"scanner: serving {chosen}")
            Keeper(chosen, lock=lock, ending=lambda: self._ending, say=say).keep()

    def _end(self, _signal: int, _frame: object) -> None:
        self._ending = True


@contextmanager
def _sole_scanner(server: Server) -> Iterator[int]:
    """Hold the scanner's lock. Whoever looks at it may have it for an instant, hence the tries."""
    for _ in range(_TRIES):
        with hosting.locked(hosting.scanner_lock(server.name)) as lock:
            if lock is not None:
                yield lock
                return
        time.sleep(_TRY_EVERY_S)
    raise OperationError(f"A scanner for {server} is running already.", hint="One is enough.")
