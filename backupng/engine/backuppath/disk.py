"""The disk below the tree: descriptors, its refusals as our errors, what its `syncfs` is worth.

The tree is touched through this and `fsio`, which opens and names for readers and writers; by a
purge, which goes through it as a whole, in `ground` and `removal`; and in `sharing` for both.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
import platform
import pwd
import re
import shlex
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import BinaryIO

from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import (
    BackupPathBusy,
    BackupPathUnwritable,
    BadRequest,
    NotABackupPath,
    ReadError,
)

_REPORTING = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x2FC12FC1, 0x01021994})
"""Superblock magics of ext, XFS, btrfs, ZFS and tmpfs: there `syncfs` tells of its errors."""

Mark = tuple[int, ...]
"""What differs once a file is written to or replaced: device, inode, length in bytes, last change
in ns; empty for what is not there.
"""

FILE_MODE, FOLDER_MODE = 0o640, 0o750
_HERE = ""
LONGEST_NOTE = 4096
_libc = ctypes.CDLL(None, use_errno=True)


class _Refusals:
    """What both have in common: where it is; spelled only if there is something to say."""

    __slots__ = ("_path", "_root")

    def __init__(self, root: Path, path: str = _HERE) -> None:
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


def opened_root(root: Path) -> int:
    """Open the folder of a tree. Raises BadRequest (path_missing, path_not_readable)."""
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BadRequest(
            f"The folder {root} does not exist.",
            code="path_missing",
            hint="Make it, or set another one: setProperty ZxBackup_DestPath.",
        ) from error
    except OSError as error:
        message = f"{root} cannot be opened: {reason(error)}."
        raise BadRequest(message, code="path_not_readable") from error


def opened(descriptor: int) -> BinaryIO:
    """Return what a descriptor of a regular file reads. Raises OSError, the descriptor closed."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return io.BufferedReader(io.FileIO(descriptor))
    except OSError:
        os.close(descriptor)
        raise


def mark_of(found: os.stat_result) -> Mark:
    """Return what differs once a file is written to or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def contents(descriptor: int, *, limit: int) -> bytes | None:
    """Read a regular file as long as it is now, and close it; None if it is longer than `limit`.

    Raises OSError.
    """
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if found.st_size > limit:
            return None
        data = os.read(descriptor, found.st_size)
        while len(data) < found.st_size and (more := os.read(descriptor, found.st_size)):
            data += more
        return data[: found.st_size]
    finally:
        os.close(descriptor)


def lock(descriptor: int, how: int, *, root: Path) -> None:
    """Lock what is open. Raises BackupPathBusy instead of waiting, if `how` says so."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError as error:
        raise BackupPathBusy(
            f"{root} is being repaired or migrated.", hint="Wait for its end."
        ) from error


def require_writable(descriptor: int, *, root: Path) -> None:
    """Raise BadRequest (path_not_writable) if this user cannot write in a folder, or nobody can."""
    if os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
        return
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        raise BadRequest(
            f"{root} lies on a disk that is mounted read-only.",
            code="path_not_writable",
            hint="Mount it for writing.",
        )
    raise unpermitted(root, "written", os.fstat(descriptor), code="path_not_writable")


def unpermitted(root: Path, how: str, found: os.stat_result, *, code: str) -> BadRequest:
    """Return the refusal of a folder whose owner or mode keep this user out."""
    user, mode = user_name(), stat.S_IMODE(found.st_mode)
    return BadRequest(
        f"{root} cannot be {how} by the user {user}: it belongs to {user_name(found.st_uid)},"
        f" with the mode {mode:04o}.",
        code=code,
        hint=f"As root: chown -R {user}:{user} {shlex.quote(str(root))}",
    )


def user_name(number: int | None = None) -> str:
    """Return the name of a user, of this process's by default; its number where it has none."""
    number = os.geteuid() if number is None else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


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


@dataclass(frozen=True, slots=True)
class Room:
    """What may still be written to a file system: bytes, and the share of files in percent."""

    bytes: int
    files_percent: float


def room_at(descriptor: int) -> Room:
    """Return the room of the file system of a descriptor. Raises OSError."""
    free = os.fstatvfs(descriptor)
    # Some file systems have no fixed number of files: they tell 0.
    share = 100 * free.f_favail / free.f_files if free.f_files else 100.0
    return Room(free.f_bavail * free.f_frsize, share)


def allocate(descriptor: int, length: int) -> None:
    """Have the file system set aside so many bytes for a new file. Raises OSError."""
    os.posix_fallocate(descriptor, 0, length)


@cache
def boot_id() -> str:
    """Return what changes whenever this host starts anew; `unknown` where the kernel hides it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return "unknown"


def since_boot_ms() -> int:
    """Return how long ago this host started, in ms, the time it slept included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def noted(descriptor: int) -> bytes:
    """Return what a small file says. Raises OSError."""
    return os.pread(descriptor, LONGEST_NOTE, 0)


def note(descriptor: int, text: bytes, *, durably: bool) -> None:
    """Write what a small file says, in place; the same length each time. Raises OSError."""
    os.ftruncate(descriptor, len(text))
    os.pwrite(descriptor, text, 0)
    if durably:
        os.fdatasync(descriptor)


@dataclass(slots=True)
class StagedFile:
    """A new file below `.staging` while it is written, and its length in bytes so far.

    A context manager that closes it, and that has it discarded if the block ends badly.
    """

    path: Place
    descriptor: int
    root: Path
    discard: Callable[[Place], None]
    length: int = 0

    def __enter__(self) -> StagedFile:
        return self

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        try:
            with writing(self.root, self.path):
                os.close(self.descriptor)
        except BaseException:
            self.discard(self.path)
            raise
        if kind is not None:
            self.discard(self.path)

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        with writing(self.root, self.path):
            while data:
                written = os.write(self.descriptor, data)
                self.length += written
                data = data[written:]


class Kind(StrEnum):
    """What a name in a folder stands for."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"
    """A link, a pipe, a socket, a device: no tree holds any."""


def listed(descriptor: int) -> list[tuple[str, Kind]]:
    """List an open folder with what each name stands for, sorted. Raises OSError."""
    with os.scandir(descriptor) as found:
        return sorted((each.name, _kind_of(each)) for each in found)


def _kind_of(entry: os.DirEntry[str]) -> Kind:
    if entry.is_file(follow_symlinks=False):
        return Kind.FILE
    return Kind.FOLDER if entry.is_dir(follow_symlinks=False) else Kind.OTHER


def append_whole(descriptor: int, data: bytes, cut_to: int | None) -> None:
    """Append all of `data` behind `cut_to` bytes, cutting off what lies there. Raises OSError.

    None: the file has just been made.
    """
    if cut_to is not None:
        length = os.fstat(descriptor).st_size
        if length < cut_to:
            raise OSError(errno.EIO, "it is shorter than it was a moment ago")
        if length > cut_to:
            os.ftruncate(descriptor, cut_to)
    if os.write(descriptor, data) != len(data):
        os.ftruncate(descriptor, cut_to or 0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_masked() -> bool:
    """Say whether this process's umask takes from the modes of what it makes; True if in doubt."""
    with suppress(OSError, LookupError, ValueError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        umask = int(status.split("\nUmask:")[1].split()[0], 8)
        return bool(umask & (FILE_MODE | FOLDER_MODE))
    return True


def set_mode(descriptor: int, mode: int) -> None:
    """Give what was just made its mode, whatever the umask; some file systems know no modes."""
    with suppress(OSError):
        if os.fstat(descriptor).st_mode & 0o777 != mode:
            os.fchmod(descriptor, mode)


def new_stamp(folder: int) -> tuple[int, int]:
    """Give a locked folder a later time than it had; return both, in ns; equal where it cannot.

    Clocks and file systems are coarse, and clocks run backwards: then it is a step later.
    """
    before = after = os.fstat(folder).st_mtime_ns
    with suppress(OSError):
        os.utime(folder)
        for step in (0, 1_000, 1_000_000_000):
            if step:
                os.utime(folder, ns=(before + step, before + step))
            after = os.fstat(folder).st_mtime_ns
            if after > before:
                break
    return before, max(before, after)


def stamp_of(folder: int) -> int:
    """Return the time of a folder, in ns. Raises OSError."""
    return os.fstat(folder).st_mtime_ns


def date_as_folder(folder: int, name: str, *, is_equal: bool) -> None:
    """Give a file of a folder the folder's time, or an earlier one; some file systems refuse."""
    stamp = stamp_of(folder) - (0 if is_equal else 1_000_000_000)
    with suppress(OSError):
        os.utime(name, ns=(stamp, stamp), dir_fd=folder, follow_symlinks=False)


def sweep(folder: int) -> None:
    """Delete what lies in a folder if nobody else holds its lock."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    for name in os.listdir(folder):
        os.unlink(name, dir_fd=folder)
