"""Writes a redo log: appends records, cuts torn tails, rolls over.

Names and steps as Zimbra/zm-mailbox `store/src/java/com/zimbra/cs/redolog/RolloverManager.java` and
`redolog/logger/FileLogWriter.java` have them. Whoever writes holds a lock of the server's: one
writer at a time, and nobody keeps one longer than a change takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from backupng.engine.redolog import header
from backupng.engine.redolog.faults import NotARedoLog, RedoLogError
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.header import LATEST, FileHeader
from backupng.engine.redolog.kinds import Piece
from backupng.engine.redolog.layouts import Layout
from backupng.engine.redolog.records import MAGIC, Envelope, encode

COMMIT_BYTES: Final = 50
"""The length of an end marker."""
_NEW: Final = "~tmp-"
_SET_ASIDE: Final = ".bak"
_MODE: Final = os.O_RDWR | os.O_CLOEXEC
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Result = TypeVar("_Result")


class UnwritableLog(RedoLogError):
    """The redo log cannot be created, or not written on."""

    code = "path_not_writable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """When a log rolls over, and whether the old file is deleted or archived."""

    soft_bytes: int = 1 << 30
    soft_age_ms: int = 60 * 60_000
    """A younger file does not roll over for its soft limit."""
    hard_bytes: int = 4 << 30
    deletes: bool = True


class LogWriter:
    """The current file of a redo log, open for appending.

    Every method raises UnwritableLog; opening also NotARedoLog and FutureRedoLog. What is appended
    is in the file at once, and durable after `sync`.
    """

    def __init__(self, files: LogFiles, *, server_id: str, now_ms: int) -> None:
        """Open the current file; without one a new log begins, at sequence 0."""
        self._files = files
        self._file = _at(files.current, lambda: _open(files, server_id, now_ms))
        try:
            self._begin()
        except BaseException:
            self.leave()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    @property
    def sequence(self) -> int:
        """The number of the file."""
        return self._header.sequence

    def leave(self) -> None:
        """Let go of the file as it is; the log stays open, for the next writer."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def append(self, envelope: Envelope, layout: Layout, fields: dict[str, Any]) -> int:
        """Write a record to the end of the file; returns the file's new size."""
        record = b"".join(_bytes(piece) for piece in encode(envelope, layout, fields))
        _at(self._files.current, lambda: _write(self._file, record, self.size))
        self.size += len(record)
        if not self._header.first_op:
            self._write_header(first_op=envelope.timestamp, last_op=envelope.timestamp)
        return self.size

    def sync(self) -> None:
        """Make durable what was appended."""
        _at(self._files.current, lambda: os.fsync(self._file))

    def cut(self, size: int) -> None:
        """Take away what lies behind `size`: a tail that a crash left behind."""
        _at(self._files.current, lambda: os.ftruncate(self._file, size))
        self.size = size
        self._write_header(size=size)
        self.sync()

    def is_due(self, limits: Rollover, *, now_ms: int) -> bool:
        """Say whether the file has grown, or grown and aged, enough to roll over."""
        if self.size >= limits.hard_bytes:
            return self.size > header.SIZE
        is_old = now_ms - self._header.created >= limits.soft_age_ms
        return is_old and self.size >= limits.soft_bytes and self.size > header.SIZE

    def roll_over(
        self,
        *,
        deletes: bool,
        now_ms: int,
        last_op: int,
        still_open: Sequence[tuple[Envelope, Layout, dict[str, Any]]] = (),
    ) -> None:
        """Close the file, put it away, go on in a new one that begins with what is still open."""
        current = self._files.current
        self._write_header(is_open=False, size=self.size, last_op=last_op)
        self.sync()
        _at(current, lambda: _set_aside(_unfinished(current.parent)))
        old = self._header
        stamp = _stamp(now_ms)
        new = current.with_name(f"{_NEW}redo-{stamp}-seq{old.sequence + 1}.log")
        begun = replace(
            old, is_open=False, sequence=old.sequence + 1, first_op=0, last_op=0, created=now_ms
        )
        records = b"".join(_bytes(piece) for each in still_open for piece in encode(*each))
        times = [envelope.timestamp for envelope, _, _ in still_open]
        if times:
            begun = replace(begun, first_op=min(times), last_op=max(times))
        begun = replace(begun, size=header.SIZE + len(records))
        _at(new, lambda: _make(new, begun.encode() + records))
        archived = self._files.archive / f"redo-{stamp}-seq{old.sequence}.log"
        _at(archived, lambda: _put_away(current, None if deletes else archived))
        _at(current, lambda: _adopt(new, current))
        self.leave()
        self._file = _at(current, lambda: os.open(current, _MODE))
        self._begin()

    def _begin(self) -> None:
        """Mark the file as open; what else its header says stays."""
        current = self._files.current
        data = _at(current, lambda: os.pread(self._file, header.SIZE, 0))
        self._header = FileHeader.decode(data, name=str(current))
        self.size = _at(current, lambda: os.lseek(self._file, 0, os.SEEK_END))
        if not self._header.is_open or self._header.version != LATEST:
            self._write_header(is_open=True, version=LATEST)

    def _write_header(self, **changes: Any) -> None:
        self._header = replace(self._header, **changes)
        data = self._header.encode()
        _at(self._files.current, lambda: _write(self._file, data, 0))


def whole_size(path: Path) -> tuple[int, int] | None:
    """Return sequence and size of a log that ends with an end marker or is empty; None if not.

    A look at its header and its end alone: whether it agrees with what else is known.
    """
    try:
        with path.open("rb", buffering=0) as file:
            sequence = FileHeader.decode(file.read(header.SIZE), name=str(path)).sequence
            size = file.seek(0, os.SEEK_END)
            begins = os.pread(file.fileno(), len(MAGIC), size - COMMIT_BYTES)
    except (OSError, RedoLogError):
        return None
    return (sequence, size) if size == header.SIZE or begins == MAGIC else None


def _at(path: Path, step: Callable[[], _Result]) -> _Result:
    """Take a step on a file; what the disk refuses is said with the file's name."""
    try:
        return step()
    except OSError as error:
        raise UnwritableLog(f"{path} cannot be written: {error.strerror or error}.") from error


def _bytes(piece: Piece) -> bytes:
    if not isinstance(piece, bytes):
        raise TypeError("what is written has its bulk data as bytes")
    return piece


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _open(files: LogFiles, server_id: str, now_ms: int) -> int:
    """Open the current file; a rollover that was cut off is brought to its end, or one begun."""
    current = files.current
    if not current.exists():
        unfinished = sorted(_unfinished(current.parent), key=lambda path: path.stat().st_mtime_ns)
        if unfinished:
            _set_aside(unfinished[:-1])
            _adopt(unfinished[-1], current)
    _set_foreign_aside(current)
    if not current.exists():
        begun = FileHeader(
            is_open=True,
            size=0,
            sequence=0,
            server_id=server_id,
            first_op=0,
            last_op=0,
            version=LATEST,
            created=now_ms,
        )
        new = current.with_name(f"{_NEW}redo-{_stamp(now_ms)}-seq0.log")
        _make(new, begun.encode())
        _adopt(new, current)
    return os.open(current, _MODE)


def _set_foreign_aside(current: Path) -> None:
    """Make way where something lies that is no redo log; nothing is lost."""
    try:
        with current.open("rb") as file:
            FileHeader.decode(file.read(header.SIZE), name=str(current))
    except FileNotFoundError:
        return
    except NotARedoLog:
        _set_aside([current])


def _make(path: Path, data: bytes) -> None:
    file = os.open(path, _MODE | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        _write(file, data, 0)
        os.fsync(file)
    finally:
        os.close(file)


def _put_away(current: Path, archived: Path | None) -> None:
    """Move a closed file to the archive, or delete it."""
    if archived is None:
        current.unlink()
        return
    archived.parent.mkdir(mode=0o750, exist_ok=True)
    current.rename(archived)
    _sync_folder(archived.parent)


def _adopt(new: Path, current: Path) -> None:
    new.rename(current)
    _sync_folder(current.parent)


def _unfinished(folder: Path) -> list[Path]:
    """Return the new files of rollovers that were cut off."""
    return list(folder.glob(f"{_NEW}redo-*.log"))


def _set_aside(paths: Sequence[Path]) -> None:
    for path in paths:
        path.rename(path.with_name(f"{path.name}{_SET_ASIDE}"))


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _stamp(ms: int) -> str:
    """Spell a time as the names of archived files do: UTC, to the millisecond."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return f"{moment:%Y%m%d.%H%M%S}.{moment.microsecond // 1000:03}"
