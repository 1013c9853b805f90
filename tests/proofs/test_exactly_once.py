"""P5. Exactly once: whatever part of a redo log is read again, the tree stays as it is.

A live scanner notes its checkpoint after each act. After some acts, the log behind random earlier
checkpoints is read again: each piece up to the end of what the log holds then, overlapping, the
same one twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.scan.beside import SCANNER_ROLE
from tests.engine.backuppath.samples import files
from tests.engine.scan.scanners import Scanner
from tests.proofs.busy import START_MS, new_sandbox
from tests.proofs.told import new_seed, tell

STEPS = 20


def rewind(root: Path, said: Mapping[str, Any]) -> None:
    """Put a scanner back to what it once said of itself."""
    with BackupPath.open(root) as path, path.writer(SCANNER_ROLE) as writer:
        writer.set_scanner(said)


def said_by(root: Path) -> Mapping[str, Any]:
    with BackupPath.open(root) as path:
        return path.scanner()


def states(root: Path) -> dict[str, bytes]:
    """Return every file but the scanner's checkpoint, which says when it was written."""
    return {name: data for name, data in files(root).items() if not name.endswith(".scanner")}


def test_a_log_read_again_from_any_earlier_checkpoint_changes_nothing(in_memory: Path) -> None:
    replay(in_memory, stages=2, again=6)


@pytest.mark.proofs
@pytest.mark.parametrize("number", range(7))
def test_logs_read_again_very_often_change_nothing(in_memory: Path, number: int) -> None:
    replay(in_memory, stages=5 + number % 2, again=15)


def replay(folder: Path, *, stages: int, again: int) -> None:
    """Play in stages; after each of them read the log again so often."""
    seed = new_seed()
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    dice = random.Random(seed)  # noqa: S311 - places, not secrets
    done = 0
    with new_sandbox(folder / "server", seed=seed) as sandbox:
        play = Play(sandbox, seed=seed)
        scanner = Scanner(sandbox.source(), folder / "backup")
        scanner.catch_up()
        checkpoints = [said_by(scanner.root)]
        for stage in range(stages):
            with scanner.running() as running:
                for step in range(STEPS):
                    play.step(now_ms=START_MS + (stage * STEPS + step) * 1000)
                    while running.turn(0):
                        pass
                    checkpoints.append(said_by(scanner.root))
            before = states(scanner.root)
            for place in _places(dice, len(checkpoints), again):
                rewind(scanner.root, checkpoints[place])
                scanner.catch_up()
                done += 1
                now = states(scanner.root)
                differing = {each for each in before | now if before.get(each) != now.get(each)}
                assert differing == set(), f"seed {seed}, stage {stage}, from {place}"
    tell("P5", done, "pieces of a log read again", seed=seed)


def _places(dice: random.Random, count: int, most: int) -> list[int]:
    """Return the whole log, then random places, the last one twice."""
    places = [0, *(dice.randrange(count) for _ in range(most - 2))]
    return [*places, places[-1]]
