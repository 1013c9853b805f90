"""A real mail server put under backup by the command line, and checked at any later time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.model import EntryKind
from backupng.engine.operations.smart_scan import SmartScan
from console import connect
from console.cli import program
from console.models import AuditEntry, Server
from tests.cast import Office, office
from tests.engine.mailserver.realserver import entries, keys_of, write_localconfig
from tests.mariadb import MariaDB
from tests.processes import open_port
from tests.slapd import READER, Slapd

pytestmark = [pytest.mark.services, pytest.mark.django_db]


SAVED = (EntryKind.ACCOUNT, EntryKind.COS, EntryKind.SERVER)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def body(self) -> dict[str, Any]:
        """What it answered as JSON."""
        (found,) = json.loads(self.out).values()
        assert isinstance(found, dict)
        return found

    @property
    def missing(self) -> list[str]:
        """The names of the checks that were not met."""
        return [each["name"] for each in self.body["response"]["checks"] if not each["ok"]]


Run = Callable[..., Ended]
Config = Callable[..., Path]


@pytest.fixture
def run(data: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    def command(*words: object) -> Ended:
        status = program.run(list(map(str, words)))
        out, err = capfdbinary.readouterr()
        return Ended(status, out.decode(), err.decode())

    return command


@pytest.fixture(scope="module")
def real(mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The office, with its rows in a database that says its version."""
    with office(tmp_path_factory.mktemp("real")) as made:
        mariadb.load(made.sandbox.database)
        mariadb.ask("INSERT INTO zimbra.config (name, value) VALUES ('db.version', '111')")
        yield made


@pytest.fixture
def config(real: Office, mariadb: MariaDB, slapd: Slapd) -> Config:
    """Write the localconfig.xml of a real server that holds what the office's sandbox holds."""
    if slapd.loaded is not real:
        slapd.load(entries(real.sandbox))
        slapd.loaded = real

    def write(**values: str) -> Path:
        keys = keys_of(real.sandbox, mariadb, slapd)
        return write_localconfig(real.sandbox.folder, **(keys | values))

    return write


@pytest.fixture
def backup_path(tmp_path: Path) -> Path:
    folder = tmp_path / "ng"
    folder.mkdir()
    return folder


def add(
    run: Run, localconfig: Path, backup_path: Path, *switches: str, name: str = "real"
) -> Ended:
    words = ("config", "addServer", name, "zimbra", "localconfig", localconfig)
    return run(*switches, *words, "backup_path", backup_path)


def test_a_server_that_lacks_nothing_is_added_and_can_be_scanned(
    run: Run, config: Config, backup_path: Path
) -> None:
    localconfig = config()

    ended = add(run, localconfig, backup_path, "--json")
    server = Server.objects.get()
    with connect.context(server) as ctx:
        counters = SmartScan().run(ctx).counters
        saved = {kind: len(list(ctx.path.entry_ids(kind))) for kind in SAVED}

    assert ended.status == 0
    assert ended.missing == []
    assert ended.body["response"]["backup_path"] == str(backup_path)
    assert (server.name, server.kind, server.path) == ("real", "zimbra", backup_path)
    assert server.connection == {"localconfig": str(localconfig)}
    assert counters["accounts_scanned"] == 3
    assert counters["accounts_skipped_by_cos"] == 1
    assert saved == {EntryKind.ACCOUNT: 3, EntryKind.COS: 2, EntryKind.SERVER: 1}


def test_each_check_is_a_line_and_the_next_command_is_named(
    run: Run, config: Config, backup_path: Path
) -> None:
    ended = add(run, config(), backup_path)

    checks = ended.out.partition("\n\n")[0].splitlines()
    assert len(checks) > 10
    assert {line.split()[0] for line in checks} <= {"ok", "missing"}
    assert "backupng --host real backup doSmartScan" in ended.out
    assert AuditEntry.objects.get(action="addServer").subject == "real"


def test_a_server_that_lacks_something_necessary_is_not_added(
    run: Run, config: Config, backup_path: Path
) -> None:
    localconfig = config(zimbra_ldap_userdn=READER)

    as_json = add(run, localconfig, backup_path, "--json")
    as_text = add(run, localconfig, backup_path)

    assert (as_json.status, as_text.status) == (64, 64)
    assert as_json.missing == ["passwords"]
    assert as_json.body["error"]["code"] == "check_failed"
    assert "missing  The directory does not show userPassword" in as_text.out
    assert as_text.err.startswith("Error: The server real lacks: passwords.\nHint: ")
    assert not Server.objects.exists()


def test_a_server_that_does_not_answer_is_not_added_and_told_apart(
    run: Run, config: Config, backup_path: Path
) -> None:
    with open_port() as port:
        closed = str(port)

    ended = add(run, config(mysql_port=closed), backup_path, "--json")

    assert ended.status == 69
    assert ended.body["error"]["code"] == "server_unreachable"
    assert not Server.objects.exists()


def test_a_server_without_a_redo_log_is_added_all_the_same(
    run: Run, config: Config, backup_path: Path, slapd: Slapd, real: Office
) -> None:
    slapd.modify(real.sandbox.server().dn, zimbraRedoLogLogPath="elsewhere/redo.log")
    localconfig = config()

    ended = add(run, localconfig, backup_path, "--json")

    assert ended.status == 0
    assert ended.missing == ["redo log", "redo log links"]
    assert Server.objects.exists()


@pytest.fixture
def added(run: Run, config: Config, backup_path: Path) -> Path:
    localconfig = config()
    assert add(run, localconfig, backup_path).status == 0
    return localconfig


def test_a_server_is_added_once(run: Run, added: Path, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()

    same_name = add(run, added, folder, "--json")
    same_server = add(run, added, folder, "--json", name="twin")

    assert (same_name.status, same_server.status) == (64, 64)
    assert same_name.body["error"]["code"] == "already_exists"
    assert same_server.body["error"]["message"].endswith("is there already: real.")
    assert Server.objects.count() == 1


def test_a_backup_path_that_cannot_be_leaves_no_server(
    run: Run, config: Config, tmp_path: Path
) -> None:
    ended = add(run, config(), tmp_path / "gone", "--json")

    assert (ended.status, ended.body["error"]["code"]) == (64, "path_missing")
    assert not Server.objects.exists()


def test_another_kind_of_server_is_refused(run: Run) -> None:
    ended = run("--json", "config", "addServer", "real", "exchange")

    assert (ended.status, ended.body["error"]["code"]) == (64, "bad_value")


def test_a_server_can_be_checked_later(run: Run, added: Path, slapd: Slapd) -> None:
    before = run("--json", "config", "checkServer", "real")
    slapd.load([])
    after = run("--json", "config", "checkServer", "REAL")

    assert (before.status, before.missing) == (0, [])
    assert (after.status, after.missing) == (64, ["directory", "server"])


@pytest.fixture
def sandbox(data: Path) -> str:
    request = connect.SandboxRequest(
        name="mail1", domain="example.com", accounts=0, items=0, seed=1
    )
    return connect.create_sandbox(request).name


def test_a_sandbox_needs_nothing(run: Run, sandbox: str) -> None:
    ended = run("config", "checkServer", sandbox)

    assert (ended.status, ended.out) == (0, "ok       The sandbox mail1 opens.\n")


def test_a_server_that_is_not_there_cannot_be_checked(run: Run, sandbox: str) -> None:
    ended = run("config", "checkServer", "mail2")

    assert ended.status == 64
    assert "There are: mail1." in ended.err
