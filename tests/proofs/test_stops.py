"""P14. Stop at any point of any operation: nothing is half, and the next run ends as one in peace.

An operation looks at each tick whether it is to stop; here one stops at random ticks. How long the
pauses between them are at most is measured in test_memory.py.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import Stopped
from backupng.engine.operations import OPERATIONS, parameters
from tests.cast import ALICE, BOB, Office, message, office
from tests.engine.backuppath.samples import is_kept
from tests.engine.upkeep.purging import age
from tests.proofs.test_kills import content
from tests.proofs.told import new_seed, tell

Texts = Callable[["Stage", str], dict[str, str]]
PARAMETERS: dict[str, Texts] = {
    "doSmartScan": lambda _stage, _name: {},
    "doAccountScan": lambda _stage, _name: {"account": ALICE},
    "doCoherencyCheck": lambda stage, _name: {"backup_path": str(stage.backup_path)},
    "doFixOrphans": lambda _stage, _name: {"dryrun": "false", "confirm": "true"},
    "doPurge": lambda _stage, _name: {"purgeDays": "1", "confirm": "true"},
    "doRestoreOnNewAccount": lambda _stage, name: {
        "source_account": ALICE,
        "destination_account": name,
        "date": "last",
    },
    "rebuildCatalog": lambda _stage, _name: {},
}
RESTORE = "doRestoreOnNewAccount"


@dataclass
class Stage(Office):
    """An office with something to do for every operation, that can be put back to its beginning."""

    ticks: int = 0
    stop_at: int = 0

    def prepare(self) -> None:
        """Fill the mailboxes, scan, and let more happen."""
        for number in range(30):
            self.client.deliver(ALICE, message(f"Old {number}"), folder="/Inbox")
        olds = [self.client.deliver(BOB, message(f"Bob {n}"), folder="/Inbox") for n in range(8)]
        self.scan()
        for item in olds[:4]:
            self.client.delete(BOB, item)
        self.scan()
        self.later(days=3)
        for number in range(30):
            self.client.deliver(ALICE, message(f"New {number}"), folder="/Inbox")
        with self.path as path, path.writer("scan") as writer:
            writer.add_blob([b"an orphan"])
            writer.commit()
        # So long ago that a Purge does not spare it.
        age(self.backup_path, self.now - timedelta(days=3))
        shutil.copytree(self.backup_path, self.first)

    @property
    def first(self) -> Path:
        """The Backup Path as it was at first."""
        return self.folder / "first"

    @property
    def catalog(self) -> Catalog:
        """The index of the Backup Path, in a file."""
        return self.opened.enter_context(Catalog(self.path, self.folder / "catalog"))

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Count, and stop where it was asked for."""
        self.ticks += 1
        if self.ticks == self.stop_at:
            raise Stopped("The operation was stopped before its end.")

    def put_back(self) -> None:
        """Forget what operations wrote."""
        self.opened.close()
        shutil.rmtree(self.backup_path)
        shutil.copytree(self.first, self.backup_path)

    def attempt(self, command: str, *, stop_at: int = 0, name: str = "copy@example.com") -> bool:
        """Run an operation; say whether it was stopped."""
        self.ticks, self.stop_at = 0, stop_at
        texts = PARAMETERS[command](self, name)
        try:
            self.run(parameters.parse(OPERATIONS[command], texts, ZoneInfo("UTC")))
        except Stopped:
            return True
        return False

    def outcome(self, name: str) -> tuple[dict[str, bytes], list[str]]:
        """Return what is in the Backup Path, and what in a restored account."""
        items = self.client.list(name)["items"] if name else []
        shown = ("type", "folder", "name", "subject", "flags", "unread", "size", "digest")
        return content(self.backup_path), sorted(repr([i[k] for k in shown]) for i in items)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return a stage that all operations share."""
    with office(tmp_path_factory.mktemp("stops")) as mail:
        made = Stage(mail.folder, mail.sandbox)
        with made.opened:
            made.prepare()
            yield made


def assert_nothing_half(root: Path) -> None:
    with BackupPath.open(root) as path:
        for account in path.accounts():
            for item in path.items(account):
                assert all(is_kept(path, state) for state in path.history(account, item))


def test_every_operation_is_stopped_here() -> None:
    assert sorted(PARAMETERS) == sorted(OPERATIONS)


def test_some_operation_stopped_anywhere_is_completed_by_the_next_run(stage: Stage) -> None:
    seed = new_seed()
    stop(stage, sorted(PARAMETERS)[seed % len(PARAMETERS)], 1, seed=seed)


@pytest.mark.proofs
@pytest.mark.parametrize("command", sorted(PARAMETERS))
def test_each_operation_stopped_anywhere_is_completed_by_the_next_run(
    stage: Stage, command: str
) -> None:
    stop(stage, command, 40, seed=new_seed())


def stop(stage: Stage, command: str, count: int, *, seed: int) -> None:
    """Stop an operation so often, and let it end each time."""
    print(f"{command}, seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    restored = f"r{seed}" if command == RESTORE else ""
    stage.put_back()
    stage.attempt(command, name=f"{restored}@example.com")
    ticks, wanted = stage.ticks, stage.outcome(restored and f"{restored}@example.com")
    stopped = 0
    for number in range(count):
        stage.put_back()
        at = dice.randrange(1, ticks + 1)
        stopped += stage.attempt(command, stop_at=at, name=f"{restored}-{number}-s@example.com")
        assert_nothing_half(stage.backup_path)
        again = f"{restored}-{number}@example.com"
        assert not stage.attempt(command, name=again)
        assert stage.outcome(restored and again) == wanted, f"seed {seed}, stopped at {at}"
    # What a SmartScan does for the catalog behind its own end may be stopped without a trace.
    assert stopped or count == 1
    tell("P14", stopped, f"stops of {command}", seed=seed)
