"""class ZimbraServer: one real mail server, reached as its own installation reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol, Self

from backupng.engine.errors import MailServerError
from backupng.engine.mailserver.zimbra.ldap import LdapDirectory
from backupng.engine.mailserver.zimbra.localconfig import CARBONIO_HOME, LocalConfig
from backupng.engine.mailserver.zimbra.mariadb import Login, MariaDatabase
from backupng.engine.mailserver.zimbra.rows import ZIMBRA
from backupng.engine.mailserver.zimbra.source import MailServerSource
from backupng.engine.model import DirectoryEntry, EntryKind
from backupng.engine.redolog.files import LogFiles

_LOG: Final = "redolog/redo.log"
_ARCHIVE: Final = "redolog/archive"
_MOST_GROUPS: Final = 10_000
_HIGHEST_PORT: Final = 65_535
_VERSION: Final = ("zimbraServerVersionMajor", "zimbraServerVersionMinor")
_MICRO: Final = "zimbraServerVersionMicro"
_INHERITED: Final = (
    "zimbraConfiguredServerIDForBlobDirEnabled",
    "zimbraRedoLogArchiveDir",
    "zimbraRedoLogLogPath",
    "zimbraRedoLogProvider",
)
"""What a server entry that lacks it has from the global configuration."""
_OF_SCHEMA: Final[Mapping[str, str]] = {
    "108": "8.7",
    "109": "8.8",
    "111": "8.8.15 or 9.0",
    "118": "10",
}
"""Zimbra's version by the `db.version` of its database; Carbonio says 111 too."""


@dataclass(frozen=True, slots=True)
class Product:
    """Zimbra or Carbonio; `version` is empty where nothing tells."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class ServerDirectory(Protocol):
    """What a real server's directory answers beside its entries; `ldap.py` has it."""

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        """Yield all entries of a kind."""

    def has_account(self, account_id: str) -> bool:
        """Say whether an account of that id exists, whatever its host."""

    def server(self, name: str) -> DirectoryEntry:
        """Return the entry of the server of that name. Raises MailServerError."""

    def config(self) -> DirectoryEntry | None:
        """Return the global configuration; None if it is not shown."""

    def shows_passwords(self) -> bool:
        """Say whether password hashes can be read."""

    def close(self) -> None:
        """Close all connections."""


class ZimbraServer:
    """A real mail server, opened; nothing is asked of it before the first question.

    `home` is its install root. Every question raises MailServerError: MailServerUnreachable when
    database or directory do not answer, MailServerRefused for what they do not allow.
    """

    def __init__(
        self,
        config: LocalConfig,
        *,
        database: MariaDatabase,
        directory: ServerDirectory,
        connection: Mapping[str, Any],
    ) -> None:
        self.config = config
        self.database = database
        self.directory = directory
        self.home = Path(connection.get("home") or config.home)
        self._connection = connection

    @classmethod
    def open(cls, connection: Mapping[str, Any]) -> ZimbraServer:
        """Open the server whose installation wrote `localconfig`. Raises MailServerError.

        `connection` has the path `localconfig`; whatever else it has goes before what that file
        says: `home`, `redo_log` and `redo_log_archive` (paths), `database` (host, port or socket,
        user, password), `directory` (url, bind_dn, password, starttls, ca_file).
        """
        config = LocalConfig.read(Path(connection["localconfig"]))
        return cls(
            config,
            database=MariaDatabase(_login(config, connection.get("database") or {})),
            directory=_directory(config, connection.get("directory") or {}),
            connection=connection,
        )

    def close(self) -> None:
        """Close the connections."""
        self.database.close()
        self.directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def source(self) -> MailServerSource:
        """Return this server as one that is read."""
        return MailServerSource(
            self.database,
            self.directory,
            server=self.entry,
            redo_log=self.redo_log,
            home=self.home,
            relative_volumes=self.config.flag("zimbra_relative_volume_path"),
        )

    @cached_property
    def entry(self) -> DirectoryEntry:
        """The server's own entry, with what it inherits from the global configuration."""
        entry = self.directory.server(self.config.value("zimbra_server_hostname"))
        missing = [name for name in _INHERITED if not entry.values(name)]
        config = self.directory.config() if missing else None
        if config is None:
            return entry
        inherited = {name: config.attributes[name] for name in missing if name in config.attributes}
        return replace(entry, attributes={**inherited, **entry.attributes})

    @property
    def redo_log(self) -> LogFiles:
        """Where the redo log lies; relative paths are below the install root."""
        current = self._connection.get("redo_log") or self.entry.first("zimbraRedoLogLogPath")
        archive = self._connection.get("redo_log_archive")
        archive = archive or self.entry.first("zimbraRedoLogArchiveDir")
        return LogFiles(self.home / (current or _LOG), self.home / (archive or _ARCHIVE))

    @property
    def mailbox_groups(self) -> int:
        """Over how many databases the server spreads its mailboxes."""
        return self.config.number("zimbra_mailbox_groups", highest=_MOST_GROUPS)

    @property
    def product(self) -> Product:
        """What it is: the install root tells the product, directory or database the version."""
        carbonio = self.config.home.name == CARBONIO_HOME.name
        name = "Carbonio" if carbonio else "Zimbra"
        numbers = [self.entry.first(attribute) for attribute in _VERSION]
        if all(numbers):
            micro = self.entry.first(_MICRO)
            return Product(name, ".".join([*numbers, *([micro] if micro else [])]))
        if version := self.entry.first("zimbraServerVersion").partition("_")[0]:
            return Product(name, version)
        return Product(name, "" if carbonio else _OF_SCHEMA.get(self.schema_version, ""))

    @cached_property
    def schema_version(self) -> str:
        """The `db.version` of the database; empty if it holds none."""
        table = self.database.table(ZIMBRA, "config")
        found = self.database.rows(f"SELECT value FROM {table} WHERE name = ?", "db.version")
        row = next(found, None)
        return str(row["value"] or "") if row else ""


def _login(config: LocalConfig, given: Mapping[str, Any]) -> Login:
    return Login(
        host=given.get("host") or config.value("mysql_bind_address"),
        port=_port(config, given),
        socket=given.get("socket") or "",
        user=given.get("user") or config.value("zimbra_mysql_user"),
        password=_password(config, "zimbra_mysql_password", given, login="user"),
    )


def _port(config: LocalConfig, given: Mapping[str, Any]) -> int:
    if not (port := given.get("port")):
        return config.number("mysql_port", highest=_HIGHEST_PORT)
    text = str(port)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 0 < number <= _HIGHEST_PORT:
        raise MailServerError(f"{text[:20]!r} is no port of a database.")
    return number


def _directory(config: LocalConfig, given: Mapping[str, Any]) -> LdapDirectory:
    authority = Path(given.get("ca_file") or config.home / "conf" / "ca" / "ca.pem")
    return LdapDirectory(
        given.get("url") or config.value("ldap_url"),
        bind_dn=given.get("bind_dn") or config.value("zimbra_ldap_userdn"),
        password=_password(config, "zimbra_ldap_password", given, login="bind_dn"),
        starttls=bool(given["starttls"]) if "starttls" in given else _starts_tls(config),
        ca_file=authority if "ca_file" in given or authority.is_file() else None,
        mail_host=config.value("zimbra_server_hostname"),
    )


def _password(config: LocalConfig, key: str, given: Mapping[str, Any], *, login: str) -> str:
    """Return the password given; the installation's own belongs to its own login alone."""
    if given.get(login) or given.get("password"):
        return given.get("password") or ""
    return config.value(key)


def _starts_tls(config: LocalConfig) -> bool:
    keys = "ldap_starttls_supported", "ldap_starttls_required"
    return all(config.flag(key) for key in (*keys, "zimbra_require_interprocess_security"))
