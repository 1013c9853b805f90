"""Real file systems: power lost on ext4 and XFS, a tmpfs that is full (`reliability.md` P3, P7)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backupng.engine.errors import BackupError, BackupPathUnwritable
from tests.engine.backuppath.boots import begun
from tests.engine.backuppath.calls import watched
from tests.engine.backuppath.mounts import LoopDisk, loop_disk, small_disk, widen
from tests.engine.backuppath.powerlosses import (
    content,
    prepare,
    short_bodies,
    work,
    wrong,
)
from tests.engine.backuppath.samples import add_message, new_path

SEED = 20261126
LOSSES = 150
_CALLS = 250

pytestmark = pytest.mark.proofs


class PowerLoss:
    """Takes the power away at the call number `left`."""

    def __init__(self, disk: LoopDisk, left: int) -> None:
        self._disk, self.left = disk, left

    def __call__(self, _name: str, _args: tuple[Any, ...]) -> None:
        self.left -= 1
        if self.left == 0:
            self._disk.lose_power()


def wrong_after_power_loss(disk: LoopDisk, at: int, complete: dict[str, bytes]) -> str:
    """Lose power at a call of a scan, start again, recover; return what is wrong then."""
    told: list[str] = []
    loss = PowerLoss(disk, at)

    def tell(word: str) -> None:
        if loss.left > 0:
            told.append(word)

    root = disk.place / "tree"
    shutil.rmtree(root, ignore_errors=True)
    prepare(root)
    disk.sync()
    # Whatever the scan meets on a disk without power, also where it only looks.
    with suppress(BackupError, OSError), watched(loss):
        work(root, tell)
    disk.start_again()
    begun(root, f"boot {at}")
    if found := wrong(root, set(told)):
        return f"at call {at}: {found}"
    work(root, lambda _word: None)
    return "" if content(root) == complete else f"at call {at}: the next scan completes nothing"


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LoopDisk]:
    with loop_disk(request.param, tmp_path) as found:
        yield found


def test_power_lost_on_a_real_file_system_costs_nothing_acknowledged(
    disk: LoopDisk, tmp_path: Path
) -> None:
    random = Random(SEED)  # noqa: S311  # drawn again from the seed
    with short_bodies():
        prepare(tmp_path / "lived")
        work(tmp_path / "lived", lambda _word: None)
        complete = content(tmp_path / "lived")

        found = [
            wrong_after_power_loss(disk, random.randint(1, _CALLS), complete) for _ in range(LOSSES)
        ]

    print(f"P3: {LOSSES} power losses on {disk.place.name}, seed {SEED}")  # noqa: T201
    assert list(filter(None, found)) == []


@pytest.mark.parametrize(
    ("options", "wider"),
    [("size=8m", "size=64m"), ("size=64m,nr_inodes=120", "size=64m,nr_inodes=4000")],
    ids=["bytes", "inodes"],
)
def test_a_full_disk_stops_everything_and_with_room_it_goes_on(
    tmp_path: Path, options: str, wider: str
) -> None:
    random = Random(SEED)  # noqa: S311  # drawn again from the seed
    plain = [random.randbytes(100_000) for _ in range(200)]
    with small_disk(tmp_path, options) as place:
        with pytest.raises(BackupPathUnwritable) as refused:
            store(place / "tree", plain)
        kept_when_full = kept(place / "tree")
        widen(place, wider)
        store(place / "tree", plain)

        assert refused.value.code == "no_space"
        assert 0 < kept_when_full < len(plain)
        assert kept(place / "tree") == len(plain)


def store(root: Path, plain: list[bytes]) -> None:
    """Store messages in groups of ten."""
    with new_path(root) as path, path.writer("scan") as writer:
        for number, each in enumerate(plain):
            add_message(writer, each, 1000 + number, 11)
            if number % 10 == 9:
                writer.commit()


def kept(root: Path) -> int:
    """Return how many messages are there, all of them whole."""
    with new_path(root) as path:
        account = path.accounts()[0]
        states = [path.last_state(account, item) for item in path.items(account)]
        return sum(
            bool(list(path.blob(state.digest))) for state in states if state and state.digest
        )
