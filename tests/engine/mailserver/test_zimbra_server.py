"""A real mail server as a whole: found through its localconfig.xml, read, never written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import MailServerError, MailServerUnreachable, ReadError
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.localconfig import LocalConfig
from backupng.engine.mailserver.zimbra.mariadb import Login, MariaDatabase
from backupng.engine.mailserver.zimbra.server import ZimbraServer
from backupng.engine.mailserver.zimbra.source import MailServerSource
from backupng.engine.model import DirectoryEntry, EntryKind, ItemState
from backupng.engine.operations.context import ServerContext, open_mail_server
from backupng.engine.redolog.files import LogFiles
from tests.engine.mailserver.mailboxes import open_box
from tests.engine.mailserver.realserver import keys_of, real_server, write_localconfig
from tests.mariadb import PASSWORD, MariaDB
from tests.processes import own_port
from tests.slapd import Slapd

NAME = "mail1.example.com"
KEYS = {
    "ldap_url": "ldap://ldap.example.com:389",
    "zimbra_ldap_password": "of the directory",
    "zimbra_mysql_password": "of the database",
    "zimbra_server_hostname": NAME,
}


@dataclass(slots=True)
class Entries:
    """A directory with two entries: a server's and the global configuration."""

    attributes: Mapping[str, str]
    inherited: Mapping[str, str] | None = None

    def entries(self, kind: EntryKind) -> Iterator[DirectoryEntry]:
        yield from [self.server(NAME)] if kind is EntryKind.SERVER else []

    def has_account(self, account_id: str) -> bool:
        return False

    def server(self, name: str) -> DirectoryEntry:
        return _entry(EntryKind.SERVER, name, self.attributes)

    def config(self) -> DirectoryEntry | None:
        return (
            None if self.inherited is None else _entry(EntryKind.CONFIG, "config", self.inherited)
        )

    def shows_passwords(self) -> bool:
        return False

    def close(self) -> None:
        pass


def _entry(kind: EntryKind, name: str, attributes: Mapping[str, str]) -> DirectoryEntry:
    raw = {attribute: (value.encode(),) for attribute, value in attributes.items()}
    return DirectoryEntry(kind=kind, entry_id="id-1", name=name, dn=f"cn={name}", attributes=raw)


def installed(
    folder: Path,
    *,
    attributes: Mapping[str, str] | None = None,
    inherited: Mapping[str, str] | None = None,
    login: Login | None = None,
    **connection: str,
) -> ZimbraServer:
    """Return the server installed in `folder`, with these entries in its directory."""
    return ZimbraServer(
        LocalConfig.read(write_localconfig(folder, **KEYS)),
        database=MariaDatabase(login or Login(user="x", password="x", port=own_port())),
        directory=Entries(attributes or {}, inherited),
        connection=connection,
    )


def opened(folder: Path, keys: Mapping[str, str] = KEYS, **connection: Any) -> ZimbraServer:
    path = write_localconfig(folder, **keys)
    return ZimbraServer.open({"localconfig": str(path), **connection})


# --- what localconfig.xml says, and what goes before it


def test_the_database_is_where_localconfig_says(tmp_path: Path) -> None:
    server = opened(tmp_path / "zextras", KEYS | {"mysql_bind_address": "::1", "mysql_port": "7"})

    assert server.database.login == Login(
        user="zextras", password="of the database", host="::1", port=7
    )
    assert server.home == tmp_path / "zextras"
    assert server.mailbox_groups == 100


def test_what_the_connection_names_goes_before_localconfig(tmp_path: Path) -> None:
    database = {"host": "db", "port": "3306", "user": "reader", "password": "own", "socket": "/s"}
    server = opened(tmp_path, home="/mnt/zimbra", database=database)

    assert server.database.login == Login(
        user="reader", password="own", host="db", port=3306, socket="/s"
    )
    assert server.home == Path("/mnt/zimbra")


def test_a_login_of_its_own_does_not_take_the_installations_password(tmp_path: Path) -> None:
    server = opened(tmp_path, database={"user": "reader"})

    assert server.database.login.password == ""


@pytest.mark.parametrize("key", list(KEYS)[:3])
def test_a_key_that_is_needed_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(MailServerError, match=f"lacks the key {key}"):
        opened(tmp_path, {name: value for name, value in KEYS.items() if name != key})


@pytest.mark.parametrize("port", ["x", "0", "70000", "-1", "²", "9" * 40])
def test_what_is_no_port_is_refused(tmp_path: Path, port: str) -> None:
    with pytest.raises(MailServerError, match="port"):
        opened(tmp_path, database={"port": port})


def test_nothing_is_asked_of_a_server_before_the_first_question(tmp_path: Path) -> None:
    url = f"ldap://127.0.0.1:{own_port()}"

    with opened(tmp_path, KEYS | {"ldap_url": url}) as server, pytest.raises(MailServerUnreachable):
        server.source()


# --- what its entry says


def test_the_redo_log_lies_below_the_install_root(tmp_path: Path) -> None:
    found = installed(tmp_path).redo_log

    assert found == LogFiles(tmp_path / "redolog" / "redo.log", tmp_path / "redolog" / "archive")


def test_the_redo_log_lies_where_the_directory_says(tmp_path: Path) -> None:
    own = {"zimbraRedoLogLogPath": "logs/redo.log"}
    inherited = {"zimbraRedoLogLogPath": "no", "zimbraRedoLogArchiveDir": "/var/archive"}

    found = installed(tmp_path, attributes=own, inherited=inherited).redo_log

    assert found == LogFiles(tmp_path / "logs" / "redo.log", Path("/var/archive"))


def test_the_redo_log_lies_where_the_connection_says(tmp_path: Path) -> None:
    own = {"zimbraRedoLogLogPath": "logs/redo.log"}

    found = installed(
        tmp_path, attributes=own, redo_log="/mnt/redo.log", redo_log_archive="/mnt/archive"
    ).redo_log

    assert found == LogFiles(Path("/mnt/redo.log"), Path("/mnt/archive"))


@pytest.mark.parametrize(
    ("home", "attributes", "product"),
    [
        ("zimbra", {"Major": "8", "Minor": "8", "Micro": "15"}, "Zimbra 8.8.15"),
        ("zimbra", {"Major": "10", "Minor": "1"}, "Zimbra 10.1"),
        ("zimbra", {"": "9.0.0_GA_4258.UBUNTU20.64"}, "Zimbra 9.0.0"),
        ("zextras", {"Major": "4", "Minor": "25", "Micro": "2"}, "Carbonio 4.25.2"),
        ("zextras", {}, "Carbonio"),
    ],
)
def test_the_product_is_told_by_home_and_directory(
    tmp_path: Path, home: str, attributes: dict[str, str], product: str
) -> None:
    named = {f"zimbraServerVersion{name}": value for name, value in attributes.items()}

    assert str(installed(tmp_path / home, attributes=named).product) == product


@pytest.mark.services
@pytest.mark.parametrize(
    ("schema", "version"), [("111", "8.8.15 or 9.0"), ("118", "10"), ("999", ""), (None, "")]
)
def test_a_directory_without_version_leaves_it_to_the_database(
    tmp_path: Path, mariadb: MariaDB, schema: str | None, version: str
) -> None:
    with Sandbox.create(tmp_path / "sandbox", name=NAME, domain="a.example", seed=1) as sandbox:
        mariadb.load(sandbox.database)
    mariadb.put("zimbra.config", name="db.version", value=schema)

    with installed(tmp_path / "zimbra", login=mariadb.login) as server:
        assert server.product.version == version


def test_blobs_lie_in_the_servers_folder_where_it_is_configured_so(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        item = box.deliver()
        sandbox = box.sandbox
        attributes = {"zimbraConfiguredServerIDForBlobDirEnabled": (b"TRUE",)}
        entry = sandbox.server()
        source = MailServerSource(
            sandbox.database,
            sandbox.directory,
            server=replace(entry, attributes={**entry.attributes, **attributes}),
            redo_log=sandbox.redo_log,
            home=sandbox.folder,
        )
        mailbox = sandbox.mailbox(box.account)
        ((_, state),) = source.states(mailbox, [item])
        assert isinstance(state, ItemState)
        (reference,) = source.blobs_of(state)
        with pytest.raises(ReadError):
            list(source.blob(mailbox, reference))

        (sandbox.folder / "store" / "0").rename(sandbox.folder / "0")
        (sandbox.folder / "store" / entry.entry_id).mkdir()
        (sandbox.folder / "0").rename(sandbox.folder / "store" / entry.entry_id / "0")

        assert len(b"".join(source.blob(mailbox, reference))) == reference.size


# --- as an operation sees it


@contextmanager
def context(kind: str, connection: Mapping[str, Any]) -> Iterator[ServerContext]:
    server = {"name": "zimbra1", "kind": kind, "connection": connection, "backup_path": "/none"}
    settings = {
        "zone": "UTC",
        "blob_codec": "zstd",
        "compression_level": 3,
        "skip_lists": False,
        "space_threshold_mb": 0,
    }
    line = {"server": server, "settings": settings}
    with ServerContext(line, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as ctx:
        yield ctx


@pytest.mark.services
def test_an_operation_reads_a_real_server_and_cannot_write_to_it(
    tmp_path: Path, mariadb: MariaDB, slapd: Slapd
) -> None:
    with open_box(tmp_path) as box, real_server(box.sandbox, mariadb, slapd) as server:
        path = write_localconfig(tmp_path, **keys_of(box.sandbox, mariadb, slapd))
        with context("zimbra", {"localconfig": str(path)}) as ctx:
            (account,) = ctx.source.entries(EntryKind.ACCOUNT)
            with pytest.raises(MailServerError, match="cannot write to a Zimbra server") as caught:
                _ = ctx.destination

        assert account.name == box.account.name
        assert ctx.source.server_id == box.sandbox.server().entry_id
        assert server.product.name == "Zimbra"
        assert caught.value.hint
        assert PASSWORD not in repr(server.database.login)


def test_a_server_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MailServerError, match="of the kind exchange"):
        open_mail_server({"name": "mail9", "kind": "exchange", "connection": {}})
