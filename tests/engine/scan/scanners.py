"""Real-Time Scanners of tests, and what makes two histories comparable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.mailserver.port import Source
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.model import (
    FOLDER_LIKE,
    AccountId,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
)
from backupng.engine.redolog.follow import Gap
from backupng.engine.scan.realtime import RealTimeScanner

VISIBLE = (
    *("kind", "mod", "start", "deleted", "folder_id", "name", "subject", "flags", "unread"),
    *("tags", "color", "size", "digest", "date"),
)
"""What a person can see of a state, with its change number and time."""

_DERIVED = frozenset({"sz", "unxt", "mseq", "mdver", "i4l", "i4d", "i4du", "i4n"})

Histories = dict[tuple[AccountId, ItemId], list[tuple[Any, ...]]]


@dataclass
class Scanner:
    """A scanner with a Backup Path of its own; it runs only inside `running`."""

    source: Source
    root: Path
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    gaps: list[Gap] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    catalog_file: Path | None = None
    """Where the catalog is kept, as the scanner's process keeps it; None: nowhere."""

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        owner = Owner(server_id=self.source.server_id, server_name=self.source.server_name)
        BackupPath.open_or_create(self.root, owner, now=self.clock()).close()

    @contextmanager
    def running(self) -> Iterator[RealTimeScanner]:
        """Run it, from where it was."""
        with ExitStack() as stack:
            path = stack.enter_context(BackupPath.open(self.root))
            catalog = None
            if self.catalog_file is not None:
                catalog = stack.enter_context(Catalog(path, self.catalog_file))
                path.listener = catalog.take
            scanner = RealTimeScanner(
                self.source,
                path,
                packer=Packer(),
                clock=self.clock,
                log=self.said.append,
                gap=self.gaps.append,
                catalog=catalog,
            )
            with closing(scanner):
                yield scanner

    def path(self) -> BackupPath:
        """Open its Backup Path."""
        return BackupPath.open(self.root)

    def catch_up(self) -> None:
        """Start it, let it read to the end of the log, stop it."""
        with self.running() as scanner:
            while scanner.turn(0):
                pass

    def states(self) -> dict[tuple[AccountId, ItemId], tuple[ItemState, ...]]:
        """Return every history of its Backup Path."""
        with BackupPath.open(self.root) as path:
            return {
                (account, item): path.history(account, item)
                for account in path.accounts()
                for item in path.items(account)
            }

    def histories(self) -> Histories:
        """Return what people see of every history."""
        return {
            key: [tuple(getattr(state, name) for name in VISIBLE) for state in states]
            for key, states in self.states().items()
        }


def rows_of(source: Source) -> dict[tuple[AccountId, ItemId], ItemState]:
    """Return the state of everything living in the database of a server."""
    found = {}
    for entry in source.entries(EntryKind.ACCOUNT):
        account = AccountId(entry.entry_id)
        mailbox = source.mailbox(account)
        if mailbox is not None:
            for item, state in source.states(mailbox, sorted(source.heads(mailbox))):
                assert isinstance(state, ItemState), state
                found[account, item] = state
    return found


def shown(state: ItemState) -> tuple[Any, ...]:
    """Return what people see of a state, without its time: a row knows it to the second."""
    return tuple(getattr(state, name) for name in VISIBLE if name != "start")


def settled(state: ItemState) -> dict[str, Any]:
    """Return a state's row without what the server derives: that changes without a number."""
    row = dict(state.row)
    if state.kind in FOLDER_LIKE:
        values = decode_column(row.pop("metadata", None))
        row["metadata"] = {k: v for k, v in values.items() if k not in _DERIVED}
    if state.kind in FOLDER_LIKE | {ItemKind.TAG}:
        row = {k: v for k, v in row.items() if k not in ("size", "unread", "item_count")}
    if "flags" in row:
        row["flags"] &= ~Flag.COPIED
    return row
