"""Equal items in lines: what came after another one had gone stands in its line."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from backupng.engine.model import ItemId
from backupng.engine.restore.undelete import Alike
from tests.cast import NOON

Life = tuple[datetime, datetime]


@pytest.mark.parametrize("_number", range(20))
def test_an_item_stands_in_the_first_line_whose_last_one_had_gone_when_it_came(
    _number: int,
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201  # to run it again
    dice = random.Random(seed)  # noqa: S311  # repeatable
    lives = [life(dice) for _ in range(dice.randint(1, 60))]
    lines: list[tuple[ItemId, datetime]] = []
    alike = Alike()

    for number, (came, gone) in enumerate(lives):
        fitting = (each for each, (_, last) in enumerate(lines) if last <= came)
        line = next(fitting, len(lines))
        first = lines[line][0] if line < len(lines) else ItemId(number)
        lines[line : line + 1] = [(first, gone)]

        assert alike.add(ItemId(number), came, gone) == first


def life(dice: random.Random) -> Life:
    came = NOON + timedelta(hours=dice.randint(0, 20))
    return came, came + timedelta(hours=dice.randint(0, 8))


class Counted(datetime):
    """A moment that counts how often moments are compared."""

    compared = 0

    def __lt__(self, other: Any) -> bool:
        Counted.compared += 1
        return super().__lt__(other)

    def __le__(self, other: Any) -> bool:
        Counted.compared += 1
        return super().__le__(other)

    def __gt__(self, other: Any) -> bool:
        Counted.compared += 1
        return super().__gt__(other)


def test_many_that_lived_together_are_not_each_compared_with_all() -> None:
    alike, count, Counted.compared = Alike(), 500, 0
    came, gone, again = (Counted.combine(NOON + timedelta(days=n), NOON.timetz()) for n in range(3))

    firsts = [alike.add(ItemId(n), came, gone) for n in range(count)]
    later = [alike.add(ItemId(n), gone, again) for n in range(count, 2 * count)]

    assert firsts == later == [ItemId(n) for n in range(count)]
    assert 2 * count < Counted.compared < 30 * count
