"""Torn, padded, overwritten logs: what is good is read, the rest is named, nothing is made up."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from backupng.engine.redolog import cursor
from backupng.engine.redolog.decoding import CHUNK_BYTES
from backupng.engine.redolog.faults import Broken, Torn
from backupng.engine.redolog.header import SIZE, Version
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record, Skipped
from tests.engine.redolog.logs import (
    commit,
    decode,
    envelope,
    mail,
    mails,
    make,
    message,
    op,
    outline,
    overwrite,
    read,
    unknown,
)

COMMIT = ("CommitTxn", 1)


# The end of a file


def test_a_log_that_is_cut_anywhere_is_read_up_to_the_last_whole_record(tmp_path: Path) -> None:
    data = mails(1, 2)
    ends = [0]
    for found in read(make(tmp_path, data)):
        ends += [found.end - SIZE] if isinstance(found, Record) else []
    stops = [outline(read(make(tmp_path, data[:cut])))[-1] for cut in range(len(data))]
    last = [max(each for each in ends if each <= cut) for cut in range(len(data))]
    assert stops == [
        ("end" if end == cut else "truncated record", SIZE + end, ends.index(end))
        for cut, end in enumerate(last)
    ]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (bytes(1), "zero padding"),
        (bytes(4096), "zero padding"),
        (bytes(3 << 20), "zero padding"),
        (b"ZMR", "truncated record"),
        (b"ZMREDO\0\1", "truncated record"),
        (commit(27, 9)[:30] + bytes(4096), "truncated record"),
        (b"\xff" * 64, "garbage"),
        (b"\xff" * 64 + bytes(4096), "garbage"),
        (bytes(4096) + b"x", "garbage"),
        (b"ZMREDO" * 100, "garbage"),
    ],
    ids=range(10),
)
def test_what_follows_the_last_record_has_a_name(tmp_path: Path, tail: bytes, reason: str) -> None:
    found = read(make(tmp_path, mails(1, 1), tail))
    end = SIZE + len(mails(1, 1))
    assert outline(found) == [*mail(1), (reason, end, 2)]


def test_a_record_whose_rest_is_not_there_yet_is_torn_and_later_read(tmp_path: Path) -> None:
    data = mails(1, 1)
    path = make(tmp_path, data[:40])
    with RedoLog(path) as log:
        with pytest.raises(Torn):
            log.read(SIZE, is_final=False)
        make(tmp_path, data)
        log.refresh()
        assert log.read(SIZE, is_final=False).op == "CreateMessage"


def test_a_log_that_is_cut_under_the_reader_ends_as_a_torn_one(tmp_path: Path) -> None:
    path = make(tmp_path, mails(1, 1), b"\xff" * 5_000_000, mails(2, 2))
    with RedoLog(path) as log:
        found = log.records()
        begun = [next(found), next(found)]
        make(tmp_path, mails(1, 1), b"\xff" * 1_000_000)
        rest = list(found)
    assert outline(begun + rest) == [
        *mail(1),
        ("truncated record", SIZE + len(mails(1, 1)), 2),
    ]


def test_behind_the_end_of_a_file_that_became_shorter_there_is_nothing(tmp_path: Path) -> None:
    path = make(tmp_path, mails(1, 2))
    with RedoLog(path) as log:
        make(tmp_path, mails(1, 1))
        log.refresh()
        with pytest.raises(Torn):
            log.read(SIZE + len(mails(1, 2)), is_final=False)


# The middle of a file


def test_records_behind_overwritten_bytes_are_found(tmp_path: Path) -> None:
    before, lost = mails(1, 3), len(message(b"mail", 4))
    data = overwrite(mails(1, 6), len(before), b"\xff" * 64)
    gap = ("skipped", SIZE + len(before), SIZE + len(before) + lost)
    assert outline(read(make(tmp_path, data))) == [
        *mail(1),
        *mail(2),
        *mail(3),
        gap,
        ("CommitTxn", 4),
        *mail(5),
        *mail(6),
        ("end", SIZE + len(data), 11),
    ]


def test_bytes_between_records_are_skipped_and_nothing_else(tmp_path: Path) -> None:
    data = mails(1, 1) + b"\0garbage" + mails(2, 2)
    start = SIZE + len(mails(1, 1))
    found = outline(read(make(tmp_path, data)))
    assert found[2] == ("skipped", start, start + 8)
    assert found[3:] == [*mail(2), ("end", SIZE + len(data), 4)]


def test_of_a_broken_record_mailbox_and_change_are_told(tmp_path: Path) -> None:
    broken = envelope(93, 2).encode() + struct.pack(">i", -2)
    found = read(make(tmp_path, mails(1, 1), broken, commit(93, 2)))
    (gap,) = [each for each in found if isinstance(each, Skipped)]
    assert gap.reason == "DeleteConfig of mailbox 7, change 102: a text of -2 bytes"


@pytest.mark.parametrize("length", [5, 200, 1 << 20, (1 << 31) - 1, -1, -(1 << 31)])
def test_a_wrong_length_of_a_body_costs_its_own_record_alone(tmp_path: Path, length: int) -> None:
    first = message(b"mail", 1)
    data = overwrite(mails(1, 40), len(first) - 8, struct.pack(">i", length))
    found = read(make(tmp_path, data))
    later = [each for each in outline(found)[2:-1] if each[0] != "skipped"]
    assert later[-78:] == [each for number in range(2, 41) for each in mail(number)]
    assert outline(found)[-1][:2] == ("end", SIZE + len(data))
    assert ("CommitTxn", 1) in outline(found)


@pytest.mark.parametrize("count", [-2, 1_000_001, (1 << 31) - 1])
def test_an_impossible_count_is_refused_before_anything_is_read(count: int) -> None:
    with pytest.raises(Broken, match=f"a list of {count} values"):
        decode(envelope(77).encode() + struct.pack(">i", count) + bytes(100))


def test_a_text_longer_than_any_is_refused_and_one_longer_than_the_file_is_torn() -> None:
    head = envelope(93).encode()
    with pytest.raises(Broken, match="33554433 bytes"):
        decode(head + struct.pack(">i", (32 << 20) + 1))
    with pytest.raises(Torn):
        decode(head + struct.pack(">i", 32 << 20))


def test_a_record_cannot_hold_more_than_any_does(monkeypatch: pytest.MonkeyPatch) -> None:
    data = op("DeleteConfig", sectionPattern="x" * 100)
    monkeypatch.setattr(cursor, "HEAD_BYTES", 150)
    assert decode(data).end == 150
    monkeypatch.setattr(cursor, "HEAD_BYTES", 149)
    with pytest.raises(Broken, match="more than 149 bytes"):
        decode(data)


@pytest.mark.parametrize("size", range(CHUNK_BYTES - 5, CHUNK_BYTES + 3))
def test_a_record_is_found_across_the_border_of_what_is_read_at_once(
    tmp_path: Path, size: int
) -> None:
    found = outline(read(make(tmp_path, b"\xff" * size, commit(27))))
    assert found[0] == ("skipped", SIZE, SIZE + size)


@pytest.mark.parametrize(
    "record",
    [
        unknown(0, b""),
        unknown(1 << 15, b""),
        envelope(8, mailbox_id=-2).encode(),
        envelope(8, mailbox_id=1 << 31).encode(),
        envelope(8, change_id=-2).encode(),
        envelope(8, timestamp=0).encode(),
        envelope(8, version=Version(2, 0)).encode(),
        envelope(200, timestamp=5).encode(),
    ],
    ids=["no operation", "none", "mailbox", "large mailbox", "change", "time", "version", "date"],
)
def test_what_no_server_writes_is_no_record(tmp_path: Path, record: bytes) -> None:
    found = outline(read(make(tmp_path, mails(1, 1), record, mails(2, 2))))
    start = SIZE + len(mails(1, 1))
    assert found[2:5] == [("skipped", start, start + len(record)), *mail(2)]


@pytest.mark.parametrize(
    "doubtful",
    [
        commit(27, timestamp=5),
        commit(27, version=Version(1, 43)),
        commit(27) + b"Regards",
        unknown(200, b"body"),
    ],
    ids=["date", "version", "followed by text", "never ended"],
)
def test_what_only_looks_like_a_record_is_not_believed_where_none_is_expected(
    tmp_path: Path, doubtful: bytes
) -> None:
    gap = b"\xff" * 64 + doubtful
    found = outline(read(make(tmp_path, gap, mails(2, 2))))
    assert found[:3] == [("skipped", SIZE, SIZE + len(gap)), *mail(2)]


def test_a_record_between_garbage_and_padding_is_found(tmp_path: Path) -> None:
    found = outline(read(make(tmp_path, b"\xff" * 64, commit(27), bytes(100))))
    assert found == [("skipped", SIZE, SIZE + 64), COMMIT, ("zero padding", SIZE + 114, 1)]


def test_the_end_of_another_operation_in_a_body_is_no_sign_of_a_wrong_length(
    tmp_path: Path,
) -> None:
    whole = message(commit(28, 900) + b"regards", 900)
    found = outline(read(make(tmp_path, whole, b"garbage", commit(27, 900))))
    assert [each[0] for each in found] == ["CreateMessage", "skipped", "CommitTxn", "end"]


# Beginning in the middle


def test_reading_begins_at_any_record(tmp_path: Path) -> None:
    data = mails(1, 3)
    start = SIZE + len(mails(1, 1))
    found = outline(read(make(tmp_path, data), start))
    assert found == [*mail(2), *mail(3), ("end", SIZE + len(data), 4)]


def test_beginning_at_garbage_skips_just_that(tmp_path: Path) -> None:
    start = SIZE + len(mails(1, 1))
    found = outline(read(make(tmp_path, mails(1, 1), b"garbage", mails(2, 2)), start))
    assert found[:3] == [("skipped", start, start + 7), *mail(2)]


def test_beginning_in_a_torn_tail_or_at_the_end_finds_no_record(tmp_path: Path) -> None:
    path = make(tmp_path, mails(1, 1), bytes(100))
    end = SIZE + len(mails(1, 1))
    assert outline(read(path, end + 7)) == [("zero padding", end + 7, 0)]
    assert outline(read(path, end + 100)) == [("end", end + 100, 0)]
