"""What a real Zimbra wrote goes in whole and comes back whole: the proof, by commands."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import AccountId, ItemId, spell_digest
from tests.commandline import CommandLine, comparable, forking
from tests.processes import DEADLINE_S
from tests.services import require

MAILBOXES = {
    "mario.rossi@example.com": "e0a1b2c3-1111-4222-8333-444455556666",
    "anna.bianchi@example.com": "aaaaaaaa-1111-4222-8333-444455556666",
    "luca.verdi@example.com": "cccccccc-1111-4222-8333-444455556666",
}


@dataclass(frozen=True)
class FirstLight:
    """A server loaded from genuine data and scanned once."""

    backupng: CommandLine
    history: Path
    scan: dict[str, Any]
    second_scan: dict[str, Any]
    backup_path: Path

    def rows(self, table: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield group number and row of every genuine row of a group table."""
        for group in (1, 2, 3):
            file = self.history / "db-rows" / f"mboxgroup{group}.{table}.jsonl"
            if file.exists():
                for line in file.read_text(encoding="utf-8").splitlines():
                    yield group, json.loads(line)


@pytest.fixture(scope="module")
def first_light(genuine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstLight]:
    history = genuine / "history"
    with forking(tmp_path_factory.mktemp("first-light")) as backupng:
        loaded = backupng.json("sandbox", "load", "zimbra1", history)
        scan = backupng.json("--sync", "--host", "zimbra1", "backup", "doSmartScan")
        second_scan = backupng.json("--sync", "--host", "zimbra1", "backup", "doSmartScan")
        yield FirstLight(backupng, history, scan, second_scan, Path(loaded["backup_path"]))


def test_the_first_scan_reads_everything(first_light: FirstLight) -> None:
    assert first_light.scan["state"] == "Successful"
    assert first_light.scan["counters"]["read_errors"] == 0
    assert first_light.scan["counters"]["accounts_scanned"] == 3


def test_every_live_row_has_a_state(first_light: FirstLight) -> None:
    accounts = dict(enumerate(MAILBOXES.values(), 1))
    rows = {(accounts[group], row["id"]): row for group, row in first_light.rows("mail_item")}
    tags = {
        (accounts[group], row["id"]): row for group, row in first_light.rows("tag") if row["id"] > 0
    }

    with BackupPath.open(first_light.backup_path) as path:
        states = {
            (account, item): path.history(AccountId(account), ItemId(item))[-1]
            for account in MAILBOXES.values()
            for item in path.items(AccountId(account))
        }

    assert states.keys() == rows.keys() | tags.keys()
    assert {key: states[key].mod for key in rows} == {
        key: row["mod_metadata"] for key, row in rows.items()
    }
    assert {key: dict(states[key].row) for key in rows} == {
        key: {column: value for column, value in row.items() if value is not None}
        for key, row in rows.items()
    }


def test_every_blob_is_there_under_its_digest_and_verifies(first_light: FirstLight) -> None:
    rows = [*first_light.rows("mail_item"), *first_light.rows("revision")]
    digests = {row["blob_digest"] for _, row in rows if row["blob_digest"] is not None}

    with BackupPath.open(first_light.backup_path) as path:
        verified = {digest for digest in digests if sum(map(len, path.blob(digest)))}
        assert verified == digests
        assert path.measure_blobs()[0] == len(digests)


def test_a_second_scan_finds_nothing_to_do(first_light: FirstLight) -> None:
    counters = first_light.second_scan["counters"]
    assert {
        name: counters[name]
        for name in ("items_new", "items_updated", "items_deleted", "blobs_new", "entries_changed")
    } == {
        "items_new": 0,
        "items_updated": 0,
        "items_deleted": 0,
        "blobs_new": 0,
        "entries_changed": 0,
    }


@pytest.mark.parametrize("source", MAILBOXES)
def test_a_mailbox_comes_back_whole(first_light: FirstLight, source: str) -> None:
    backupng, copy = first_light.backupng, source.replace("@", "2@")
    before = backupng.json("sandbox", "list", "zimbra1", source)

    done = backupng.json(
        "--sync", "--host", "zimbra1", "doRestoreOnNewAccount", source, copy, "last"
    )

    counters = done["counters"]
    assert counters["planned"] == counters["restored"] > 0
    assert (counters["skipped"], counters["unrestored"]) == (0, 0)
    restored = backupng.json("sandbox", "list", "zimbra1", copy)
    assert comparable(restored) == comparable(before)
    assert dates(restored) == dates(before)
    assert {(tag["name"], tag["color"]) for tag in restored["tags"]} == {
        (tag["name"], tag["color"]) for tag in before["tags"]
    }
    assert backupng.json("sandbox", "list", "zimbra1", source) == before


def dates(listing: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the dates of the items, folders aside: theirs are those of their making."""
    return sorted(
        (item["type"], item["date"])
        for item in listing["items"]
        if item["type"] not in ("folder", "search", "mountpoint")
    )


def test_grep_finds_a_subject_in_the_metadata(first_light: FirstLight) -> None:
    found = subprocess.run(
        [
            require("grep", "grep"),
            "-rlF",
            "Più caffè per tutti",
            first_light.backup_path / "accounts",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert found.stdout.splitlines()


def test_a_blob_unpacks_with_the_command_that_get_item_prints(first_light: FirstLight) -> None:
    require("zstd", "zstd")
    item = first_light.backupng.json(
        "--host", "zimbra1", "getItem", "mario.rossi@example.com", "268"
    )
    (state,) = item["itemStates"]

    unpacked = subprocess.run(
        [require("sh", "dash"), "-c", state["unpack"]],
        capture_output=True,
        check=True,
        timeout=DEADLINE_S,
    ).stdout

    assert spell_digest(hashlib.sha256(unpacked).digest()) == state["digest"]
    assert Path(state["blob_path"]).name == state["digest"]
    assert len(unpacked) == state["size"] == 2063
