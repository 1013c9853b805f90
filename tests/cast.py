"""The people of the tests: a small office on a sandbox, with a clock that tests set.

alice is ordinary, bob gets deleted, carol's class of service has backup off, dave shares a folder
with alice. Nothing here waits: the clock moves when a test says so.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import disk
from backupng.engine.backuppath.disk import Room
from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.sandbox.destination import SandboxDestination
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import BACKUP_DISABLED, AccountId, ItemId
from backupng.engine.operations.base import Level, Operation, Report, Settings
from backupng.engine.operations.smart_scan import SmartScan

ALICE, BOB, CAROL, DAVE = (f"{name}@example.com" for name in ("alice", "bob", "carol", "dave"))
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@dataclass
class Office:
    """One sandbox with its Backup Path; implements `Context` for operations run in the test."""

    folder: Path
    sandbox: Sandbox
    now: datetime = NOON
    settings: Settings = field(default_factory=Settings)
    log_lines: list[str] = field(default_factory=list)
    announced: list[Mapping[str, Any]] = field(default_factory=list)
    catalog_file: Path | None = None
    """Where the catalog is kept, if a test wants one that stays."""
    opened: ExitStack = field(default_factory=ExitStack)
    """The Backup Paths that were opened, for the end of the test."""

    @property
    def client(self) -> SandboxClient:
        """What people do on the server."""
        return SandboxClient(self.sandbox, lambda: self.now)

    @property
    def source(self) -> Any:
        """The mail server, read."""
        return self.sandbox.source()

    @property
    def destination(self) -> SandboxDestination:
        """The mail server, written."""
        return SandboxDestination(self.sandbox, lambda: self.now)

    @property
    def backup_path(self) -> Path:
        """Where the Backup Path lies."""
        return self.folder / "backup"

    @property
    def path(self) -> BackupPath:
        """The Backup Path, opened."""
        return self.opened.enter_context(BackupPath.open(self.backup_path))

    def owned_path(self) -> BackupPath:
        """The Backup Path, made if it is not there."""
        path = BackupPath.open_or_create(self.backup_path, self.owner, now=self.now)
        path.tell = self.log
        if self.catalog_file is not None:
            path.listener = self.opened.enter_context(Catalog(path, self.catalog_file)).take
        return self.opened.enter_context(path)

    @property
    def catalog(self) -> Catalog:
        """The index of the Backup Path, opened."""
        return self.opened.enter_context(Catalog(self.path, self.catalog_file))

    @contextmanager
    def another(self) -> Iterator[tuple[Any, BackupPath]]:
        """Mail server and Backup Path opened once more."""
        with Sandbox.open(self.sandbox.folder) as sandbox:
            path = BackupPath.open_or_create(self.backup_path, self.owner, now=self.now)
            with path:
                yield sandbox.source(), path

    @contextmanager
    def twin(self) -> Iterator[Office]:
        """All of it opened once more, for a process of its own."""
        with Sandbox.open(self.sandbox.folder) as sandbox, ExitStack() as stack:
            yield replace(self, sandbox=sandbox, opened=stack)

    def announce_phase1(self, said: Mapping[str, Any]) -> None:
        """Keep what phase 1 of an import came to."""
        self.announced.append(said)

    def check_owned_path(self) -> Room:
        """Refuse what `owned_path` would refuse."""
        return BackupPath.check_writable(self.backup_path, self.owner)

    @property
    def owner(self) -> Owner:
        """Whose Backup Path it is."""
        return Owner(server_id=self.source.server_id, server_name=self.source.server_name)

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Take progress."""

    def log(self, line: str, *, level: Level = Level.INFO) -> None:
        """Keep a line."""
        self.log_lines.append(line)

    def later(self, **units: float) -> None:
        """Move the clock."""
        self.now += timedelta(**units)

    def run(self, operation: Operation) -> Report:
        """Check and run an operation, as its process does."""
        operation.check(self)
        return operation.run(self)

    def scan(self, *, deep: bool = False) -> dict[str, int]:
        """Run a SmartScan a second later; return its counters."""
        self.later(seconds=1)
        counters = self.run(SmartScan(deep=deep)).counters
        self.later(seconds=1)
        return counters

    def account_id(self, address: str) -> AccountId:
        """Return an account's id."""
        return AccountId(self.sandbox.account(address).entry_id)

    def set_column(
        self,
        address: str,
        item: int,
        *,
        table: str = "mail_item",
        key: str = "id",
        **values: Any,
    ) -> None:
        """Change the row of an item behind the server's back."""
        mailbox = self.sandbox.mailbox(self.sandbox.account(address))
        spelled = self.sandbox.database.table(f"mboxgroup{mailbox.group_id}", table)
        where = {"mailbox_id": mailbox.mailbox_id, key: item}
        self.sandbox.database.update(spelled, values, **where)

    def history(self, address: str, item: int) -> tuple[Any, ...]:
        """Return an item's states in the backup."""
        with self.path as path:
            return path.history(self.account_id(address), ItemId(item))


def message(subject: str, *, body: str = "Hello.", sender: str = "Eve <eve@example.org>") -> bytes:
    """Return a message."""
    return (
        f"From: {sender}\r\nTo: alice@example.com\r\nSubject: {subject}\r\n"
        f"Message-ID: <{zlib.crc32(subject.encode())}@example.org>\r\n\r\n{body}\r\n"
    ).encode()


@contextmanager
def _up_since(office: Office) -> Iterator[None]:
    """Have the host be up for as long as the clock of the office goes on."""
    real = disk.since_boot_ms
    disk.since_boot_ms = lambda: (office.now - NOON) // timedelta(milliseconds=1)
    try:
        yield
    finally:
        disk.since_boot_ms = real


@contextmanager
def office(folder: Path) -> Iterator[Office]:
    """Open the office in an empty folder: four accounts, nothing delivered, nothing scanned."""
    with (
        Sandbox.create(folder / "server", name="mail1", domain="example.com", seed=1) as sandbox,
        ExitStack() as stack,
    ):
        (folder / "backup").mkdir()
        made = Office(folder, sandbox)
        stack.push(made.opened)
        stack.enter_context(_up_since(made))
        made.client.set_cos_notes("staff", f"no backup {BACKUP_DISABLED}")
        for address, cos in ((ALICE, ""), (BOB, ""), (CAROL, "staff"), (DAVE, "")):
            made.client.create_account(address, cos=cos)
        made.client.create_folder(DAVE, "/Shared")
        made.client.share(DAVE, "/Shared", grantee=ALICE, rights="r")
        yield made
