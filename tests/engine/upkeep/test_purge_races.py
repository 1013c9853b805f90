"""A purge beside writers, and one that is killed: no blob that anything names is ever lost.

Calls that change the disk, or lock, are the points at which something else can happen. At each of
them a writer acts, or the purge dies; without `proofs` at every few of them.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import OperationError
from backupng.engine.model import Digest, ItemId, ItemState
from backupng.engine.upkeep.purge import Purge
from tests.engine.backuppath.calls import watched
from tests.engine.backuppath.samples import ACCOUNT, deletion, is_kept, message, new_path
from tests.engine.upkeep.purging import DAY, LONG_AGO, MONTH, age, delete, has, ignore, keep, run
from tests.proofs.told import tell

PLAIN = b"Subject: twice\r\n\r\nThe same content."
OTHER = b"Subject: once\r\n\r\nAnother content."
AT = LONG_AGO + 40 * DAY


@pytest.fixture
def root(in_memory: Path) -> Iterator[Path]:
    """Return a tree in which an item has expired whose content comes again."""
    made = Path(tempfile.mkdtemp(dir=in_memory))
    with new_path(made) as path:
        keep(path, PLAIN, 257)
        keep(path, OTHER, 258)
        delete(path, 257)
    age(made)
    yield made
    shutil.rmtree(made, ignore_errors=True)


class At:
    """Does something at the call of that number, in a thread: it may have to wait for a lock."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.left = number
        self.thread = threading.Thread(target=act)
        self._guard = threading.Lock()

    def __call__(self, _name: str, _args: tuple[Any, ...]) -> None:
        """Count one call; those of the thread itself are none."""
        if threading.current_thread() is self.thread:
            return
        with self._guard:
            self.left -= 1
            if self.left == 0:
                self.thread.start()
                self.thread.join(0.05)

    @property
    def came(self) -> bool:
        """Whether there was a call of that number; what was done then is waited for."""
        if self.left <= 0:
            self.thread.join()
        return self.left <= 0


def add_again(root: Path) -> None:
    """Save a message whose content is there already, or has just gone."""
    with BackupPath.open(root) as path, path.writer("scanner") as writer:
        digest, length, _ = writer.add_blob([PLAIN])
        writer.add_states(ACCOUNT, [message(300, 20, digest=digest, size=length)])
        writer.commit()


def copy(root: Path, digest: Digest) -> None:
    """Save a copy of a message, as a record of the redo log has it: nobody looks for its blob."""
    with BackupPath.open(root) as path, path.writer("scanner") as writer:
        writer.add_states(ACCOUNT, [message(300, 20, digest=digest)])
        writer.commit()


def all_kept(path: BackupPath) -> bool:
    """Say whether every state of the tree has its blob."""
    histories = (path.history(ACCOUNT, item) for item in path.items(ACCOUNT))
    return all(is_kept(path, state) for history in histories for state in history)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.proofs)])
def test_content_that_comes_again_at_any_moment_of_a_purge_is_kept(root: Path, step: int) -> None:
    number, came = 1, True
    while came:
        again = root.with_name(f"{root.name}-{number}")
        shutil.copytree(root, again, copy_function=shutil.copy2)
        act = At(number, partial(add_again, again))
        with BackupPath.open(again) as path, watched(act):
            run(path)
        came = act.came
        with BackupPath.open(again) as path:
            assert not came or path.history(ACCOUNT, ItemId(300)), number
            assert all_kept(path), number
        shutil.rmtree(again)
        number += step
    assert number > 30


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.proofs)])
def test_a_purge_that_is_killed_anywhere_is_ended_by_the_next(root: Path, step: int) -> None:
    number, lived = 1, False
    while not lived:
        again = root.with_name(f"{root.name}-{number}")
        shutil.copytree(root, again, copy_function=shutil.copy2)
        lived = _purge_and_die(again, number)
        with BackupPath.open(again) as path:
            assert all_kept(path), number
            run(path, after=48 * DAY)
            run(path, after=80 * DAY)
            assert list(path.items(ACCOUNT)) == [258], number
            assert path.measure_blobs()[0] == 1, number
            assert all_kept(path), number
            assert not list((again / ".trash").iterdir()), number
        shutil.rmtree(again)
        number += step
    assert number > 30


def test_a_blob_that_a_living_writer_relies_on_stays_however_old_it_looks(root: Path) -> None:
    with BackupPath.open(root) as path, path.writer("scanner") as writer:
        digest, _, _ = writer.add_blob([PLAIN])
        # The host slept for days, right here.
        age(root)
        os.utime(writer.pulse._file, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))

        with BackupPath.open(root) as other:
            assert run(other).blobs_removed == 0
        writer.add_states(ACCOUNT, [message(300, 20, digest=digest)])
        writer.commit()

        assert all_kept(path)
    age(root)
    with BackupPath.open(root) as path:
        assert run(path).blobs_removed == 0


def test_a_copy_of_an_item_that_is_about_to_go_keeps_its_blob(root: Path) -> None:
    digest = next(
        state.digest
        for state in BackupPath.open(root).history(ACCOUNT, ItemId(257))
        if state.digest
    )
    act = At(1, lambda: copy(root, digest))

    with BackupPath.open(root) as path, watched(_before_the_first_rename(act)):
        run(path)

    assert act.came
    with BackupPath.open(root) as path:
        assert all_kept(path)
        run(path, after=48 * DAY)
        assert all_kept(path)


def test_pulses_of_dead_writers_hold_nothing_back(root: Path) -> None:
    child = os.fork()
    if child == 0:
        with BackupPath.open(root) as path, path.writer("scanner"):
            os._exit(0)
    os.waitpid(child, 0)
    (pulse,) = (root / ".pulses").iterdir()
    os.utime(pulse, (0, 0))

    with BackupPath.open(root) as path:
        assert run(path).blobs_removed == 1
    assert not list((root / ".pulses").iterdir())


def _before_the_first_rename(act: At) -> Callable[[str, tuple[Any, ...]], None]:
    def before(name: str, args: tuple[Any, ...]) -> None:
        if name == "unlink" and str(args[0]) == "257" and act.left > 0:
            act(name, args)

    return before


def _purge_and_die(root: Path, number: int) -> bool:
    """Purge in a process that ends just before its call of that number; say whether it lived."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = number

    def before(_name: str, _args: tuple[Any, ...]) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(9)

    status = 1
    try:
        with BackupPath.open(root) as path, watched(before):
            run(path)
        status = 0
    finally:
        os._exit(status)


# --- anything, in any order


@dataclass
class World:
    """A tree, its clock, and what has to be in it: of each item its states."""

    root: Path
    dice: random.Random
    now: datetime = LONG_AGO
    mod: int = 10
    model: dict[int, list[ItemState]] = field(default_factory=dict)
    waiting: list[ItemState] = field(default_factory=list)
    has_copies: bool = False

    @contextmanager
    def opened(self) -> Iterator[Writer]:
        """Give the scanner's writer, which lives as long as nothing kills it."""
        with BackupPath.open(self.root) as path, path.writer("scanner") as writer:
            yield writer

    def settle(self) -> None:
        """Have what was written just now have been written by the world's clock."""
        for each in (self.root, *self.root.rglob("*")):
            with suppress(FileNotFoundError):
                if each.stat().st_mtime > datetime(2026, 6, 1, tzinfo=UTC).timestamp():
                    os.utime(each, (self.now.timestamp(), self.now.timestamp()))

    def save(self, writer: Writer) -> None:
        """Add or change an item with one of a few contents; sometimes the group waits."""
        item = self.dice.randint(256, 262)
        digest, length, _ = writer.add_blob([b"content %d" % self.dice.randint(0, 4)])
        self._queue(writer, message(item, digest=digest, size=length, row={}))

    def copy(self, writer: Writer) -> None:
        """Bring an item back, or copy one, with what some history says of its content."""
        known = [each for states in self.model.values() for each in states if each.digest]
        if known:
            source = self.dice.choice(known)
            with BackupPath.open(self.root) as path:
                is_there = source.digest is not None and has(path, source.digest)
            if is_there:
                item = self.dice.randint(256, 262)
                self.has_copies = True
                self._queue(writer, message(item, digest=source.digest, row={}))

    def delete(self, writer: Writer) -> None:
        """Delete an item."""
        living = [item for item, states in self.model.items() if not states[-1].deleted]
        if living:
            self._queue(writer, deletion(self.dice.choice(living)))

    def _queue(self, writer: Writer, state: ItemState) -> None:
        self.mod += 1
        start = max([self.now, *(each.start for each in self.model.get(state.item_id, []))])
        made = ItemState(
            **{
                **{name: getattr(state, name) for name in state.__dataclass_fields__},
                "mod": self.mod,
                "start": start,
            }
        )
        writer.add_states(ACCOUNT, [made])
        self.waiting.append(made)
        if self.dice.random() < 0.8:
            self.commit(writer)

    def commit(self, writer: Writer) -> None:
        """Write what waits."""
        writer.commit()
        for state in self.waiting:
            states = self.model.setdefault(state.item_id, [])
            # A deletion after a deletion is none.
            if not (state.deleted and states and states[-1].deleted):
                states.append(state)
        self.waiting.clear()
        self.has_copies = False

    def purge(self) -> None:
        """Purge, and sometimes die in it."""
        if self.dice.random() < 0.3:
            with suppress(OperationError):
                self._dying_purge(self.dice.randint(1, 60))
        else:
            with BackupPath.open(self.root) as path:
                self._purge(path).run()

    def _purge(self, path: BackupPath) -> Purge:
        return Purge(path=path, retention=MONTH, now=lambda: self.now, tick=ignore, confirmed=True)

    def _dying_purge(self, number: int) -> None:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        left = number

        def before(_name: str, _args: tuple[Any, ...]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)

        try:
            with BackupPath.open(self.root) as path, watched(before):
                self._purge(path).run()
        finally:
            os._exit(0)

    def check(self) -> None:
        """Compare the tree with the model: nothing is lost, and what has expired may be gone."""
        with BackupPath.open(self.root) as path:
            present = set(path.items(ACCOUNT))
            for item, states in list(self.model.items()):
                if item not in present:
                    last = states[-1]
                    assert last.deleted, item
                    assert last.start < self.now - 30 * DAY, item
                    del self.model[item]
                    continue
                assert [each.mod for each in path.history(ACCOUNT, ItemId(item))] == [
                    each.mod for each in states
                ], item
            assert all_kept(path)


def live(root: Path, seed: int) -> None:
    """Let a world live through a few random acts, from that seed."""
    world = World(root, random.Random(seed))  # noqa: S311  # dice
    acts = (world.save, world.save, world.copy, world.delete, world.delete)
    with new_path(root):
        pass
    for _ in range(3):
        with world.opened() as writer:
            for _ in range(6):
                kind = world.dice.random()
                if kind < 0.25:
                    if world.has_copies:
                        # A group may sleep, but not from one purge to the one after the next.
                        world.commit(writer)
                    world.now += timedelta(hours=world.dice.choice((1, 30, 24 * 20, 24 * 40)))
                elif kind < 0.5:
                    world.purge()
                else:
                    world.dice.choice(acts)(writer)
                world.settle()
                world.check()
            world.commit(writer)
        world.settle()


@pytest.mark.parametrize("number", [12, pytest.param(5_000, marks=pytest.mark.proofs)])
def test_no_order_of_acts_loses_a_blob_that_anything_names(in_memory: Path, number: int) -> None:
    base = int(os.environ.get("BACKUPNG_SEED", "0")) or secrets.randbelow(1 << 30)
    for seed in range(base, base + number):
        root = Path(tempfile.mkdtemp(dir=in_memory))
        try:
            live(root, seed)
        except BaseException:
            sys.stderr.write(f"BACKUPNG_SEED={seed}\n")
            raise
        finally:
            shutil.rmtree(root, ignore_errors=True)
    tell("P10", number, "orders of acts, purges and kills among them", seed=base)
