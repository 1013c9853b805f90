"""The file of a catalog: opened, made anew whatever is wrong with it, replaced as a whole.

Whoever opens, deletes or replaces it holds the lock of its folder. A process whose file was
replaced under it notices that by the file's inode. A log of SQLite's (`-wal`) says nothing of the
file that it belongs to, and would be put over any that takes its place: a second name of the file,
its twin, tells. What nobody can notice is a file overwritten in place while processes have it open.

After a power cut SQLite has lost its last transactions, and a file system may have lost the stamps
that would tell. So a process that adds leaves a mark, durable before all it adds, with the id of
the boot; a mark of another boot at the next opening means that no stamp here counts any more.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from backupng.engine.catalog import schema

_PATIENCE_S: Final = 5.0
_LOGGED_PAGES: Final = 4_096
"""Moved from the log at once: that syncs both files, and who adds waits for it."""
_CACHE_KIB: Final = 4096
_PAGE: Final = 8192
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES: Final = Path("/proc")
_ADDING: Final = "adding:"
_OF_THE_MOMENT: Final = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
        *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL),
    }
)
"""Primary result codes that say nothing against the file itself."""


class Database:
    """One connection to a catalog of the tree with that id; None: a temporary one of nobody else.

    Raises sqlite3.Error and OSError, everywhere.
    """

    def __init__(self, file: Path | None, tree_id: str) -> None:
        self.file = file
        self._tree_id = tree_id
        self._mark = ""
        self._inode = 0
        if file is None:
            # An empty name is a file of SQLite's own that spills to the disk and vanishes.
            self.connection = _connected("")
            self._make()
            return
        file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with _locked(file.parent):
            self.connection = self._opened(file)
            self._inode = file.stat().st_ino
            _keep_twin(file)

    def close(self) -> None:
        """Close it; what was added is then safe from a power cut too."""
        with suppress(sqlite3.Error):
            if self._mark:
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._write_durably("DELETE FROM meta WHERE key = ?", (self._mark,))
        self.connection.close()

    @property
    def is_in_place(self) -> bool:
        """Whether the file that is open is still the one that others find."""
        if self.file is None:
            return True
        try:
            return self.file.stat().st_ino == self._inode
        except OSError:
            return False

    def discard(self) -> None:
        """Close and delete the file, unless somebody else has put another in its place."""
        self.connection.close()
        if self.file is not None:
            with _locked(self.file.parent):
                if self.is_in_place:
                    _delete(self.file)

    def replace_by(self, new: Path) -> None:
        """Close, and put another, finished file in the place of this one, whoever has it open."""
        self.connection.close()
        if self.file is not None:
            with _locked(self.file.parent):
                _delete(self.file)
                _twin(new).unlink(missing_ok=True)
                new.rename(self.file)
                _keep_twin(self.file)

    def mark_adding(self) -> None:
        """Leave the mark of one who adds, if it is not there yet."""
        if self._mark or self.file is None:
            return
        mark = f"{_ADDING}{os.getpid()}:{uuid.uuid4().hex}"
        self._write_durably("INSERT INTO meta VALUES (?, ?)", (mark, _boot_id()))
        self._mark = mark

    @contextmanager
    def adding(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that writes; it counts as a whole or not at all."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def _opened(self, file: Path) -> sqlite3.Connection:
        with suppress(_Damaged), _seeing_damage():
            _refuse_mixed_up(file)
            self.connection = _connected(str(file))
            try:
                if self._is_mine():
                    self._distrust_after_power_cut()
                    return self.connection
            except BaseException:
                self.connection.close()
                raise
            self.connection.close()
        _delete(file)
        self.connection = _connected(str(file))
        self._make()
        return self.connection

    def _is_mine(self) -> bool:
        if self.connection.execute("PRAGMA user_version").fetchone() != (schema.NUMBER,):
            return False
        found = self.connection.execute("SELECT value FROM meta WHERE key = 'tree'").fetchone()
        return bool(found == (self._tree_id,))

    def _make(self) -> None:
        with self.adding() as connection:
            for statement in schema.TABLES.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('tree', ?)", (self._tree_id,))
            connection.execute(f"PRAGMA user_version = {schema.NUMBER}")

    def _distrust_after_power_cut(self) -> None:
        """Have nothing rely on stamps if one who added was cut off with the whole machine."""
        query = "SELECT key, value FROM meta WHERE key GLOB ?"
        marks = self.connection.execute(query, (f"{_ADDING}*",)).fetchall()
        boot = _boot_id()
        dead = [key for key, _ in marks if not _is_alive(key)]
        if any(found != boot for _, found in marks):
            self.connection.execute("UPDATE account SET stamp = 0")
            dead = [key for key, found in marks if found != boot or key in dead]
        self.connection.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in dead])

    def _write_durably(self, statement: str, values: tuple[str, ...]) -> None:
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(statement, values)
        self.connection.execute("PRAGMA synchronous = NORMAL")


class _Damaged(Exception):
    """The file is no catalog, or not a whole one."""


@contextmanager
def _seeing_damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise _Damaged from error
        raise


def is_damage(error: BaseException) -> bool:
    """Say whether an error speaks against the file, and not only against the moment."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    # Only the lowest byte is the primary code; an error of Python's own module has none.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    return code & 0xFF not in _OF_THE_MOMENT


def _connected(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=_PATIENCE_S, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOGGED_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _twin(file: Path) -> Path:
    return file.with_name(f".{file.name}.twin")


def _keep_twin(file: Path) -> None:
    twin = _twin(file)
    with suppress(OSError):
        if not (twin.exists() and twin.samefile(file)):
            twin.unlink(missing_ok=True)
            twin.hardlink_to(file)


def _refuse_mixed_up(file: Path) -> None:
    """Refuse a file cut inside a page, or beside a log that is another's. Raises _Damaged."""
    length = file.stat().st_size if file.exists() else 0
    if length % _PAGE:
        # SQLite takes what is missing of a page for zeros.
        raise _Damaged
    log, twin = file.with_name(f"{file.name}-wal"), _twin(file)
    is_logged = length and log.exists() and log.stat().st_size
    if is_logged and not (twin.exists() and twin.samefile(file)):
        raise _Damaged


def _delete(file: Path) -> None:
    # The file itself first: what is left of it without its log is none that anybody opens.
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_alive(mark: str) -> bool:
    return (_PROCESSES / mark.split(":")[1]).exists()


def _boot_id() -> str:
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""
