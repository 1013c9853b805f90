"""What a purge does to a tree: histories unlinked, accounts and blobs moved into the trash.

A purge changes the tree through this, not through `fsio`. Each thread has a `Remover` of its own.
Order and locks are those of FORMAT.md §6 and §7. Where the disk refuses it raises
BackupPathUnwritable: what was done until then stays done, and is right.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from backupng.engine.backuppath import layout, sharing
from backupng.engine.backuppath.disk import Mark, mark_of, new_stamp, stamp_of, writing
from backupng.engine.backuppath.ground import Ground, descend, made
from backupng.engine.backuppath.layout import TRASH, Place
from backupng.engine.errors import BackupPathBusy

_AT_ONCE: Final = 64
"""So many blobs of one folder are moved while its lock is held: no writer waits for more."""
_ITEMS: Final = "items"


class Remover(Ground):
    """A tree that is removed from."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of `.trash`, as one purge does. Raises BackupPathBusy if another does."""
        with self.made(TRASH) as trash:
            with writing(self.root, TRASH):
                try:
                    fcntl.flock(trash, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise BackupPathBusy(
                        f"{self.root} is being purged already.", hint="Wait for its end."
                    ) from error
            yield

    @contextmanager
    def account(self, folder: Place) -> Iterator[Account | None]:
        """Hold an account's lock to remove what is in it; None if it is not there any more."""
        with self.made(folder.parent) as parent:
            with writing(self.root, folder):
                descriptor = descend(parent, folder.name)
            if descriptor is None:
                yield None
                return
            try:
                with writing(self.root, folder):
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    is_there = sharing.is_in_place(descriptor, parent, folder.name)
                yield Account(self, folder, parent, descriptor) if is_there else None
            finally:
                os.close(descriptor)

    def move_blobs(
        self, bucket: str, names: Sequence[str], into: Place, *, before_ns: int
    ) -> tuple[int, int]:
        """Move blobs of one folder away unless somebody relied on them since; return number, bytes.

        One that is gone, or that got a new time meanwhile, is left as it is.
        """
        place = layout.BLOBS / bucket
        sizes: list[int] = []
        with self.made(place) as folder, self.made(into) as target, writing(self.root, place):
            for at in range(0, len(names), _AT_ONCE):
                sizes += _move(folder, names[at : at + _AT_ONCE], target, before_ns)
            self.synced(target, folder)
        return len(sizes), sum(sizes)

    def put_back(self, trash: Place, digest: str) -> bool:
        """Move a blob from the trash to its place unless one lies there; say whether it was."""
        place = layout.BLOBS / digest[:2]
        with self.made(trash) as source, self.made(place) as folder, writing(self.root, place):
            fcntl.flock(folder, fcntl.LOCK_EX)
            if _seen(folder, digest) is not None or _seen(source, digest) is None:
                return False
            # The next purge is to find it young.
            os.utime(digest, dir_fd=source, follow_symlinks=False)
            os.rename(digest, digest, src_dir_fd=source, dst_dir_fd=folder)
            self.synced(folder, source)
        return True

    def delete(self, folder: Place, names: Iterable[str]) -> int:
        """Delete files of a folder, folders with all in them; return their bytes."""
        with self.made(folder) as descriptor, writing(self.root, folder):
            return sum(_delete(descriptor, name) for name in names)

    @contextmanager
    def made(self, path: Place) -> Iterator[int]:
        """Open a folder, made durably where only single folders can be synced.

        Raises BackupPathUnwritable.
        """
        with writing(self.root, path):
            descriptor = made(self._root_fd, *path.parts, durably=not self._whole_sync)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class Account:
    """An account's folder whose lock is held."""

    def __init__(self, remover: Remover, path: Place, parent: int, descriptor: int) -> None:
        self._remover, self._path = remover, path
        self._parent, self._descriptor = parent, descriptor

    def stamp(self) -> tuple[int, int]:
        """Give the folder a later time, as whoever changes something in it does; return both."""
        with writing(self._remover.root, self._path):
            return new_stamp(self._descriptor)

    def unlink(self, bucket: str, wanted: Iterable[tuple[str, Mark]]) -> list[str]:
        """Remove histories of one bucket that are as they were read; return the names of others."""
        path, spared = Place(_ITEMS) / bucket, []
        with writing(self._remover.root, self._path / path):
            folder = descend(self._descriptor, *path.parts)
            if folder is None:
                return [name for name, _ in wanted]
            try:
                for name, mark in wanted:
                    found = _seen(folder, name)
                    if found is None or mark_of(found) != mark:
                        spared.append(name)
                    else:
                        os.unlink(name, dir_fd=folder)
                self._remover.synced(folder)
            finally:
                os.close(folder)
        return spared

    def move(self, into: Place, *, stamp: int) -> bool:
        """Move the account as a whole if nobody has locked it to write since; say whether it was.

        `stamp` is what the folder bore before it was read.
        """
        with writing(self._remover.root, self._path):
            if stamp_of(self._descriptor) != stamp:
                return False
        name = self._path.name
        with self._remover.made(into) as target, writing(self._remover.root, self._path):
            os.rename(name, name, src_dir_fd=self._parent, dst_dir_fd=target)
            self._remover.synced(target, self._parent)
        return True


def _move(folder: int, names: Sequence[str], target: int, before_ns: int) -> list[int]:
    """Move blobs while their folder's lock is held; return the length of each that was."""
    sizes = []
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        for name in names:
            found = _seen(folder, name)
            if found and stat.S_ISREG(found.st_mode) and found.st_mtime_ns < before_ns:
                os.rename(name, name, src_dir_fd=folder, dst_dir_fd=target)
                sizes.append(found.st_size)
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)
    return sizes


def _delete(folder: int, name: str) -> int:
    found = _seen(folder, name)
    if found is None:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=folder)
        return found.st_size
    inner = descend(folder, name)
    if inner is None:
        return 0
    try:
        size = sum(_delete(inner, each) for each in os.listdir(inner))
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)
    return size


def _seen(folder: int, name: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None
