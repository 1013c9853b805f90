"""Where the proofs work."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp makes the folder below it


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """Return a folder of the test's own, in memory where there is one: syncs cost nothing there."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="backupng-proofs-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)
