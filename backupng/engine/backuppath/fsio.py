"""The only module that touches the tree: opens, writes, renames, syncs, locks.

Every path is relative to a descriptor of the root and every component is opened without following
links, so neither a link planted in the tree nor a folder swapped under us leads outside. Short
writes, full disks and failed syncs become `BackupPathUnwritable`: they concern the whole tree,
never one item (`reliability.md` §3).
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from backupng.engine.backuppath.disk import (
    can_sync_whole,
    lock,
    opened,
    reading,
    reason,
    require_in_place,
    sync_whole,
    writing,
)
from backupng.engine.backuppath.layout import LOCK, STAGING, lock_folder
from backupng.engine.errors import BackupPathBusy, BackupPathUnwritable, BadRequest, ReadError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_APPEND = _WRITE | os.O_APPEND | os.O_CREAT
_STAGE = _WRITE | os.O_EXCL | os.O_CREAT
_LOCK = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT
_FILE_MODE, _FOLDER_MODE = 0o640, 0o750
FOLDERS_KEPT_OPEN = max(256, min(2048, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
_ONE_BY_ONE = 64
"""Up to so many files and folders are synced singly, more of them by one `syncfs`."""


@dataclass(slots=True)
class StagedFile:
    """A new file below `.staging` while it is written, and its length in bytes so far."""

    path: PurePosixPath
    descriptor: int
    root: Path
    length: int = 0

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        with writing(self.root, self.path):
            while data:
                written = os.write(self.descriptor, data)
                self.length += written
                data = data[written:]


class Tree:
    """A Backup Path, held by a descriptor of its root."""

    def __init__(self, root: Path) -> None:
        """Open the folder. Raises BadRequest (path_missing, path_not_readable)."""
        self.root = root
        try:
            self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise BadRequest(
                f"The folder {root} does not exist.",
                code="path_missing",
                hint="Make it, or set another one: setProperty ZxBackup_DestPath.",
            ) from error
        except OSError as error:
            message = f"{root} cannot be opened: {reason(error)}."
            raise BadRequest(message, code="path_not_readable") from error
        self._folders: dict[PurePosixPath, int] = {}
        self._dirty_files: set[PurePosixPath] = set()
        self._dirty_folders: set[PurePosixPath] = set()
        self._appended: dict[PurePosixPath, tuple[int, int]] = {}
        self._whole_sync = can_sync_whole(self._root_fd)

    def close(self) -> None:
        """Close every descriptor; once more is harmless."""
        if self._root_fd < 0:
            return
        for descriptor in (*self._folders.values(), self._root_fd):
            os.close(descriptor)
        self._folders.clear()
        self._root_fd = -1

    def require_writable(self) -> None:
        """Raise BadRequest (path_not_writable) if this user cannot write here, or nobody can."""
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._root_fd, effective_ids=True):
            raise BadRequest(
                f"{self.root} cannot be written by the user with the number {os.geteuid()}.",
                code="path_not_writable",
                hint="Make that user its owner, or mount its disk for writing.",
            )

    def require_in_place(self) -> None:
        """Raise NotABackupPath if the folder at the root is not the one that was opened."""
        require_in_place(self._root_fd, root=self.root)

    # Reading

    def names(self, folder: PurePosixPath) -> list[str]:
        """List a folder, sorted; a folder that is not there is empty. Raises ReadError."""
        with reading(self.root, folder):
            try:
                return sorted(os.listdir(self._folder(folder)))
            except FileNotFoundError:
                return []

    def open(self, path: PurePosixPath) -> BinaryIO | None:
        """Open a regular file for reading; None if it is not there.

        Raises ReadError, with the path, for anything that is there and cannot be read.
        """
        with reading(self.root, path):
            try:
                descriptor = os.open(path.name, _READ, dir_fd=self._folder(path.parent))
            except FileNotFoundError:
                return None
            return opened(descriptor)

    def read(self, path: PurePosixPath, *, limit: int) -> bytes | None:
        """Read a file as long as it is now; None if not there. Raises ReadError above `limit`."""
        file = self.open(path)
        if file is None:
            return None
        with file, reading(self.root, path):
            length = os.fstat(file.fileno()).st_size
            if length > limit:
                raise ReadError(f"{self.root / path} is larger than {limit} bytes.")
            return file.read(length)

    def mark(self, path: PurePosixPath) -> tuple[int, ...]:
        """Return what differs once a file is written to or replaced. Raises ReadError."""
        with reading(self.root, path), suppress(FileNotFoundError):
            # Only ever compared: what is opened is looked for folder by folder.
            found = os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
            return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
        return ()

    def free_bytes(self) -> int:
        """Return how many bytes may still be written to the file system below the tree."""
        with writing(self.root):
            free = os.fstatvfs(self._root_fd)
        return free.f_bavail * free.f_frsize

    # Writing

    def append(self, path: PurePosixPath, data: bytes, *, cut_to: int, named: bool = False) -> None:
        """Append `data` to the history at `path` in one write, first cutting it to `cut_to` bytes.

        The caller holds the history's lock and has read it: only a torn tail may lie behind
        `cut_to`. A short write is undone and raises BackupPathUnwritable. A group appends to each
        history once. `named`: it is there, and its name is durable already.
        """
        with writing(self.root, path):
            self._made_folder(path.parent)
            with self._opened(path, _WRITE | os.O_APPEND if named else _APPEND) as descriptor:
                _append_whole(descriptor, data, cut_to)
        self._appended[path] = (cut_to, cut_to + len(data))
        self.rely_on(path, named=named)

    def rely_on(self, path: PurePosixPath, *, named: bool = False) -> None:
        """Have the next `sync` cover a file that may be there only in memory, whoever wrote it."""
        self._dirty_files.add(path)
        if not named:
            self._dirty_folders.add(path.parent)

    @contextmanager
    def stage(self, role: str) -> Iterator[StagedFile]:
        """Write a new file below `.staging/<role>/`; `publish` moves it to its place.

        It stays only if the block ends well.
        """
        path = STAGING / role / uuid.uuid4().hex
        with writing(self.root, path):
            folder = self._made_folder(path.parent)
            descriptor = os.open(path.name, _STAGE, _FILE_MODE, dir_fd=folder)
            _set_mode(descriptor, _FILE_MODE)
        self._dirty_files.add(path)
        try:
            try:
                yield StagedFile(path, descriptor, self.root)
            finally:
                with writing(self.root, path):
                    os.close(descriptor)
        except BaseException:
            self.discard(path)
            raise

    def publish(self, staged: PurePosixPath, path: PurePosixPath) -> None:
        """Rename a staged file to its final name; it is synced before, if it is not yet."""
        with writing(self.root, path):
            if staged in self._dirty_files:
                self._sync_file(staged)
                self._dirty_files.remove(staged)
            source, target = self._folder(staged.parent), self._made_folder(path.parent)
            os.rename(staged.name, path.name, src_dir_fd=source, dst_dir_fd=target)
        self._dirty_folders.add(path.parent)

    def replace(self, path: PurePosixPath, data: bytes, *, role: str) -> None:
        """Replace a small file as a whole and durably: new file, sync, rename, sync."""
        with self.stage(role) as file:
            file.write(data)
            self.publish(file.path, path)
        self.sync()

    def touch(self, path: PurePosixPath) -> bool:
        """Refresh the time of an existing, non-empty file; False if there is none.

        A purge spares files younger than its start, so the touch comes before the second look.
        """
        with writing(self.root, path):
            try:
                folder = self._folder(path.parent)
                os.utime(path.name, dir_fd=folder, follow_symlinks=False)
                found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return False
        # Its writer may have been killed between the rename and the sync of the folder.
        self._dirty_folders.add(path.parent)
        return stat.S_ISREG(found.st_mode) and found.st_size > 0

    def discard(self, staged: PurePosixPath) -> None:
        """Delete a staged file that is not wanted after all, if it is still there."""
        self._dirty_files.discard(staged)
        with writing(self.root, staged), suppress(FileNotFoundError):
            os.unlink(staged.name, dir_fd=self._folder(staged.parent))

    def sync(self) -> None:
        """Make everything written since the last call durable, files before the folders."""
        with writing(self.root):
            if self._whole_sync and len(self._dirty_files) + len(self._dirty_folders) > _ONE_BY_ONE:
                sync_whole(self._root_fd)
            else:
                for path in self._dirty_files:
                    self._sync_file(path)
                for folder in self._dirty_folders:
                    os.fsync(self._folder(folder))
        self._dirty_files.clear()
        self._dirty_folders.clear()
        self._appended.clear()

    def undo(self) -> None:
        """Cut back the lines appended since the last `sync`, except where others wrote behind them.

        After a failed sync the kernel shows lines that the disk does not have: a later writer would
        believe them.
        """
        for path, (start, end) in self._appended.items():
            with suppress(BackupPathUnwritable), self.locked(lock_folder(path)):
                self._cut(path, start, end)
        self._dirty_files -= self._appended.keys()
        self._appended.clear()

    # Locks

    @contextmanager
    def locked(self, path: PurePosixPath, how: int = fcntl.LOCK_EX) -> Iterator[int]:
        """Hold the lock of a folder, or of `.lock`; waits for its holder; yields its descriptor."""
        with writing(self.root, path):
            # A descriptor of its own: flock belongs to the open description, and ours are shared.
            if path == LOCK:
                descriptor = os.open(path.name, _LOCK, _FILE_MODE, dir_fd=self._root_fd)
                _set_mode(descriptor, _FILE_MODE)
            else:
                descriptor = os.open(".", _FOLDER, dir_fd=self._made_folder(path))
        try:
            with writing(self.root, path):
                lock(descriptor, how, root=self.root)
            yield descriptor
        finally:
            os.close(descriptor)

    def locked_for_writing(self) -> AbstractContextManager[int]:
        """Hold the tree's `.lock` shared, as every writer does for its life.

        Raises BackupPathBusy when recovery, migration or a repair holds it exclusively.
        """
        return self.locked(LOCK, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def locked_alone(self) -> AbstractContextManager[int]:
        """Hold the tree's `.lock` exclusively; waits for its holders."""
        return self.locked(LOCK)

    @contextmanager
    def staging(self, role: str) -> Iterator[None]:
        """Hold the staging folder of a role shared, as each of its writers does for its life.

        What is left in it is deleted before and after, unless another writer of the role lives.
        """
        folder = STAGING / role
        with self.locked(folder, fcntl.LOCK_SH) as descriptor:
            with writing(self.root, folder):
                _sweep(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            try:
                yield
            finally:
                self._dirty_files -= {path for path in self._dirty_files if path.parent == folder}
                with suppress(OSError):
                    _sweep(descriptor)

    def is_staging(self, role: str) -> bool:
        """Say whether a writer of the role lives: then its staging folder is locked."""
        with suppress(BackupPathBusy), self.locked(STAGING / role, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
        return True

    # Folders

    def _folder(self, folder: PurePosixPath) -> int:
        """Return a descriptor of the folder, walking down without links. Raises OSError."""
        descriptor = self._folders.pop(folder, -1)
        if descriptor >= 0:
            # Moved to the end: the ones used last are the last to be closed.
            self._folders[folder] = descriptor
            return descriptor
        if not folder.parts:
            return self._root_fd
        if folder.name in ("", ".."):
            raise OSError(errno.EINVAL, "it leads out of the tree")
        descriptor = os.open(folder.name, _FOLDER, dir_fd=self._folder(folder.parent))
        if len(self._folders) >= FOLDERS_KEPT_OPEN:
            oldest = next(iter(self._folders))
            os.close(self._folders.pop(oldest))
        self._folders[folder] = descriptor
        return descriptor

    def _made_folder(self, folder: PurePosixPath) -> int:
        """Return a descriptor of the folder, made if it is not there. Raises OSError."""
        with suppress(FileNotFoundError):
            return self._folder(folder)
        parent = self._made_folder(folder.parent)
        self._dirty_folders.add(folder.parent)
        try:
            os.mkdir(folder.name, _FOLDER_MODE, dir_fd=parent)
        except FileExistsError:
            return self._folder(folder)
        descriptor = self._folder(folder)
        _set_mode(descriptor, _FOLDER_MODE)
        return descriptor

    @contextmanager
    def _opened(self, path: PurePosixPath, flags: int) -> Iterator[int]:
        descriptor = os.open(path.name, flags, _FILE_MODE, dir_fd=self._folder(path.parent))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _sync_file(self, path: PurePosixPath) -> None:
        with self._opened(path, _READ) as descriptor:
            os.fdatasync(descriptor)

    def _cut(self, path: PurePosixPath, start: int, end: int) -> None:
        with writing(self.root, path), self._opened(path, _WRITE) as descriptor:
            if os.fstat(descriptor).st_size == end:
                os.ftruncate(descriptor, start)


def _append_whole(descriptor: int, data: bytes, cut_to: int) -> None:
    length = os.fstat(descriptor).st_size
    if length < cut_to:
        raise OSError(errno.EIO, "it is shorter than it was a moment ago")
    if length > cut_to:
        os.ftruncate(descriptor, cut_to)
    if cut_to == 0:
        _set_mode(descriptor, _FILE_MODE)
    if os.write(descriptor, data) != len(data):
        os.ftruncate(descriptor, cut_to)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _set_mode(descriptor: int, mode: int) -> None:
    """Give what was just made its mode, whatever the umask; some file systems know no modes."""
    with suppress(OSError):
        if os.fstat(descriptor).st_mode & 0o777 != mode:
            os.fchmod(descriptor, mode)


def _sweep(folder: int) -> None:
    """Delete what lies in a folder if nobody else holds its lock."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    for name in os.listdir(folder):
        os.unlink(name, dir_fd=folder)
