"""P15. A restore into a mailbox that is killed anywhere and run again doubles and loses nothing.

It is killed between two changes of the destination, or between the items and the map that says
where they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backupng.engine.errors import InvalidItem, MailServerRefused, NoRoom, ServerFault
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.model import from_ms
from tests.cast import Office
from tests.commandline import comparable
from tests.engine.restore.injecting import Hostile, Killed, Map, inject, mortal
from tests.proofs.busy import START_MS, new_sandbox
from tests.proofs.told import new_seed, tell

SOURCE = "a0@example.com"


@pytest.mark.proofs
@pytest.mark.parametrize("_number", range(6))
def test_kills_anywhere_double_nothing(in_memory: Path, _number: int) -> None:
    kill(in_memory, seed=new_seed(), acts=150, rounds=10)


@pytest.mark.proofs
@pytest.mark.parametrize("_number", range(5))
def test_the_numbers_are_true_whatever_the_server_does(in_memory: Path, _number: int) -> None:
    fail(in_memory, seed=new_seed(), acts=150, rounds=6)


@contextmanager
def played(folder: Path, *, seed: int, acts: int) -> Iterator[Office]:
    """Play in one mailbox, and save it."""
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    with new_sandbox(folder / "server", seed=seed, accounts=1) as sandbox:
        (folder / "backup").mkdir()
        mail = Office(folder, sandbox, now=from_ms(START_MS))
        play = Play(sandbox, seed=seed)
        for number in range(acts):
            play.step(now_ms=START_MS + number * 700)
        mail.later(hours=1)
        with mail.opened:
            mail.scan()
            yield mail


def kill(folder: Path, *, seed: int, acts: int, rounds: int) -> None:
    """Bring a mailbox into others, killed again and again."""
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    kills = 0
    with played(folder, seed=seed, acts=acts) as mail:
        items = list(mail.path.items(mail.account_id(SOURCE)))
        wanted = comparable(mail.client.list(SOURCE))
        for number in range(rounds):
            name, known = f"copy{number}@example.com", Map()
            mail.client.create_account(name)
            for _ in range(dice.randint(1, 6)):
                known.mortal = dice.choice((0, *items))
                killed = mortal(mail, dice.randint(1, acts))
                try:
                    inject(mail, SOURCE, name, known, destination=killed)
                except Killed:
                    kills += 1
            known.mortal = 0
            inject(mail, SOURCE, name, known)
            again = inject(mail, SOURCE, name, known)

            assert comparable(mail.client.list(name)) == wanted, (seed, number)
            assert again.restored == 0, (seed, number)
    tell("P15", kills, "kills of restores", seed=seed)


def fail(folder: Path, *, seed: int, acts: int, rounds: int) -> None:
    """Bring a mailbox to a server that refuses, or fails before or after it has taken an item."""
    dice = random.Random(seed)  # noqa: S311 - faults, not secrets
    faults = 0
    with played(folder, seed=seed, acts=acts) as mail:
        wanted = len(mail.client.list(SOURCE)["items"])
        for number in range(rounds):
            name = f"copy{number}@example.com"
            mail.client.create_account(name)
            makes = (InvalidItem, NoRoom, ServerFault, MailServerRefused)
            is_after = bool(number % 2)
            answers = {
                put: (ServerFault if is_after else dice.choice(makes))("no")
                for put in range(1, wanted)
                if dice.random() < 0.2
            }
            server = Hostile(mail, answers=answers, after=is_after)

            injection = inject(mail, SOURCE, name, Map(), destination=server)

            met = sum(put <= server.asked for put in answers)
            faults += met
            listed = mail.client.list(name)
            there = {each["id"] for each in (*listed["items"], *listed["tags"])}
            arrived = {new for old, new in injection.moved.items() if old > 255}
            assert arrived == {each for each in there if each > 255}, (seed, number)
            assert len(arrived) == injection.restored, (seed, number)
            assert (len(injection.unrestored) >= met) != is_after or not met, (seed, number)
    tell("P15", faults, "faults of the server", seed=seed)
