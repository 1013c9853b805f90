"""P1. kill -9 at random moments: nothing acknowledged is lost, nothing half, the end is the same.

Beside the worker that gets killed, another one does the same work in peace, into a Backup Path of
its own. In the end both trees are equal, byte for byte.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.mailserver.port import Source
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import from_ms, to_ms
from backupng.engine.operations import tether
from backupng.engine.redolog.follow import Position
from backupng.engine.scan.smartscan import CrewPlan, SmartScan
from tests.engine.backuppath.samples import files, is_kept
from tests.engine.scan.scanners import Scanner
from tests.proofs.busy import START_MS, new_sandbox
from tests.proofs.told import new_seed, tell

Acknowledge = Callable[[], None]
Work = Callable[[Sandbox, Path, datetime, Acknowledge], None]
KILLS_A_BATCH = 4
STEPS_A_BATCH = 5
BATCHES_A_SERVER = 25
"""After so many the server is made anew: what is looked at after each kill stays small."""


def follow(sandbox: Sandbox, root: Path, now: datetime, acknowledge: Acknowledge) -> None:
    """Let a Real-Time Scanner read to the end of the log."""
    with Scanner(sandbox.source(), root, clock=lambda: now).running() as scanner:
        while scanner.turn(0):
            acknowledge()


def scan(
    sandbox: Sandbox, root: Path, now: datetime, acknowledge: Acknowledge, *, processes: int = 1
) -> None:
    """Run a SmartScan in so many processes."""
    source = sandbox.source()
    owner = Owner(server_id=source.server_id, server_name=source.server_name)
    root.mkdir(exist_ok=True)
    with BackupPath.open_or_create(root, owner, now=now) as path:

        @contextmanager
        def again() -> Iterator[tuple[Source, BackupPath]]:
            with Sandbox.open(sandbox.folder) as other, BackupPath.open(root) as other_path:
                yield other.source(), other_path

        crew = CrewPlan(processes, again, tether.die_with_parent, least_news=0)
        SmartScan(
            source=source,
            path=path,
            started=now,
            tick=lambda _done, _total, _phase: None,
            log=lambda _line: None,
            crew=crew,
        ).run(now=lambda: now)
    acknowledge()


WORKS: dict[str, Work] = {
    "scanner": follow,
    "SmartScan": scan,
    "SmartScan in two processes": partial(scan, processes=2),
}


@dataclass
class Arena:
    """A server, a worker that is killed, and one that is not."""

    folder: Path
    work: Work
    seed: int
    kills: int = 0
    took_s: float = 0.05
    opened: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.dice = random.Random(self.seed)  # noqa: S311 - moments, not secrets
        self.sandbox = self.opened.enter_context(
            new_sandbox(self.folder / "server", seed=self.seed)
        )
        self.play = Play(self.sandbox, seed=self.seed)
        self.now_ms = START_MS

    @property
    def killed(self) -> Path:
        """The tree of the worker that is killed."""
        return self.folder / "killed"

    def batch(self, kills: int) -> None:
        """Let users work, then kill the worker so often, then let it end."""
        for _ in range(STEPS_A_BATCH):
            self.now_ms += self.dice.randrange(1, 2_000)
            self.play.step(now_ms=self.now_ms)
        # A scanner asks the directory again after a minute.
        self.now_ms += 61_000
        now = from_ms(self.now_ms) + timedelta(seconds=1)
        begun = time.monotonic()
        self.work(self.sandbox, self.folder / "model", now, lambda: None)
        self.took_s = (self.took_s + time.monotonic() - begun) / 2
        for _ in range(kills):
            acknowledged = self.run_and_kill(now, self.dice.uniform(0, 1.3 * self.took_s))
            self.kills += 1
            assert self.half_done(acknowledged) == "", f"seed {self.seed}, kill {self.kills}"
        self.work(self.sandbox, self.killed, now, lambda: None)
        differing = differences(self.folder / "model", self.killed)
        assert differing == set(), f"seed {self.seed}, after kill {self.kills}"

    def run_and_kill(self, now: datetime, after_s: float) -> bool:
        """Run the worker in a process that is killed then; say whether it acknowledged anything."""
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            try:
                with Sandbox.open(self.folder / "server") as sandbox:
                    self.work(sandbox, self.killed, now, lambda: _told(send))
            finally:
                os._exit(0)
        os.close(send)
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(receive, "rb") as pipe:
            return bool(pipe.read())

    def half_done(self, acknowledged: bool) -> str:  # noqa: FBT001 - what `run_and_kill` says
        """Return what is wrong with the tree of a killed worker; nothing if nothing is."""
        if not (self.killed / "format").exists():
            return "what was acknowledged is not there" if acknowledged else ""
        with BackupPath.open(self.killed) as path:
            for account in path.accounts():
                path.mailbox_history(account)
                for item in path.items(account):
                    if not all(is_kept(path, state) for state in path.history(account, item)):
                        return f"a state of {item} precedes its blob"
            if acknowledged and not (path.checkpoint() or path.scanner()):
                return "the acknowledged checkpoint is not there"
        return ""


def _told(pipe: int) -> None:
    os.write(pipe, b"!")


def differences(one: Path, other: Path) -> set[str]:
    """Return the files that two trees do not have alike, but for their ids and clocks."""
    mine, theirs = content(one), content(other)
    return {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}


def content(root: Path) -> dict[str, bytes]:
    """Return every file; of checkpoints only how far scans and scanner have come."""
    found = {name: data for name, data in files(root).items() if name != "format"}
    with BackupPath.open(root) as path:
        scanned, said = path.checkpoint().get("smartscan"), path.scanner()
    for name in [each for each in found if each.startswith("checkpoint/")]:
        found[name] = repr(scanned).encode()
        if name.endswith(".scanner"):
            position = Position.from_json(said["log"])
            place = position.sequence, position.offset, position.open_ops
            found[name] = repr((place, said["pending"], said["uncertain"])).encode()
    return found


@pytest.fixture
def arenas(in_memory: Path) -> Iterator[Callable[[str, int], Arena]]:
    """Return what makes arenas; they are closed at the end."""
    made: list[Arena] = []

    def make(name: str, seed: int) -> Arena:
        for arena in made:
            arena.opened.close()
        made.append(Arena(in_memory / str(len(made)), WORKS[name], seed))
        return made[-1]

    yield make
    for arena in made:
        arena.opened.close()


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("kills", [8, pytest.param(700, marks=pytest.mark.proofs)])
def test_a_worker_killed_at_random_moments_ends_with_the_same_tree(
    arenas: Callable[[str, int], Arena], name: str, kills: int
) -> None:
    seed = new_seed()
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    done = 0
    while done < kills:
        arena = arenas(name, seed + done)
        for _ in range(min(BATCHES_A_SERVER, (kills - done) // KILLS_A_BATCH)):
            arena.batch(KILLS_A_BATCH)
        done += arena.kills
    assert to_ms(from_ms(arena.now_ms)) > START_MS
    tell("P1", done, f"kills of a {name}", seed=seed)
