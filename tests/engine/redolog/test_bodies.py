"""Redo logs in the bodies of mails: never taken for the log that the mails are in."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from backupng.engine.redolog.header import SIZE
from backupng.engine.redolog.records import Txn
from tests.engine.redolog.logs import (
    HEADER,
    STARTED,
    commit,
    mail,
    mails,
    make,
    message,
    op,
    outline,
    overwrite,
    read,
)

INNER = mails(1, 3)
ATTACHED = b"see the attached log\r\n" + HEADER.encode() + INNER + b"\r\nregards"


def test_a_log_in_the_body_of_a_mail_is_passed_over(tmp_path: Path) -> None:
    data = message(ATTACHED, 900) + commit(27, 900)
    assert outline(read(make(tmp_path, data))) == [*mail(900), ("end", SIZE + len(data), 2)]


@pytest.mark.parametrize("kept", [len(ATTACHED) - 1, len(ATTACHED) - 9, 900])
def test_a_log_in_a_body_that_is_torn_is_not_believed(tmp_path: Path, kept: int) -> None:
    torn = message(ATTACHED, 900)[: kept - len(ATTACHED)]
    found = outline(read(make(tmp_path, mails(899, 899), torn)))
    assert found == [*mail(899), ("truncated record", SIZE + len(mails(899, 899)), 2)]


def test_a_log_in_an_invite_that_is_torn_behind_it_is_not_believed(tmp_path: Path) -> None:
    whole = op(
        "CreateInvite",
        900,
        calItemId=601,
        calPartStat="NE",
        folderId=10,
        unused=-1,
        force=True,
        data=ATTACHED,
        localTz="zone",
        invite="invite",
        **dict.fromkeys(("preserveAlarms", "discardExisting", "addRevision"), False),
    )
    found = outline(read(make(tmp_path, whole[:-6])))
    assert found == [("truncated record", SIZE, 0)]


def test_a_log_in_a_body_with_a_wrong_length_is_not_believed(tmp_path: Path) -> None:
    whole = message(ATTACHED, 900)
    at = len(whole) - len(ATTACHED) - 4
    data = overwrite(whole + commit(27, 900), at, struct.pack(">i", 1 << 30)) + mails(901, 901)
    assert outline(read(make(tmp_path, data))) == [
        ("skipped", SIZE, SIZE + len(whole)),
        ("CommitTxn", 900),
        *mail(901),
        ("end", SIZE + len(data), 3),
    ]


@pytest.mark.parametrize("spoilt", [1, 3, 64])
def test_a_log_in_a_body_whose_start_is_overwritten_is_not_believed(
    tmp_path: Path, spoilt: int
) -> None:
    before, whole = mails(899, 899), message(ATTACHED, 900)
    data = overwrite(before + whole, len(before), b"\xff" * spoilt) + commit(27, 900)
    assert outline(read(make(tmp_path, data))) == [
        *mail(899),
        ("skipped", SIZE + len(before), SIZE + len(before + whole)),
        ("CommitTxn", 900),
        ("end", SIZE + len(data), 3),
    ]


def test_a_newer_log_behind_a_lost_magic_is_not_believed_either(tmp_path: Path) -> None:
    before, whole = mails(1, 1), message(mails(901, 903), 2)
    data = overwrite(before + whole, len(before), b"?") + commit(27, 2)
    assert outline(read(make(tmp_path, data))) == [
        *mail(1),
        ("skipped", SIZE + len(before), SIZE + len(before + whole)),
        ("CommitTxn", 2),
        ("end", SIZE + len(data), 3),
    ]


def test_a_log_of_a_later_server_in_a_body_is_not_believed(tmp_path: Path) -> None:
    before, later = mails(1, 1), Txn(STARTED + 1000, 1)
    inner = commit(27, 1, txn=later) + commit(27, 1, txn=later)
    whole = message(inner + b"regards", 2)
    data = overwrite(before + whole, len(before), b"\xff" * 64) + commit(27, 2)
    assert outline(read(make(tmp_path, data)))[2:] == [
        ("skipped", SIZE + len(before), SIZE + len(before + whole)),
        ("CommitTxn", 2),
        ("end", SIZE + len(data), 3),
    ]


def test_records_of_a_server_that_was_started_again_are_found(tmp_path: Path) -> None:
    gap = b"\xff" * 64
    later = commit(27, 1, txn=Txn(STARTED + 1000, 1))
    start = SIZE + len(mails(1, 1))
    assert outline(read(make(tmp_path, mails(1, 1), gap, later)))[2:] == [
        ("skipped", start, start + 64),
        ("CommitTxn", 1),
        ("end", start + 64 + len(later), 3),
    ]


def test_beginning_within_a_body_goes_on_behind_it(tmp_path: Path) -> None:
    whole = message(ATTACHED, 900)
    path = make(tmp_path, whole + commit(27, 900))
    starts = range(SIZE + 1, SIZE + len(whole) - len(INNER), 97)
    found = [outline(read(path, start)) for start in starts]
    end = SIZE + len(whole)
    assert found == [
        [("skipped", start, end), ("CommitTxn", 900), ("end", end + 50, 1)] for start in starts
    ]
