"""The comparison with borg and restic, and its targets: what `./run bench` prints of them.

Ratios are the medians of paired rounds; CPU is user and system time of the whole process tree. Ours
is the process of the operation, with a metadata file for every item, the catalog and durability by
group; what the command line takes to begin is not in it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from tests.bench import figures
from tests.bench.costs import Cost
from tests.bench.engine import NotThere
from tests.bench.figures import Line
from tests.bench.rounds import BORG, OURS, RESTIC, Ground, Measured, ground

ROUNDS: Final = 5
SIZES: Final[Mapping[int, int]] = {2_000: 20, 20_000: 100}
"""Corpora: messages, and the accounts that they are spread over."""
_LARGE, _ACCOUNTS, _TENTH = 20_000, 100, 10
_FIXED: Final = 200
_BIG_BYTES: Final = 50_000_000
_WHAT: Final = (
    "ours: the process of the operation, as the console starts it, and all of its own; with the "
    "server's database read, the metadata of every item kept, and the catalog brought up to date. "
    "Not in it: the start of the command (Django). The peers copy the store's files alone."
)
_WORDS: Final = {"cpu_s": "CPU", "wall_s": "wall"}

Target = tuple[str, str, float]
"""`cpu_s` or `wall_s`, the peer, and the largest ratio to it."""
_SCAN: Final[tuple[Target, ...]] = (
    ("cpu_s", BORG, 0.85),
    ("cpu_s", RESTIC, 0.60),
    ("wall_s", BORG, 0.70),
    ("wall_s", RESTIC, 0.60),
)
_SAME: Final[tuple[Target, ...]] = (("wall_s", BORG, 0.05), ("wall_s", RESTIC, 0.1))
_ADDED: Final[tuple[Target, ...]] = (("cpu_s", BORG, 0.15), ("cpu_s", RESTIC, 0.3))
_CHECK: Final[tuple[Target, ...]] = (("cpu_s", RESTIC, 1.3),)
_BACK: Final[tuple[Target, ...]] = (("wall_s", BORG, 0.6),)
_PURGE: Final[tuple[Target, ...]] = (("cpu_s", BORG, 0.35), ("wall_s", BORG, 1.0))


def judged(what: str, number: float, target: float) -> Line:
    """Return the line of a target: a number and whether it is at most the target."""
    verdict = "met" if number <= target else "NOT MET"
    return Line(what, f"{number:.3f}", f"target ≤ {target:g}: {verdict}")


@dataclass
class Comparison:
    """Everything that is measured on servers of the given sizes; each part is one benchmark."""

    rounds: int = ROUNDS
    sizes: Mapping[int, int] = field(default_factory=lambda: SIZES)
    _stack: ExitStack = field(default_factory=ExitStack)
    _grounds: dict[tuple[int, int], Ground] = field(default_factory=dict)
    _scans: dict[int, Measured] = field(default_factory=dict)

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def scan(self) -> None:
        """The first backup of all."""
        for items in self.sizes:
            self._show("initial SmartScan", items, self._scanned(items), _SCAN)

    def incremental(self) -> None:
        """One more backup: of nothing new, and of one percent more."""
        for items in self.sizes:
            self._scanned(items)
            at = self._ground(items)
            self._show("SmartScan, nothing changed", items, at.again(), _SAME)
            self._show("SmartScan, 1 % added", items, at.add(items // 100), _ADDED)

    def check(self) -> None:
        """Reading and verifying all that was saved."""
        self._maybe("Coherency Check of all data", Ground.check, _CHECK)

    def readback(self) -> None:
        """Reading one account back to files."""
        self._maybe("read back one account", Ground.read_back, _BACK)

    def purge(self) -> None:
        """Giving back what a fifth of all messages took."""
        self._maybe("Purge of 20 %", Ground.purge, _PURGE)

    def memory(self) -> None:
        """What all processes of a first scan take together, and one large message more."""
        peaks = {items: self._ground(items).scan_anew(watch=True).memory_mb for items in self.sizes}
        lines = [judged(f"MB, {items:,} messages", mb, 150) for items, mb in peaks.items()]
        if len(peaks) > 1:
            times = max(peaks.values()) / min(peaks.values())
            lines.append(judged("the larger, × the smaller", times, 1.3))
        at = self._ground(min(self.sizes))
        small = at.memory_after_mb(_message(1_000))
        more = at.memory_after_mb(_message(_BIG_BYTES)) - small
        lines.append(judged("MB more for a message of 50 MB", more, 16))
        figures.show("memory of all processes together", lines)

    def growth(self) -> None:
        """How CPU grows with the store: the same accounts, a tenth of the messages and all."""
        small = self._ground(_LARGE, every=_TENTH)
        large = self._ground(_LARGE)
        pairs = [(small.scan_anew(), large.scan_anew()) for _ in range(self.rounds)]
        first = [(a.cpu_s, b.cpu_s) for a, b in pairs]
        same = [(a.wall_s, b.wall_s) for a, b in self._pairs(small, large, added=0)]
        fixed = [(a.cpu_s, b.cpu_s) for a, b in self._pairs(small, large, added=_FIXED)]
        figures.show(
            f"growth, {_LARGE // _TENTH:,} to {_LARGE:,} messages in {_ACCOUNTS} accounts",
            [
                judged("initial scan, log-log slope of CPU", _slope(first), 1.05),
                judged(f"{_FIXED} messages added, slope of CPU", _slope(fixed), 0.1),
                judged("nothing changed, wall × the smaller", _times(same), 1.2),
            ],
        )

    def space(self) -> None:
        """What each takes on the disk after a first backup."""
        for items in self.sizes:
            self._scanned(items)
            found = self._ground(items).space_mb()
            lines = [Line(tool, f"{mb:,.0f} MiB") for tool, mb in found.items()]
            lines += [
                judged(f"× {peer}", found[OURS] / found[peer], most)
                for peer, most in ((RESTIC, 1.10), (BORG, 1.25))
            ]
            figures.show(f"space, {items:,} messages, metadata included", lines)

    def _ground(self, items: int, *, every: int = 1) -> Ground:
        key = items, every
        if key not in self._grounds:
            if not self._grounds:
                figures.note(_WHAT)
            accounts = self.sizes.get(items, _ACCOUNTS)
            made = ground(accounts=accounts, items=items, rounds=self.rounds, every=every)
            at = self._grounds[key] = self._stack.enter_context(made)
            figures.note(f"{items // every:,} messages in {accounts} accounts; {at.versions}")
        return self._grounds[key]

    def _scanned(self, items: int) -> Measured:
        """Return what the first backups cost; they are made once for all that builds on them."""
        if items not in self._scans:
            self._scans[items] = self._ground(items).begin()
        return self._scans[items]

    def _maybe(
        self, what: str, measure: Callable[[Ground], Measured], targets: Sequence[Target]
    ) -> None:
        for items in self.sizes:
            self._scanned(items)
            try:
                found = measure(self._ground(items))
            except NotThere:
                figures.show(f"{what}, {items:,} messages", [Line("not there", "")])
            else:
                self._show(what, items, found, targets)

    def _show(self, what: str, items: int, found: Measured, targets: Sequence[Target]) -> None:
        lines = [
            Line(tool, f"{found.cpu_s(tool):.2f} s CPU", f"{found.wall_s(tool):.2f} s wall")
            for tool in found.costs
        ]
        lines += [
            judged(f"{_WORDS[each]} × {peer}", found.ratio(each, peer), most)
            for each, peer, most in targets
        ]
        figures.show(f"{what}, {items:,} messages", lines)

    def _pairs(self, small: Ground, large: Ground, *, added: int) -> list[tuple[Cost, Cost]]:
        return [(small.scan_more(added), large.scan_more(added)) for _ in range(self.rounds)]


def _slope(pairs: Sequence[tuple[float, float]]) -> float:
    return math.log(_times(pairs)) / math.log(_TENTH)


def _times(pairs: Sequence[tuple[float, float]]) -> float:
    return statistics.median(larger / smaller for smaller, larger in pairs)


def _message(length: int) -> bytes:
    head = b"Subject: large\r\nContent-Type: text/plain\r\n\r\n"
    line = b"A line of a long letter, neither new nor random.\r\n"
    return head + line * (length // len(line))


BENCHMARKS: Final[Mapping[str, Callable[[Comparison], None]]] = {
    "scan": Comparison.scan,
    "incremental": Comparison.incremental,
    "space": Comparison.space,
    "readback": Comparison.readback,
    "check": Comparison.check,
    "growth": Comparison.growth,
    "purge": Comparison.purge,
    "memory": Comparison.memory,
}
"""In an order in which each finds what it builds on: purges come last."""
