"""P1. kill -9 of a Purge at random moments: nothing needed goes, and the next one ends its work."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.ground import made
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import ItemId
from tests.engine.backuppath.calls import REAL, watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    SCAN,
    deletion,
    is_kept,
    message,
    new_path,
)
from tests.engine.upkeep.purging import age, old, run
from tests.proofs.told import new_seed, tell

ITEMS = 60
SHARED = 6
"""Every so many items have one content."""


def make(root: Path) -> None:
    """Make a tree with items, half of them deleted long ago, some with contents of the others."""
    with new_path(root) as path, path.writer(SCAN) as writer:
        for item in range(300, 300 + ITEMS):
            digest, length, _ = writer.add_blob([b"content %d" % (item % (ITEMS - SHARED))])
            writer.add_states(ACCOUNT, [old(message(item, 11, digest=digest, size=length))])
            if item % 2:
                writer.add_states(ACCOUNT, [old(deletion(item, 12))])
        writer.commit()
    age(root)


def purge(root: Path) -> None:
    with BackupPath.open(root) as path:
        run(path)


def kill(root: Path, after_s: float) -> None:
    """Purge in a process that is killed then."""
    child = os.fork()
    if not child:
        try:
            purge(root)
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def found(root: Path) -> dict[str, bytes]:
    """Return metadata, blobs and trash."""
    tops = {layout.ACCOUNTS.name, layout.BLOBS.name, layout.TRASH.name}
    return {
        str(each.relative_to(root)): each.read_bytes()
        for each in root.rglob("*")
        if each.is_file() and each.relative_to(root).parts[0] in tops
    }


def lost(root: Path) -> list[ItemId]:
    """Return the items that are alive and have no content."""
    with BackupPath.open(root) as path:
        return [
            item
            for item in path.items(ACCOUNT)
            if not path.history(ACCOUNT, item)[-1].deleted
            and not all(is_kept(path, state) for state in path.history(ACCOUNT, item))
        ]


@pytest.mark.parametrize("kills", [4, pytest.param(500, marks=pytest.mark.proofs)])
def test_a_purge_killed_at_random_moments_is_completed_by_the_next(
    in_memory: Path, kills: int
) -> None:
    seed = new_seed()
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    first, peace, tree = (in_memory / name for name in ("first", "peace", "tree"))
    make(first)
    shutil.copytree(first, peace)
    begun = time.monotonic()
    purge(peace)
    took_s = time.monotonic() - begun
    assert len(found(peace)) < len(found(first))

    for number in range(kills):
        shutil.copytree(first, tree)
        kill(tree, dice.uniform(0, 1.3 * took_s))
        assert lost(tree) == [], f"seed {seed}, kill {number}"
        purge(tree)
        assert found(tree) == found(peace), f"seed {seed}, kill {number}"
        shutil.rmtree(tree)
    tell("P1", kills, "kills of a Purge", seed=seed)


def test_a_folder_that_another_thread_makes_at_that_moment_is_taken(in_memory: Path) -> None:
    # Found by kills with the seed 788741484: threads of a Purge make one folder of the trash.
    root = os.open(in_memory, os.O_RDONLY)

    def be_faster(call: str, args: tuple[Any, ...]) -> None:
        if call == "mkdir":
            REAL["mkdir"](in_memory / args[0])

    with watched(be_faster):
        found = made(root, "trash", durably=False)

    assert os.path.samestat(os.fstat(found), (in_memory / "trash").stat())
    os.close(found)
    os.close(root)
