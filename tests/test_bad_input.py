"""Bad input by command: one sentence, a hint, code and exit status, and nothing changed."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine, forking
from tests.engine.backuppath.mounts import small_disk, widen

A1, COPY = "a1@example.com", "copy@example.com"


@pytest.fixture(scope="module")
def backupng(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A server that was scanned once; the tests here change nothing of it."""
    with forking(tmp_path_factory.mktemp("bad-input")) as made:
        made.json("sandbox", "createServer", "mail1", "accounts", 2, "items", 12)
        made.json("--sync", "doSmartScan")
        yield made


def all_of(data: Path) -> dict[str, bytes]:
    """Return every file of servers and Backup Paths, SQLite's own side files apart."""
    return {
        str(file): file.read_bytes()
        for folder in ("servers", "backup")
        for file in (data / folder).rglob("*")
        if file.is_file() and not file.name.endswith(("-wal", "-shm"))
    }


@pytest.mark.parametrize(
    ("words", "code", "exit_status"),
    [
        (["doRestoreOnNewAccount", "nobody@example.com", COPY, "last"], "no_such_account", 64),
        (["doRestoreOnNewAccount", A1, "a2@example.com", "last"], "already_exists", 64),
        (["doRestoreOnNewAccount", A1, "x@foreign.example", "last"], "no_such_domain", 64),
        (["doRestoreOnNewAccount", A1, COPY, "01/01/2001 00:00:00"], "before_first_backup", 64),
        (["doRestoreOnNewAccount", A1, COPY, "01/01/2101 00:00:00"], "date_in_future", 64),
        (["doRestoreOnNewAccount", A1, COPY, "28/03/2027 02:30:00"], "bad_value", 64),
        (["doRestoreOnNewAccount", A1, COPY, "tomorrow"], "bad_value", 64),
        (["doRestoreOnNewAccount", A1], "usage", 64),
        (["getItem", A1, 99999], "no_such_item", 64),
        (["getItem", A1, "x"], "bad_value", 64),
        (["getItem", "nobody@example.com", 257], "no_such_account", 64),
        (["getAvailableAccounts", "domains", "foreign.example"], "no_such_domain", 64),
        (["getBackupInfo", "backup_path", "/nowhere/at/all"], "path_missing", 64),
        (["getBackupInfo", "backup_path", "/usr"], "path_not_a_backup", 64),
        (["setProperty", "ZxBackup_BlobCodek", "gzip"], "bad_value", 64),
        (["setProperty", "ZxBackup_BlobCodec", "rar"], "bad_value", 64),
        (["setProperty", "ZxBackup_DestPath", "/nowhere/at/all"], "path_missing", 64),
        (["setProperty", "ZxBackup_DestPath", "/etc"], "path_not_allowed", 64),
        (["setProperty", "allowed_paths", "/mnt,srv"], "bad_value", 64),
        (["doExport", "/nowhere/at/all"], "path_missing", 64),
        (["doExport", "/etc"], "path_not_allowed", 64),
        (["doExport", "export"], "bad_value", 64),
        (["doExport", "/usr"], "path_not_empty", 64),
        (["doSmartScann"], "no_such_command", 64),
        (["backup", "doSmartScann"], "no_such_command", 64),
        (["backupp", "doSmartScan"], "no_such_module", 64),
        (["doSmartScan", "deep"], "usage", 64),
        (["doSmartScan", "deep", "true", "deep", "true"], "usage", 64),
        (["doSmartScan", "notifications", "not an address"], "bad_value", 64),
        (["--host", "mail9", "doSmartScan"], "bad_value", 64),
        (["sandbox", "createServer", "mail1"], "already_exists", 64),
        (["sandbox", "createServer", "MAIL1"], "already_exists", 64),
        (["sandbox", "createServer", "all_servers"], "bad_value", 64),
        (["sandbox", "createServer", "../mail1"], "bad_value", 64),
        (["sandbox", "createServer", "mail2", "domain", "-"], "bad_value", 64),
        (["sandbox", "load", "mail3", "/usr"], "bad_value", 64),
        (["sandbox", "load", "mail3", "/nowhere"], "bad_value", 64),
        (["sandbox", "load", "mail1", "/usr"], "already_exists", 64),
        (["sandbox", "list", "mail9", A1], "bad_value", 64),
        (["sandbox", "list", "mail1", "nobody@example.com"], "no_such_account", 64),
        (["sandbox", "deliver", "mail1", A1, "/no/such/file"], "bad_value", 64),
        (["sandbox", "createAccount", "mail1", A1], "already_exists", 64),
        (["sandbox", "createAccount", "mail1", "x@foreign.example"], "no_such_domain", 64),
        (["sandbox", "move", "mail1", A1, 99999, "/Trash"], "no_such_item", 64),
        (["sandbox", "move", "mail1", A1, 2, "/Trash"], "bad_value", 64),
        (["sandbox", "flag", "mail1", A1, 2, "+shiny"], "bad_value", 64),
        (["sandbox", "getBlob", "mail1", A1, 2], "no_such_item", 64),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_a_refused_call_says_why_and_changes_nothing(
    backupng: CommandLine, words: list[Any], code: str, exit_status: int
) -> None:
    before = all_of(backupng.data)

    answer = backupng("--json", "--sync", *words)

    assert (answer.error["code"], answer.exit_status) == (code, exit_status)
    assert answer.error["message"].endswith(".")
    assert "\n" not in answer.error["message"]
    assert all_of(backupng.data) == before


def test_a_refusal_in_text_is_an_error_and_a_hint_on_standard_error(backupng: CommandLine) -> None:
    answer = CommandLine(backupng.data)("doRestoreOnNewAccount", A1, "a2@example.com", "last")

    assert (answer.exit_status, answer.out) == (64, b"")
    assert answer.err.splitlines() == [
        "Error: The account a2@example.com exists.",
        "Hint: A Restore on New Account makes its account itself: choose another name.",
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"backupng 1.0\ntree x\n", "path_damaged"),
        (b"", "path_damaged"),
        (b"\0" * 100, "path_damaged"),
        (b"backupng 2.0\n", "unsupported_format"),
        (b"backupng 99.7\nwhatever\n", "unsupported_format"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "words", [("--sync", "doSmartScan"), ("getBackupInfo",)], ids=lambda words: words[-1]
)
def test_a_backup_path_that_cannot_be_understood_is_refused_and_left_alone(
    backupng: CommandLine, content: bytes, code: str, words: tuple[str, ...]
) -> None:
    form = backupng.data / "backup" / "mail1" / "format"
    good = form.read_bytes()
    form.write_bytes(content)
    try:
        answer = backupng("--json", *words)
        assert (answer.error["code"], answer.exit_status) == (code, 64)
        assert answer.error["hint"]
        assert form.read_bytes() == content
    finally:
        form.write_bytes(good)


def test_a_backup_path_on_a_read_only_disk_can_be_looked_into_but_not_used(
    backupng: CommandLine, tmp_path: Path
) -> None:
    with small_disk(tmp_path, "size=8m") as disk:
        copy = shutil.copytree(backupng.data / "backup" / "mail1", disk / "copy")
        widen(disk, "ro")

        found = backupng.json("getBackupInfo", "backup_path", copy)
        refused = [
            backupng("--json", "--sync", *words)
            for words in (
                ("setProperty", "ZxBackup_DestPath", copy),
                ("doPurge", "backup_path", copy),
                ("doCoherencyCheck", copy, "fixBackup", "true"),
            )
        ]

    assert found["accounts"] == 2
    assert [(each.error["code"], each.exit_status) for each in refused] == [
        ("path_not_writable", 64)
    ] * 3
    assert refused[0].error["message"] == f"{copy} lies on a disk that is mounted read-only."


@pytest.mark.parametrize(
    ("rule", "codes"),
    [("incompat", ["unsupported_format"] * 2), ("ro-compat", [None, "unsupported_format"])],
)
def test_a_backup_path_of_a_newer_version_is_read_as_far_as_it_allows(
    backupng: CommandLine, rule: str, codes: list[str | None]
) -> None:
    form = backupng.data / "backup" / "mail1" / "format"
    good = form.read_bytes()
    newer = good[: good.rindex(b"#")] + b"features shards:%s\n" % rule.encode()
    form.write_bytes(newer + b"#%08x\n" % zlib.crc32(newer))
    try:
        looked, scanned = (
            backupng("--json", *words) for words in (("getBackupInfo",), ("--sync", "doSmartScan"))
        )
        found = [each.error["code"] if each.exit_status else None for each in (looked, scanned)]
    finally:
        form.write_bytes(good)

    assert found == codes


@pytest.fixture(scope="module")
def never_scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that was never scanned."""
    with forking(tmp_path_factory.mktemp("never-scanned")) as made:
        made.json("sandbox", "createServer", "mail1", "accounts", 1, "items", 12)
        return made.data


@pytest.fixture
def fresh(never_scanned: Path, tmp_path: Path) -> Iterator[CommandLine]:
    """Such a server, for a test of its own."""
    with forking(tmp_path / "data") as made:
        shutil.copytree(never_scanned, made.data)
        yield made


def test_a_refused_first_scan_makes_no_backup_path(fresh: CommandLine) -> None:
    fresh.json("setProperty", "ZxBackup_SpaceThreshold", 99_999_999)

    answer = fresh("--json", "--sync", "doSmartScan")

    assert (answer.error["code"], answer.exit_status) == ("no_space", 64)
    assert not list((fresh.data / "backup" / "mail1").iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("getBackupInfo",),
        ("getItem", A1, 257),
        ("--sync", "doRestoreOnNewAccount", A1, COPY, "last"),
    ],
    ids=lambda words: words[0],
)
def test_before_a_first_scan_there_is_nothing_to_look_into(
    fresh: CommandLine, words: tuple[Any, ...]
) -> None:
    answer = fresh("--json", *words)

    assert (answer.error["code"], answer.exit_status) == ("not_initialized", 64)


def test_a_backup_path_that_vanished_is_not_begun_anew(fresh: CommandLine) -> None:
    fresh.json("--sync", "doSmartScan")
    path = fresh.data / "backup" / "mail1"
    path.rename(path.with_name("unmounted"))
    path.mkdir()

    answer = fresh("--json", "--sync", "doSmartScan")

    assert (answer.error["code"], answer.exit_status) == ("path_not_a_backup", 64)
    assert not list(path.iterdir())
    fresh.json("setProperty", "ZxBackup_DestPath", path)
    assert fresh.json("--sync", "doSmartScan")["counters"]["accounts_new"] == 1


def test_a_data_folder_that_was_moved_goes_on_where_it_is(fresh: CommandLine) -> None:
    fresh.json("--sync", "doSmartScan")
    moved = replace(fresh, data=fresh.data.rename(fresh.data.with_name("moved")))

    moved.json("sandbox", "createAccount", "mail1", "new@example.com")
    scan = moved.json("--sync", "doSmartScan")

    assert scan["counters"]["accounts_new"] == 1
    found = moved.json("getProperty", "property_name", "ZxBackup_DestPath")["properties"]
    assert found["ZxBackup_DestPath"] == str(moved.data / "backup" / "mail1")
    assert not fresh.data.exists()


def test_the_notes_of_a_class_of_service_can_be_emptied(fresh: CommandLine) -> None:
    fresh.json("sandbox", "setCosNotes", "mail1", "default", "two lines\n${ZxBackup_Disabled}")
    first = fresh.json("--sync", "doSmartScan")["counters"]
    fresh.json("sandbox", "setCosNotes", "mail1", "default", "")
    second = fresh.json("--sync", "doSmartScan")["counters"]

    assert (first["accounts_skipped_by_cos"], second["accounts_skipped_by_cos"]) == (1, 0)


def test_all_domains_are_asked_for_by_the_word_all(backupng: CommandLine) -> None:
    everything = backupng.json("getAvailableAccounts")

    assert backupng.json("getAvailableAccounts", "domains", "all") == everything
    assert backupng.json("getAvailableAccounts", "domains", "EXAMPLE.com") == everything


def test_another_servers_backup_path_is_refused(backupng: CommandLine) -> None:
    backupng.json("sandbox", "createServer", "mail8", "accounts", 0, "items", 0)
    theirs = backupng.data / "backup" / "mail1"

    answer = backupng("--json", "--host", "mail8", "setProperty", "ZxBackup_DestPath", theirs)

    assert (answer.error["code"], answer.exit_status) == ("path_in_use", 64)
    found = backupng.json("--host", "mail8", "getProperty", "property_name", "ZxBackup_DestPath")
    assert found["properties"]["ZxBackup_DestPath"] == str(backupng.data / "backup" / "mail8")
