"""How fast restores are: into a sandbox, beside `borg extract` of the same messages to files.

Ratios are the medians of paired rounds, and not of the same work: ours makes rows, metadata, redo
log and blobs of a mail server and reads them back; borg writes files. It is a yardstick only.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import AccountId
from tests.bench import stores
from tests.bench.corpus import corpus
from tests.bench.costs import Cost, read_all
from tests.bench.engine import Engine
from tests.bench.figures import Line, note, show
from tests.bench.peers import PLACE, Borg, MissingPeer, find_borg

SIZES: Final = (2_000, 20_000)
"""Messages, all of them in one mailbox."""
_WHAT: Final = (
    "restores: the process of the operation, as the console starts it, into a sandbox on the disk; "
    "with items read back. borg extract writes the same messages to files."
)


@dataclass
class _Ground:
    """One server with one mailbox, saved by us and by borg."""

    folder: Path
    items: int
    engine: Engine = field(init=False)
    borg: Borg = field(init=False)
    _account: AccountId = field(init=False)
    _made: int = 0

    def __post_init__(self) -> None:
        self.engine = Engine(self.folder / "server", self.folder / "path")
        self.borg = Borg(self.folder / "server" / "store", self.folder, find_borg())
        # The largest, while there is none that a restore has made.
        self._account = stores.sizes(self.engine.server)[-1][1]

    def begin(self) -> None:
        """Save it."""
        self.engine.run("doSmartScan")
        self.borg.empty()
        self.borg.create()

    def on_new_account(self, *, watch: bool = False) -> Cost:
        """Restore the mailbox into one more account of the server."""
        read_all(self.engine.path)
        self._made += 1
        cost = self.engine.run(
            "doRestoreOnNewAccount",
            watch=watch,
            source_account=self._account,
            destination_account=f"new{self._made}@example.com",
            date="last",
        )
        self._require_all(self.engine)
        return cost

    def external(self, *, watch: bool = False) -> Cost:
        """Restore the backup into one more server, which is empty."""
        self._made += 1
        there = self.folder / f"server-{self._made}"
        Sandbox.create(there, name="there", domain="example.net", seed=self._made).close()
        engine = Engine(there, self.folder / f"path-{self._made}")
        engine.path.mkdir()
        read_all(self.engine.path)
        cost = engine.run("doExternalRestore", watch=watch, source_path=str(self.engine.path))
        self._require_all(engine)
        return cost

    def extract(self) -> Cost:
        """Have borg write all messages to files."""
        read_all(self.borg.repository)
        with tempfile.TemporaryDirectory(prefix="extracted-", dir=self.folder) as target:
            return self.borg.extract(self.borg.store, Path(target))

    def _require_all(self, engine: Engine) -> None:
        restored = engine.end["report"]["counters"]["restored"]
        if restored < self.items:
            raise RuntimeError(f"only {restored} items were restored")


def run(*, rounds: int, sizes: Sequence[int]) -> None:
    """Measure both restores for each size, and how much memory they take."""
    try:
        find_borg()
    except MissingPeer as error:
        print(error, file=sys.stderr)  # noqa: T201
        return
    note(_WHAT)
    peaks: dict[str, list[float]] = {}
    for items in sizes:
        with _ground(items) as at:
            for what, restore in (
                ("Restore on New Account", at.on_new_account),
                ("External Restore", at.external),
            ):
                pairs = [_pair(number, at, restore) for number in range(rounds)]
                memory_mb = restore(watch=True).memory_mb
                peaks.setdefault(what, []).append(memory_mb)
                show(f"{what}, {items:,} messages in one mailbox", _lines(items, pairs, memory_mb))
    if len(sizes) > 1:
        times = [Line(what, f"× {max(each) / min(each):.2f}") for what, each in peaks.items()]
        show("memory, the larger mailbox to the smaller", times)


def _pair(number: int, at: _Ground, restore: Callable[[], Cost]) -> tuple[Cost, Cost]:
    if number % 2:
        theirs = at.extract()
        return restore(), theirs
    return restore(), at.extract()


def _lines(items: int, pairs: Sequence[tuple[Cost, Cost]], memory_mb: float) -> list[Line]:
    wall_s = statistics.median(ours.wall_s for ours, _ in pairs)
    borg_s = statistics.median(borg.wall_s for _, borg in pairs)
    each = ", ".join(f"{ours.wall_s / borg.wall_s:.2f}" for ours, borg in pairs)
    cpu = statistics.median(ours.cpu_s / borg.cpu_s for ours, borg in pairs)
    wall = statistics.median(ours.wall_s / borg.wall_s for ours, borg in pairs)
    return [
        Line("ours", f"{items / wall_s:,.0f} items/s", f"{wall_s:.2f} s wall"),
        Line("borg extract", f"{items / borg_s:,.0f} items/s", f"{borg_s:.2f} s wall"),
        Line("wall × borg extract", f"{wall:.2f}", f"rounds: {each}"),
        Line("CPU × borg extract", f"{cpu:.2f}"),
        Line("memory of all processes together", f"{memory_mb:.0f} MB"),
    ]


@contextmanager
def _ground(items: int) -> Iterator[_Ground]:
    with tempfile.TemporaryDirectory(prefix="backupng-bench-", dir=PLACE) as folder:
        stores.load(corpus(accounts=1, items=items), Path(folder) / "server")
        (Path(folder) / "path").mkdir()
        made = _Ground(Path(folder), items)
        made.begin()
        yield made
