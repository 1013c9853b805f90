"""Chance that falls the same way on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

_Thing = TypeVar("_Thing")


class Dice:
    """A stream of its own for each seed.

    It is built on `random()` and `randbytes()` alone, the two that Python promises to repeat; the
    comfortable methods of `random.Random` may draw differently in another version.
    """

    def __init__(self, *seed: object) -> None:
        self._random = random.Random("/".join(map(str, seed)))  # noqa: S311  # to be repeated

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        return int(self._random.random() * limit)

    def between(self, lowest: int, highest: int) -> int:
        """Return a number from `lowest` to `highest`."""
        return lowest + self.below(highest - lowest + 1)

    def chance(self, share: float) -> bool:
        """Return True in this share of all cases."""
        return self._random.random() < share

    def pick(self, things: Sequence[_Thing]) -> _Thing:
        """Return one of the things."""
        return things[self.below(len(things))]

    def some(self, things: Sequence[_Thing], number: int) -> list[_Thing]:
        """Return that many different ones of the things, or all if fewer, in any order."""
        left = list(things)
        return [left.pop(self.below(len(left))) for _ in range(min(number, len(left)))]

    def long_tail(self, usual: int, largest: int) -> int:
        """Return a size: mostly from `usual` up to its double, seldom as much as `largest`."""
        return min(largest, int(usual / (1.0 - self._random.random()) ** 0.8))

    def noise(self, size: int) -> bytes:
        """Return that many bytes which no compression makes smaller."""
        return self._random.randbytes(size)
