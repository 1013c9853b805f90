"""P14. Stop at any point of any operation: nothing is half, and the next run ends as one in peace.

An operation looks at each tick whether it is to stop; here one stops at random ticks. How long the
pauses between them are at most is measured in test_memory.py.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.backuppath.mapfile import IdMap, Mapped
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import Stopped
from backupng.engine.mailserver.port import Grant
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID
from backupng.engine.mailserver.zimbra.grants import Grantee, grants_of
from backupng.engine.model import EntryKind, ItemId
from backupng.engine.operations import OPERATIONS, parameters
from backupng.engine.restore.importing.shares import folders_there
from tests.cast import ALICE, BOB, DAVE, Office, message, office
from tests.engine.backuppath.samples import is_kept
from tests.engine.restore.migrating import empty_office, seen
from tests.engine.upkeep.purging import age
from tests.proofs.test_kills import content
from tests.proofs.told import new_seed, tell

Texts = Callable[["Stage", str], dict[str, str]]
PARAMETERS: dict[str, Texts] = {
    "doSmartScan": lambda _stage, _name: {},
    "doAccountScan": lambda _stage, _name: {"account": ALICE},
    "doCheckShares": lambda _stage, _name: {},
    "doCoherencyCheck": lambda stage, _name: {"backup_path": str(stage.backup_path)},
    "doExport": lambda stage, _name: {"destination_path": str(stage.export), "resume": "true"},
    "doExternalRestore": lambda stage, _name: {"source_path": str(stage.backup_path)},
    "doFixOrphans": lambda _stage, _name: {"dryrun": "false", "confirm": "true"},
    "doFixShares": lambda _stage, _name: {},
    "doItemRestore": lambda _stage, _name: {"account_name": BOB, "item_id": "256"},
    "doPurge": lambda _stage, _name: {"purgeDays": "1", "confirm": "true"},
    "doRestoreOnNewAccount": lambda _stage, name: {
        "source_account": ALICE,
        "destination_account": name,
        "date": "last",
    },
    "doUndelete": lambda _stage, _name: {"account": BOB, "start_date": "first", "end_date": "last"},
    "rebuildCatalog": lambda _stage, _name: {},
}
FILLED = {"doItemRestore": BOB, "doUndelete": BOB}
"""Whose mailbox an operation adds to."""
RESTORE, IMPORT, REPAIR = "doRestoreOnNewAccount", "doExternalRestore", "doFixShares"
OLD_SERVER, OLD_ALICE = (f"99999999-9999-4999-8999-99999999999{n}" for n in "12")


@dataclass
class Elsewhere(Office):
    """Another server, which an import is stopped on."""

    ticked: Callable[[], None] = field(kw_only=True)

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Count there."""
        self.ticked()


@dataclass
class Stage(Office):
    """An office with something to do for every operation, that can be put back to its beginning."""

    ticks: int = 0
    stop_at: int = 0
    elsewhere: dict[str, Office] = field(default_factory=dict)
    """Empty servers that are imported into, by name."""

    def prepare(self) -> None:
        """Fill the mailboxes, scan, and let more happen."""
        for number in range(30):
            self.client.deliver(ALICE, message(f"Old {number}"), folder="/Inbox")
        olds = [self.client.deliver(BOB, message(f"Bob {n}"), folder="/Inbox") for n in range(8)]
        self.scan()
        for item in olds[:4]:
            self.client.delete(BOB, item)
        for number in range(8):
            self.client.create_folder(DAVE, f"/Shared/{number}")
        self.scan()
        self.later(days=3)
        for number in range(30):
            self.client.deliver(ALICE, message(f"New {number}"), folder="/Inbox")
        with self.path as path, path.writer("scan") as writer:
            writer.add_blob([b"an orphan"])
            writer.commit()
            self._map_alice(path)
        # So long ago that a Purge does not spare it.
        age(self.backup_path, self.now - timedelta(days=3))
        shutil.copytree(self.backup_path, self.first)

    def _map_alice(self, path: BackupPath) -> None:
        alice = Mapped(
            kind=EntryKind.ACCOUNT,
            old=OLD_ALICE,
            new=self.account_id(ALICE),
            name=ALICE,
            here=ALICE,
        )
        id_map = IdMap(path.tree, OLD_SERVER)
        id_map.note(alice, self.now)
        id_map.sync()

    @property
    def shared(self) -> list[tuple[ItemId, list[str]]]:
        """Whom dave's folders are shared with."""
        found = folders_there(self.source, self.source.mailbox(self.account_id(DAVE)))
        return [(i, [grant.grantee for grant in grants_of(found[i])]) for i in sorted(found)]

    def break_shares(self) -> None:
        """Let grants name the id that alice had on an older server."""
        shares = self.destination.shares(self.sandbox.account(DAVE))
        for folder, _ in self.shared:
            if folder >= FIRST_USER_ID:
                shares.put_grant(folder, Grant(grantee=OLD_ALICE, type=Grantee.USER, rights=1))
                shares.revoke(folder, self.account_id(ALICE))

    @property
    def first(self) -> Path:
        """The Backup Path as it was at first."""
        return self.folder / "first"

    @property
    def export(self) -> Path:
        """Where an export goes."""
        found = self.folder / "export"
        found.mkdir(exist_ok=True)
        return found

    @property
    def catalog(self) -> Catalog:
        """The index of the Backup Path, in a file."""
        return self.opened.enter_context(Catalog(self.path, self.folder / "catalog"))

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Count, and stop where it was asked for."""
        self.ticked()

    def ticked(self) -> None:
        """Count a tick here or elsewhere."""
        self.ticks += 1
        if 0 < self.stop_at <= self.ticks:
            raise Stopped("The operation was stopped before its end.")

    def put_back(self, command: str) -> None:
        """Forget what operations wrote, and let an operation have something to do."""
        self.opened.close()
        self.elsewhere.clear()
        shutil.rmtree(self.backup_path)
        shutil.rmtree(self.export)
        shutil.copytree(self.first, self.backup_path)
        if command == REPAIR:
            self.break_shares()

    def other(self, name: str) -> Office:
        """An empty server of that name, until all is put back."""
        if name not in self.elsewhere:
            made = self.opened.enter_context(empty_office(self.folder, name=name))
            found = Elsewhere(made.folder, made.sandbox, now=self.now, ticked=self.ticked)
            self.opened.push(found.opened)
            self.elsewhere[name] = found
        return self.elsewhere[name]

    def attempt(self, command: str, *, name: str, stop_at: int = 0) -> bool:
        """Run an operation; say whether it was stopped."""
        self.ticks, self.stop_at = 0, stop_at
        texts = PARAMETERS[command](self, name)
        where = self.other(name) if command == IMPORT else self
        try:
            where.run(parameters.parse(OPERATIONS[command], texts, ZoneInfo("UTC")))
        except Stopped:
            return True
        return False

    def outcome(self, command: str, name: str) -> tuple[dict[str, bytes], list[str]]:
        """Return what is in the Backup Path, and what in the mailboxes that are written to."""
        exported = content(self.export) if list(self.export.iterdir()) else {}
        found = content(self.backup_path) | {
            f"export/{key}": each for key, each in exported.items()
        }
        return found, sorted(map(repr, self.written(command, name)))

    def written(self, command: str, name: str) -> list[Any]:
        """Return what an operation has written to mailboxes."""
        if command == IMPORT:
            there = self.other(name)
            return [(who, each) for who in (ALICE, BOB, DAVE) for each in seen(there, who)]
        if command == REPAIR:
            return [(folder, sorted(names)) for folder, names in self.shared]
        address = name if command == RESTORE else FILLED.get(command)
        items = self.client.list(address)["items"] if address else []
        shown = ("type", "folder", "name", "subject", "flags", "unread", "size", "digest")
        return [[item[key] for key in shown] for item in items]


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
    stage.put_back(command)
    stage.attempt(command, name=f"r{seed}@example.com")
    ticks, wanted = stage.ticks, stage.outcome(command, f"r{seed}@example.com")
    stopped = 0
    for number in range(count):
        stage.put_back(command)
        at = dice.randrange(1, ticks + 1)
        name = f"r{seed}-{number}@example.com"
        is_stopped = stage.attempt(command, stop_at=at, name=name)
        stopped += is_stopped
        assert_nothing_half(stage.backup_path)
        # A restore goes on in the account that it has begun, and one that is whole is refused.
        if is_stopped or command != RESTORE:
            assert not stage.attempt(command, name=name)
        assert stage.outcome(command, name) == wanted, f"seed {seed}, stopped at {at}"
    # What a SmartScan does for the catalog behind its own end may be stopped without a trace.
    assert stopped or count == 1
    tell("P14", stopped, f"stops of {command}", seed=seed)
