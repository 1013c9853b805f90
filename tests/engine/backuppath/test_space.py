"""The room below a tree, and the reserve for when it is gone."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from backupng.engine.backuppath import space
from backupng.engine.backuppath.disk import Room
from backupng.engine.backuppath.space import Space, shortage
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupPathUnwritable
from tests.engine.backuppath.calls import Countdown, watched
from tests.engine.backuppath.samples import ACCOUNT, SCAN, add_message, message, mods, write

MEGABYTE = 1 << 20


def reserve(path: BackupPath) -> Path:
    return path.tree.root / ".reserve"


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (Room(3 * MEGABYTE, 80.0), "Only 3 MB are free"),
        (Room(80 * MEGABYTE, 4.94), "room for 4.9 % of its files"),
        (Room(10 * MEGABYTE, 5.0), ""),
    ],
)
def test_room_is_short_by_bytes_or_by_files(room: Room, said: str) -> None:
    short = shortage(room, 10 * MEGABYTE)

    assert said in (short or ("",))[0]
    assert bool(short) == bool(said)


def test_a_group_is_refused_before_the_disk_is_full(path: BackupPath) -> None:
    write(path, message(257, 11))
    path.least_free_bytes = 1 << 60

    with pytest.raises(BackupPathUnwritable, match="MB are free") as refused:
        write(path, message(257, 12))

    assert refused.value.code == "no_space"
    assert mods(path) == [11]


def test_the_reserve_grows_with_what_is_written_and_goes_when_the_disk_is_full(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "_MEGABYTE", 1 << 10)
    with path.writer(SCAN) as writer:
        add_message(writer, bytes(range(256)) * 400, 257, 11)
        writer.space.wrote(300_000)
        kept = reserve(path).stat().st_size
        writer.add_states(ACCOUNT, [message(258, 11)])
        with pytest.raises(BackupPathUnwritable), watched(Countdown(3, errno.ENOSPC)):
            writer.commit()

    assert kept == 1 << 10
    assert not reserve(path).exists()


def test_the_reserve_is_never_larger_than_64_megabytes_nor_made_smaller(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "_LARGEST", 4096)
    monkeypatch.setattr(space, "_MEGABYTE", 1 << 10)

    with path.writer(SCAN):
        Space(path.tree, SCAN).wrote(1 << 30)
        Space(path.tree, SCAN).wrote(2 << 16)

    assert reserve(path).stat().st_size == 4096
