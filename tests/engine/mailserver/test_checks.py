"""What the check of a real server finds missing, and the words in which it says how to grant it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.checks import Check, check
from backupng.engine.redolog.holding import FOLDER
from backupng.engine.redolog.writer import LogWriter
from tests.cast import NOON
from tests.engine.mailserver.realserver import entries, keys_of, write_localconfig
from tests.mariadb import MariaDB
from tests.processes import open_port
from tests.slapd import ADMIN, OUTSIDER, READER, Slapd

pytestmark = pytest.mark.services

NAME = "mail1.example.com"
SERVER_DN = f"cn={NAME},cn=servers,cn=zimbra"
OTHER = "'lonely'@'127.0.0.1'"

Checks = dict[str, Check]
Examine = Callable[..., Checks]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("checked") / "server"
    with Sandbox.create(folder, name=NAME, domain="example.com", seed=1) as made:
        SandboxClient(made, lambda: NOON).create_account("anna@example.com")
        with made.database.transaction():
            anna = made.account("anna@example.com")
            made.directory.modify(anna, {"userPassword": (b"{SSHA512}c2VjcmV0",)})
        if not made.redo_log.current.exists():
            LogWriter(made.redo_log, server_id="id", now_ms=1).leave()
        yield made


@pytest.fixture(scope="module")
def database(mariadb: MariaDB, sandbox: Sandbox) -> MariaDB:
    """The sandbox's rows in a database that says its version."""
    mariadb.load(sandbox.database)
    mariadb.ask("INSERT INTO zimbra.config (name, value) VALUES ('db.version', '118')")
    mariadb.ask(f"CREATE USER IF NOT EXISTS {OTHER} IDENTIFIED BY 'alone'")
    return mariadb


@pytest.fixture
def directory(slapd: Slapd, sandbox: Sandbox) -> Slapd:
    if slapd.loaded is not sandbox:
        slapd.load(entries(sandbox))
        slapd.loaded = sandbox
    return slapd


@pytest.fixture
def examine(sandbox: Sandbox, database: MariaDB, directory: Slapd) -> Examine:
    """Check the server, some values of its localconfig.xml changed."""

    def run(**values: str) -> Checks:
        keys = keys_of(sandbox, database, directory)
        path = write_localconfig(sandbox.folder, **(keys | values))
        found = check({"localconfig": str(path)})
        assert len({each.name for each in found}) == len(found)
        return {each.name: each for each in found}

    return run


def missing(found: Checks) -> list[str]:
    return [name for name, each in found.items() if not each.ok]


def test_a_server_with_everything_lacks_nothing(examine: Examine, sandbox: Sandbox) -> None:
    found = examine()

    assert missing(found) == []
    assert list(found) == [
        *("localconfig", "database", "version", "volume message1", "volume message2"),
        *("directory", "passwords", "server", "redo log enabled", "redo log provider"),
        *("redo log", "redo log links", "redo log rollover"),
    ]
    assert not (sandbox.redo_log.current.parent / FOLDER).exists()


def test_no_check_tells_a_password(examine: Examine) -> None:
    found = examine(zimbra_ldap_password="wrong horse", zimbra_mysql_password="wrong staple")

    said = repr(found)
    assert missing(found) == ["database", "directory"]
    assert not [word for word in ("horse", "staple") if word in said]


# Installation and database


def test_without_a_localconfig_nothing_else_is_asked(tmp_path: Path) -> None:
    (found,) = check({"localconfig": str(tmp_path / "localconfig.xml")})

    assert (found.name, found.ok, found.necessary) == ("localconfig", False, True)
    assert "There is no" in found.message
    assert "/opt/zimbra/conf/localconfig.xml" in found.hint


def test_a_localconfig_without_a_password_names_the_key(examine: Examine) -> None:
    assert "zimbra_mysql_password" in examine(zimbra_mysql_password="")["localconfig"].message


@pytest.mark.parametrize("granted", ["", "zimbra"])
def test_a_database_login_without_rights_is_told_the_statements_that_grant_them(
    examine: Examine, database: MariaDB, granted: str
) -> None:
    database.ask(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {OTHER}")
    if granted:
        database.ask(f"GRANT SELECT ON `{granted}`.* TO {OTHER}")

    refused = examine(zimbra_mysql_user="lonely", zimbra_mysql_password="alone")
    statements = refused["database"].hint.partition("`mysql`: ")[2].split(";")
    for statement in filter(None, statements):
        database.ask(statement.replace("%", "%%"))
    granted_now = examine(zimbra_mysql_user="lonely", zimbra_mysql_password="alone")

    assert missing(refused) == ["database"]
    assert missing(granted_now) == []


def test_a_database_that_does_not_answer_is_unreachable_and_the_directory_is_checked(
    examine: Examine,
) -> None:
    with open_port() as port:
        closed = str(port)

    found = examine(mysql_port=closed)

    assert found["database"].unreachable
    assert "GRANT" not in found["database"].hint
    assert missing(found) == ["database"]
    assert found["redo log rollover"].ok


@pytest.mark.parametrize(("version", "ok"), [("111", True), ("118", True), ("109", False)])
def test_a_database_of_a_version_that_is_not_known_is_refused(
    examine: Examine, database: MariaDB, version: str, *, ok: bool
) -> None:
    database.ask("UPDATE zimbra.config SET value = %s WHERE name = 'db.version'", version)
    found = examine()["version"]
    database.ask("UPDATE zimbra.config SET value = '118' WHERE name = 'db.version'")

    assert (found.ok, found.necessary) == (ok, True)
    assert version in found.message


# Volumes


def test_a_volume_that_is_not_there_is_named(examine: Examine, database: MariaDB) -> None:
    database.ask("UPDATE zimbra.volume SET path = 'gone' WHERE name = 'message2'")
    found = examine()
    database.ask("UPDATE zimbra.volume SET path = 'store2' WHERE name = 'message2'")

    assert missing(found) == ["volume message2"]
    assert "gone is not there" in found["volume message2"].message


def test_what_cannot_be_read_below_a_volume_is_named(examine: Examine, sandbox: Sandbox) -> None:
    folder = sandbox.folder / "store" / "0"
    folder.mkdir()
    lost = folder / "1"
    lost.symlink_to("lost")
    found = examine()["volume message1"]
    shutil.rmtree(folder)

    assert not found.ok
    assert str(lost) in found.message


# Directory


def test_a_login_that_does_not_see_passwords_is_told_which_does(examine: Examine) -> None:
    found = examine(zimbra_ldap_userdn=READER)

    assert missing(found) == ["passwords"]
    assert "zimbra_ldap_userdn" in found["passwords"].hint


def test_a_login_that_sees_nothing_lacks_all(examine: Examine) -> None:
    found = examine(zimbra_ldap_userdn=OUTSIDER)

    assert missing(found) == ["directory", "passwords", "server"]
    assert all(found[name].necessary for name in missing(found))


def test_a_directory_that_refuses_the_login_is_told_the_key(examine: Examine) -> None:
    found = examine(zimbra_ldap_userdn=ADMIN, zimbra_ldap_password="wrong")

    assert missing(found) == ["directory"]
    assert "zimbra_ldap_password" in found["directory"].hint


def test_a_server_that_the_directory_does_not_know_is_told_those_it_knows(
    examine: Examine,
) -> None:
    found = examine(zimbra_server_hostname="elsewhere")

    assert missing(found) == ["server"]
    assert NAME in found["server"].hint


def test_a_directory_that_is_laid_out_by_another_class_is_pointed_out(examine: Examine) -> None:
    layout = "com.zimbra.cs.account.ldap.custom.CustomLdapProvisioning"

    found = examine(zimbra_class_provisioning=layout)

    assert missing(found) == ["directory layout"]
    assert not found["directory layout"].necessary


# Redo log


@pytest.mark.parametrize(
    ("attribute", "value", "name"),
    [
        ("zimbraRedoLogEnabled", "FALSE", "redo log enabled"),
        ("zimbraRedoLogProvider", "com.example.Other", "redo log provider"),
    ],
)
def test_a_redo_log_that_is_not_written_is_told_the_command_that_changes_it(
    examine: Examine, directory: Slapd, attribute: str, value: str, name: str
) -> None:
    directory.put(
        "cn=config,cn=zimbra",
        {
            "objectClass": ["organizationalRole", "zimbraGlobalConfig", "extensibleObject"],
            "cn": "config",
            attribute: value,
        },
    )

    found = examine()

    assert missing(found) == [name]
    assert not found[name].necessary
    assert f"zmprov ms {NAME} {attribute}" in found[name].hint


def test_what_the_server_itself_says_of_its_redo_log_goes_before_what_it_inherits(
    examine: Examine, directory: Slapd
) -> None:
    directory.put(
        "cn=config,cn=zimbra",
        {
            "objectClass": ["organizationalRole", "zimbraGlobalConfig", "extensibleObject"],
            "cn": "config",
            "zimbraRedoLogEnabled": "FALSE",
        },
    )
    directory.modify(SERVER_DN, zimbraRedoLogEnabled="TRUE")

    assert missing(examine()) == []


def test_a_redo_log_that_is_not_there_can_neither_be_read_nor_held(
    examine: Examine, directory: Slapd
) -> None:
    directory.modify(SERVER_DN, zimbraRedoLogLogPath="elsewhere/redo.log")

    found = examine()

    assert missing(found) == ["redo log", "redo log links"]
    assert not found["redo log"].necessary


def test_whether_full_files_are_kept_is_told_with_the_command(
    examine: Examine, directory: Slapd
) -> None:
    deleted = examine()["redo log rollover"]
    directory.modify(SERVER_DN, zimbraRedoLogDeleteOnRollover="FALSE")
    kept = examine()["redo log rollover"]

    assert "deletes" in deleted.message
    assert f"zmprov ms {NAME} zimbraRedoLogDeleteOnRollover FALSE" in deleted.hint
    assert "archive" in kept.message
