"""Followers that are killed at random, and start from any position they ever kept."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from backupng.engine.redolog.follow import Position
from backupng.engine.redolog.holding import FOLDER
from tests.engine.redolog.live import Server, read, said


def up_to_now(server: Server, position: Position) -> list[object]:
    """Follow from a position until there is no more."""
    follower = server.follower(position)
    found = read(follower)
    follower.close()
    return found


class Story:
    """A server that does this and that, by dice; it never interleaves more than three changes."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.dice = dice
        self.server = Server(folder, deletes=dice.random() < 0.5)
        self.server.start()
        self.next = 1
        self.committed: list[int] = []

    def go_on(self) -> None:
        server, dice = self.server, self.dice
        what = dice.choice(("begin", "begin", "begin", "end", "end", "end", "again", "rollover"))
        open_ops = sorted(server.begun)
        if what == "begin" and len(open_ops) < 3:
            server.begin(self.next, dice.randbytes(dice.randrange(60)))
            self.next += 1
        elif what == "end" and open_ops:
            self._end(dice.choice(open_ops))
        elif what == "again" and open_ops:
            server.begin(dice.choice(open_ops), b"again")
        elif what == "rollover" and dice.random() < 0.3:
            server.rollover()

    def _end(self, number: int) -> None:
        if self.dice.random() < 0.1:
            self.server.abort(number)
            return
        self.server.commit(number)
        self.committed.append(number)
        if self.dice.random() < 0.1:
            self.server.commit(number)


def restarted_now_and_then(story: Story, steps: int) -> list[object]:
    """Follow a story; kill the follower between any two steps, and often lose what it read last."""
    dice, server = story.dice, story.server
    follower = server.follower()
    kept, applied = follower.position, []
    for _ in range(steps):
        story.go_on()
        events = said(follower.read(dice.randrange(1, 4)))
        if dice.random() < 0.3:
            follower.close()
            follower = server.follower(kept)
            continue
        applied += events
        kept = Position.from_json(follower.position.as_json())
        if dice.random() < 0.5:
            follower.release(kept)
        if server.deletes:
            # One rollover may pass unseen, so before the next one all is read.
            applied += read(follower)
            kept = follower.position
    follower.close()
    return applied + up_to_now(server, kept)


def prove_restarts(folder: Path, seed: int, steps: int) -> None:
    story = Story(folder, random.Random(seed))  # noqa: S311 - a story, no secrets
    assert restarted_now_and_then(story, steps) == story.committed, f"seed {seed}"


@pytest.mark.parametrize("seed", range(6))
def test_a_follower_killed_at_random_yields_all_and_nothing_twice(
    tmp_path: Path, seed: int
) -> None:
    prove_restarts(tmp_path, seed, steps=60)


@pytest.mark.proofs
@pytest.mark.parametrize("seed", range(1000, 1100))
def test_followers_killed_at_random_yield_all_and_nothing_twice(tmp_path: Path, seed: int) -> None:
    prove_restarts(tmp_path, seed, steps=400)


def test_from_every_position_the_same_is_read(tmp_path: Path) -> None:
    story = Story(tmp_path, random.Random(7))  # noqa: S311 - a story, no secrets
    story.server.deletes = False
    follower = story.server.follower()
    places: list[tuple[int, Position]] = [(0, follower.position)]
    seen = 0
    for _ in range(60):
        story.go_on()
        seen += len(follower.read(1))
        places.append((seen, follower.position))
    follower.close()
    assert story.server.sequence > 1
    assert [up_to_now(story.server, place) for _, place in places] == [
        story.committed[count:] for count, _ in places
    ]


def test_a_copy_of_what_was_held_is_not_taken_for_the_file(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    follower = server.follower()
    server.mails(1, 1)
    assert read(follower) == [1]
    position = follower.position
    follower.close()
    (held,) = (server.files.current.parent / FOLDER).iterdir()
    copy = tmp_path / "copy"
    shutil.copyfile(held, copy)
    held.unlink()
    copy.rename(held)
    server.mails(2, 2)

    follower = server.follower(position)

    assert read(follower) == [2]
    follower.close()
