"""What proofs tell of themselves, and the table at the end of `./run proofs`.

A proof prints one line, `P6: 60 copies, seed 17` or `P7, P8: 812 faults`: its numbers in the table
of docs/proofs.md, how much of what was tried, and the seed of what was random. Counts of equal
words are added up.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_LINE = re.compile(
    r"^(P[0-9]+(?:, P[0-9]+)*): (?:([0-9]+) )?(.+?)(?:, seed ([0-9]+))?$", re.MULTILINE
)


@dataclass
class Told:
    """What was told under one number in the same words."""

    count: int | None = None
    seconds: float = 0.0
    seeds: set[str] = field(default_factory=set)


def new_seed() -> int:
    """Return a seed that no run before had."""
    return random.SystemRandom().randrange(10**9)


def tell(proof: str, count: int, what: str, *, seed: int | None = None) -> None:
    """Print what a proof has just tried."""
    end = "" if seed is None else f", seed {seed}"
    print(f"{proof}: {count} {what}{end}")  # noqa: T201  # the table is made of it


def table(reports: Iterable[Any]) -> list[str]:
    """Return the rows of what passed reports of tests told, by number."""
    found: dict[tuple[tuple[int, ...], str], Told] = {}
    for report in reports:
        if report.when != "call":
            continue
        for proofs, count, what, seed in _LINE.findall(report.capstdout):
            numbers = tuple(int(each[1:]) for each in proofs.split(", "))
            told = found.setdefault((numbers, what), Told())
            if count:
                told.count = (told.count or 0) + int(count)
            told.seconds += report.duration
            told.seeds |= {seed} - {""}
    return [_row(numbers, what, told) for (numbers, what), told in sorted(found.items())]


def _row(numbers: Iterable[int], what: str, told: Told) -> str:
    proofs = ", ".join(f"P{number}" for number in numbers)
    counted = what if told.count is None else f"{told.count:,} {what}"
    return f"| {proofs} | {counted} | {told.seconds:.0f} s | {_seeds(told)} |"


def _seeds(told: Told) -> str:
    some = " ".join(sorted(told.seeds)[:3])
    return some + (" …" if len(told.seeds) > 3 else "")
