"""Another boot of this host, and the time since."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from backupng.engine.backuppath import disk
from backupng.engine.backuppath.recovery import Recovered
from backupng.engine.backuppath.store import BackupPath
from tests.engine.backuppath.samples import NOON, OWNER, SCAN


@contextmanager
def booted(name: str, *, up_ms: int | None = None) -> Iterator[None]:
    """Have the host be in another boot, for so long."""
    boot_id, since_boot_ms = disk.boot_id, disk.since_boot_ms
    disk.boot_id = lambda: name  # type: ignore[assignment]
    if up_ms is not None:
        disk.since_boot_ms = lambda: up_ms
    try:
        yield
    finally:
        disk.boot_id, disk.since_boot_ms = boot_id, since_boot_ms


def note(root: Path, **changes: object) -> None:
    """Change words of the note in `.lock`: host, boot, writers; it is this tree's own."""
    with (root / ".lock").open("r+b") as file:
        words = file.read().decode().split()
        number = os.fstat(file.fileno()).st_ino
        said = dict(zip(words[::2], words[1::2], strict=True)) | {"inode": number, **changes}
        file.seek(0)
        file.truncate()
        file.write(" ".join(f"{name} {value}" for name, value in said.items()).encode() + b"\n")


def lose_power(root: Path) -> None:
    """Have the note say that a writer of another boot never came to its end."""
    note(root, boot="before", writers=1)


def begun(root: Path, boot: str, *, now: datetime = NOON) -> Recovered | None:
    """Begin to write as the first one after a boot, and end; return what was recovered."""
    with (
        booted(boot),
        BackupPath.open_or_create(root, OWNER, now=now) as path,
        path.writer(SCAN),
    ):
        return path.recovered
