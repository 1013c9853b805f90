"""Where the trees of these tests lie, and their catalogs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from tests.engine.backuppath.conftest import in_memory, path, tree

__all__ = ["catalog", "file", "in_memory", "path", "tree"]


@pytest.fixture
def file(path: BackupPath) -> Path:
    return path.tree.root.with_name(f"{path.tree.root.name}.catalog") / "mail.sqlite3"


@pytest.fixture
def catalog(path: BackupPath, file: Path) -> Iterator[Catalog]:
    """Return the catalog of the path, told by all its writers."""
    with Catalog(path, file) as found:
        path.listener = found.take
        yield found
