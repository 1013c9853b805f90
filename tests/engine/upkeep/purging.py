"""What the tests of Purge stand on: a tree on a clock of its own, and a purge of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import AccountId, Digest, ItemId, ItemState
from backupng.engine.upkeep.purge import Purge, Result, Retention
from tests.engine.backuppath.samples import ACCOUNT, SCAN, deletion, message

DAY = timedelta(days=1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""When what the tests call old was deleted, and written."""
MONTH = Retention(items_days=30, accounts_days=30)


def ignore(done: int, total: int, *, phase: str, counts: Mapping[str, int]) -> None:
    """Be nobody who watches."""


def purge(path: BackupPath, *, after: timedelta = 40 * DAY, **options: Any) -> Purge:
    """Return a purge that begins so long after `LONG_AGO`."""
    values: dict[str, Any] = {"retention": MONTH, "tick": ignore, "now": lambda: LONG_AGO + after}
    return Purge(path=path, **(values | {"confirmed": True} | options))


def run(path: BackupPath, **options: Any) -> Result:
    """Purge, whatever the brakes say."""
    return purge(path, **options).run()


def keep(path: BackupPath, plain: bytes, item: int = 257, account: AccountId = ACCOUNT) -> Digest:
    """Write a message with its content."""
    with path.writer(SCAN) as writer:
        digest, length, _ = writer.add_blob([plain])
        writer.add_states(account, [old(message(item, 11, digest=digest, size=length))])
        writer.commit()
    return digest


def delete(path: BackupPath, item: int = 257, mod: int = 12, account: AccountId = ACCOUNT) -> None:
    """Write that an item was deleted at `LONG_AGO`."""
    with path.writer(SCAN) as writer:
        writer.add_states(account, [old(deletion(item, mod))])
        writer.commit()


def old(state: ItemState, start: datetime = LONG_AGO) -> ItemState:
    """Return a state with another time."""
    values = {name: getattr(state, name) for name in state.__dataclass_fields__}
    return ItemState(**(values | {"start": start}))


def age(root: Path, moment: datetime = LONG_AGO) -> None:
    """Have everything in the tree have been written at that moment; living writers live now."""
    for path in [each for each in (root, *root.rglob("*")) if ".pulses" not in each.parts]:
        os.utime(path, (moment.timestamp(), moment.timestamp()))


def has(path: BackupPath, digest: Digest) -> bool:
    """Say whether a blob lies in its place."""
    return (path.tree.root / layout.blob_file(digest)).exists()


def items(path: BackupPath, account: AccountId = ACCOUNT) -> list[ItemId]:
    """Return the items of an account that the tree knows."""
    return sorted(path.items(account))


def trashed(path: BackupPath) -> list[str]:
    """Return what lies in the trash, below the folders of its purges."""
    found = (path.tree.root / layout.TRASH).glob("*/*/*")
    return sorted("/".join(each.parts[-2:]) for each in found)


def real_now() -> datetime:
    """Return the moment by the disk's clock."""
    return datetime.fromtimestamp(time.time(), UTC)
