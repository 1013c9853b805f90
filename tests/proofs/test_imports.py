"""P15 of imports. Whatever a mailbox went through, an import brings it, whole and once.

Random people work on a server; its backup is imported into an empty one, which is killed on the way
at random points, and run again. What can be seen in the end is what the source shows.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.model import to_ms
from backupng.engine.operations.do_external_restore import ExternalRestore
from tests.cast import ALICE, BOB, DAVE, Office, office
from tests.engine.restore.migrating import bring, empty_office, is_killed, seen
from tests.engine.restore.test_import_dry_run import numbers
from tests.proofs.told import new_seed, tell

SERVERS = 15
KILLS_A_SERVER = 5
STEPS = 120
MOST_LOOKS = 60
"""A kill comes before so many changes or notes; several imports bring what there is."""


def busy(mail: Office, seed: int, steps: int = STEPS) -> None:
    """Let people work, then scan."""
    play = Play(mail.sandbox, seed=seed)
    for _ in range(steps):
        mail.later(seconds=1)
        play.step(now_ms=to_ms(mail.now))
    mail.scan()


def tags(mail: Office, address: str) -> list[tuple[str, int]]:
    listing = mail.client.list(address)
    return sorted((each["name"], each["color"]) for each in listing["tags"])


def assert_equal(mail: Office, to: Office) -> None:
    for address in (ALICE, BOB, DAVE):
        there, here = Counter(seen(mail, address)), Counter(seen(to, address))
        assert (there - here, here - there) == (Counter(), Counter()), address
        assert tags(mail, address) == tags(to, address)


@pytest.mark.proofs
def test_an_import_that_is_killed_at_random_points_brings_everything_once(tmp_path: Path) -> None:
    seed = new_seed()
    dice, kills = random.Random(seed), 0  # noqa: S311  # repeatable, not secret
    for number in range(SERVERS):
        folder = tmp_path / str(number)
        (folder / "a").mkdir(parents=True)
        with office(folder / "a") as mail, empty_office(folder) as to:
            busy(mail, dice.getrandbits(30))
            operation = ExternalRestore(
                source_path=mail.backup_path, concurrent_accounts=dice.choice((1, 1, 2))
            )
            to.now = mail.now
            for _ in range(KILLS_A_SERVER):
                kills += is_killed(to, operation, looks=dice.randrange(1, MOST_LOOKS))
            report = bring(mail, to)
            assert_equal(mail, to)
            assert not report.losses, report
            again = bring(mail, to).counters
            assert (again["restored"], again["skipped"]) == (0, again["planned"])
        shutil.rmtree(folder)
    tell("P15", kills, "kills of an import", seed=seed)


@pytest.mark.proofs
def test_a_dry_run_foretells_an_import_wherever_it_was_cut_short(tmp_path: Path) -> None:
    seed = new_seed()
    dice, runs = random.Random(seed), 0  # noqa: S311  # repeatable, not secret
    for number in range(SERVERS // 2):
        folder = tmp_path / str(number)
        (folder / "a").mkdir(parents=True)
        with office(folder / "a") as mail, empty_office(folder) as to:
            busy(mail, dice.getrandbits(30))
            to.now = mail.now
            is_killed(to, ExternalRestore(source_path=mail.backup_path), looks=dice.randrange(400))
            for _ in range(3):
                runs += 1
                dry, run = bring(mail, to, dryrun=True), bring(mail, to)
                assert numbers(dry) == numbers(run), seed
                assert dry.unrestored == run.unrestored, seed
                work(to, dice.getrandbits(30))
                mail.now = to.now
                busy(mail, dice.getrandbits(30), 20)
                to.now = mail.now
        shutil.rmtree(folder)
    tell("P15", runs, "imports that a dry run foretold", seed=seed)


def work(to: Office, seed: int) -> None:
    """Let people work on the destination meanwhile."""
    play = Play(to.sandbox, seed=seed)
    for _ in range(20):
        to.later(seconds=1)
        play.step(now_ms=to_ms(to.now))
