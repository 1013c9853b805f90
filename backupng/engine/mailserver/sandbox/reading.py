"""class SandboxReading: a sandbox server that is only read, opened in half the time.

What writes to one, redo log and all, is loaded only if a crash left something to put right.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

from backupng.engine.errors import MailServerError
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.sandbox.directory import SandboxDirectory
from backupng.engine.mailserver.sandbox.schema import LOG_TABLE, SANDBOX
from backupng.engine.mailserver.zimbra.source import MailServerSource
from backupng.engine.model import DirectoryEntry, EntryKind
from backupng.engine.redolog.files import LogFiles

DATABASE_FILE: Final = "mail.sqlite3"
_SERVER: Final = "backupng.engine.mailserver.sandbox.server"


class SandboxReading:
    """One sandbox server, opened for reading."""

    def __init__(self, folder: Path, database: SqliteDatabase) -> None:
        self._folder = folder
        self._database = database
        self._directory = SandboxDirectory(database)
        logs = folder / "redolog"
        self._redo_log = LogFiles(logs / "redo.log", logs / "archive")

    @classmethod
    def open(cls, folder: Path) -> SandboxReading:
        """Open the server in `folder`. Raises MailServerError if there is none."""
        require_server(folder)
        reading = cls(folder, SqliteDatabase(folder / DATABASE_FILE))
        try:
            if not reading._is_settled():
                import_module(_SERVER).Sandbox.open(folder).close()
        except BaseException:
            reading.close()
            raise
        return reading

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> SandboxReading:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def server(self) -> DirectoryEntry:
        """Return the server's own directory entry."""
        return next(self._directory.entries(EntryKind.SERVER))

    def source(self) -> MailServerSource:
        """Return this server as one that is read."""
        return MailServerSource(
            self._database,
            self._directory,
            server=self.server(),
            redo_log=self._redo_log,
            home=self._folder,
        )

    def _is_settled(self) -> bool:
        """Say whether the redo log surely ends where its last change ended."""
        row = self._database.one(f"SELECT * FROM {self._database.table(SANDBOX, LOG_TABLE)}")
        try:
            return row is None or self._redo_log.current.stat().st_size == row["end"]
        except OSError:
            return False


def require_server(folder: Path) -> None:
    """Raise MailServerError if there is no sandbox server in a folder."""
    if not (folder / DATABASE_FILE).is_file():
        raise MailServerError(
            f"There is no sandbox server in {folder}.",
            hint="Make one: backupng sandbox createServer NAME.",
        )
