"""class ServerContext: the Context of one command, built from the line that names its server."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from backupng.engine.backuppath.blobs import BlobCodec, Packer
from backupng.engine.backuppath.disk import Room
from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.backuppath.telling import Batch
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import BackupError, MailServerError
from backupng.engine.mailserver.port import Destination, Source
from backupng.engine.mailserver.sandbox.reading import SandboxReading
from backupng.engine.mailserver.zimbra import door
from backupng.engine.operations.base import Level, Settings

_COMMAND = re.compile(r"\bbackupng (?:--host \S+ )?backup\b")
_BROKEN_CHECKPOINT = re.compile(r"(/.*)/checkpoint/[^/]+ is damaged\.")
_REPAIR = (
    "Move it away: backupng backup doCoherencyCheck {path} fixBackup true. Then have it written"
    " anew: backupng backup doSmartScan"
)

_SANDBOX = "backupng.engine.mailserver.sandbox.server"
_SANDBOX_DESTINATION = "backupng.engine.mailserver.sandbox.destination"
"""Loaded by whoever writes there: a scan, which never does, starts in half the time without."""

Clock = Callable[[], datetime]
"""Tells the moment, aware, UTC."""


class MailServer(AbstractContextManager["MailServer"], Protocol):
    """A mail server of any kind, opened; leaving it closes its connections."""

    def source(self) -> Source:
        """Return this server as one that is read."""

    def close(self) -> None:
        """Close its connections."""


class ServerContext:
    """What the line names: mail server, Backup Path, properties; a context manager that closes it.

    The line is a dict of JSON values:
    `server` (name, kind, connection, backup_path, tree_id, host, catalog: the folder of catalogs),
    `settings` (zone, blob_codec, compression_level, skip_lists, space_threshold_mb,
    retention_days, accounts_retention_days, allowed_paths, closed_paths), and for an
    operation's process also `operation` (id, command, parameters as texts) and `parent` (process
    id).

    Server and Backup Path are opened at their first use: a question to the Backup Path is answered
    while the mail server is down. Nobody watches: `tick` and `log` do nothing here.
    """

    def __init__(self, line: Mapping[str, Any], *, clock: Clock) -> None:
        self._line = line
        self._server = line["server"]
        self._clock = clock
        self._stack = ExitStack()
        self._path: BackupPath | None = None
        self._owned = False
        self.settings = _settings(line["settings"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, BackupError):
            if broken := _BROKEN_CHECKPOINT.fullmatch(str(error)):
                error.hint = _REPAIR.format(path=shlex.quote(broken[1]))
            error.hint = self.named(error.hint)
        self._stack.close()

    def named(self, text: str) -> str:
        """Have the commands in a text name the server by the name that the command line knows."""
        return _COMMAND.sub(lambda _found: f"backupng --host {self._server['name']} backup", text)

    @property
    def now(self) -> datetime:
        """The moment, aware, UTC."""
        return self._clock()

    @property
    def zone(self) -> ZoneInfo:
        """The server's time zone: dates in texts are its local times."""
        try:
            return ZoneInfo(self.settings.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise MailServerError(f"There is no time zone {self.settings.zone}.") from error

    @cached_property
    def source(self) -> Source:
        """The mail server, read."""
        return self._mail_server.source()

    @cached_property
    def destination(self) -> Destination:
        """The mail server, written. Raises MailServerError for one that cannot be."""
        if self._server["kind"] != "sandbox":
            raise MailServerError(
                "This version cannot write to a Zimbra server yet.",
                hint="Scans of it work; restores go to a sandbox server only.",
            )
        sandbox = self._stack.enter_context(import_module(_SANDBOX).Sandbox.open(self._folder))
        made: Destination = import_module(_SANDBOX_DESTINATION).SandboxDestination(
            sandbox, self._clock
        )
        return made

    @property
    def backup_path(self) -> Path:
        """Where the server's Backup Path lies, or is to lie."""
        return Path(self._server["backup_path"])

    @property
    def path(self) -> BackupPath:
        """The server's Backup Path, opened. Raises BadRequest or BackupPathError."""
        if self._path is None:
            self._path = self._stack.enter_context(BackupPath.open(self.backup_path))
        return self._path

    def check_owned_path(self) -> Room:
        """Refuse what `owned_path` and writing there would refuse; returns what is free there."""
        return BackupPath.check_writable(self.backup_path, self._owner)

    def owned_path(self) -> BackupPath:
        """Return the server's Backup Path for a scan: made if its folder is empty."""
        if self._path is None or not self._owned:
            path = BackupPath.open_or_create(self.backup_path, self._owner, now=self.now)
            path.least_free_bytes = self.settings.least_free_bytes
            path.tell = lambda line: self.log(line, level=Level.WARNING)
            path.listener = self._tell_catalog
            self._path, self._owned = self._stack.enter_context(path), True
        return self._path

    @cached_property
    def catalog(self) -> Catalog:
        """The index of the Backup Path, in the folder that the line names; else a temporary one."""
        folder = self._server.get("catalog")
        file = Path(folder, f"{self._server['name']}.sqlite3") if folder else None
        return self._stack.enter_context(Catalog(self.path, file))

    @contextmanager
    def another(self) -> Iterator[tuple[Source, BackupPath]]:
        """Open mail server and Backup Path once more, for a process of its own."""
        with ServerContext(self._line, clock=self._clock) as other:
            yield other.source, other.owned_path()

    @contextmanager
    def twin(self) -> Iterator[ServerContext]:
        """Open all of it once more, for a process of its own; nobody hears what it reports."""
        with ServerContext(self._line, clock=self._clock) as other:
            yield other

    def announce_phase1(self, said: Mapping[str, Any]) -> None:
        """Tell what phase 1 of an import came to."""

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Report progress."""

    def log(self, line: str, *, level: Level = Level.INFO) -> None:
        """Add an entry to the operation's log."""

    def _tell_catalog(self, batches: Sequence[Batch]) -> None:
        if self._server.get("catalog"):
            self.catalog.take(batches)

    @cached_property
    def _mail_server(self) -> MailServer:
        return self._stack.enter_context(open_mail_server(self._server))

    @property
    def _owner(self) -> Owner:
        return Owner(
            server_id=self.source.server_id,
            server_name=self.source.server_name,
            tree_id=self._server.get("tree_id", ""),
            host=self._server.get("host", ""),
        )

    @property
    def _folder(self) -> Path:
        return Path(self._server["connection"]["folder"])


def open_mail_server(server: Mapping[str, Any]) -> MailServer:
    """Open the mail server that the line's `server` names. Raises MailServerError."""
    match server["kind"]:
        case "sandbox":
            return SandboxReading.open(Path(server["connection"]["folder"]))
        case "zimbra":
            return door.open_server(server["connection"])
        case kind:
            raise MailServerError(
                f"The server {server['name']} is of the kind {kind}, "
                "which this version cannot reach."
            )


def _settings(values: Mapping[str, Any]) -> Settings:
    return Settings(
        zone=values["zone"],
        packer=Packer(BlobCodec(values["blob_codec"]), values["compression_level"]),
        skip_lists=values["skip_lists"],
        space_threshold_mb=values["space_threshold_mb"],
        retention_days=values.get("retention_days", 30),
        accounts_retention_days=values.get("accounts_retention_days", 30),
        backup_customizations=values.get("backup_customizations", True),
        purge_customizations=values.get("purge_customizations", True),
        allowed_paths=tuple(map(Path, values.get("allowed_paths", ()))),
        closed_paths=tuple(map(Path, values.get("closed_paths", ()))),
    )
