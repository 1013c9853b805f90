"""Which files a redo log consists of, and in which order.

The current one, those rolled over into the archive, and those we hold by links of our own. Names in
the archive: `redo-<time>-seq<N>.log`, Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/redolog/RolloverManager.java`; only headers are believed.
Sequences start anew when a server lost its log; files follow each other by the time they were
created.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backupng.engine.redolog import header
from backupng.engine.redolog.events import Position
from backupng.engine.redolog.faults import ForeignRedoLog, NotARedoLog, RedoLogError, UnreadableLog
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.header import FileHeader
from backupng.engine.redolog.holding import Holder
from backupng.engine.redolog.reader import RedoLog

_COARSE_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileId:
    """What tells one file of a log from the others; `created` in ms, 0: unknown."""

    server_id: str
    sequence: int
    created: int
    inode: int

    @classmethod
    def of(cls, log: RedoLog) -> FileId:
        """Return that of an open file."""
        head = log.header
        return cls(
            server_id=head.server_id,
            sequence=head.sequence,
            created=head.created,
            inode=log.inode,
        )

    @classmethod
    def at(cls, position: Position) -> FileId:
        """Return that of the file a position lies in."""
        return cls(
            server_id=position.server_id,
            sequence=position.sequence,
            created=position.created,
            inode=position.inode,
        )

    @property
    def key(self) -> tuple[int, int]:
        """What the files of one log are ordered by."""
        return self.created, self.sequence

    def is_before(self, head: FileHeader) -> bool:
        """Say whether a file was begun later than this one."""
        if self.created:
            return self.key < (head.created, head.sequence)
        return self.sequence < head.sequence

    def is_same(self, other: FileId) -> bool:
        """Say whether both are the same file, or one is a copy of the other."""
        if self.created and other.created:
            return self.key == other.key
        return (self.sequence, self.inode) == (other.sequence, other.inode)


@dataclass(frozen=True, slots=True)
class _Closed:
    """A file that is not the current one."""

    path: Path
    file: FileId
    head: FileHeader


class Chain:
    """The files of one log, of one server. Raises ForeignRedoLog once it is that of another.

    Without `holds` it only looks.
    """

    def __init__(self, files: LogFiles, *, server_id: str | None, holds: bool = True) -> None:
        self._files = files
        self._holds = holds
        self._server_id = server_id
        self._holder = Holder(files.current)
        self._known: dict[tuple[Path, int], _Closed] = {}
        self._marks: tuple[tuple[int, int] | None, ...] = ()

    def hold(self) -> None:
        """Make sure that the current file stays when the server deletes it, where that works."""
        if self._holds:
            self._holder.hold()

    def current(self) -> RedoLog | None:
        """Open the file being written; None while there is none, or no whole header in it.

        Raises NotARedoLog, FutureRedoLog, UnreadableLog or ForeignRedoLog.
        """
        self.hold()
        inode = self.current_inode()
        if inode is None:
            return None
        try:
            log = RedoLog(self._holder.path_of(inode) or self._files.current)
        except NotARedoLog:
            if _is_being_made(self._files.current):
                return None
            raise
        try:
            self._check(log.header)
        except ForeignRedoLog:
            log.close()
            raise
        return log

    def _check(self, head: FileHeader) -> None:
        self._server_id = self._server_id or head.server_id
        if head.server_id != self._server_id:
            raise ForeignRedoLog(
                f"{self._files.current} is the redo log of the server {head.server_id}, and until"
                f" now that of {self._server_id} was read.",
                hint="Name the redo log of this server, or add the other server as one of its own.",
            )

    def current_inode(self) -> int | None:
        """Return which file is being written; None while there is none. Raises UnreadableLog."""
        try:
            return self._files.current.stat().st_ino
        except FileNotFoundError:
            return None
        except OSError as error:
            what = error.strerror or str(error)
            raise UnreadableLog(f"{self._files.current} cannot be read: {what}.") from error

    def is_replaced(self, log: RedoLog) -> bool:
        """Say whether another file is the current one now."""
        inode = self.current_inode()
        return inode is not None and inode != log.inode

    def find(self, file: FileId) -> RedoLog | None:
        """Open a file wherever it is now; a copy of it if it is gone itself."""
        closed = [each for each in self._closed() if each.file.is_same(file)]
        closed.sort(key=lambda each: each.file.inode != file.inode)
        current = self.current()
        if current is not None:
            is_it = FileId.of(current).is_same(file)
            if is_it and (not closed or current.inode == file.inode):
                return current
            current.close()
        return _open(closed[0]) if closed else None

    def following(self, file: FileId) -> RedoLog | None:
        """Open the first file there is after that one; None while there is none."""
        # First the current one: whatever was before it is in the archive by then.
        current = self.current()
        if current is None:
            return None
        between = [
            each
            for each in self._closed()
            if file.is_before(each.head)
            and (each.head.created, each.head.sequence) < FileId.of(current).key
            and each.file.inode != current.inode
        ]
        if not between:
            return current
        current.close()
        return _open(min(between, key=lambda each: each.file.key))

    def before(self, file: FileId, sequence: int) -> RedoLog | None:
        """Open the newest file of a sequence that was begun before that one."""
        found = [
            each
            for each in self._closed()
            if each.head.sequence == sequence and not file.is_before(each.head)
        ]
        return _open(max(found, key=lambda each: each.file.key)) if found else None

    def bytes_after(self, file: FileId) -> int:
        """Return how many bytes of records there are in the files after that one."""
        sizes = {
            each.file.inode: _size(each.path)
            for each in self._closed()
            if file.is_before(each.head)
        }
        try:
            found = self._files.current.stat()
        except OSError:
            pass
        else:
            sizes[found.st_ino] = found.st_size
        sizes.pop(file.inode, None)
        return sum(max(0, size - header.SIZE) for size in sizes.values())

    def release(self, file: FileId) -> None:
        """Let go of what we hold and was begun before that file."""
        self._holder.release(file.key)

    def trim(self, file: FileId) -> None:
        """Let go of what we hold and nobody can be expected to need, now that `file` is read."""
        self._holder.trim(file.key)

    def _closed(self) -> list[_Closed]:
        """Return all files but the current one; the folders are listed only if they changed."""
        marks = tuple(_mark(each) for each in (self._holder.folder, self._files.archive))
        if marks != self._marks or None in marks:
            self._marks = marks if self._list() else ()
        return [each for each in self._known.values() if each.file.server_id == self._server_id]

    def _list(self) -> bool:
        """List the folders; False if there is a file in them that may be readable later."""
        found: dict[tuple[Path, int], _Closed] = {}
        is_whole = True
        for path in [*self._holder.paths(), *_archived(self._files.archive)]:
            try:
                key = (path, path.stat().st_ino)
            except OSError:
                continue
            closed = self._known.get(key) or _look(path)
            if closed is None:
                is_whole = False
            else:
                found[key] = closed
        self._known = found
        return is_whole


def _mark(folder: Path) -> tuple[int, int] | None:
    """Return what differs once a name in a folder was added or removed; None: no telling yet."""
    try:
        found = folder.stat()
    except OSError:
        return (0, 0)
    # Clocks of file systems are coarse: two changes may share a moment.
    is_new = abs(time.time_ns() - found.st_mtime_ns) < _COARSE_NS
    return None if is_new else (found.st_ino, found.st_mtime_ns)


def _archived(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnreadableLog(f"{folder} cannot be read: {error.strerror or error}.") from error
    return [folder / each for each in names if each.startswith("redo-") and each.endswith(".log")]


def _look(path: Path) -> _Closed | None:
    try:
        with RedoLog(path) as log:
            return _Closed(path, FileId.of(log), log.header)
    except RedoLogError:
        return None


def _open(closed: _Closed) -> RedoLog | None:
    try:
        log = RedoLog(closed.path)
    except NotARedoLog:
        return None
    if FileId.of(log).is_same(closed.file):
        return log
    log.close()
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_being_made(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size < header.SIZE
    except OSError:
        return True
