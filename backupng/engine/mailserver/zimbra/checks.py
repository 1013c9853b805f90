"""Whether a real server can be backed up from here: what is missing, and how to grant it."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from backupng.engine.errors import BackupError, MailServerError
from backupng.engine.mailserver.zimbra import volumes
from backupng.engine.mailserver.zimbra.ldapclient import GRANT
from backupng.engine.mailserver.zimbra.rows import ZIMBRA
from backupng.engine.mailserver.zimbra.server import ZimbraServer
from backupng.engine.model import DirectoryEntry, EntryKind
from backupng.engine.redolog.holding import FOLDER
from backupng.engine.redolog.reader import RedoLog

DATABASE_VERSIONS: Final = frozenset({"111", "118"})
"""`db.version` of 8.8.15, 9 and Carbonio CE 4, and of 10."""

_UNREACHABLE: Final = "server_unreachable"
_OWN_PROVIDER: Final = "com.zimbra.cs.redolog.DefaultRedoLogProvider"
_RESTART: Final = "then zmmailboxdctl restart (Carbonio: restart its mailbox service)"
_LOGIN: Final = re.compile(r"'[^']*'@'[^']+'")
_LAYOUT: Final = "zimbra_class_provisioning"
_CUSTOM: Final = "Custom"
_DEEP: Final = 6
"""Folders between a volume's own and a blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One answer: what is so, and where something is missing, or could be better, how to do it.

    Without what is `necessary` no scan can run; the rest is for the Real-Time Scanner, or for
    blobs in a place of their own. `code` is that of the error behind it, if there was one.
    """

    name: str
    ok: bool
    message: str
    hint: str = ""
    necessary: bool = True
    code: str = ""

    @property
    def unreachable(self) -> bool:
        """True when something did not answer, so that nothing is known."""
        return self.code == _UNREACHABLE


def check(connection: Mapping[str, Any]) -> list[Check]:
    """Try all that a backup needs of the server, and say each in one sentence.

    What cannot be told while something before it is missing is left out. Changes nothing but for a
    link that is made beside the redo log and removed again.
    """
    try:
        server = ZimbraServer.open(connection)
    except MailServerError as error:
        return [_failed("localconfig", error)]
    with closing(server):
        config = Check(name="localconfig", ok=True, message=f"{server.config.path} can be read.")
        examination = _Examination(server)
        return [config, *examination.database(), *examination.directory()]


def _failed(name: str, error: BackupError, *, hint: str = "", necessary: bool = True) -> Check:
    """Return the check that an error answers."""
    return Check(
        name=name,
        ok=False,
        message=str(error),
        hint=hint or error.hint,
        necessary=necessary,
        code=error.code,
    )


class _Examination:
    """The checks of one opened server; each group goes as far as it can."""

    def __init__(self, server: ZimbraServer) -> None:
        self._server = server

    # Database

    def database(self) -> Iterator[Check]:
        """Login, rights on all databases, version, volumes."""
        login = self._server.database.login
        try:
            version = self._server.schema_version
            self._look_into_groups()
        except BackupError as error:
            hint = "" if error.code == _UNREACHABLE else self._grant(error)
            yield _failed("database", error, hint=hint)
            return
        said = f"The database at {login.place} lets {login.user} read all mailboxes."
        yield Check(name="database", ok=True, message=said)
        yield self._version(version)
        yield from self._volumes()

    def _look_into_groups(self) -> None:
        database = self._server.database
        mailboxes = database.table(ZIMBRA, "mailbox")
        groups = list(database.rows(f"SELECT DISTINCT group_id FROM {mailboxes}"))
        for row in groups:
            items = database.table(f"mboxgroup{int(row['group_id'])}", "mail_item")
            list(database.rows(f"SELECT id FROM {items} LIMIT 1"))

    def _grant(self, error: BackupError) -> str:
        """Say what to type; the database's own words tell by which name it knows the login."""
        login = self._server.database.login
        host = "localhost" if login.socket else "127.0.0.1"
        known = _LOGIN.search(str(error))
        who = known[0] if known else f"'{login.user}'@'{host}'"
        return (
            "The installation's own login (zimbra_mysql_user and zimbra_mysql_password of"
            " localconfig.xml) has all rights. Any other needs, typed in the server's own `mysql`:"
            f" GRANT SELECT ON `zimbra`.* TO {who}; GRANT SELECT ON `mboxgroup%`.* TO {who};"
        )

    def _version(self, version: str) -> Check:
        known = version in DATABASE_VERSIONS
        return Check(
            name="version",
            ok=known,
            message=f"The databases have version {version or 'unknown'}"
            + (", which can be read." if known else ", which this version does not know."),
            hint=""
            if known
            else "Zimbra 8.8.15, 9 and 10 and Carbonio CE 4 can be read: upgrade the mail server,"
            " or Backup NG if it is the older of the two.",
        )

    def _volumes(self) -> Iterator[Check]:
        try:
            found = list(self._message_volumes())
        except BackupError as error:
            yield _failed("volumes", error)
            return
        if not found:
            missing = "The mail server's list of volumes is empty."
            yield Check(name="volumes", ok=False, message=missing, hint="zmvolume -l shows it.")
        for volume in found:
            yield _volume(volume)

    def _message_volumes(self) -> Iterator[volumes.Volume]:
        relative = self._server.config.flag("zimbra_relative_volume_path")
        table = self._server.database.table(ZIMBRA, "volume")
        for row in self._server.database.rows(f"SELECT * FROM {table} ORDER BY id"):
            home = self._server.home if relative else None
            volume = volumes.volume_of_row(row, home=home)
            if volume.volume_type is not volumes.VolumeType.INDEX:
                yield volume

    # Directory

    def directory(self) -> Iterator[Check]:
        """Login, what it is shown, the server's own entry, and what that says of the redo log."""
        directory = self._server.directory
        try:
            servers = list(directory.entries(EntryKind.SERVER))
            shows = directory.shows_passwords()
        except BackupError as error:
            yield _failed("directory", error)
            return
        yield Check(
            name="directory",
            ok=bool(servers),
            message="The directory lets the login look."
            if servers
            else "The directory accepts the login and shows it nothing.",
            hint="" if servers else GRANT,
        )
        if _CUSTOM in self._class_of_directory:
            yield Check(
                name="directory layout",
                ok=False,
                message=f"The directory is laid out by {self._class_of_directory}, not as usual.",
                hint="See that the accounts of the first SmartScan are all accounts there are.",
                necessary=False,
            )
        yield Check(
            name="passwords",
            ok=shows,
            message="The directory shows password hashes: they can be saved and restored."
            if shows
            else "The directory does not show userPassword, so no password could be restored.",
            hint="" if shows else GRANT,
        )
        yield from self._own_entry()

    @property
    def _class_of_directory(self) -> str:
        config = self._server.config
        return config.value(_LAYOUT) if _LAYOUT in config else ""

    def _own_entry(self) -> Iterator[Check]:
        try:
            name = self._server.entry.name
        except BackupError as error:
            yield _failed("server", error)
            return
        product = ""
        # Where the directory does not tell the version, the database does, if it answers.
        with suppress(BackupError):
            product = f", {self._server.product}"
        yield Check(name="server", ok=True, message=f"It is the server {name}{product}.")
        yield from self._redo_log()

    # Redo log

    def _redo_log(self) -> Iterator[Check]:
        settings: tuple[Callable[[], Check], ...] = (
            self._is_enabled,
            self._is_its_own,
            self._can_be_read,
            self._can_be_held,
            self._is_kept,
        )
        for each in settings:
            yield each()

    def _is_enabled(self) -> Check:
        on = self._setting("zimbraRedoLogEnabled", "TRUE").upper() != "FALSE"
        return Check(
            name="redo log enabled",
            ok=on,
            message="The server writes a redo log." if on else "The server writes no redo log.",
            hint="" if on else f"zmprov ms {self._name} zimbraRedoLogEnabled TRUE; {_RESTART}.",
            necessary=False,
        )

    def _is_its_own(self) -> Check:
        provider = self._setting("zimbraRedoLogProvider", "")
        own = provider in ("", _OWN_PROVIDER)
        return Check(
            name="redo log provider",
            ok=own,
            message="The redo log is written by the server's own class."
            if own
            else f"The redo log is written by {provider} in place of the server's own class.",
            hint=""
            if own
            else f"zmprov ms {self._name} zimbraRedoLogProvider ''; {_RESTART}. An extension for"
            " backup may have set it: remove that first.",
            necessary=False,
        )

    def _can_be_read(self) -> Check:
        current = self._server.redo_log.current
        try:
            with RedoLog(current) as log:
                number = log.header.sequence
        except BackupError as error:
            return _failed("redo log", error, hint=error.hint or _OWN_USER, necessary=False)
        said = f"{current} can be read; it is number {number}."
        return Check(name="redo log", ok=True, message=said, necessary=False)

    def _can_be_held(self) -> Check:
        current = self._server.redo_log.current
        folder = current.parent / FOLDER
        try:
            _try_link(current, folder)
        except OSError as error:
            return Check(
                name="redo log links",
                ok=False,
                message=f"No link to {current} can be made in {folder}: {error.strerror}.",
                hint=f"{_OWN_USER} Without it the server may delete a file that is not read yet:"
                f" keep them with zmprov ms {self._name} zimbraRedoLogDeleteOnRollover FALSE.",
                necessary=False,
            )
        said = f"Files of the redo log can be held in {folder}."
        return Check(name="redo log links", ok=True, message=said, necessary=False)

    def _is_kept(self) -> Check:
        deletes = self._setting("zimbraRedoLogDeleteOnRollover", "TRUE").upper() != "FALSE"
        archive = self._server.redo_log.archive
        if deletes:
            return Check(
                name="redo log rollover",
                ok=True,
                message="The server deletes a file of its redo log that is full.",
                hint="A scanner that was down while two filled up asks for a SmartScan. To keep"
                f" them: zmprov ms {self._name} zimbraRedoLogDeleteOnRollover FALSE; {_RESTART},"
                f" and delete old ones in {archive} yourself.",
                necessary=False,
            )
        readable = not archive.exists() or os.access(archive, os.R_OK | os.X_OK)
        return Check(
            name="redo log rollover",
            ok=readable,
            message=f"Full files of the redo log go to {archive}"
            + ("." if readable else ", which cannot be read."),
            hint=f"Delete old ones there, for nothing else does: they fill {archive}."
            if readable
            else _OWN_USER,
            necessary=False,
        )

    def _setting(self, attribute: str, default: str) -> str:
        """Return a value of the server, or what it inherits."""
        config = self._config
        inherited = config.first(attribute) if config else ""
        return self._server.entry.first(attribute) or inherited or default

    @cached_property
    def _config(self) -> DirectoryEntry | None:
        return self._server.directory.config()

    @property
    def _name(self) -> str:
        return self._server.entry.name


_OWN_USER: Final = "Run Backup NG as the mail server's own user, zimbra or zextras."


def _volume(volume: volumes.Volume) -> Check:
    name = f"volume {volume.name}"
    if volume.external:
        return Check(
            name=name,
            ok=False,
            message=f"The volume {volume.name} lies in a store that only the mail server reads.",
            hint="Items with blobs there count as unreadable: bring them to a volume on disk.",
            necessary=False,
        )
    unreadable = _first_unreadable(volume.path)
    if unreadable is None:
        return Check(name=name, ok=True, message=f"{volume.path} can be read.")
    return Check(
        name=name,
        ok=False,
        message=f"{unreadable} is not there."
        if not unreadable.exists()
        else f"{unreadable} cannot be read.",
        hint=f"Mount it. {_OWN_USER}" if unreadable == volume.path else _OWN_USER,
    )


def _first_unreadable(path: Path) -> Path | None:
    """Go down to one blob; return the first folder or file on the way that cannot be read."""
    for _ in range(_DEEP):
        try:
            folder = path.is_dir()
            if not os.access(path, os.R_OK | (os.X_OK if folder else 0)):
                return path
            names = sorted(os.listdir(path)) if folder else []
        except OSError:
            return path
        if not names:
            return None
        path = path / names[0]
    return None


def _try_link(current: Path, folder: Path) -> None:
    """Make a link as the scanner does, and leave nothing. Raises OSError."""
    made = not folder.exists()
    folder.mkdir(mode=0o700, exist_ok=True)
    probe = folder / f"probe-{uuid.uuid4()}"
    try:
        os.link(current, probe)
        probe.unlink()
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()
