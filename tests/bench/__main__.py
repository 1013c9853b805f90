"""Run benchmarks: all, or those named.

`seconds N` is how long `lag` lasts at each rate, `rounds N` how often peers are compared, `items N`
that only one of the two sizes is wanted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench import catchup, lag, peering, reader, restores
from tests.bench.peering import Comparison
from tests.bench.peers import MissingPeer

EXIT_USAGE = 64
_ALONE: Mapping[str, Callable[[Mapping[str, int]], None]] = {
    "reader": lambda _numbers: reader.run(),
    "catchup": lambda _numbers: catchup.run(),
    "lag": lambda numbers: lag.run(seconds=numbers["seconds"]),
    "restore": lambda numbers: restores.run(
        rounds=numbers["rounds"], sizes=(numbers["items"],) if numbers["items"] else restores.SIZES
    ),
}
BENCHMARKS = (*_ALONE, *peering.BENCHMARKS)


class _WrongWords(Exception):
    """What is wrong with the words typed."""


@dataclass
class _Wanted:
    names: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(
        default_factory=lambda: {"seconds": lag.SECONDS, "rounds": peering.ROUNDS, "items": 0}
    )


def main(words: Sequence[str]) -> int:
    """Run them; 64 for a name that is none."""
    try:
        wanted = _read(words)
    except _WrongWords as error:
        known = f"Known: {', '.join(BENCHMARKS)}; and: seconds N, rounds N, items N."
        print(f"{error} {known}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    names = wanted.names or list(BENCHMARKS)
    for name in names:
        if name in _ALONE:
            _ALONE[name](wanted.numbers)
    items = wanted.numbers["items"]
    sizes = {items: peering.SIZES[items]} if items else peering.SIZES
    try:
        with Comparison(rounds=wanted.numbers["rounds"], sizes=sizes) as comparison:
            for name, run in peering.BENCHMARKS.items():
                if name in names:
                    run(comparison)
    except MissingPeer as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _read(words: Sequence[str]) -> _Wanted:
    wanted, left = _Wanted(), iter(words)
    for word in left:
        if word in wanted.numbers:
            given = next(left, "")
            if not (given.isdigit() and int(given)):
                raise _WrongWords(f"{word} wants a whole number above 0.")
            wanted.numbers[word] = int(given)
        elif word in BENCHMARKS:
            wanted.names.append(word)
        else:
            raise _WrongWords(f"There is no benchmark {word}.")
    if wanted.numbers["items"] not in (0, *peering.SIZES):
        raise _WrongWords(f"items is one of {', '.join(map(str, peering.SIZES))}.")
    return wanted


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    # What lies in memory is taken away again, as with Ctrl-C.
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main(sys.argv[1:]))
