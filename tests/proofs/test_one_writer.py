"""P11. One writer: even where the locks that keep others out are lost, nothing is written twice.

Locks let one scanner and one operation of a server work at a time (tests/console/test_worker.py and
test_scanner_process.py). Here they are as good as absent: two scanners and a SmartScan run at once,
one of them is killed, the file `.lock` is deleted or replaced under them. What is left are the
locks of the account folders and the rule of the change number.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import ItemState, from_ms
from tests.engine.backuppath.samples import SCAN, add_message, is_kept, mods, new_path
from tests.engine.scan.scanners import Scanner, rows_of, shown
from tests.proofs.busy import START_MS, new_sandbox
from tests.proofs.test_kills import follow, scan
from tests.proofs.told import new_seed, tell

WORKS = (follow, follow, scan)


def start(server: Path, root: Path, number: int, now_ms: int) -> int:
    """Run one of the works in a process; return its id."""
    child = os.fork()
    if not child:
        status = 1
        try:
            with Sandbox.open(server) as sandbox:
                WORKS[number](sandbox, root, from_ms(now_ms), lambda: None)
            status = 0
        finally:
            os._exit(status)
    return child


def disturb_lock(root: Path, dice: random.Random) -> None:
    """Leave the tree's lock as it is, delete it, or put another file in its place."""
    how = dice.randrange(3)
    if how:
        (root / ".lock").unlink(missing_ok=True)
    if how == 2:
        (root / ".lock").write_bytes(b"")


def is_one_after_the_other(states: Sequence[ItemState]) -> bool:
    """Say whether change numbers grow; an equal one only adds a row."""
    return all(
        before.mod < after.mod or (before.mod == after.mod and after.row and not before.row)
        for before, after in pairwise(states)
    )


@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=pytest.mark.proofs)])
def test_workers_at_once_write_nothing_twice(in_memory: Path, rounds: int) -> None:
    seed = new_seed()
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    done = 0
    while done < rounds:
        folder = in_memory / str(done)
        folder.mkdir()
        with new_sandbox(folder / "server", seed=seed + done) as sandbox:
            play = Play(sandbox, seed=seed + done)
            scanner = Scanner(sandbox.source(), folder / "backup")
            for number in range(min(20, rounds - done)):
                now_ms = START_MS + (number + 1) * 100_000
                for step in range(6):
                    play.step(now_ms=now_ms + step * 1000)
                at_once(folder, dice, now_ms + 10_000)
                scanner.catch_up()
                assert_right(scanner, sandbox, f"seed {seed}, round {done}")
                done += 1
        shutil.rmtree(folder)
    tell("P11", done, "rounds of three workers at once", seed=seed)


def at_once(folder: Path, dice: random.Random, now_ms: int) -> None:
    """Let all work at once, kill one of them or none."""
    children = [start(folder / "server", folder / "backup", each, now_ms) for each in range(3)]
    time.sleep(dice.uniform(0, 0.04))
    disturb_lock(folder / "backup", dice)
    victim = dice.choice((*children, None))
    if victim:
        os.kill(victim, signal.SIGKILL)
    ends = {child: os.waitpid(child, 0)[1] for child in children}
    assert not any(status for child, status in ends.items() if child != victim)


def assert_right(scanner: Scanner, sandbox: Sandbox, when: str) -> None:
    states = scanner.states()
    doubled = [key for key, each in states.items() if not is_one_after_the_other(each)]
    assert doubled == [], when
    with scanner.path() as path:
        assert all(is_kept(path, each[-1]) for each in states.values()), when
    living = {key: shown(each[-1]) for key, each in states.items() if not each[-1].deleted}
    assert living == {key: shown(row) for key, row in rows_of(sandbox.source()).items()}, when


def test_a_copied_tree_does_not_wait_for_the_lock_of_the_first(in_memory: Path) -> None:
    with new_path(in_memory / "tree") as path, path.writer(SCAN) as writer:
        add_message(writer, b"first", 257, 11)
        writer.commit()
        with writer._tree.stage(SCAN) as file:
            file.write(b"half")
            shutil.copytree(in_memory / "tree", in_memory / "copy")
            with BackupPath.open(in_memory / "copy") as copy, copy.writer(SCAN) as other:
                add_message(other, b"second", 257, 12)
                other.commit()
                assert list((in_memory / "copy" / ".staging" / SCAN).iterdir()) == []

    with BackupPath.open(in_memory / "copy") as copy, BackupPath.open(in_memory / "tree") as path:
        assert (mods(copy), mods(path)) == ([11, 12], [11])
