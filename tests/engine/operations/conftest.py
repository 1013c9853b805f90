"""Where the trees of these tests lie: as those of the Backup Path."""

from __future__ import annotations

from tests.engine.backuppath.conftest import in_memory

__all__ = ["in_memory"]
