"""Paired rounds of us and the peers on one server: one method a stage, the order rotated."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import stores
from tests.bench.corpus import Corpus, corpus
from tests.bench.costs import Cost, cost_of, disk_mb, read_all
from tests.bench.engine import ROOT, Engine
from tests.bench.peers import PLACE, Borg, Restic, find_borg, find_restic

OURS, BORG, RESTIC = "ours", "borg", "restic"
_DELETED: Final = 0.2
_DAYS_S: Final = 3 * 86_400
_PURGE_DAYS: Final = (3, 10)
_USUAL: Final = 0.6
"""Of the accounts ordered by size, the one that is read back lies here."""


@dataclass(slots=True)
class Measured:
    """The costs of each round, by tool."""

    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def cpu_s(self, tool: str) -> float:
        """Return the median CPU."""
        return statistics.median(cost.cpu_s for cost in self.costs[tool])

    def wall_s(self, tool: str) -> float:
        """Return the median wall time."""
        return statistics.median(cost.wall_s for cost in self.costs[tool])

    def ratio(self, what: str, peer: str) -> float:
        """Return the median of the rounds' ratios of ours to a peer's; `what`: cpu_s or wall_s."""
        pairs = zip(self.costs[OURS], self.costs[peer], strict=True)
        ratios = [getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs]
        return float(statistics.median(ratios))


@dataclass
class Ground:
    """One server, our Backup Path and the peers' repositories."""

    folder: Path
    corpus: Corpus
    more: Corpus
    rounds: int
    engine: Engine = field(init=False)
    borg: Borg = field(init=False)
    restic: Restic = field(init=False)
    _delivered: int = 0
    _done: int = 0
    _paths: int = 0

    def __post_init__(self) -> None:
        self.engine = Engine(self.folder / "server", self.folder / "path")
        store = self.folder / "server" / "store"
        self.borg = Borg(store, self.folder, find_borg())
        self.restic = Restic(store, self.folder, find_restic())

    @property
    def versions(self) -> str:
        """Which peers these are."""
        return f"{self.borg.version} (-e none -C zstd,3), {self.restic.version}"

    def scan_anew(self, *, watch: bool = False) -> Cost:
        """Scan into an empty Backup Path."""
        # A new one each time: ext4 looks long for inodes where many were deleted a minute ago.
        self._paths += 1
        self.engine.path = self.folder / f"path-{self._paths}"
        self.engine.path.mkdir()
        self._warm()
        return self.engine.run("doSmartScan", watch=watch)

    def begin(self) -> Measured:
        """Measure the first backup of all."""
        return self._each(
            {
                OURS: self.scan_anew,
                BORG: lambda: self._first(self.borg),
                RESTIC: lambda: self._first(self.restic),
            }
        )

    def again(self) -> Measured:
        """Measure one more backup while nothing has changed."""
        return self._each(self._backups())

    def add(self, count: int) -> Measured:
        """Measure one more backup each time after so many messages came."""
        return self._each(self._backups(), before=lambda: self._deliver(count))

    def scan_more(self, count: int) -> Cost:
        """Scan once more after so many messages came."""
        self._deliver(count)
        self._warm()
        return self.engine.run("doSmartScan")

    def check(self) -> Measured:
        """Measure reading and verifying all that was saved. Raises NotThere."""
        return self._each(
            {
                OURS: self._check_ours,
                BORG: self.borg.check,
                RESTIC: self.restic.check,
            }
        )

    def read_back(self) -> Measured:
        """Measure reading one account back to files."""
        found = stores.sizes(self.engine.server)
        _, account, folder = found[int(len(found) * _USUAL)]
        return self._each(
            {
                OURS: lambda: self._extract(self._read_ours(account)),
                BORG: lambda: self._extract(lambda to: self.borg.extract(folder, to)),
                RESTIC: lambda: self._extract(lambda to: self.restic.extract(folder, to)),
            }
        )

    def purge(self) -> Measured:
        """Measure giving back what a fifth of all messages took, once they are deleted."""
        return self._each(
            {
                OURS: self._purge_ours,
                BORG: self.borg.purge,
                RESTIC: self.restic.purge,
            },
            before=self._delete,
        )

    def space_mb(self) -> Mapping[str, float]:
        """Return what each takes on the disk, in MiB."""
        places = {
            OURS: self.engine.path,
            BORG: self.borg.repository,
            RESTIC: self.restic.repository,
        }
        return {tool: disk_mb(place) for tool, place in places.items()}

    def memory_after_mb(self, raw: bytes) -> float:
        """Return the memory of a scan that saves one more message."""
        stores.deliver_one(self.engine.server, raw)
        return self.engine.run("doSmartScan", watch=True).memory_mb

    def _each(
        self,
        tools: Mapping[str, Callable[[], Cost]],
        *,
        before: Callable[[], None] = lambda: None,
    ) -> Measured:
        found = Measured({tool: [] for tool in tools})
        for number in range(self.rounds):
            before()
            order = list(tools)
            at = number % len(order)
            for tool in order[at:] + order[:at]:
                self._warm()
                found.costs[tool].append(tools[tool]())
            told = ", ".join(f"{tool} {costs[-1].cpu_s:.2f}" for tool, costs in found.costs.items())
            print(f"    round {number + 1}: CPU s {told}", file=sys.stderr)  # noqa: T201
        return found

    def _backups(self) -> dict[str, Callable[[], Cost]]:
        return {
            OURS: lambda: self.engine.run("doSmartScan"),
            BORG: self.borg.create,
            RESTIC: self.restic.create,
        }

    def _first(self, peer: Borg | Restic) -> Cost:
        peer.empty()
        self._warm()
        return peer.create()

    def _warm(self) -> None:
        read_all(self.engine.server / "store")

    def _deliver(self, count: int) -> None:
        entries = self.more.entries()[self._delivered : self._delivered + count]
        stores.deliver(self.more, self.engine.server, entries)
        self._delivered += count

    def _delete(self) -> None:
        self._done += 1
        stores.delete(self.engine.server, _DELETED, seed=self._done)
        for run in self._backups().values():
            run()
        # As if it had all been saved days ago: what is younger than a day is never purged.
        _age(self.engine.path / "items")

    def _check_ours(self) -> Cost:
        return self.engine.run("doCoherencyCheck", backup_path=str(self.engine.path))

    def _purge_ours(self) -> Cost:
        """Purge twice: what the first one puts into the trash, the one a week later deletes."""
        costs = [
            self.engine.run("doPurge", days=days, purgeDays="1", confirm="true")
            for days in _PURGE_DAYS
        ]
        if not self.engine.end["report"]["counters"]["bytes_freed"]:
            raise RuntimeError("the Purge has removed nothing")
        return Cost(sum(cost.cpu_s for cost in costs), sum(cost.wall_s for cost in costs))

    def _read_ours(self, account: str) -> Callable[[Path], Cost]:
        program = [sys.executable, "-m", "tests.bench.readback", str(self.engine.path), account]
        return lambda to: cost_of([*program, str(to)], cwd=ROOT)

    def _extract(self, read: Callable[[Path], Cost]) -> Cost:
        with tempfile.TemporaryDirectory(prefix="extracted-", dir=self.folder) as target:
            return read(Path(target))


@contextmanager
def ground(*, accounts: int, items: int, rounds: int, every: int = 1) -> Iterator[Ground]:
    """Make a server with a corpus, of which every so-many-th message counts, and take it away."""
    big = corpus(accounts=accounts, items=items)
    more = corpus(accounts=accounts, items=max(200, items // 20), seed=2)
    with tempfile.TemporaryDirectory(prefix="backupng-bench-", dir=PLACE) as folder:
        stores.load(big, Path(folder) / "server", every=every)
        (Path(folder) / "path").mkdir()
        yield Ground(Path(folder), big, more, rounds)


def _age(folder: Path) -> None:
    then = time.time() - _DAYS_S
    for root, _, names in os.walk(folder):
        for name in names:
            os.utime(Path(root, name), (then, then))
