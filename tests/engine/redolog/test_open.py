"""Files that are no redo log, or none that can be read, are refused as a whole."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from backupng.engine.redolog.faults import FutureRedoLog, NotARedoLog, RedoLogError, UnreadableLog
from backupng.engine.redolog.header import SIZE, FileHeader, Version
from backupng.engine.redolog.reader import RedoLog
from tests.engine.redolog.logs import HEADER, make, outline, read


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "{} is empty, so it is no redo log."),
        (b"ZM_RED", "{} is no redo log."),
        (b"From alice@example.com\r\n" * 100, "{} is no redo log."),
        (b"\0" * 4096, "{} is no redo log."),
        (b"ZMREDO" * 200, "{} is no redo log."),
        (HEADER.encode()[:300], "{} is no redo log: it ends within its header."),
        (HEADER.encode()[:511], "{} is no redo log: it ends within its header."),
    ],
    ids=["empty", "short", "foreign", "zeros", "records only", "cut", "cut by a byte"],
)
def test_a_file_without_a_whole_header_is_no_redo_log(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = make(tmp_path, head=content)
    with pytest.raises(NotARedoLog) as caught:
        RedoLog(path)
    assert str(caught.value) == sentence.format(path)


def test_a_file_of_a_future_version_is_refused(tmp_path: Path) -> None:
    head = replace(HEADER, version=Version(1, 43)).encode()
    with pytest.raises(FutureRedoLog, match=r"version 1\.43") as caught:
        RedoLog(make(tmp_path, head=head))
    assert caught.value.hint == "Versions up to 1.42 can be read."


def test_a_file_of_the_days_without_versions_is_read(tmp_path: Path) -> None:
    head = replace(HEADER, version=Version(0, 0)).encode()
    assert outline(read(make(tmp_path, head=head))) == [("end", SIZE, 0)]


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARedoLog, match="There is no file"):
        RedoLog(tmp_path / "redo.log")
    with pytest.raises(NotARedoLog, match="is no file"):
        RedoLog(tmp_path)


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)

    def refuse(*_words: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(UnreadableLog, match="cannot be read: Permission denied"):
        RedoLog(path)


def test_a_disk_that_fails_in_the_middle_is_told_as_such(tmp_path: Path) -> None:
    log = RedoLog(make(tmp_path, bytes(5000)))
    os.close(log._file.fileno())
    with pytest.raises(RedoLogError, match="cannot be read"):
        list(log.records())
    with pytest.raises(OSError, match="Bad file descriptor"):
        log._file.close()


def test_the_server_id_of_a_header_is_cut_by_whole_characters() -> None:
    header = replace(HEADER, server_id="é" * 70)
    read_back = FileHeader.decode(header.encode(), name="redo.log")
    assert read_back == replace(HEADER, server_id="é" * 63)
