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
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from backupng.engine.backuppath import folders, sharing
from backupng.engine.backuppath.casing import require_case_sensitive
from backupng.engine.backuppath.disk import (
    FILE_MODE,
    Kind,
    Room,
    StagedFile,
    append_whole,
    can_sync_whole,
    contents,
    is_masked,
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
from backupng.engine.backuppath.folders import Folders
from backupng.engine.backuppath.layout import (
    ACCOUNTS,
    LOCK,
    STAGING,
    Place,
    folder_of,
    lock_folder,
    staged_file,
)
from backupng.engine.errors import BackupPathUnwritable, ReadError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = _WRITE | os.O_EXCL | os.O_CREAT
_LOCK = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT
_ONE_BY_ONE = 64
"""Up to so many files and folders are synced singly, more of them by one `syncfs`."""


class Tree:
    """A Backup Path, held by a descriptor of its root."""

    def __init__(self, root: Path) -> None:
        """Open the folder. Raises BadRequest (path_missing, path_not_readable)."""
        self.root = root
        self._root_fd = opened_root(root)
        self._masked = is_masked()
        self._folders = Folders(self._root_fd, masked=self._masked)
        self._dirty_files: set[Place] = set()
        self._appended: dict[Place, tuple[int, int]] = {}
        self._staged = map(f"{uuid.uuid4().hex}-{{}}".format, count())
        self.is_unsettled = False
        """Lines were cut back that the disk may still have."""
        self._whole_sync = can_sync_whole(self._root_fd)
        self.stamped = (0, 0)
        """The times in ns that the account's folder locked last had, and was given."""

    def close(self) -> None:
        """Close every descriptor; once more is harmless."""
        if self._root_fd < 0:
            return
        self._folders.close()
        os.close(self._root_fd)
        self._root_fd = -1

    def require_writable(self) -> None:
        """Raise BadRequest (path_not_writable, path_case_insensitive) where nobody should write."""
        require_writable(self._root_fd, root=self.root)
        require_case_sensitive(self._root_fd, root=self.root)

    def require_in_place(self) -> None:
        """Raise NotABackupPath if the folder at the root is not the one that was opened."""
        require_in_place(self._root_fd, root=self.root)

    # Reading

    def names(self, folder: Place) -> list[str]:
        """List a folder, sorted; a folder that is not there is empty. Raises ReadError."""
        with reading(self.root, folder), suppress(FileNotFoundError):
            return sorted(os.listdir(self._folders.in_place(folder)))
        return []

    def entries(self, folder: Place) -> list[tuple[str, Kind]]:
        """List a folder with what each name is, sorted; an absent one is empty. Raises ReadError.

        What is none of our files or folders is told of, never opened.
        """
        with reading(self.root, folder), suppress(FileNotFoundError):
            return listed(self._folders.in_place(folder))
        return []

    def open(self, path: Place) -> BinaryIO | None:
        """Open a regular file for reading; None if it is not there.

        Raises ReadError, with the path, for anything that is there and cannot be read.
        """
        with reading(self.root, path), suppress(FileNotFoundError):
            return opened(os.open(path.name, _READ, dir_fd=self._folders.in_place(folder_of(path))))
        return None

    def read(self, path: Place, *, limit: int) -> bytes | None:
        """Read a file as long as it is now; None if not there. Raises ReadError above `limit`."""
        with reading(self.root, path), suppress(FileNotFoundError):
            descriptor = os.open(path.name, _READ, dir_fd=self._folders.in_place(folder_of(path)))
            found = contents(descriptor, limit=limit)
            if found is None:
                raise ReadError(f"{self.root / path} is larger than {limit} bytes.")
            return found
        return None

    def mark(self, path: Place) -> tuple[int, ...]:
        """Return what differs once a file is written to or replaced. Raises ReadError."""
        with reading(self.root, path), suppress(FileNotFoundError):
            # Only ever compared: what is opened is looked for folder by folder.
            found = os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
            return mark_of(found)
        return ()

    def stamp(self, folder: Place) -> int:
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
        self, path: Place, data: bytes, *, cut_to: int | None, named: bool = False
    ) -> tuple[int, ...]:
        """Append `data` to the history at `path` in one write, first cutting it to `cut_to` bytes.

        Returns its `mark`. The caller holds the history's lock and has read it: only a torn tail
        may lie behind `cut_to`, which is None if there is no file. A short write is undone and
        raises BackupPathUnwritable. A group appends to each history once. `named`: it is there, and
        its name is durable already.
        """
        flags = _NEW if cut_to is None else _WRITE if named else _WRITE | os.O_CREAT
        with writing(self.root, path):
            descriptor = self._opened(
                path, flags | os.O_APPEND, self._folders.made(folder_of(path))
            )
            try:
                append_whole(descriptor, data, cut_to)
                mark = mark_of(os.fstat(descriptor))
            finally:
                os.close(descriptor)
        start = cut_to or 0
        self._appended[path] = (start, start + len(data))
        self.rely_on(path, named=named)
        return mark

    def rely_on(self, path: Place, *, named: bool = False) -> None:
        """Have the next `sync` cover a file that may be there only in memory, whoever wrote it."""
        self._dirty_files.add(path)
        if not named:
            self._folders.rely_on(folder_of(path))

    def rely_on_blob(self, path: Place) -> None:
        """Have the next `sync` cover a blob, if it is there, that somebody has just published.

        Raises ReadError.
        """
        if self.mark(path):
            self._folders.rely_on(folder_of(path))

    def stage(self, role: str) -> StagedFile:
        """Make a new file below `.staging/<role>/`; `publish` moves it to its place.

        It stays only if the block it is the context of ends well.
        """
        path = staged_file(role, next(self._staged))
        with writing(self.root, path):
            descriptor = self._opened(path, _NEW, self._folders.made(folder_of(path)))
        self._dirty_files.add(path)
        return StagedFile(path, descriptor, self.root, self.discard)

    def publish(self, staged: Place, path: Place) -> None:
        """Rename a staged file to its final name; it is synced before, if it is not yet."""
        with writing(self.root, path):
            if staged in self._dirty_files:
                self._sync_file(staged)
                self._dirty_files.remove(staged)
            source, target = (
                self._folders.at(folder_of(staged)),
                self._folders.made(folder_of(path)),
            )
            sharing.renamed(source, staged.name, target, path.name)
        self._folders.rely_on(folder_of(path))

    def move(self, path: Place, target: Place) -> None:
        """Rename a file or folder, of whatever kind, to where nothing is; durable with `sync`.

        Its time is kept. The caller sees to it that nobody writes there.
        """
        with writing(self.root, path):
            if self.mark(target):
                raise FileExistsError(errno.EEXIST, f"{target} is there already")
            source, into = self._folders.at(folder_of(path)), self._folders.made(target.parent)
            os.rename(path.name, target.name, src_dir_fd=source, dst_dir_fd=into)
        self._folders.changed |= {folder_of(path), target.parent}

    def replace(self, path: Place, data: bytes, *, role: str) -> None:
        """Replace a small file as a whole and durably: new file, sync, rename, sync."""
        with self.stage(role) as file:
            file.write(data)
            self.publish(file.path, path)
        self.sync()

    def touch(self, path: Place) -> bool:
        """Refresh the time of an existing, non-empty file; False if there is none (`sharing`)."""
        with writing(self.root, path):
            try:
                # Mostly there is none; what seems to be there is looked for folder by folder.
                os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
                found = sharing.refreshed(self._folders.at(folder_of(path)), path.name)
            except FileNotFoundError:
                return False
        # Its writer may have been killed between the rename and the sync of the folder.
        self._folders.rely_on(folder_of(path))
        return found

    def rescue(self, path: Place) -> None:
        """Take a blob out of the trash again, if it lies there."""
        with writing(self.root, path):
            sharing.rescue(self._root_fd, path.name, self._folders.made(folder_of(path)))
        self._folders.rely_on(folder_of(path))

    def discard(self, staged: Place) -> None:
        """Delete a staged file that is not wanted after all, if it is still there."""
        self._dirty_files.discard(staged)
        with writing(self.root, staged), suppress(FileNotFoundError):
            os.unlink(staged.name, dir_fd=self._folders.at(folder_of(staged)))

    def sync(self) -> None:
        """Make everything written since the last call durable, files before the folders."""
        with writing(self.root):
            if (
                self._whole_sync
                and len(self._dirty_files) + len(self._folders.changed) > _ONE_BY_ONE
            ):
                sync_whole(self._root_fd)
            else:
                for path in self._dirty_files:
                    self._sync_file(path)
                for folder in self._folders.changed:
                    os.fsync(self._folders.at(folder))
        self._dirty_files.clear()
        self._folders.changed.clear()
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
    def locked(self, path: Place, how: int = fcntl.LOCK_EX) -> Iterator[int]:
        """Hold the lock of a folder, or of `.lock`; waits for its holder; yields its descriptor.

        An account's folder that is locked to write gets a new stamp (`telling`).
        """
        descriptor = self._lock(path, how)
        try:
            with writing(self.root, path):
                self._folders.new.clear()
                if how == fcntl.LOCK_EX and folder_of(path) == ACCOUNTS:
                    self.stamped = new_stamp(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _lock(self, path: Place, how: int) -> int:
        with writing(self.root, path):
            while True:
                # One of its own: flock belongs to the open description, and ours are shared.
                if path == LOCK:
                    descriptor = self._opened(path, _LOCK, self._root_fd)
                else:
                    descriptor = os.open(".", folders.OPEN, dir_fd=self._folders.made(path))
                above = self._folders.at(folder_of(path))
                if sharing.locked(descriptor, how, above, self.root / path):
                    return descriptor
                self._folders.forget(path)

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
                pulse = sharing.Pulse(self._root_fd, role)
            try:
                yield pulse
            finally:
                pulse.end()
                self._dirty_files -= {path for path in self._dirty_files if path.parent == folder}
                with suppress(OSError):
                    sweep(descriptor)

    def count_pulses(self, role: str = "") -> int:
        """Return how many writers live, of all roles or of one; who has just begun may be none."""
        with writing(self.root, STAGING):
            return sharing.count_pulses(self._root_fd, role)

    # Folders and files

    def make_folder(self, folder: Place) -> bool:
        """Have a folder there; say whether it was made under the lock that was taken last.

        What lies in it then is this writer's alone.
        """
        with writing(self.root, folder):
            self._folders.made(folder, seldom_there=True)
        return folder in self._folders.new

    def _opened(self, path: Place, flags: int, folder: int) -> int:
        """Open a file in a folder, which the caller closes; made in its mode. Raises OSError."""
        descriptor = os.open(path.name, flags, FILE_MODE, dir_fd=folder)
        if self._masked and flags & os.O_CREAT:
            set_mode(descriptor, FILE_MODE)
        return descriptor

    def _sync_file(self, path: Place) -> None:
        descriptor = self._opened(path, _READ, self._folders.at(folder_of(path)))
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _cut(self, path: Place, start: int, end: int) -> None:
        with writing(self.root, path):
            descriptor = self._opened(path, _WRITE, self._folders.at(folder_of(path)))
            try:
                if os.fstat(descriptor).st_size == end:
                    os.ftruncate(descriptor, start)
            finally:
                os.close(descriptor)
