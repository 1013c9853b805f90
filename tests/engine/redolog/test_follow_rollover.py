"""From file to file: rollovers, archives, links, numbers that start anew, and what gets lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from backupng.engine.redolog.files import end_of
from backupng.engine.redolog.follow import Committed, Gap, Position
from backupng.engine.redolog.header import SIZE
from backupng.engine.redolog.tail import SETTLE_S
from tests.engine.redolog.live import Clock, Server, read, said
from tests.engine.redolog.logs import commit, mails, message

BOTH = pytest.mark.parametrize("deletes", [True, False], ids=["deleted", "archived"])


def links(server: Server) -> list[Path]:
    return sorted((server.files.current.parent / "backup-ng").iterdir())


def started(folder: Path, *, deletes: bool = True) -> Server:
    server = Server(folder, deletes=deletes)
    server.start()
    return server


def up_to_now(server: Server, position: Position | None = None) -> tuple[list[object], Position]:
    """Follow until there is no more, and end; return what was read and the place."""
    follower = server.follower(position)
    found = read(follower)
    follower.close()
    return found, follower.position


@BOTH
def test_a_rollover_is_followed(tmp_path: Path, *, deletes: bool) -> None:
    server = started(tmp_path, deletes=deletes)
    follower = server.follower()
    server.mails(1, 2)
    assert said(follower.read(1)) == [1]
    server.rollover()
    server.mails(3, 3)
    assert follower.behind_bytes == len(mails(2, 3))
    assert read(follower) == [2, 3]
    end = end_of(server.files)
    assert end is not None
    assert follower.position.reaches(end)
    assert follower.behind_bytes == 0
    follower.close()


@BOTH
def test_one_rollover_while_nobody_reads_loses_nothing(tmp_path: Path, *, deletes: bool) -> None:
    server = started(tmp_path, deletes=deletes)
    server.mails(1, 1)
    found, position = up_to_now(server)
    server.mails(2, 3)
    server.rollover()
    server.mails(4, 4)
    assert (found, up_to_now(server, position)[0]) == ([1], [2, 3, 4])


def test_all_rollovers_while_nobody_reads_are_in_the_archive(tmp_path: Path) -> None:
    server = started(tmp_path, deletes=False)
    _, position = up_to_now(server)
    for number in range(1, 6):
        server.mails(number, number)
        server.rollover()
    server.mails(6, 6)
    follower = server.follower(position)
    assert follower.behind_bytes == len(mails(1, 6))
    assert read(follower) == [1, 2, 3, 4, 5, 6]
    follower.close()


def test_an_archive_is_listed_again_only_once_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started(tmp_path, deletes=False)
    server.mails(1, 1)
    server.rollover()
    follower = server.follower()
    folders = (server.files.archive, tmp_path / "backup-ng")
    for each in folders:
        os.utime(each, (1, 1))
    listed: list[Path] = []
    listdir = os.listdir

    def watched(folder: Path) -> list[str]:
        listed.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", watched)

    assert follower.behind_bytes == follower.behind_bytes == 0
    assert listed.count(server.files.archive) == 1

    server.mails(2, 2)
    server.rollover()
    server.mails(3, 3)
    server.rollover()
    assert follower.behind_bytes == len(mails(2, 3))
    assert read(follower) == [2, 3]
    follower.close()


def test_a_file_that_is_still_copied_into_the_archive_is_looked_at_again(tmp_path: Path) -> None:
    server = started(tmp_path, deletes=False)
    (tmp_path / "backup-ng").write_bytes(b"in the way")
    follower = server.follower()
    server.mails(1, 1)
    server.rollover()
    server.mails(2, 2)
    server.rollover()
    archived = max(server.files.archive.iterdir(), key=lambda path: path.name)
    data = archived.read_bytes()
    archived.write_bytes(b"")
    for each in (server.files.archive, tmp_path / "backup-ng"):
        os.utime(each, (1, 1))
    whole = len(mails(1, 2))
    assert follower.behind_bytes < whole

    archived.write_bytes(data)

    assert follower.behind_bytes == whole
    follower.close()


def test_two_rollovers_while_nobody_reads_lose_the_file_between(tmp_path: Path) -> None:
    server = started(tmp_path)
    server.mails(1, 1)
    _, position = up_to_now(server)
    server.mails(2, 2)
    server.rollover()
    server.mails(3, 3)
    server.rollover()
    server.mails(4, 4)
    follower = server.follower(position)
    assert said(follower.read(1)) == [2]
    (gap,) = follower.read(1)
    assert isinstance(gap, Gap)
    assert (gap.after, gap.until) == ("the end of sequence 0", "the beginning of sequence 2")
    assert gap.reason == "the redo log of sequence 1 is missing"
    assert 0 < gap.since < gap.before == server.created
    assert up_to_now(server, follower.position)[0] == [4]
    assert read(follower) == [4]
    follower.close()


def test_without_a_link_a_file_deleted_while_nobody_reads_is_a_gap(tmp_path: Path) -> None:
    server = started(tmp_path)
    (tmp_path / "backup-ng").write_bytes(b"in the way")
    server.mails(1, 2)
    _, position = up_to_now(server)
    server.rollover()
    server.rollover()
    server.mails(3, 3)
    at = f"sequence 0, byte {SIZE + len(mails(1, 2))}"
    follower = server.follower(position)
    (gap, mail) = follower.read(10)
    follower.close()
    assert said([gap, mail]) == [("gap", at, "the beginning of sequence 2"), 3]
    assert isinstance(gap, Gap)
    assert (gap.since, gap.before) == (0, server.created)


def test_without_a_link_the_open_file_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    server = started(tmp_path)
    follower = server.follower()
    server.mails(1, 2)
    server.rollover()
    server.mails(3, 3)
    assert read(follower) == [1, 2, 3]
    assert links(server) == []
    follower.close()


def test_operations_open_at_a_rollover_are_taken_from_the_next_file(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    server.begin(1, b"open")
    server.begin(2, b"aborted")
    assert follower.read(1) == []
    server.rollover()
    assert follower.read(1) == []
    assert follower.position.open_ops == ((1, SIZE), (1, SIZE + len(message(b"open", 1))))
    server.abort(2)
    server.rollover()
    server.commit(1)
    late = server.follower(follower.position)
    for each in (follower, late):
        (event,) = each.read(9)
        assert isinstance(event, Committed)
        assert b"".join(event.log.chunks(event.record.fields["data"])) == b"open"
        each.close()


def test_an_operation_that_is_not_written_again_is_read_from_the_old_file(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    server.begin(1, b"kept")
    server.begun.clear()
    server.rollover()
    assert follower.read(1) == []
    assert follower.position.open_ops == ((0, SIZE),)
    server.write(commit(27, 1))
    late = server.follower(follower.position)
    for each in (follower, late):
        (event,) = each.read(9)
        assert isinstance(event, Committed)
        assert b"".join(event.log.chunks(event.record.fields["data"])) == b"kept"
        assert each.read(9) == []
        each.close()


def test_an_operation_is_forgotten_once_two_files_follow_without_it(tmp_path: Path) -> None:
    server = started(tmp_path, deletes=False)
    follower = server.follower()
    server.begin(1)
    server.begun.clear()
    server.rollover()
    server.rollover()
    assert follower.read(1) == []
    assert follower.position.open_ops == ()
    follower.close()


def test_between_two_files_there_may_be_none(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    server.mails(1, 1)
    server.take_away()
    assert read(follower) == [1]
    server.start(1)
    server.mails(2, 2)
    assert read(follower) == [2]
    follower.close()


def test_a_file_that_is_not_closed_must_settle_before_the_next_is_read(tmp_path: Path) -> None:
    server, clock = started(tmp_path), Clock()
    follower = server.follower(clock=clock)
    server.mails(1, 1)
    old = server.files.current.rename(tmp_path / "old")
    server.start(1)
    server.mails(3, 3)
    assert read(follower) == [1]
    clock.now += SETTLE_S - 1
    server.write(mails(2, 2), path=old)
    assert read(follower) == [2]
    clock.now += SETTLE_S - 1
    assert read(follower) == []
    clock.now += 1
    assert follower.wait(60)
    assert read(follower) == [3]
    follower.close()


def test_the_torn_end_of_a_closed_file_is_a_gap(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    server.mails(1, 1)
    server.write(message(b"mail", 2)[:60])
    server.rollover()
    server.mails(3, 3)
    at = SIZE + len(mails(1, 1))
    gap = ("gap", f"sequence 0, byte {at}", f"sequence 0, byte {at + 60}")
    assert read(follower) == [1, gap, 3]
    follower.close()


def test_padding_at_the_end_of_a_closed_file_is_nothing(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    server.write(mails(1, 1), bytes(2000))
    server.rollover()
    server.mails(2, 2)
    assert read(follower) == [1, 2]
    follower.close()


def test_numbers_that_start_anew_lose_nothing_when_the_last_file_was_read(tmp_path: Path) -> None:
    server = started(tmp_path)
    server.rollover()
    server.mails(1, 1)
    _, position = up_to_now(server)
    server.mails(2, 2)
    server.files.current.unlink()
    server.start(0)
    server.mails(3, 3)
    follower = server.follower(position, clock := Clock())
    assert read(follower) == [2]
    clock.now += SETTLE_S
    assert read(follower) == [3]
    follower.close()


def test_numbers_that_start_anew_after_a_rollover_nobody_saw_are_a_gap(tmp_path: Path) -> None:
    server = started(tmp_path)
    server.mails(1, 1)
    _, position = up_to_now(server)
    server.take_away()
    server.start(0)
    server.mails(2, 2)
    found, position = up_to_now(server, position)
    assert found == [("gap", "the end of sequence 0", "the beginning of sequence 0"), 2]
    assert up_to_now(server, position)[0] == []


def test_numbers_that_start_anew_without_a_link_are_a_gap(tmp_path: Path) -> None:
    server = started(tmp_path)
    server.mails(1, 1)
    _, position = up_to_now(server)
    for link in links(server):
        link.unlink()
    server.files.current.unlink()
    server.start(0)
    server.mails(2, 2)
    at = f"sequence 0, byte {SIZE + len(mails(1, 1))}"
    assert up_to_now(server, position)[0] == [("gap", at, "the beginning of sequence 0"), 2]


def test_a_new_life_is_read_from_its_first_file_in_the_archive(tmp_path: Path) -> None:
    server = started(tmp_path, deletes=False)
    server.rollover()
    _, position = up_to_now(server)
    server.close()
    server.files.current.unlink()
    server.start(0)
    for number in (1, 2, 3):
        server.mails(number, number)
        server.rollover()
    server.mails(4, 4)
    assert up_to_now(server, position)[0] == [1, 2, 3, 4]


def test_released_files_are_let_go_and_those_at_a_position_kept(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    first = follower.position
    server.rollover()
    read(follower)
    follower.release(first)
    assert len(links(server)) == 2
    follower.release(follower.position)
    assert [each.stat().st_ino for each in links(server)] == [server.files.current.stat().st_ino]
    follower.close()


def test_few_files_are_held_for_one_who_never_says_what_is_safe(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    for _ in range(6):
        server.rollover()
        read(follower)
    assert len(links(server)) == 3
    follower.close()


def test_a_file_is_held_before_its_turn_comes(tmp_path: Path) -> None:
    server = started(tmp_path)
    follower = server.follower()
    server.mails(1, 3)
    server.rollover()
    server.mails(4, 4)
    assert said(follower.read(1)) == [1]
    server.rollover()
    server.mails(5, 5)
    assert read(follower) == [2, 3, 4, 5]
    follower.close()
