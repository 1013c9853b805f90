"""The room below a tree: looked at before each group, with a reserve for when it is gone.

Who meets a full disk gives the reserve back, so that what has to be noted then, here or by others
on the same disk, still finds room.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from backupng.engine.backuppath import disk
from backupng.engine.backuppath.disk import Room, writing
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import RESERVE
from backupng.engine.errors import BackupPathUnwritable

LEAST_FILES_PERCENT: Final = 5.0
_MEGABYTE: Final = 1 << 20
_LARGEST: Final = 64 * _MEGABYTE
_SHARE: Final = 256
"""The reserve is that part of what was written: a small tree needs a small one."""


def shortage(room: Room, least_free_bytes: int) -> tuple[str, str] | None:
    """Return what is short below a tree, as a sentence and a hint; None if there is room."""
    if room.bytes < least_free_bytes:
        least = least_free_bytes // _MEGABYTE
        return (
            f"Only {room.bytes // _MEGABYTE} MB are free on the disk of the Backup Path.",
            f"Make room: ZxBackup_SpaceThreshold asks for {least} MB.",
        )
    if room.files_percent < LEAST_FILES_PERCENT:
        return (
            f"The disk of the Backup Path has room for {room.files_percent:.1f} % of its files.",
            f"Delete files there: {LEAST_FILES_PERCENT:g} % of what it can hold have to be free.",
        )
    return None


@dataclass(slots=True)
class Space:
    """The room for one writer: nothing more is stored with less than `least_free_bytes`.

    A context manager, around what writes: it gives the reserve back if the disk is full inside.
    """

    tree: Tree
    role: str
    least_free_bytes: int = 0
    _written: int = 0
    _reserved: int = 0

    def require(self) -> None:
        """Raise BackupPathUnwritable (no_space) when room is short."""
        short = shortage(self.tree.room(), self.least_free_bytes)
        if short:
            raise BackupPathUnwritable(short[0], code="no_space", hint=short[1])

    def wrote(self, length: int) -> None:
        """Take note of bytes written; the reserve grows with them, in whole megabytes."""
        self._written += length
        wanted = min(_LARGEST, self._written // _SHARE) // _MEGABYTE * _MEGABYTE
        if wanted > self._reserved:
            # Without room for a reserve the work goes on: the next group finds out why.
            with suppress(BackupPathUnwritable):
                self._hold(wanted)
            self._reserved = wanted

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Give the reserve back if the disk is full inside."""
        if isinstance(error, BackupPathUnwritable) and error.code == "no_space":
            with suppress(BackupPathUnwritable):
                self.tree.discard(RESERVE)

    def _hold(self, length: int) -> None:
        """Have a reserve of that length, unless there is a larger one."""
        mark = self.tree.mark(RESERVE)
        if mark and mark[2] >= length:
            return
        with self.tree.stage(self.role) as file:
            with writing(self.tree.root, RESERVE):
                disk.allocate(file.descriptor, length)
            self.tree.publish(file.path, RESERVE)
