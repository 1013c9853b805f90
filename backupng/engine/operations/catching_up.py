"""Bring the catalog up to date after a scan; apart, because every scan loads it."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from backupng.engine.errors import BackupError
from backupng.engine.operations.base import Context

_CATCHING_UP: Final = "bringing the catalog up to date"


def catch_up(ctx: Context) -> None:
    """Read what the catalog lacks, after a scan: that it fails, or is stopped, changes nothing."""
    with suppress(BackupError):
        ctx.catalog.catch_up(lambda done, total: ctx.tick(done, total, phase=_CATCHING_UP))
