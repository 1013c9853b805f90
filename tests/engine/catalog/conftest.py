"""Where the trees of these tests lie."""

from __future__ import annotations

from tests.engine.backuppath.conftest import in_memory, path, tree

__all__ = ["in_memory", "path", "tree"]
