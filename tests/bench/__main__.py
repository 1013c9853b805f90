"""Run benchmarks: all, or those named; `seconds N` is how long `lag` lasts at each rate."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from tests.bench import catchup, lag, reader

EXIT_USAGE = 64
BENCHMARKS: Mapping[str, Callable[[], None]] = {
    "reader": reader.run,
    "catchup": catchup.run,
    "lag": lag.run,
}


def main(words: Sequence[str]) -> int:
    """Run them; 64 for a name that is none."""
    names, seconds = list(words), lag.SECONDS
    if "seconds" in names:
        at = names.index("seconds")
        given = names[at + 1 : at + 2]
        if not (given and given[0].isdigit() and int(given[0])):
            return _refuse("seconds wants a whole number above 0.")
        seconds = int(given[0])
        del names[at : at + 2]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        return _refuse(f"There is no benchmark {unknown[0]}.")
    for name in names or BENCHMARKS:
        lag.run(seconds=seconds) if name == "lag" else BENCHMARKS[name]()
    return 0


def _refuse(why: str) -> int:
    print(f"{why} Known: {', '.join(BENCHMARKS)}; and: seconds N.", file=sys.stderr)  # noqa: T201
    return EXIT_USAGE


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    # What lies in memory is taken away again, as with Ctrl-C.
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main(sys.argv[1:]))
