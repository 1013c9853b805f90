"""How fast records are read: by `RedoLog.records`, and by the follower that the scanner has."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from backupng.engine.redolog.files import LogFiles
from backupng.engine.redolog.follow import Follower
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record
from tests.bench import figures
from tests.bench.figures import Line, share
from tests.bench.mailserver import START_MS, Mix, make_server, opened

CHANGES = 8_000
ROUNDS = 3


def run() -> None:
    """Print records and MB per second."""
    with figures.places() as (server, _):
        make_server(server, accounts=20)
        with opened(server) as sandbox:
            mix = Mix(sandbox)
            with sandbox.writing.making():
                for number in range(CHANGES):
                    mix.step(START_MS + number)
            files = sandbox.redo_log
        size = files.current.stat().st_size
        raw_s = _best(lambda: figures.raw_read_s(files.current))
        lines = [Line("just reading the file", f"{size / raw_s / 1e6:,.0f} MB/s")]
        for name, read in (("RedoLog.records", _records), ("Follower", _followed)):
            found: list[int] = []
            seconds = _best(partial(_timed, read, files, found))
            lines += [
                Line(f"{name}, records", f"{found[-1] / seconds:,.0f} /s"),
                Line(
                    f"{name}, bytes",
                    f"{size / seconds / 1e6:,.0f} MB/s",
                    share(raw_s, seconds, "just reading"),
                ),
            ]
        figures.show(f"reader: a log of {CHANGES:,} changes, {size / 1e6:.0f} MB", lines)


def _best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(ROUNDS))


def _timed(read: Callable[[LogFiles], int], files: LogFiles, found: list[int]) -> float:
    begin = time.perf_counter()
    found.append(read(files))
    return time.perf_counter() - begin


def _records(files: LogFiles) -> int:
    with RedoLog(files.current) as log:
        return sum(isinstance(each, Record) for each in log.records())


def _followed(files: LogFiles) -> int:
    """Return how many records were read: each change has two."""
    follower, count = Follower(files, position=None), 0
    try:
        while events := follower.read(500):
            count += 2 * len(events)
    finally:
        follower.close()
    return count
