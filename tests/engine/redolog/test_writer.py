"""Writing a redo log: header, rollover, and what a kill in between leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backupng.engine.redolog import ops
from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.header import SIZE, FileHeader
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.writer import LogWriter, Rollover, UnwritableLog
from tests.engine.redolog.logs import STARTED, envelope, layout, message, outline, read

NOW_MS = STARTED * 1000
DELETE = layout("DeleteItem")
FIELDS = {"legacyId": -1, "type": 5, "hasConstraint": False, "ids": [300]}


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "redo.log", tmp_path / "archive")


def writer(files: LogFiles, now_ms: int = NOW_MS) -> LogWriter:
    return LogWriter(files, server_id="server-1", now_ms=now_ms)


def header(path: Path) -> FileHeader:
    with RedoLog(path) as log:
        return log.header


def delete(log: LogWriter, number: int) -> None:
    log.append(envelope(DELETE.opcode, number), DELETE, FIELDS)


def commit(log: LogWriter, number: int) -> None:
    log.append(envelope(ops.COMMIT, number), layout("CommitTxn"), {"opcode": DELETE.opcode})


def test_a_new_log_is_an_open_header(files: LogFiles) -> None:
    writer(files).leave()

    found = header(files.current)
    assert (found.is_open, found.size, found.sequence) == (True, 0, 0)
    assert (found.first_op, found.last_op, found.created) == (0, 0, NOW_MS)
    assert files.current.stat().st_size == SIZE


def test_records_follow_one_another_whoever_writes_them(files: LogFiles) -> None:
    for number in (1, 2):
        with writer(files, NOW_MS + number * 1000) as log:
            delete(log, number)
            commit(log, number)

    assert outline(read(files.current))[:4] == [
        ("DeleteItem", 1),
        ("CommitTxn", 1),
        ("DeleteItem", 2),
        ("CommitTxn", 2),
    ]
    found = header(files.current)
    assert found.created == NOW_MS + 1000
    assert found.first_op == found.last_op == envelope(DELETE.opcode, 1).timestamp


def test_a_closed_log_is_opened_again(files: LogFiles) -> None:
    writer(files).leave()
    data = bytearray(files.current.read_bytes())
    data[7] = 0
    files.current.write_bytes(data)

    writer(files).leave()

    assert header(files.current).is_open


@pytest.mark.parametrize("deletes", [True, False], ids=["deleted", "archived"])
def test_a_rollover_closes_the_file_and_begins_the_next(files: LogFiles, *, deletes: bool) -> None:
    with writer(files) as log:
        delete(log, 1)
        commit(log, 1)
        size = log.size
        log.roll_over(deletes=deletes, now_ms=NOW_MS + 5123, last_op=NOW_MS + 9)
        delete(log, 2)

    archived = files.archive / "redo-20231114.221325.123-seq0.log"
    assert archived.exists() is not deletes
    if not deletes:
        old = header(archived)
        assert (old.is_open, old.size, old.sequence) == (False, size, 0)
        assert old.last_op == NOW_MS + 9
    new = header(files.current)
    assert (new.is_open, new.sequence, new.created) == (True, 1, NOW_MS + 5123)
    assert new.server_id == "server-1"
    assert outline(read(files.current))[0] == ("DeleteItem", 2)


def test_a_new_file_begins_with_what_is_still_open(files: LogFiles) -> None:
    with writer(files) as log:
        delete(log, 1)
        still_open = [(envelope(DELETE.opcode, 1), DELETE, FIELDS)]
        log.roll_over(deletes=True, now_ms=NOW_MS, last_op=NOW_MS, still_open=still_open)
        commit(log, 1)

    assert outline(read(files.current))[:2] == [("DeleteItem", 1), ("CommitTxn", 1)]
    assert header(files.current).first_op == envelope(DELETE.opcode, 1).timestamp


def test_a_rollover_that_was_cut_off_before_the_new_name_is_finished(files: LogFiles) -> None:
    with writer(files) as log:
        log.roll_over(deletes=True, now_ms=NOW_MS, last_op=NOW_MS)
    files.current.rename(files.current.with_name("~tmp-redo-20231114.221320.000-seq1.log"))

    writer(files).leave()

    assert header(files.current).sequence == 1


def test_a_rollover_that_was_cut_off_earlier_starts_anew(files: LogFiles) -> None:
    stale = files.current.with_name("~tmp-redo-20231114.221320.000-seq1.log")
    with writer(files) as log:
        stale.write_bytes(b"half a header")
        log.roll_over(deletes=True, now_ms=NOW_MS + 1, last_op=NOW_MS)

    assert header(files.current).sequence == 1
    assert stale.with_name(f"{stale.name}.bak").exists()


@pytest.mark.parametrize(
    ("size", "age_ms", "due"),
    [(600, 99, False), (900, 99, False), (900, 100, True), (1200, 0, True)],
)
def test_a_log_is_due_by_size_and_age(
    files: LogFiles, size: int, age_ms: int, *, due: bool
) -> None:
    limits = Rollover(soft_bytes=800, soft_age_ms=100, hard_bytes=1100)
    writer(files).leave()
    os.truncate(files.current, size)

    with writer(files) as log:
        assert log.is_due(limits, now_ms=NOW_MS + age_ms) is due


def test_an_empty_log_is_never_due(files: LogFiles) -> None:
    with writer(files) as log:
        assert not log.is_due(Rollover(hard_bytes=0, soft_bytes=0), now_ms=NOW_MS)


def test_a_tail_is_cut(files: LogFiles) -> None:
    with writer(files) as log:
        delete(log, 1)
        good = log.size
        commit(log, 1)
        log.cut(good)

    assert outline(read(files.current)) == [("DeleteItem", 1), ("end", good, 1)]
    assert header(files.current).size == good


def test_a_foreign_file_is_set_aside(files: LogFiles) -> None:
    files.current.write_bytes(message(b"no header"))

    writer(files).leave()

    assert files.current.with_name("redo.log.bak").read_bytes() == message(b"no header")


def test_a_folder_that_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "nowhere" / "redo.log", tmp_path / "archive")

    with pytest.raises(UnwritableLog, match=r"redo\.log cannot be written: No such file"):
        writer(files)
