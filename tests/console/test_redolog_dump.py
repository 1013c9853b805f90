"""`backupng redolog dump`: a line for each record, whatever the file; nothing else is needed."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.redolog.faults import UnreadableLog
from backupng.engine.redolog.header import SIZE
from backupng.engine.redolog.reader import RedoLog
from console.cli import program, redolog
from tests.commandline import CommandLine
from tests.engine.redolog.logs import commit, make, message, op, unknown

MAIL = b"Subject: caf\xc3\xa9\r\n\r\nZMREDO"
MAIL_SHA256 = hashlib.sha256(MAIL).hexdigest()
FIRST, SECOND = message(MAIL, 1), commit(27, 1)


@pytest.fixture
def run(tmp_path: Path) -> CommandLine:
    """Return the command on a data folder that is not there."""
    return CommandLine(tmp_path / "data")


def lines(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(each) for each in out.splitlines()]


def dumped(
    capfdbinary: pytest.CaptureFixture[bytes], *words: object
) -> tuple[int, list[dict[str, Any]], str]:
    """Run a dump with `--json` in this process: status, lines, standard error."""
    status = redolog.run(["--json", "redolog", "dump", *map(str, words)])
    out, err = capfdbinary.readouterr()
    return status, lines(out), err.decode()


def test_every_record_is_a_line_and_the_last_line_says_why_reading_stopped(
    tmp_path: Path, run: CommandLine
) -> None:
    answer = run("--json", "redolog", "dump", make(tmp_path, FIRST, SECOND))
    first, second, last = lines(answer.out)
    assert answer.exit_status == 0
    assert first.pop("fields")["data"] == {"length": len(MAIL), "sha256": MAIL_SHA256}
    assert first == {
        "offset": SIZE,
        "end": SIZE + len(FIRST),
        "version": "1.42",
        "opcode": 27,
        "op": "CreateMessage",
        "txn": {"time": 1_700_000_000, "counter": 1},
        "timestamp": 1_700_000_000_001,
        "changeId": 101,
        "changeConstraint": 0,
        "mailboxId": 7,
    }
    assert (second["op"], second["changeId"], second["fields"]) == ("CommitTxn", -1, {"opcode": 27})
    assert last == {"stopped": "end", "at": SIZE + len(FIRST + SECOND), "records": 2}


def test_no_data_folder_is_made_and_a_relative_path_will_do(
    tmp_path: Path, run: CommandLine
) -> None:
    make(tmp_path, FIRST, SECOND)
    answer = run("redolog", "dump", "redo.log", cwd=tmp_path)
    assert (answer.exit_status, answer.err) == (0, "")
    assert [each.name for each in tmp_path.iterdir()] == ["redo.log"]


@pytest.mark.parametrize(
    ("tail", "status", "reason"),
    [
        (b"", 0, "end"),
        (SECOND[:20], 5, "truncated record"),
        (bytes(4096), 5, "zero padding"),
        (b"\xff" * 64, 5, "garbage"),
    ],
    ids=["whole", "cut", "padded", "garbage"],
)
def test_a_tail_that_is_torn_is_told_by_the_last_line_and_the_exit_status(
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    tail: bytes,
    status: int,
    reason: str,
) -> None:
    found, printed, err = dumped(capfdbinary, make(tmp_path, FIRST, SECOND, tail))
    assert (found, err) == (status, "")
    assert printed[-1] == {"stopped": reason, "at": SIZE + len(FIRST + SECOND), "records": 2}


def test_a_stretch_that_is_skipped_is_a_line_of_its_own(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    status, printed, _ = dumped(capfdbinary, make(tmp_path, FIRST, b"garbage", SECOND))
    start = SIZE + len(FIRST)
    assert status == 5
    assert printed[1] == {"skipped": [start, start + 7], "reason": "no record begins there"}
    assert printed[3] == {"stopped": "end", "at": start + 7 + len(SECOND), "records": 2}


def test_an_unknown_operation_is_a_record_and_no_loss(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = make(tmp_path, unknown(200, b"what"), commit(200))
    status, (record, _, last), _ = dumped(capfdbinary, path)
    assert (status, last["stopped"]) == (0, "end")
    assert (record["op"], record["fields"], record["undecoded"]) == (None, {}, True)
    assert record["end"] == SIZE + 50


@pytest.mark.parametrize(
    "content", [b"", b"ZM_REDO", b"no log\n" * 200], ids=["empty", "cut", "foreign"]
)
def test_a_file_that_is_no_redo_log_is_refused_on_standard_error_alone(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], content: bytes
) -> None:
    status, printed, err = dumped(capfdbinary, make(tmp_path, head=content))
    assert (status, printed) == (64, [])
    assert err.startswith(f"Error: {tmp_path / 'redo.log'} is ")


def test_a_missing_file_is_refused_on_standard_error_alone(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    status, printed, err = dumped(capfdbinary, tmp_path / "none.log")
    assert (status, printed, err) == (64, [], f"Error: There is no file {tmp_path}/none.log.\n")


def test_a_file_that_may_not_be_read_is_refused_on_standard_error_alone(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path, FIRST)

    def refuse(*_words: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    status, printed, err = dumped(capfdbinary, path)
    assert (status, printed, err) == (
        64,
        [],
        f"Error: {path} cannot be read: Permission denied.\n",
    )


def test_a_disk_that_fails_in_the_middle_is_a_failure(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_words: object) -> None:
        raise UnreadableLog("The redo log cannot be read on: Input/output error.")

    path = make(tmp_path, SECOND, FIRST, SECOND)
    monkeypatch.setattr(RedoLog, "digest", fail)
    status, printed, err = dumped(capfdbinary, path)
    assert (status, [each["op"] for each in printed]) == (1, ["CommitTxn"])
    assert err == "Error: The redo log cannot be read on: Input/output error.\n"


def test_reading_begins_where_it_is_told_to(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path, second = make(tmp_path, FIRST, SECOND), SIZE + len(FIRST)
    status, printed, _ = dumped(capfdbinary, path, "from", second)
    assert (status, [each.get("offset") for each in printed]) == (0, [second, None])
    status, printed, _ = dumped(capfdbinary, path, "from", 0)
    assert (status, len(printed), printed[0]["offset"]) == (0, 3, SIZE)
    status, printed, _ = dumped(capfdbinary, path, "from", second - 3)
    assert (status, printed[0]["skipped"]) == (5, [second - 3, second])


def test_a_place_behind_the_end_is_refused(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    status, printed, err = dumped(capfdbinary, make(tmp_path, FIRST), "from", 10_000)
    assert (status, printed) == (64, [])
    assert "has no place 10000." in err


def test_a_call_that_is_not_in_the_grammar_shows_how_it_is_meant(run: CommandLine) -> None:
    answer = run("redolog", "dump")
    assert answer.exit_status == 64
    assert "file missing" in answer.err
    assert "backupng redolog dump /opt/zimbra/redolog/redo.log" in answer.err
    assert not run.data.exists()


def test_the_text_of_a_record_is_one_line_that_cannot_move_the_cursor(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = make(tmp_path, op("DeleteConfig", sectionPattern="caf\u00e9\x1b[2J\x9b2J\n"), commit(93))
    assert redolog.run(["redolog", "dump", str(path)]) == 0
    first, second, last = capfdbinary.readouterr().out.decode().splitlines()
    assert first == (
        "512 to 576: DeleteConfig  mailbox 7 change 101  txn 1700000000.1 time 1700000000001  "
        '{"sectionPattern": "caf\u00e9\\u001b[2J\\x9b2J\\n"}'
    )
    assert second.startswith("576 to 626: CommitTxn  mailbox 7 change -1  ")
    assert last == "stopped at 626: end, 2 records"


def test_bytes_that_are_no_utf_8_are_still_json(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = make(tmp_path, op("DeleteConfig", sectionPattern="\udcff\x9b"), commit(93))
    _, printed, _ = dumped(capfdbinary, path)
    assert printed[0]["fields"] == {"sectionPattern": "\udcff\x9b"}


def test_a_line_is_flushed_before_the_next_record_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Output(io.BytesIO):
        def flush(self) -> None:
            seen.append("flushed")

    read = RedoLog.read

    def watched(log: RedoLog, offset: int, **how: Any) -> Any:
        seen.append("read")
        return read(log, offset, **how)

    monkeypatch.setattr(RedoLog, "read", watched)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Output()))
    redolog.run(["--json", "redolog", "dump", str(make(tmp_path, FIRST, SECOND))])
    assert seen[:5] == ["read", "flushed", "read", "flushed", "flushed"]


def test_a_log_that_is_cut_while_it_is_read_ends_as_a_torn_one(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path, FIRST, SECOND, message(b"x" * 100_000, 2), commit(27, 2))
    digest = RedoLog.digest

    def cut(log: RedoLog, span: Any) -> str:
        if span.length == 100_000:
            make(tmp_path, FIRST, SECOND)
        return digest(log, span)

    monkeypatch.setattr(RedoLog, "digest", cut)
    status, printed, _ = dumped(capfdbinary, path)
    assert status == 5
    stop = {"stopped": "truncated record", "at": SIZE + len(FIRST + SECOND), "records": 2}
    assert (len(printed), printed[-1]) == (3, stop)


def test_the_program_knows_the_module_too(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = make(tmp_path, FIRST, SECOND)
    assert program.run(["--json", "redolog", "dump", str(path)]) == 0
    assert lines(capfdbinary.readouterr().out)[-1]["stopped"] == "end"
    assert program.run(["help", "redolog"]) == 0
    assert "dump   Dump: prints the records" in capfdbinary.readouterr().out.decode()


def test_whoever_stops_reading_ends_the_dump_quietly(tmp_path: Path, run: CommandLine) -> None:
    path = make(tmp_path, *(message(MAIL, each) + commit(27, each) for each in range(1, 2000)))
    with subprocess.Popen(
        run.arguments("--json", "redolog", "dump", path),
        env=run.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["offset"] == SIZE
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE
