"""A repair that is killed at any call that changes the disk."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from tests.engine.backuppath.calls import is_killed
from tests.engine.backuppath.samples import (
    ACCOUNT,
    SCAN,
    blob_file,
    files,
    item_file,
    mailbox,
    new_path,
)
from tests.engine.upkeep.coherence import check, filled, repair, spoil, told, uncertain


def damaged(root: Path) -> BackupPath:
    """Make a tree with a flaw of each kind that is moved."""
    path, first, second = filled(root)
    with path.writer(SCAN) as writer:
        writer.add_blob([b"nobody names me"])
        writer.add_mailbox(mailbox(15))
        writer.commit()
    spoil(item_file(path), line=1)
    spoil(path.tree.root / layout.mailbox_file(ACCOUNT), line=1)
    os.truncate(blob_file(path, first), 9)
    blob_file(path, second).write_bytes(b"neither")
    return path


def mend(root: Path) -> None:
    with BackupPath.open(root) as path:
        repair(path, check(path))


def contents(root: Path) -> set[bytes]:
    """Return every content there is below a root, wherever it lies."""
    return set(files(root).values())


def untrue(root: Path) -> int:
    """Return how many lines of a list name what has not been moved."""
    lists = root.glob("quarantine/*/list")
    lines = [line.split("\t") for file in lists for line in file.read_text().splitlines()]
    return sum(not (root / target).exists() for _, target, _ in lines)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.proofs)])
def test_a_repair_that_is_killed_anywhere_destroys_nothing_and_can_be_run_again(
    memory: Path, step: int
) -> None:
    damaged(memory / "origin").close()
    valuable = {
        data
        for name, data in files(memory / "origin").items()
        if not name.startswith("checkpoint/")
    }
    number, lived = 1 - step, False
    while not lived:
        number += step
        root = memory / str(number)
        shutil.copytree(memory / "origin", root)
        lived = not is_killed(number, partial(mend, root))

        assert valuable <= contents(root), f"killed at call {number}"
        assert untrue(root) <= 1, f"killed at call {number}"
        with new_path(root) as path:
            repair(path, check(path))
            assert told(check(path)) == [
                ("missing blob", str(file)) for file in sorted(_missing(path))
            ], f"killed at call {number}"
            assert ACCOUNT in uncertain(path)
        assert valuable <= contents(root)
        shutil.rmtree(root)
    assert number > 20


def _missing(path: BackupPath) -> list[Path]:
    return [
        Path(layout.blob_file(state.digest))
        for item in path.items(ACCOUNT)
        for state in path.history(ACCOUNT, item)
        if state.digest
    ]
