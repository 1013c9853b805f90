"""As a program: bring a backed up mailbox into a new account; for a process with little memory.

    python -m tests.proofs.limited_restore SERVER BACKUP

It prints items planned, restored, skipped and unrestored, the longest pause between two ticks in ms
of computing, and the most memory it had in MiB.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.sandbox.destination import SandboxDestination
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import AccountId, ItemId, ItemState
from backupng.engine.restore.inject import Injection
from backupng.engine.restore.rename import order
from backupng.engine.restore.select import ALL_TIME, select_account
from tests.proofs.limited import Pauses, peak_mib

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
COPY = "copy@example.com"


class Map:
    """Where items have gone, as an import keeps it in memory."""

    def __init__(self) -> None:
        self.pairs: dict[ItemId, ItemId] = {}
        self.taken: set[ItemId] = set()

    def find(self, item: ItemId) -> ItemId | None:
        """Return where an item has gone."""
        return self.pairs.get(item)

    def is_free(self, _state: ItemState, found: ItemId) -> bool:
        """Say whether no entry claims an item."""
        return found not in self.taken

    def record(self, pairs: Iterable[tuple[ItemId, ItemId]]) -> None:
        """Remember where items have gone."""
        for old, new in pairs:
            self.pairs[old] = new
            self.taken.add(new)


def main(server: Path, root: Path) -> None:
    pauses = Pauses()
    with Sandbox.open(server) as sandbox, BackupPath.open(root) as path:
        (account,) = path.accounts()
        destination = SandboxDestination(sandbox, lambda: NOW)
        entry = destination.create_account(COPY, {})
        selection = select_account(path, account, ALL_TIME)
        plan = order(selection.states(lambda seen: pauses.tick(seen, 0, "")))
        with destination.open(entry) as writer:
            injection = Injection(
                selection=selection,
                writer=writer,
                holds=destination.holds,
                accounts={account: AccountId(entry.entry_id)},
                tick=lambda done, total: pauses.tick(done, total, ""),
                known=Map(),
            )
            injection.run(plan)
    pause_ms = round(pauses.longest_s * 1000)
    found = (plan.size, *injection.counts.values(), pause_ms, peak_mib())
    sys.stdout.write(" ".join(map(str, found)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
