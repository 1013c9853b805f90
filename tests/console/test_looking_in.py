"""The commands that look into the backup, as an admin types them and reads their answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.catalog.spool import Spool
from backupng.engine.errors import BackupError
from backupng.engine.model import from_ms
from backupng.engine.operations.base import Document
from backupng.engine.operations.get_backup_info import GetBackupInfo
from console.cli import output
from console.cli.backup import completed
from console.cli.output import Answer
from console.cli.saving import save
from console.models import State
from tests.commandline import ForkingCommandLine, forking
from tests.console.queued import add, bare_server

A1 = "a1@example.com"


@pytest.fixture(scope="module")
def backupng(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkingCommandLine]:
    """Return the command on a server with a deleted message in `/Work` and a contact."""
    data = tmp_path_factory.mktemp("looked") / "data"
    vcf = data.parent / "zoe.vcf"
    vcf.write_bytes(b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoe\r\nN:Neil;Zoe\r\nEND:VCARD\r\n")
    eml = data.parent / "offer.eml"
    eml.write_bytes(b"From: eve@example.org\r\nSubject: Offer\r\n\r\nHello.\r\n")
    with forking(data) as run:
        run("sandbox", "createServer", "mail1", "accounts", "1", "items", "0")
        run("sandbox", "createFolder", "mail1", A1, "/Work")
        item = run.json("sandbox", "deliver", "mail1", A1, eml, "folder", "/Work")["id"]
        run("sandbox", "addContact", "mail1", A1, vcf)
        run("--sync", "doSmartScan")
        run("sandbox", "delete", "mail1", A1, item)
        run("--sync", "doSmartScan")
        yield run


def test_a_search_prints_a_block_for_each_item(backupng: ForkingCommandLine) -> None:
    answer = backupng("doItemSearch", A1, "search_string", "Offer")

    lines = answer.out.decode().splitlines()
    labels = [line.split()[0] for line in lines]
    assert (answer.exit_status, lines[0]) == (0, "items")
    assert labels == [
        "items",
        "id",
        "type",
        "date",
        "folder",
        "subject",
        "sender",
        "deleted",
        "size",
    ]
    assert "        folder    /Work" in lines
    found = backupng.json("doItemSearch", A1, "type", "all", "search_filter", "all")["items"]
    assert len(found) > 10
    block = backupng("doItemSearch", A1, "type", "all", "search_filter", "all").out.decode()
    assert block.count("\n\n") == len(found) - 1


def test_a_search_that_finds_nothing_is_no_error(backupng: ForkingCommandLine) -> None:
    answer = backupng("doItemSearch", A1, "search_string", "nothing of that kind")

    assert (answer.exit_status, answer.out.decode(), answer.err) == (0, "items\n", "")


def test_an_item_is_written_to_the_file_that_is_named_once(
    backupng: ForkingCommandLine, tmp_path: Path
) -> None:
    (found,) = backupng.json("doItemSearch", A1)["items"]
    blob = backupng("export-item", A1, found["id"]).out
    file = tmp_path / "offer.eml"

    first = backupng("--json", "export-item", A1, found["id"], "to", file)
    again = backupng("--json", "export-item", A1, found["id"], "to", file)

    assert blob == file.read_bytes()
    assert blob.endswith(b"Subject: Offer\r\n\r\nHello.\r\n")
    assert (first.response["file"], first.response["size"]) == (str(file), len(blob))
    assert "content_base64" not in first.response
    assert (again.exit_status, again.error["code"]) == (64, "already_exists")
    assert [each.name for each in tmp_path.iterdir()] == ["offer.eml"]


def test_a_contact_is_printed_as_a_card(backupng: ForkingCommandLine) -> None:
    query = ("doItemSearch", A1, "type", "contact", "search_filter", "all")
    (found,) = backupng.json(*query)["items"]

    answer = backupng("export-item", A1, found["id"], "format", "vcf")

    assert answer.out.startswith(b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoe\r\nN:Neil;Zoe;;;\r\n")


def test_accounts_are_written_as_lines_that_an_import_reads(
    backupng: ForkingCommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "names"

    printed = backupng("getAvailableAccounts", "output_file", file)
    sections = backupng("getAvailableAccounts", "output_headers", "accountAndIdList,accountMap")

    (account,) = backupng.json("getAvailableAccounts", "domains", "example.com")["accounts"]
    assert file.read_text() == f"# accountList\n{A1}\n"
    assert printed.out.decode().splitlines()[1].startswith(A1)
    assert sections.out.decode().splitlines() == [
        *("# accountAndIdList", f"{A1} {account['id']}"),
        *("# accountMap", f"{account['id']} {A1}"),
    ]


def test_account_and_domains_are_told(backupng: ForkingCommandLine) -> None:
    path = backupng.json("getProperty", "property_name", "ZxBackup_DestPath")["properties"]

    info = backupng("getAccountInfo", A1, "backupstats", "true").out.decode()
    domains = backupng.json("getAvailableDomains", "last", path["ZxBackup_DestPath"])["domains"]

    assert [(each["name"], each["accounts"]) for each in domains] == [("example.com", 1)]
    assert "accountStates\n        start_date" in info
    assert "blob bytes compressed" in info
    assert "1970" not in info


@pytest.mark.django_db
def test_backup_info_tells_which_upkeep_was_run_last_in_earnest() -> None:
    server = bare_server()
    elsewhere = {"backup_path": "/mnt/other"}
    runs: tuple[tuple[str, dict[str, str], State], ...] = (
        ("doPurge", {"purgeDays": "30"}, State.SUCCESSFUL),
        ("doPurge", {"dryrun": "true"}, State.SUCCESSFUL),
        ("doPurge", elsewhere, State.SUCCESSFUL),
        ("doPurge", {}, State.FAILED),
        ("doCoherencyCheck", {"backup_path": str(server.path)}, State.SUCCESSFUL),
        ("doCoherencyCheck", elsewhere, State.SUCCESSFUL),
    )
    for number, (command, parameters, state) in enumerate(runs, 1):
        add(state, command=command, parameters=parameters, ended_at=from_ms(number * 1000))

    own = completed(GetBackupInfo(), {"items": 1}, server)
    other = completed(GetBackupInfo(backup_path=Path("/mnt/other")), {"items": 1}, server)

    upkeep = {"last_purge_ended": 1000, "last_coherency_check_ended": 5000}
    assert own == {"items": 1} | upkeep
    assert other == {"items": 1}


def test_all_of_it_works_while_the_mail_server_is_down(backupng: ForkingCommandLine) -> None:
    server = backupng.data / "servers" / "mail1"
    (found,) = backupng.json("doItemSearch", A1)["items"]
    away = server.rename(server.with_name("away"))
    try:
        path = backupng.json("getBackupInfo")["path"]
        statuses = [
            backupng("--offline", *words).exit_status
            for words in (
                ("doItemSearch", A1),
                ("export-item", A1, found["id"]),
                ("getAccountInfo", A1),
                ("getAvailableAccounts",),
                ("getAvailableDomains", "last", path),
                ("getItem", A1, found["id"], "dump_blob", "true"),
                ("getAvailableAccounts", "hide_existing_accounts", "true"),
            )
        ]
    finally:
        away.rename(server)

    assert statuses == [0, 0, 0, 0, 0, 0, 1]


# What is written


def test_no_file_is_written_over_into_the_backup_path_or_into_nowhere(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "there").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    refused = {}
    for name in ("there", "dangling", "tree/file", "none/file", "n" * 300, "there/file"):
        with pytest.raises(BackupError) as error:
            save(Document(file=tmp_path / name, content=b"x"), tree=tree)
        refused[name[:9]] = error.value.code

    assert refused == {
        "there": "already_exists",
        "dangling": "already_exists",
        "tree/file": "path_in_use",
        "none/file": "path_missing",
        "n" * 9: "failed",
        "there/fil": "path_missing",
    }
    assert (tmp_path / "there").read_text() == "mine"


def test_a_long_list_is_in_the_envelope_what_a_short_one_is() -> None:
    rows: list[dict[str, Any]] = [{"id": 1, "subject": "è\u2028"}, {"id": 2, "subject": None}]
    short = Answer(host="mail1", response={"items": rows, "none": [], "empty": {}})
    long = Answer(host="mail1", response={"items": Spool(rows), "none": Spool([]), "empty": {}})

    assert output.envelope([long]) == output.envelope([short])
    assert json.loads(output.envelope([short]))["mail1"]["response"]["items"] == rows
