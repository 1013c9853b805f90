"""`config set`, `get` and `unset`: whom they mean, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.store import BackupPath, Owner
from console import connect, properties
from console.cli import program
from console.models import AuditEntry, Server, Setting
from tests.console import scanning
from tests.console.scanning import NOW

THRESHOLD = properties.SPACE_THRESHOLD
ID = "2c1b5f0e-3b1c-4f6e-9a57-1f0f6f2f6a10"


@pytest.fixture
def servers(data: Path, db: None) -> list[Server]:
    return [scanning.bare_server(data, name) for name in ("mail1", "mail2")]


@pytest.fixture
def config(servers: list[Server], capfd: pytest.CaptureFixture[str]) -> Any:
    """Return what runs a command and returns the exit status and the answer of this host."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        status = program.run(["--json", "config", *words])
        return status, json.loads(capfd.readouterr().out)["localhost"]

    return run


def value(server: Server) -> Any:
    return connect.values(server)[THRESHOLD].value


def test_a_server_is_named_by_the_id_of_its_directory(config: Any, servers: list[Server]) -> None:
    owner = Owner(server_id=ID, server_name="mail.example.com", tree_id="")
    BackupPath.open_or_create(servers[1].path, owner, now=NOW).close()

    status, _ = config("set", "server", ID.upper(), THRESHOLD, "7")

    assert status == 0
    assert [value(each) for each in servers] == [2048, 7]


def test_all_servers_get_the_value_or_none(config: Any, servers: list[Server]) -> None:
    status, answer = config("set", "server", "all_servers", THRESHOLD, "7")
    assert (status, [value(each) for each in servers]) == (0, [7, 7])
    assert [each["server"] for each in answer["response"]["servers"]] == ["mail1", "mail2"]

    connect.set_property(servers[1], properties.BLOB_CODEC, "gzip")
    status, answer = config("set", "server", "all_servers", properties.COMPRESSION_LEVEL, "12")

    assert (status, answer["error"]["code"]) == (64, "bad_value")
    assert not Setting.objects.filter(name=properties.COMPRESSION_LEVEL).exists()


def test_what_is_set_for_all_counts_where_nothing_else_is_set(
    config: Any, servers: list[Server]
) -> None:
    connect.set_property(servers[0], THRESHOLD, "5")

    config("set", "global", THRESHOLD, "7")
    _, got = config("get", "global", THRESHOLD)
    kept = [value(each) for each in servers]
    config("unset", "global", THRESHOLD)

    assert got["response"]["values"][0]["value"] == "7"
    assert kept == [5, 7]
    assert [value(each) for each in servers] == [5, 2048]
    assert AuditEntry.objects.filter(subject=f"{THRESHOLD} on all servers").count() == 2


def test_for_all_no_value_is_set_that_one_of_them_cannot_have(
    config: Any, servers: list[Server]
) -> None:
    connect.set_property(servers[1], properties.BLOB_CODEC, "gzip")

    status, _ = config("set", "global", properties.COMPRESSION_LEVEL, "12")

    assert status == 64
    assert not Setting.objects.filter(server=None).exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("set", "global", properties.DEST_PATH, "/x"), "has no value for all servers."),
        (("get", "global", properties.INITIALIZED), "has no value for all servers."),
        (("get", "server", "mail9", THRESHOLD), "There is no server mail9."),
        (("get", "server", "localhost", THRESHOLD), "There are several servers here."),
        (("get", "domain", "mail1", THRESHOLD), "scope: 'domain' is not accepted."),
    ],
)
def test_what_cannot_be_meant_is_refused(
    config: Any, words: tuple[str, ...], sentence: str
) -> None:
    status, answer = config(*words)

    assert status == 64
    assert sentence in answer["error"]["message"]
