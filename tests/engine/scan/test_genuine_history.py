"""What a real server wrote, followed from an empty Backup Path against its final rows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import from_ms
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record
from tests.engine.scan.scanners import Histories, Scanner, rows_of, shown


@pytest.fixture(scope="module")
def server(genuine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("genuine") / "server"
    with load(folder, name="zimbra1", directory=genuine / "history") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def log(genuine: Path) -> Path:
    return genuine / "history" / "redolog" / "redo.log"


def scanner_of(server: Sandbox, log: Path, folder: Path) -> Scanner:
    source = server.source()
    source.redo_log = LogFiles(log, folder / "archive")
    return Scanner(source, folder / "backup")


@pytest.fixture(scope="module")
def late(server: Sandbox, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Scanner:
    """Return a scanner that read the whole log at once, when all had happened."""
    folder = tmp_path_factory.mktemp("late")
    (folder / "redo.log").write_bytes(log.read_bytes())
    scanner = scanner_of(server, folder / "redo.log", folder)
    scanner.catch_up()
    return scanner


def test_the_last_states_are_the_rows_of_the_database(server: Sandbox, late: Scanner) -> None:
    rows = rows_of(server.source())
    living = {key: states[-1] for key, states in late.states().items() if not states[-1].deleted}

    assert {key: shown(state) for key, state in living.items()} == {
        key: shown(row) for key, row in rows.items()
    }
    assert {key: state.row for key, state in living.items()} == {
        key: row.row for key, row in rows.items()
    }


def test_what_was_deleted_has_its_last_content_and_the_time_of_its_record(
    late: Scanner, log: Path
) -> None:
    with RedoLog(log) as file:
        deletions = {
            (record.envelope.change_id, item): from_ms(record.envelope.timestamp)
            for record in file.records()
            if isinstance(record, Record) and record.op == "DeleteItem"
            for item in record.fields["ids"]
        }
    gone = {key: states for key, states in late.states().items() if states[-1].deleted}
    with BackupPath.open(late.root) as path:
        read = [len(b"".join(path.blob(s[-2].digest))) for s in gone.values() if s[-2].digest]

    assert len(gone) == 26
    assert len(read) == 23
    for (_, item), states in gone.items():
        *_, before, deletion = states
        assert not before.deleted
        named = deletions.get((deletion.mod, int(item)))
        assert named is None or deletion.start == named
    told = [key for key, s in gone.items() if (s[-1].mod, int(key[1])) in deletions]
    assert len(told) > 10


def test_nothing_is_left_uncertain_and_an_operation_left_open_is_not_waited_for(
    late: Scanner,
) -> None:
    ten_seconds = itertools.count(step=10)
    late.clock = lambda: datetime.now(UTC) + timedelta(seconds=next(ten_seconds))
    late.catch_up()
    with BackupPath.open(late.root) as path:
        said = path.scanner()

    assert (said["uncertain"], late.gaps, late.said) == ({}, [], [])
    assert len(said["log"]["open_ops"]) == 1
    assert not any(pending["doomed"] for pending in said["pending"].values())


def test_a_log_that_grows_call_by_call_gives_the_same_history(
    server: Sandbox, late: Scanner, log: Path, genuine: Path, tmp_path: Path
) -> None:
    data = log.read_bytes()
    lines = (genuine / "history" / "calls.jsonl").read_text(encoding="utf-8").splitlines()
    sizes = [json.loads(line)["logSizeAfter"] for line in lines]
    growing = tmp_path / "redo.log"
    growing.write_bytes(data[:512])
    scanner = scanner_of(server, growing, tmp_path)
    with scanner.running() as running, growing.open("ab") as file:
        for size in (*sizes, len(data)):
            file.write(data[file.tell() : size])
            file.flush()
            while running.turn(0):
                pass

    assert scanner.histories() == late.histories()


def test_a_second_reading_from_the_beginning_adds_nothing(
    late: Scanner, server: Sandbox, tmp_path: Path
) -> None:
    before: Histories = late.histories()
    with BackupPath.open(late.root) as path, path.writer("scanner") as writer:
        said = {key: value for key, value in path.scanner().items() if key != "log"}
        writer.set_scanner(said)
    late.catch_up()

    assert late.histories() == before
