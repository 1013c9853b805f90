"""Where the trees of these tests lie: as those of the Backup Path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.backuppath.conftest import in_memory, path
from tests.engine.upkeep import coherence

__all__ = ["in_memory", "path"]


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return an empty folder where syncs cost nothing."""
    with coherence.in_memory() as folder:
        yield folder
