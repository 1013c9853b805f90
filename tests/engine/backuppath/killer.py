"""A program that dies: run a scenario and kill it at its first call, its second, and so on.

    killer.py SCENARIO FOLDER [torn]

Each run has its own Backup Path FOLDER/<number>, and a child process that is killed with SIGKILL
just before its call of that number (with `torn`: in the middle of its write of that number). What
the child was told to be durable stands in FOLDER/<number>.acknowledged. It ends after the first run
that lived.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backupng.engine.model import EntryKind
from tests.engine.backuppath.calls import REAL, watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    SCAN,
    add_message,
    entry,
    mailbox,
    message,
    new_path,
)

Acknowledge = Callable[[str], None]
CHECKPOINT = {"smartscan": {"id": 2}}


def create(root: Path, acknowledge: Acknowledge) -> None:
    """Make a Backup Path."""
    new_path(root).close()
    acknowledge("created")


def prepare(root: Path) -> None:
    """Make what `commit` finds there."""
    with new_path(root) as path, path.writer(SCAN) as writer:
        add_message(writer, b"first", 257, 11)
        writer.commit()


def commit(root: Path, acknowledge: Acknowledge) -> None:
    """Add to an old history and a new one, a directory entry, a mailbox; then the checkpoint."""
    with new_path(root) as path, path.writer(SCAN) as writer:
        add_message(writer, b"second", 257, 12)
        add_message(writer, b"third", 258, 12)
        writer.add_states(ACCOUNT, [message(258, 13, name="x" * (1 << 20), tags=("Urgente",))])
        # As a scan does: of these it adds only what is not there yet.
        if not path.entry_history(EntryKind.ACCOUNT, ACCOUNT):
            writer.add_entry(entry())
        if not path.mailbox_history(ACCOUNT):
            writer.add_mailbox(mailbox(13))
        writer.commit()
        acknowledge("committed")
        writer.set_checkpoint(CHECKPOINT)
        acknowledge("checkpoint")


SCENARIOS = {"create": create, "commit": commit}


def _die(root: Path, name: str, at: int, *, torn: bool) -> None:
    """Run the scenario in this process up to its call number `at`."""
    calls = 0
    log = os.open(f"{root}.acknowledged", os.O_WRONLY | os.O_CREAT)

    def acknowledge(word: str) -> None:
        REAL["write"](log, f"{word}\n".encode())

    def before(call: str, args: tuple[Any, ...]) -> None:
        nonlocal calls
        calls += call == "write" or not torn
        if calls == at:
            if torn:
                REAL["write"](args[0], args[1][: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    with watched(before):
        SCENARIOS[name](root, acknowledge)


def main(name: str, folder: Path, *, torn: bool) -> None:
    """Run the scenario until a run lives."""
    number = 0
    lived = False
    while not lived:
        number += 1
        root = folder / str(number)
        root.mkdir()
        if name == "commit":
            prepare(root)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _die(root, name, number, torn=torn)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        lived = os.WIFEXITED(status)
        if lived and os.WEXITSTATUS(status):
            sys.exit("the scenario failed by itself")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), torn="torn" in sys.argv)
