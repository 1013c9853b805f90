"""As a program: imports what a worker consists of once, and forks one for each line it reads.

`BACKUPNG_SERVER=NAME python -m tests.console.nursery NAME`: a line is the file of a worker's log,
answered with the number of its process, or such a number, answered with its exit status.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

import django
from django.core.management import execute_from_command_line
from django.db.migrations.loader import MigrationLoader

from backupng.engine.operations import tether

_MODULES = (
    *("console.cosflags", "console.housekeeping", "console.management.base", "console.notify"),
    *("console.queue", "console.scheduling", "django_q.cluster"),
)
"""What a worker consists of, but for what its processes share: each worker makes that itself."""


def main(server: str) -> None:
    """Serve until there are no more lines; the workers then die with it."""
    django.setup()
    # They know the models.
    for module in _MODULES:
        import_module(module)
    MigrationLoader(None)  # each would import all migrations to see whether one is due
    assert "console.tasks" not in sys.modules
    gc.freeze()
    for line in sys.stdin:
        word = line.rstrip("\n")
        sys.stdout.write(f"{end_of(int(word)) if word.isdecimal() else fork(server, word)}\n")
        sys.stdout.flush()


def end_of(worker: int) -> int:
    """Wait for the end of a worker and return its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])


def fork(server: str, log: str) -> int:
    """Start a worker, in a session of its own, and return its number."""
    parent = os.getpid()
    worker = os.fork()
    if worker:
        return worker
    tether.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    for number, path in ((0, os.devnull), (1, log), (2, log)):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    execute_from_command_line(["manage.py", "worker", server])
    sys.exit()


if __name__ == "__main__":
    main(sys.argv[1])
