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
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from backupng.engine.backuppath import sharing
from backupng.engine.backuppath.disk import (
    FILE_MODE,
    FOLDER_MODE,
    Kind,
    Room,
    StagedFile,
    append_whole,
    can_sync_whole,
    contents,
    listed,
    mark_of,
    new_stamp,
    opened,
    opened_root,
    reading,
    require_in_place,
    require_writable,
    room_at,
    set_mode,
    sweep,
    sync_whole,
    writing,
)
from backupng.engine.backuppath.layout import ACCOUNTS, LOCK, STAGING, folder_of, lock_folder
from backupng.engine.errors import BackupPathBusy, BackupPathUnwritable, ReadError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_APPEND = _WRITE | os.O_APPEND | os.O_CREAT
_STAGE = _WRITE | os.O_EXCL | os.O_CREAT
_LOCK = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT
FOLDERS_KEPT_OPEN = max(256, min(2048, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
_ONE_BY_ONE = 64
"""Up to so many files and folders are synced singly, more of them by one `syncfs`."""


class Tree:
    """A Backup Path, held by a descriptor of its root."""

    def __init__(self, root: Path) -> None:
        """Open the folder. Raises BadRequest (path_missing, path_not_readable)."""
        self.root = root
        self._root_fd = opened_root(root)
        self._folders: dict[PurePosixPath, int] = {}
        self._dirty_files: set[PurePosixPath] = set()
        self._dirty_folders: set[PurePosixPath] = set()
        self._appended: dict[PurePosixPath, tuple[int, int]] = {}
        self.is_unsettled = False
        """Lines were cut back that the disk may still have."""
        self._whole_sync = can_sync_whole(self._root_fd)
        self.stamped = (0, 0)
        """The times in ns that the account's folder locked last had, and was given."""

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
        require_writable(self._root_fd, root=self.root)

    def require_in_place(self) -> None:
        """Raise NotABackupPath if the folder at the root is not the one that was opened."""
        require_in_place(self._root_fd, root=self.root)

    # Reading

    def names(self, folder: PurePosixPath) -> list[str]:
        """List a folder, sorted; a folder that is not there is empty. Raises ReadError."""
        with reading(self.root, folder), suppress(FileNotFoundError):
            return sorted(os.listdir(self._folder(folder)))
        return []

    def entries(self, folder: PurePosixPath) -> list[tuple[str, Kind]]:
        """List a folder with what each name is, sorted; an absent one is empty. Raises ReadError.

        What is none of our files or folders is told of, never opened.
        """
        with reading(self.root, folder), suppress(FileNotFoundError):
            return listed(self._folder(folder))
        return []

    def open(self, path: PurePosixPath) -> BinaryIO | None:
        """Open a regular file for reading; None if it is not there.

        Raises ReadError, with the path, for anything that is there and cannot be read.
        """
        with reading(self.root, path), suppress(FileNotFoundError):
            return opened(os.open(path.name, _READ, dir_fd=self._folder(folder_of(path))))
        return None

    def read(self, path: PurePosixPath, *, limit: int) -> bytes | None:
        """Read a file as long as it is now; None if not there. Raises ReadError above `limit`."""
        with reading(self.root, path), suppress(FileNotFoundError):
            descriptor = os.open(path.name, _READ, dir_fd=self._folder(folder_of(path)))
            found = contents(descriptor, limit=limit)
            if found is None:
                raise ReadError(f"{self.root / path} is larger than {limit} bytes.")
            return found
        return None

    def mark(self, path: PurePosixPath) -> tuple[int, ...]:
        """Return what differs once a file is written to or replaced. Raises ReadError."""
        with reading(self.root, path), suppress(FileNotFoundError):
            # Only ever compared: what is opened is looked for folder by folder.
            found = os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
            return mark_of(found)
        return ()

    def stamp(self, folder: PurePosixPath) -> int:
        """Return a folder's time in ns, 0 if it is not there. Raises ReadError."""
        with reading(self.root, folder), suppress(FileNotFoundError):
            return os.stat(folder, dir_fd=self._root_fd, follow_symlinks=False).st_mtime_ns
        return 0

    def room(self) -> Room:
        """Return what may still be written to the file system below the tree."""
        with writing(self.root):
            return room_at(self._root_fd)

    # Writing

    def append(
        self, path: PurePosixPath, data: bytes, *, cut_to: int, named: bool = False
    ) -> tuple[int, ...]:
        """Append `data` to the history at `path` in one write, first cutting it to `cut_to` bytes.

        Returns its `mark`. The caller holds the history's lock and has read it: only a torn tail
        may lie behind `cut_to`. A short write is undone and raises BackupPathUnwritable. A group
        appends to each history once. `named`: it is there, and its name is durable already.
        """
        with writing(self.root, path):
            self._made_folder(folder_of(path))
            with self._opened(path, _WRITE | os.O_APPEND if named else _APPEND) as descriptor:
                append_whole(descriptor, data, cut_to)
                mark = mark_of(os.fstat(descriptor))
        self._appended[path] = (cut_to, cut_to + len(data))
        self.rely_on(path, named=named)
        return mark

    def rely_on(self, path: PurePosixPath, *, named: bool = False) -> None:
        """Have the next `sync` cover a file that may be there only in memory, whoever wrote it."""
        self._dirty_files.add(path)
        if not named:
            self._dirty_folders.add(folder_of(path))

    @contextmanager
    def stage(self, role: str) -> Iterator[StagedFile]:
        """Write a new file below `.staging/<role>/`; `publish` moves it to its place.

        It stays only if the block ends well.
        """
        path = STAGING / role / uuid.uuid4().hex
        with writing(self.root, path):
            folder = self._made_folder(folder_of(path))
            descriptor = os.open(path.name, _STAGE, FILE_MODE, dir_fd=folder)
            set_mode(descriptor, FILE_MODE)
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
            source, target = self._folder(folder_of(staged)), self._made_folder(folder_of(path))
            sharing.renamed(source, staged.name, target, path.name)
        self._dirty_folders.add(folder_of(path))

    def move(self, path: PurePosixPath, target: PurePosixPath) -> None:
        """Rename a file or folder, of whatever kind, to where nothing is; durable with `sync`.

        Its time is kept. The caller sees to it that nobody writes there.
        """
        with writing(self.root, path):
            if self.mark(target):
                raise FileExistsError(errno.EEXIST, f"{target} is there already")
            source, into = self._folder(folder_of(path)), self._made_folder(target.parent)
            os.rename(path.name, target.name, src_dir_fd=source, dst_dir_fd=into)
        self._dirty_folders |= {folder_of(path), target.parent}

    def replace(self, path: PurePosixPath, data: bytes, *, role: str) -> None:
        """Replace a small file as a whole and durably: new file, sync, rename, sync."""
        with self.stage(role) as file:
            file.write(data)
            self.publish(file.path, path)
        self.sync()

    def touch(self, path: PurePosixPath) -> bool:
        """Refresh the time of an existing, non-empty file; False if there is none (`sharing`)."""
        with writing(self.root, path):
            try:
                found = sharing.refreshed(self._folder(folder_of(path)), path.name)
            except FileNotFoundError:
                return False
        # Its writer may have been killed between the rename and the sync of the folder.
        self._dirty_folders.add(folder_of(path))
        return found

    def rescue(self, path: PurePosixPath) -> None:
        """Take a blob out of the trash again, if it lies there."""
        with writing(self.root, path):
            sharing.rescue(self._root_fd, path.name, self._made_folder(folder_of(path)))
        self._dirty_folders.add(folder_of(path))

    def discard(self, staged: PurePosixPath) -> None:
        """Delete a staged file that is not wanted after all, if it is still there."""
        self._dirty_files.discard(staged)
        with writing(self.root, staged), suppress(FileNotFoundError):
            os.unlink(staged.name, dir_fd=self._folder(folder_of(staged)))

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
        self.is_unsettled |= bool(self._appended)
        for path, (start, end) in self._appended.items():
            with suppress(BackupPathUnwritable), self.locked(lock_folder(path)):
                self._cut(path, start, end)
        self._dirty_files -= self._appended.keys()
        self._appended.clear()

    # Locks

    @contextmanager
    def locked(self, path: PurePosixPath, how: int = fcntl.LOCK_EX) -> Iterator[int]:
        """Hold the lock of a folder, or of `.lock`; waits for its holder; yields its descriptor.

        An account's folder that is locked to write gets a new stamp (`telling`).
        """
        descriptor = self._lock(path, how)
        try:
            with writing(self.root, path):
                if how == fcntl.LOCK_EX and folder_of(path) == ACCOUNTS:
                    self.stamped = new_stamp(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _lock(self, path: PurePosixPath, how: int) -> int:
        with writing(self.root, path):
            while True:
                # One of its own: flock belongs to the open description, and ours are shared.
                if path == LOCK:
                    descriptor = os.open(path.name, _LOCK, FILE_MODE, dir_fd=self._root_fd)
                    set_mode(descriptor, FILE_MODE)
                else:
                    descriptor = os.open(".", _FOLDER, dir_fd=self._made_folder(path))
                above = self._folder(folder_of(path))
                if sharing.locked(descriptor, how, above, self.root / path):
                    return descriptor
                self._forget(path)

    def locked_for_writing(self) -> AbstractContextManager[int]:
        """Hold the tree's `.lock` shared, as every writer does for its life.

        Raises BackupPathBusy when recovery, migration or a repair holds it exclusively.
        """
        return self.locked(LOCK, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def locked_alone(self) -> AbstractContextManager[int]:
        """Hold the tree's `.lock` exclusively; waits for its holders."""
        return self.locked(LOCK)

    @contextmanager
    def staging(self, role: str) -> Iterator[sharing.Pulse]:
        """Hold the staging folder of a role shared, as each of its writers does for its life.

        Yields the writer's pulse, which it has to keep.
        What is left in it is deleted before and after, unless another writer of the role lives.
        """
        folder = STAGING / role
        with self.locked(folder, fcntl.LOCK_SH) as descriptor:
            with writing(self.root, folder):
                sweep(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                pulse = sharing.Pulse(self._root_fd)
            try:
                yield pulse
            finally:
                pulse.end()
                self._dirty_files -= {path for path in self._dirty_files if path.parent == folder}
                with suppress(OSError):
                    sweep(descriptor)

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
        descriptor = os.open(folder.name, _FOLDER, dir_fd=self._folder(folder_of(folder)))
        if len(self._folders) >= FOLDERS_KEPT_OPEN:
            oldest = next(iter(self._folders))
            os.close(self._folders.pop(oldest))
        self._folders[folder] = descriptor
        return descriptor

    def _forget(self, folder: PurePosixPath) -> None:
        """Close what is open of a folder that is not in its place any more."""
        for each in [each for each in self._folders if each.is_relative_to(folder)]:
            os.close(self._folders.pop(each))

    def _made_folder(self, folder: PurePosixPath) -> int:
        """Return a descriptor of the folder, made if it is not there. Raises OSError."""
        with suppress(FileNotFoundError):
            return self._folder(folder)
        parent = self._made_folder(folder_of(folder))
        self._dirty_folders.add(folder_of(folder))
        try:
            os.mkdir(folder.name, FOLDER_MODE, dir_fd=parent)
        except FileExistsError:
            return self._folder(folder)
        descriptor = self._folder(folder)
        set_mode(descriptor, FOLDER_MODE)
        return descriptor

    @contextmanager
    def _opened(self, path: PurePosixPath, flags: int) -> Iterator[int]:
        descriptor = os.open(path.name, flags, FILE_MODE, dir_fd=self._folder(folder_of(path)))
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
