"""The power goes at any moment, and again in the recovery: nothing acknowledged is lost.

Beside the proofs stand the proofs that they can fail: without any one rule of the order of writes
they do (`reliability.md` P2, P4, P8).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from backupng.engine.backuppath.store import BackupPath
from tests.engine.backuppath.boots import begun
from tests.engine.backuppath.crashfs import Recording
from tests.engine.backuppath.faults import FAULTS, FaultyDisk
from tests.engine.backuppath.mutations import RULES, broken
from tests.engine.backuppath.powerlosses import BUILT_UPON, Losses, build_upon, prepare
from tests.engine.backuppath.samples import ACCOUNT, is_kept

SEED = 20261126
FEW, MANY = 30, 20_000
MOST_RUNS = 500


def folder_in(place: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=place))


def failures(losses: Losses, numbers: Iterable[int]) -> list[str]:
    return list(filter(None, map(losses.failure, numbers)))


def faults_found(disk: FaultyDisk, *, every: int) -> tuple[int, list[str]]:
    """Return how many faults were tried, and what was wrong after them."""
    tried = 0
    found: list[str] = []
    for number, fault in enumerate(FAULTS):
        at = 1 + number % every
        while (failure := disk.failure(fault, at)) is not None:
            tried += 1
            found += filter(None, [failure])
            at += every
    return tried, found


# --- P2: power losses


def test_after_a_power_loss_at_any_moment_all_that_was_acknowledged_is_there(
    in_memory: Path,
) -> None:
    losses = Losses(folder_in(in_memory), SEED)

    assert failures(losses, range(FEW)) == []


@pytest.mark.proofs
def test_after_any_of_many_power_losses_all_that_was_acknowledged_is_there(
    in_memory: Path,
) -> None:
    losses = Losses(folder_in(in_memory), SEED, killed=40)

    found = failures(losses, range(MANY))

    print(f"P2: {MANY} power losses, half of them on unordered folders, seed {SEED}")  # noqa: T201
    assert found == []


def test_what_builds_upon_a_writer_that_was_killed_before_its_sync_is_durable(
    in_memory: Path,
) -> None:
    root, random = folder_in(in_memory) / "tree", Random(SEED)  # noqa: S311  # drawn again from it
    prepare(root)
    recording = Recording(root)
    with recording.running():
        build_upon(root, recording.acknowledge)
    at = next(number for number in range(1000) if recording.acknowledged(number))

    def found() -> list[int]:
        lost = folder_in(in_memory)
        recording.after_power_loss(at, random, ordered=False).lay_out(lost)
        begun(lost, "third")
        with BackupPath.open(lost) as path:
            states = path.history(ACCOUNT, BUILT_UPON)
            return [state.mod for state in states if is_kept(path, state)]

    assert {tuple(found()) for _ in range(FEW)} == {(31, 32, 33)}


# --- P4: the proofs can fail


def caught_after(rule: str, folder: Path) -> int | None:
    """Return in which of its runs a proof fails without the rule; None if in none."""
    with broken(rule):
        losses, disk = Losses(folder, SEED), FaultyDisk(folder_in(folder))
        for number in range(MOST_RUNS):
            if losses.failure(number) or disk.failure("a short write", 1 + number % 20):
                return number + 1
    return None


@pytest.mark.parametrize("rule", ["sync before rename", "sync before checkpoint", "count check"])
def test_a_proof_fails_without_the_rule(rule: str, in_memory: Path) -> None:
    assert caught_after(rule, folder_in(in_memory))


@pytest.mark.proofs
def test_a_proof_fails_without_any_one_rule(in_memory: Path) -> None:
    caught = {rule: caught_after(rule, folder_in(in_memory)) for rule in RULES}

    latest = max(runs or MOST_RUNS for runs in caught.values())
    print(f"P4: {len(RULES)} rules, each missed within {latest} runs, seed {SEED}")  # noqa: T201
    assert [rule for rule, runs in caught.items() if runs is None] == []


# --- P8: errors of the disk


def test_a_disk_that_fails_at_any_call_leaves_nothing_half(in_memory: Path) -> None:
    tried, found = faults_found(FaultyDisk(folder_in(in_memory)), every=29)

    assert (tried > 15, found) == (True, [])


@pytest.mark.proofs
def test_a_disk_that_fails_at_each_call_leaves_nothing_half(in_memory: Path) -> None:
    tried, found = faults_found(FaultyDisk(folder_in(in_memory)), every=1)

    print(f"P7, P8: {tried} faults, every call of: {', '.join(FAULTS)}")  # noqa: T201
    assert found == []
