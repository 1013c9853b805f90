"""The disk below the tree: its refusals as our errors, and what its `syncfs` is worth."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
import platform
import re
import stat
from contextlib import suppress
from pathlib import Path, PurePath
from typing import BinaryIO

from backupng.engine.errors import (
    BackupPathBusy,
    BackupPathUnwritable,
    NotABackupPath,
    ReadError,
)

_REPORTING = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x2FC12FC1, 0x01021994})
"""Superblock magics of ext, XFS, btrfs, ZFS and tmpfs: there `syncfs` tells of its errors."""

_HERE = PurePath()
_libc = ctypes.CDLL(None, use_errno=True)


class _Refusals:
    """What both have in common: where it is; spelled only if there is something to say."""

    __slots__ = ("_path", "_root")

    def __init__(self, root: Path, path: PurePath = _HERE) -> None:
        self._root, self._path = root, path

    def __enter__(self) -> None:
        pass


class reading(_Refusals):  # noqa: N801  # it reads as a word of its sentence
    """Turn every refusal of the disk into the error of the one file."""

    __slots__ = ()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            where = self._root / self._path
            raise ReadError(f"{where} cannot be read: {reason(error)}.") from error


class writing(_Refusals):  # noqa: N801  # as above
    """Turn every refusal of the disk into the one error that stops the whole operation."""

    __slots__ = ()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise BackupPathUnwritable(
                f"{self._root / self._path} cannot be written: {reason(error)}.",
                code="no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "",
                hint="Nothing was half written. Make room or repair the disk, then run it again.",
            ) from error


def reason(error: OSError) -> str:
    """Return what the disk said, to stand inside a sentence."""
    return (error.strerror or str(error)).lower()


def can_sync_whole(descriptor: int) -> bool:
    """Say whether `syncfs` reports errors here: Linux 5.8 or later and a file system that does."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    if version is None or (int(version[1]), int(version[2])) < (5, 8):
        return False
    # struct statfs begins with the file system's magic as a long.
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(descriptor, buffer) != 0:
        return False
    return (ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF) in _REPORTING


def sync_whole(descriptor: int) -> None:
    """Make everything written to the file system of that descriptor durable. Raises OSError."""
    if _libc.syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def opened(descriptor: int) -> BinaryIO:
    """Return what a descriptor of a regular file reads. Raises OSError, the descriptor closed."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return io.BufferedReader(io.FileIO(descriptor))
    except OSError:
        os.close(descriptor)
        raise


def lock(descriptor: int, how: int, *, root: Path) -> None:
    """Lock what is open. Raises BackupPathBusy instead of waiting, if `how` says so."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError as error:
        raise BackupPathBusy(
            f"{root} is being repaired or migrated.", hint="Wait for its end."
        ) from error


def require_in_place(descriptor: int, *, root: Path) -> None:
    """Raise NotABackupPath if the folder at `root` is not the one that is open."""
    with suppress(OSError):
        if os.path.samestat(root.stat(), os.fstat(descriptor)):
            return
    raise NotABackupPath(
        f"The folder at {root} is not the one that was opened as the Backup Path any more:"
        " it was moved or replaced, or another disk was mounted over it.",
        hint="Put it back in its place; or name the new one: setProperty ZxBackup_DestPath.",
    )
