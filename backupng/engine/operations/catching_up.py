"""Bring the catalog up to date after a scan or a check; apart, because every scan loads it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Final

from backupng.engine.catalog import keeping
from backupng.engine.errors import BackupError
from backupng.engine.model import AccountId
from backupng.engine.operations.base import Context

_CATCHING_UP: Final = "bringing the catalog up to date"


def catch_up(ctx: Context) -> None:
    """Read what the catalog lacks, after a scan: that it fails, or is stopped, changes nothing."""
    with suppress(BackupError):
        ctx.catalog.catch_up(lambda done, total: ctx.tick(done, total, phase=_CATCHING_UP))


def look_again(ctx: Context, accounts: Collection[AccountId] | None) -> None:
    """Have the catalog follow what other hands did to histories of some accounts, or of all.

    Only writers give an account a new stamp: so these count as behind, and the histories whose
    files are not as they were are read.
    """
    with suppress(BackupError):
        for account in ctx.path.accounts() if accounts is None else accounts:
            ctx.catalog.ask_as_it_is(account, keeping.doubt, is_behind=True)
    catch_up(ctx)
