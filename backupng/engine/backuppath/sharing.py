"""What writers and a purge owe each other, on folders of the tree that `fsio` or `ground` opened.

A writer that relies on a blob gives it a new time, and then looks at it again under the *shared*
lock of its folder; under that, whoever publishes one renames it. A purge looks at the time once
more and moves the blob away under the *exclusive* lock of it. So either the purge sees the new
time, or the writer sees that the blob is gone.

A blob has its time before the state that names it is in the tree. Up to when a living writer owes
no such state, its *pulse* tells: a file of its own below `.pulses`, whose time it renews when a
group is committed. A purge spares all blobs that are not older than the oldest pulse.
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from backupng.engine.backuppath.disk import FILE_MODE, FOLDER_MODE, lock, set_mode
from backupng.engine.errors import ReadError

_PULSES: Final = ".pulses"
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refreshed(folder: int, name: str) -> bool:
    """Give a blob the present time, then say whether it is there, whole as far as its length tells.

    Raises OSError, and ReadError for a folder in its place, into which no blob can be renamed.
    """
    try:
        os.utime(name, dir_fd=folder, follow_symlinks=False)
        fcntl.flock(folder, fcntl.LOCK_SH)
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        finally:
            fcntl.flock(folder, fcntl.LOCK_UN)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(found.st_mode):
        raise ReadError(f"a folder lies in the place of the blob {name}")
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def rescue(root: int, name: str, folder: int) -> None:
    """Move a blob from the trash to its folder, with a new time. Raises OSError."""
    with suppress(FileNotFoundError), _opened(root, ".trash") as trash:
        for purge in os.listdir(trash):
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                _opened(trash, purge) as moved,
                _opened(moved, "items") as source,
            ):
                os.utime(name, dir_fd=source, follow_symlinks=False)
                renamed(source, name, folder, name)


@contextmanager
def _opened(folder: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def renamed(source: int, name: str, folder: int, target: str) -> None:
    """Rename a file to its place in a folder that a purge may be clearing. Raises OSError."""
    fcntl.flock(folder, fcntl.LOCK_SH)
    try:
        os.rename(name, target, src_dir_fd=source, dst_dir_fd=folder)
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def locked(descriptor: int, how: int, parent: int, path: Path) -> bool:
    """Lock what was opened at a path, and say whether it still lies there; else it is closed.

    Raises BackupPathBusy instead of waiting, if `how` says so, or OSError; closed then, too.
    """
    try:
        lock(descriptor, how, root=path.parent)
        if is_in_place(descriptor, parent, path.name):
            return True
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return False


def is_in_place(descriptor: int, parent: int, name: str) -> bool:
    """Say whether an open folder still bears its name: a purge may have moved it away."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


class Pulse:
    """The pulse of one living writer, which holds its lock: a dead one's is nobody's."""

    def __init__(self, root: int, role: str) -> None:
        """Make the file below the root of a tree, its role in its name. Raises OSError."""
        with suppress(FileExistsError):
            os.mkdir(_PULSES, FOLDER_MODE, dir_fd=root)
        self._folder = os.open(_PULSES, _FOLDER, dir_fd=root)
        self._name = f"{role}-{uuid.uuid4().hex}"
        self._file = -1
        try:
            while self._file < 0:
                self._file = _held(self._folder, self._name)
        except BaseException:
            os.close(self._folder)
            raise
        self.began_ns = os.fstat(self._file).st_ctime_ns
        """When the writer began, by the clock of the file system."""

    def beat(self) -> None:
        """Note that everything this writer relied on until now is in the tree."""
        with suppress(OSError):
            # Where it fails, a purge spares more than it has to.
            os.utime(self._file)

    def end(self) -> None:
        """Take the file away: the writer is done."""
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder)
        os.close(self._file)
        os.close(self._folder)


def oldest_pulse(root: int, *, besides: Pulse | None = None) -> int | None:
    """Return the time in ns of the oldest pulse of all living writers; None without any.

    `besides` is the asker's own: whoever has one takes those of dead writers away. Raises OSError.
    """
    return min(_pulses(root, besides._name if besides else ""), default=None)


def count_pulses(root: int, role: str = "") -> int:
    """Return how many writers live and have a pulse, all of them or those of a role.

    Raises OSError.
    """
    return len(_pulses(root, role=role))


def _pulses(root: int, own: str = "", role: str = "") -> list[int]:
    """Return the times of living writers' pulses but one's own, who removes those of dead ones."""
    try:
        folder = os.open(_PULSES, _FOLDER, dir_fd=root)
    except FileNotFoundError:
        return []
    try:
        begin = f"{role}-" if role else ""
        names = [name for name in os.listdir(folder) if name != own and name.startswith(begin)]
        found = [_time_of(folder, name, removes=bool(own)) for name in names]
    finally:
        os.close(folder)
    return [each for each in found if each is not None]


def _held(folder: int, name: str) -> int:
    """Make a pulse and lock it; -1 if a purge took it for a dead one's in between."""
    file = os.open(name, _NEW, FILE_MODE, dir_fd=folder)
    try:
        set_mode(file, FILE_MODE)
        fcntl.flock(file, fcntl.LOCK_EX)
        is_there = os.fstat(file).st_nlink > 0
    except BaseException:
        os.close(file)
        raise
    if is_there:
        return file
    os.close(file)
    return -1


def _time_of(folder: int, name: str, *, removes: bool) -> int | None:
    try:
        file = os.open(name, _LOOK, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        # Shared, or two who ask at once would take each other for the writer.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.fstat(file).st_mtime_ns
    else:
        if removes:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
        return None
    finally:
        os.close(file)
