"""Where the trees of the longer tests lie."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.store import BackupPath
from tests.engine.backuppath.samples import new_path

MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp makes the folder below it


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder in memory where there is one: hundreds of syncs then cost nothing."""
    if not MEMORY.is_dir():
        yield tmp_path_factory.mktemp("trees")
        return
    folder = Path(tempfile.mkdtemp(prefix="backupng-tests-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def tree(in_memory: Path) -> Iterator[Tree]:
    """Return the disk below an empty folder."""
    found = Tree(Path(tempfile.mkdtemp(dir=in_memory)))
    yield found
    found.close()


@pytest.fixture
def path(in_memory: Path) -> Iterator[BackupPath]:
    """Return an open Backup Path that is new and empty."""
    with new_path(Path(tempfile.mkdtemp(dir=in_memory))) as found:
        yield found
