"""P15. A dry run is true: whatever users did, the run right after it does what it counted.

And a restore that is asked for again brings nothing.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.model import to_ms
from backupng.engine.operations.do_item_restore import DoItemRestore
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.words import FIRST, LAST, AccountName, AccountNameOrId, ItemIds
from tests.cast import ALICE, Office, office
from tests.engine.restore.restoring import everything
from tests.engine.restore.test_dry_run import foretold_and_run
from tests.proofs.told import new_seed, tell

_ROUNDS = 3


@pytest.mark.proofs
@pytest.mark.parametrize("_number", range(8))
def test_what_dry_runs_foretell_comes_true(in_memory: Path, _number: int) -> None:
    seed = new_seed()
    tell("P15", 1, "histories in which dry runs were true", seed=seed)
    dice = random.Random(seed)  # noqa: S311  # repeatable

    with office(in_memory) as mail:
        for _ in range(_ROUNDS):
            items = live(mail, dice)
            again_nothing(mail, undelete(dice))
            mail.scan()
            for folder in ("", "/Back/Here"):
                again_nothing(mail, item_restore(items[:5], folder))
        foretold, done = foretold_and_run(mail, everything())

    assert foretold == done
    assert done["unrestored"] == 0


def live(mail: Office, dice: random.Random) -> list[int]:
    """Let users act, and alice delete some and throw some away; returns ids of hers."""
    play = mail.client.play(seed=dice.randrange(10**6))
    for _ in range(dice.randint(30, 100)):
        play.step(now_ms=to_ms(mail.now))
        mail.later(seconds=1)
    mail.scan()
    listed = mail.client.list(ALICE)["items"]
    items = [each["id"] for each in listed if each["id"] > 255 and each["type"] != "conversation"]
    dice.shuffle(items)
    for item in items[: dice.randint(0, len(items) // 2)]:
        act(mail, dice, item)
        mail.later(seconds=1)
    if dice.random() < 0.5:
        mail.client.empty_folder(ALICE, "/Trash")
    mail.scan()
    mail.later(seconds=5)
    return items


def act(mail: Office, dice: random.Random, item: int) -> None:
    """Delete an item or throw it away, if it is still there."""
    try:
        if dice.random() < 0.7:
            mail.client.delete(ALICE, item)
        else:
            mail.client.move(ALICE, item, "/Trash")
    except ItemError:
        pass


def again_nothing(mail: Office, operation: Any) -> None:
    """Foretell and run twice; what is refused as still in place is left."""
    try:
        first = foretold_and_run(mail, operation)
        again = foretold_and_run(mail, operation)
    except BadRequest:
        return
    assert first[0] == first[1]
    assert again[0] == again[1]
    assert again[1]["restored"] == 0


def undelete(dice: random.Random) -> DoUndelete:
    original = dice.random() < 0.5
    return DoUndelete(
        account=AccountName(ALICE),
        start_date=FIRST,
        end_date=LAST,
        target_original_folder=original,
    )


def item_restore(items: list[int], folder: str) -> DoItemRestore:
    return DoItemRestore(
        account_name=AccountNameOrId(ALICE), item_id=ItemIds(tuple(items)), restore_folder=folder
    )
