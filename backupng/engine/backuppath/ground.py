"""All of a tree, folder by folder: what reads it as a whole, fast, and remembers nothing of it.

Folders are opened without following links, and closed again, so that a thread with a `Ground` of
its own disturbs no other. A purge reads through this, beside `fsio`, and removes by `removal`.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from backupng.engine.backuppath import sharing
from backupng.engine.backuppath.disk import (
    FOLDER_MODE,
    Mark,
    can_sync_whole,
    mark_of,
    reading,
    reason,
    set_mode,
    sync_whole,
    writing,
)
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import ReadError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_AT_ONCE: Final = 1 << 20
_ABSENT: Final = -1


@dataclass(frozen=True, slots=True)
class Found:
    """A history's file as it was read."""

    data: bytes
    _seen: os.stat_result

    @property
    def mark(self) -> Mark:
        """What differs once it is written to or replaced."""
        return mark_of(self._seen)

    @property
    def written_ns(self) -> int:
        """When it was last written to."""
        return self._seen.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Lying:
    """A blob's file: when somebody last relied on it, in ns, and its length in bytes."""

    used_ns: int
    size: int


class Folder:
    """An open folder of the tree; one that is not there is empty.

    Its methods raise ReadError where the disk refuses.
    """

    __slots__ = ("_above", "_descriptor", "_name", "_root")

    def __init__(self, root: Path, above: Place | Folder, name: str, descriptor: int):
        self._root, self._above, self._name = root, above, name
        self._descriptor = descriptor

    @property
    def path(self) -> Place:
        """Where it lies in the tree; spelled only if there is something to say."""
        above = self._above
        return (above.path if isinstance(above, Folder) else above) / self._name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor != _ABSENT:
            os.close(self._descriptor)

    def names(self) -> list[str]:
        """List it, in the order of the disk."""
        if self._descriptor == _ABSENT:
            return []
        try:
            return os.listdir(self._descriptor)
        except OSError as error:
            raise self._refused("", error) from error

    def load(self, name: str, *, limit: int) -> Found | None:
        """Read a history as long as it is now; None if it is not there."""
        if self._descriptor == _ABSENT:
            return None
        try:
            return _load(self._descriptor, name, limit)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(name, error) from error

    def lying(self, name: str) -> Lying | None:
        """Look at a blob's file; None for what is not there, or no file."""
        if self._descriptor == _ABSENT:
            return None
        try:
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(name, error) from error
        is_file = stat.S_ISREG(found.st_mode)
        return Lying(found.st_mtime_ns, found.st_size) if is_file else None

    def stamp(self) -> int:
        """Return its time in ns: of an account's folder, its stamp (`telling`)."""
        with reading(self._root, self.path):
            return 0 if self._descriptor == _ABSENT else os.fstat(self._descriptor).st_mtime_ns

    def _refused(self, name: str, error: OSError) -> ReadError:
        where = self._root / self.path / name
        return ReadError(f"{where} cannot be read: {reason(error)}.")

    def inner(self, name: str) -> Folder:
        """Open a folder in it, to be used in a `with`."""
        if self._descriptor == _ABSENT:
            return Folder(self._root, self, name, _ABSENT)
        try:
            found = os.open(name, _FOLDER, dir_fd=self._descriptor)
        except FileNotFoundError:
            found = _ABSENT
        except OSError as error:
            raise self._refused(name, error) from error
        return Folder(self._root, self, name, found)


class Ground:
    """A tree that is read as a whole; a context manager that closes it. Raises ReadError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with reading(root):
            self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._whole_sync = can_sync_whole(self._root_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root_fd)

    def folder(self, path: Place) -> Folder:
        """Open a folder, to be used in a `with`."""
        with reading(self.root, path):
            found = descend(self._root_fd, *path.parts)
        return Folder(self.root, path.parent, path.name, _ABSENT if found is None else found)

    def oldest_pulse(self, *, besides: sharing.Pulse | None = None) -> int | None:
        """Return since when, in ns, a living writer may owe the tree states; None without any."""
        with writing(self.root):
            return sharing.oldest_pulse(self._root_fd, besides=besides)

    def sync(self) -> None:
        """Make all removals durable; where folders can only be synced singly, they were."""
        with writing(self.root):
            if self._whole_sync:
                sync_whole(self._root_fd)

    def synced(self, *folders: int) -> None:
        """Sync folders at once where a `sync` of the whole is worth nothing. Raises OSError."""
        if not self._whole_sync:
            for folder in folders:
                os.fsync(folder)


def descend(folder: int, *names: str) -> int | None:
    """Walk down without links; None if there is no such folder. Raises OSError."""
    if len(names) == 1:
        with suppress(FileNotFoundError):
            return os.open(names[0], _FOLDER, dir_fd=folder)
        return None
    descriptor = os.dup(folder)
    for name in names:
        try:
            inner = os.open(name, _FOLDER, dir_fd=descriptor)
        except FileNotFoundError:
            return None
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def made(folder: int, *names: str, durably: bool) -> int:
    """Walk down without links, making what is not there, durably or not yet. Raises OSError."""
    descriptor = os.dup(folder)
    for name in names:
        try:
            inner = _made(descriptor, name, durably=durably)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _made(folder: int, name: str, *, durably: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        # Another one may make it at the same moment.
        with suppress(FileExistsError):
            os.mkdir(name, FOLDER_MODE, dir_fd=folder)
    descriptor = os.open(name, _FOLDER, dir_fd=folder)
    set_mode(descriptor, FOLDER_MODE)
    if durably:
        os.fsync(folder)
    return descriptor


def _load(folder: int, name: str, limit: int) -> Found:
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit} bytes")
        data = os.read(descriptor, found.st_size)
        while len(data) < found.st_size and (more := os.read(descriptor, _AT_ONCE)):
            data += more
    finally:
        os.close(descriptor)
    return Found(data, found)
