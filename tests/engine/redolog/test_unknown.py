"""Operations and versions that are unknown: told by their envelope, their body passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupng.engine.redolog.faults import Torn
from backupng.engine.redolog.header import SIZE, Version
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record
from tests.engine.redolog.logs import (
    commit,
    mail,
    mails,
    make,
    outline,
    read,
    unknown,
)


def test_an_unknown_operation_reaches_to_the_next_record(tmp_path: Path) -> None:
    strange = unknown(200, b"ZMREDO and more", 2)
    data = mails(1, 1) + strange + commit(200, 2) + mails(3, 3)
    found = read(make(tmp_path, data))
    start = SIZE + len(mails(1, 1))
    (record,) = [each for each in found if isinstance(each, Record) and each.layout is None]
    assert (record.op, record.fields) == (None, {})
    assert (record.offset, record.end) == (start, start + len(strange))
    assert outline(found)[-1] == ("end", SIZE + len(data), 6)


def test_unknown_operations_of_two_mailboxes_are_told_apart(tmp_path: Path) -> None:
    first, second = unknown(200, b"first", 1), unknown(201, b"second", 2)
    data = first + second + commit(200, 1) + commit(201, 2)
    assert outline(read(make(tmp_path, data))) == [
        (None, 1),
        (None, 2),
        ("CommitTxn", 1),
        ("CommitTxn", 2),
        ("end", SIZE + len(data), 4),
    ]


def test_an_operation_without_a_public_layout_has_its_name(tmp_path: Path) -> None:
    data = unknown(42, b"body") + commit(42)
    found = outline(read(make(tmp_path, data)))
    assert found == [("MoveBlobs", 1), ("CommitTxn", 1), ("end", SIZE + len(data), 2)]


def test_an_unknown_operation_at_the_end_reaches_to_the_end(tmp_path: Path) -> None:
    data = mails(1, 1) + unknown(200, b"body", 2)
    found = outline(read(make(tmp_path, data)))
    assert found == [*mail(1), (None, 2), ("end", SIZE + len(data), 3)]


def test_a_record_of_a_future_version_is_not_guessed_at(tmp_path: Path) -> None:
    strange = unknown(27, b"a new body", 1, Version(1, 43))
    found = read(make(tmp_path, strange, commit(27)))
    assert isinstance(found[0], Record)
    assert (found[0].layout, found[0].op, found[0].end) == (
        None,
        "CreateMessage",
        SIZE + len(strange),
    )


def test_in_a_file_that_grows_an_unknown_operation_waits_for_the_next_record(
    tmp_path: Path,
) -> None:
    strange = unknown(200, b"body")
    with RedoLog(make(tmp_path, strange)) as log, pytest.raises(Torn):
        log.read(SIZE, is_final=False)
    with RedoLog(make(tmp_path, strange, commit(200), mails(2, 2))) as log:
        assert log.read(SIZE, is_final=False).end == SIZE + len(strange)
