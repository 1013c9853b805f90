"""One live file: what is committed is yielded once, in the order of the commits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import MailServerError
from backupng.engine.redolog.faults import (
    BadPosition,
    ForeignRedoLog,
    FutureRedoLog,
    NotARedoLog,
    UnreadableLog,
)
from backupng.engine.redolog.files import LogEnd, LogFiles, end_of
from backupng.engine.redolog.follow import Committed, Follower, Gap, Position, Unreadable
from backupng.engine.redolog.header import SIZE, Version
from backupng.engine.redolog.tail import PATIENCE_S
from tests.engine.redolog.live import Clock, Server, read, replace_inode, said
from tests.engine.redolog.logs import HEADER, commit, mails, message, op, overwrite, unknown


def unread(start: int, end: int) -> tuple[str, str, str]:
    """Return in few words the gap of bytes that cannot be read."""
    return ("gap", f"sequence 0, byte {start}", f"sequence 0, byte {end}")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = Server(tmp_path)
    made.start()
    return made


@pytest.fixture
def follower(server: Server) -> Iterator[Follower]:
    made = server.follower()
    yield made
    made.close()


def test_an_operation_is_yielded_once_it_is_committed(server: Server, follower: Follower) -> None:
    server.begin(1, b"the body")
    assert follower.read(10) == []
    server.commit(1, timestamp=77)
    (event,) = follower.read(10)
    assert isinstance(event, Committed)
    assert b"".join(event.log.chunks(event.record.fields["data"])) == b"the body"
    assert event.committed_at == 77
    assert follower.read(10) == []


def test_interleaved_transactions_come_in_the_order_of_their_commits(
    server: Server, follower: Follower
) -> None:
    server.begin(1)
    server.begin(2)
    server.begin(3)
    server.commit(2)
    server.abort(3)
    server.commit(1)
    assert read(follower) == [2, 1]


def test_an_operation_that_is_recorded_again_replaces_the_first(
    server: Server, follower: Follower
) -> None:
    server.begin(1, b"first")
    server.begin(1, b"again")
    server.commit(1)
    (event,) = follower.read(10)
    assert isinstance(event, Committed)
    assert b"".join(event.log.chunks(event.record.fields["data"])) == b"again"


def test_a_second_end_of_a_transaction_is_ignored_also_after_a_restart(server: Server) -> None:
    server.mails(1, 2)
    before = server.follower()
    assert read(before) == [1, 2]
    server.commit(1)
    assert read(before) == []
    server.commit(2)
    server.abort(2)
    after = server.follower(before.position)
    assert read(after) == []
    before.close()
    after.close()


def test_a_shared_body_is_yielded_like_any_operation(server: Server, follower: Follower) -> None:
    fields: dict[str, Any] = {
        "mailboxIds": [1, 2],
        "digest": "d",
        "path": "p",
        "unused": -1,
        "msgSize": 4,
    }
    server.write(op("StoreIncomingBlob", 1, **fields, data=b"mail"), commit(26, 1))
    (event,) = follower.read(10)
    assert isinstance(event, Committed)
    assert event.record.op == "StoreIncomingBlob"


def test_no_more_than_asked_for_is_yielded_and_the_position_lies_right_behind(
    server: Server, follower: Follower
) -> None:
    server.mails(1, 5)
    assert said(follower.read(2)) == [1, 2]
    assert follower.wait(60)
    late = server.follower(follower.position)
    assert read(late) == [3, 4, 5]
    late.close()


def test_a_commit_without_its_operation_names_the_mailbox(
    server: Server, follower: Follower
) -> None:
    server.write(commit(27, 9, mailbox_id=3))
    server.mails(1, 1)
    assert read(follower) == [("unreadable", 3, -1), 1]


def test_an_unknown_operation_names_mailbox_and_change_once_it_is_committed(
    server: Server, follower: Follower
) -> None:
    server.write(unknown(42, b"who knows", 1))
    assert read(follower) == []
    server.write(commit(42, 1))
    assert read(follower) == [("unreadable", 7, 101)]


def test_a_known_operation_with_an_unknown_body_names_mailbox_and_change(
    server: Server, follower: Follower
) -> None:
    body = message(b"mail", 2)
    broken = body[:46] + b"\x80" + body[47:]
    server.write(mails(1, 1), broken, commit(27, 2), mails(3, 4))
    assert read(follower) == [1, ("unreadable", 7, 102), 3, 4]


def test_an_open_operation_that_cannot_be_read_is_known_after_a_restart(server: Server) -> None:
    broken = message(b"mail", 1)
    server.write(broken[:46] + b"\x80" + broken[47:], message(b"mail", 2), commit(27, 2))
    server.mails(3, 3)
    first = server.follower()
    kept = [unread(SIZE, SIZE + len(broken)), 2, 3]
    assert read(first) == kept
    server.write(commit(27, 1))
    second = server.follower(first.position)
    assert read(second) == [("unreadable", 7, 101)]
    first.close()
    second.close()


def test_bytes_without_an_envelope_are_a_gap(server: Server, follower: Follower) -> None:
    server.mails(1, 1)
    at = server.files.current.stat().st_size
    server.mails(2, 4)
    server.files.current.write_bytes(overwrite(server.files.current.read_bytes(), at, b"\xff" * 64))
    (first, gap, *rest) = follower.read(10)
    assert said([first, gap]) == [1, unread(at, at + len(message(b"mail", 2)))]
    assert isinstance(first, Committed)
    assert isinstance(gap, Gap)
    assert (gap.since, gap.before) == (first.committed_at, first.committed_at + 1)
    assert said(rest) == [("unreadable", 7, -1), 3, 4]


def test_what_was_lost_before_any_commit_was_read_began_nobody_knows_when(
    server: Server, follower: Follower
) -> None:
    server.write(b"garbage" * 10, mails(1, 1))
    gap, _ = follower.read(10)
    assert isinstance(gap, Gap)
    assert gap.since == 0 < gap.before


def test_an_operation_on_nobody_knows_which_mailbox_is_a_gap(
    server: Server, follower: Follower
) -> None:
    lost = commit(27, 9, mailbox_id=-1)
    server.write(lost)
    assert read(follower) == [unread(SIZE, SIZE + len(lost))]


def test_a_half_written_record_is_waited_for(server: Server) -> None:
    whole = mails(1, 2) + message(b"\0" * 300, 3) + commit(27, 3)
    follower = server.follower()
    found: list[tuple[int, Any]] = []
    for place in range(len(whole)):
        server.write(whole[place : place + 1])
        found += [(place, *said([event])) for event in follower.read(10)]
    third = len(whole) - 1
    second = len(mails(1, 2)) - 1
    assert found == [(len(mails(1, 1)) - 1, 1), (second, 2), (third, 3)]
    assert follower.position.offset == SIZE + len(whole)
    follower.close()


def test_junk_at_the_end_of_a_live_file_is_waited_at_until_it_is_cut_off(
    server: Server, follower: Follower
) -> None:
    server.mails(1, 1)
    end = server.files.current.stat().st_size
    server.write(bytes(4096))
    assert read(follower) == [1]
    assert follower.position.offset == end
    with server.files.current.open("r+b") as file:
        file.truncate(end)
    server.mails(2, 2)
    assert read(follower) == [2]


def test_junk_is_passed_once_records_follow_it(server: Server, follower: Follower) -> None:
    server.write(mails(1, 1), b"garbage" * 10)
    assert read(follower) == [1]
    start = SIZE + len(mails(1, 1))
    server.mails(2, 3)
    assert read(follower) == [unread(start, start + 70), 2, 3]


def test_a_record_with_a_wrong_length_ends_where_its_transaction_does(
    server: Server, follower: Follower
) -> None:
    record = message(b"mail", 1)
    server.write(overwrite(record, len(record) - 8, b"\x00\x10\x00\x00"))
    assert read(follower) == []
    server.write(commit(27, 1)[:30])
    assert read(follower) == []
    server.write(commit(27, 1)[30:])
    server.mails(2, 2)
    assert read(follower) == [("unreadable", 7, 101), 2]


def test_a_record_that_stays_torn_while_its_file_grows_is_given_up(server: Server) -> None:
    clock = Clock()
    follower = server.follower(clock=clock)
    record = message(b"mail", 1)
    server.write(overwrite(record, len(record) - 8, b"\x00\x10\x00\x00"))
    assert read(follower) == []
    clock.now += PATIENCE_S
    assert read(follower) == []
    server.mails(2, 3)
    assert read(follower) == [unread(SIZE, SIZE + len(record)), 2, 3]
    follower.close()


def test_a_file_that_became_shorter_is_read_again(server: Server) -> None:
    server.mails(1, 3)
    first = server.follower()
    assert read(first) == [1, 2, 3]
    with server.files.current.open("r+b") as file:
        file.truncate(SIZE + len(mails(1, 1)))
    second = server.follower(first.position)
    at = f"sequence 0, byte {SIZE + len(mails(1, 3))}"
    wanted = [("gap", at, "the beginning of sequence 0"), 1]
    assert read(first) == wanted
    assert second.position.offset == SIZE + len(mails(1, 3))
    assert read(second) == wanted
    assert read(first) == read(second) == []
    first.close()
    second.close()


def test_a_copy_in_place_of_the_file_is_read_again(server: Server) -> None:
    server.mails(1, 2)
    first = server.follower()
    assert read(first) == [1, 2]
    first.close()
    for link in (server.files.current.parent / "backup-ng").iterdir():
        link.unlink()
    replace_inode(server.files.current)
    second = server.follower(first.position)
    (gap, *rest) = second.read(10)
    assert isinstance(gap, Gap)
    assert gap.reason == "the redo log of sequence 0 was cut or replaced"
    # Nothing was read by this follower, and the header is as old as the first record.
    assert (gap.since, gap.before) == (0, 0)
    assert said(rest) == [1, 2]
    second.close()


def test_how_far_it_is_behind_is_counted_in_bytes(server: Server, follower: Follower) -> None:
    assert follower.behind_bytes == 0
    server.mails(1, 2)
    assert follower.behind_bytes == len(mails(1, 2))
    follower.read(1)
    assert follower.behind_bytes == len(mails(1, 1))
    follower.read(1)
    assert follower.behind_bytes == 0


def test_a_position_survives_as_json(server: Server, follower: Follower) -> None:
    server.begin(1)
    follower.read(10)
    position = follower.position
    assert position.open_ops == ((0, SIZE),)
    assert Position.from_json(json.loads(json.dumps(position.as_json()))) == position


@pytest.mark.parametrize("said", [{}, {"server_id": "x", "sequence": "y"}])
def test_a_position_that_is_none_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(BadPosition):
        Position.from_json(said)


def test_the_log_of_another_server_is_refused(server: Server, follower: Follower) -> None:
    position = dataclasses.replace(follower.position, server_id="another")
    with pytest.raises(ForeignRedoLog, match="server one") as refused:
        server.follower(position)
    assert isinstance(refused.value, MailServerError)
    assert refused.value.hint


def test_a_log_that_becomes_that_of_another_server_is_refused_after_all_was_read(
    server: Server, follower: Follower
) -> None:
    server.mails(1, 1)
    server.take_away()
    server.server_id = "another"
    server.start()
    assert said(follower.read(10)) == [1]
    with pytest.raises(ForeignRedoLog):
        follower.read(10)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (None, NotARedoLog),
        (b"", NotARedoLog),
        (b"x" * SIZE, NotARedoLog),
        (dataclasses.replace(HEADER, version=Version(1, 43)).encode(), FutureRedoLog),
    ],
)
def test_what_is_no_redo_log_is_refused(
    tmp_path: Path, data: bytes | None, error: type[Exception]
) -> None:
    if data is not None:
        (tmp_path / "redo.log").write_bytes(data)
    files = LogFiles(tmp_path / "redo.log", tmp_path / "archive")
    with pytest.raises(error):
        Follower(files, position=None)
    assert end_of(files) is None


def test_a_log_that_cannot_be_reached_is_an_error_worth_trying_again(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnreadableLog) as refused:
        Follower(LogFiles(tmp_path / "loop", tmp_path / "archive"), position=None)
    assert refused.value.transient


def test_the_end_of_the_current_file_is_told(server: Server, follower: Follower) -> None:
    server.mails(1, 1)
    end = SIZE + len(mails(1, 1))
    assert end_of(server.files) == LogEnd(created=server.created, sequence=0, offset=end)
    assert follower.position.offset == SIZE
    read(follower)
    assert follower.position.offset == end


def test_a_position_of_an_earlier_life_reaches_no_end_of_a_later_one() -> None:
    position = Position(server_id="one", sequence=57, inode=1, offset=9000, created=1)
    assert position.reaches(LogEnd(created=1, sequence=57, offset=9000))
    assert not position.reaches(LogEnd(created=1, sequence=57, offset=9001))
    assert not position.reaches(LogEnd(created=2, sequence=0, offset=600))
    assert dataclasses.replace(position, created=3, sequence=0, offset=600).reaches(
        LogEnd(created=1, sequence=57, offset=9000)
    )
    assert dataclasses.replace(position, created=0).reaches(
        LogEnd(created=2, sequence=0, offset=600)
    )


def test_events_say_what_is_wrong(server: Server, follower: Follower) -> None:
    server.write(commit(27, 9))
    (event,) = follower.read(1)
    assert isinstance(event, Unreadable)
    assert event.reason == (
        "the operation that transaction 1700000000.9 committed is not in the redo log"
    )
