"""getBackupInfo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from backupng.engine.backuppath.provisioning import FORMAT_MAJOR
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.answers import Totals
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.model import EntryKind, to_ms
from backupng.engine.operations.base import BackupPathLookup, Context
from backupng.engine.operations.get_available_accounts import has_lost_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBackupInfo(BackupPathLookup):
    """Say what a Backup Path holds."""

    command: ClassVar[str] = "getBackupInfo"
    title: ClassVar[str] = "Backup Path"
    summary: ClassVar[str] = "Backup Path: whose it is, how far it reaches and what it holds"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getBackupInfo backup_path /mnt/import/",
    )

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return format, server, last scan and numbers of what is there."""
        with self.catalog(path, ctx) as catalog:
            return _outline(path, catalog)


def _outline(path: BackupPath, catalog: Catalog) -> dict[str, Any]:
    # An account whose entry cannot be read is none that could be restored.
    entries = {account: catalog.entries(account) for account in path.accounts()}
    accounts = {account: history[-1] for account, history in entries.items() if history}
    totals = sum((catalog.totals(account) for account in accounts), Totals())
    last = path.checkpoint().get("smartscan", {})
    scans = [start for account in accounts for start, _ in catalog.scans(account)]
    blobs, blob_bytes = path.measure_blobs()
    return {
        "path": str(path.tree.root),
        "format": f"{FORMAT_MAJOR}.{path.form.minor}",
        "tree_id": path.form.tree_id,
        "server_id": path.form.server_id,
        "server_name": path.form.server_name,
        "created": to_ms(path.form.created),
        "initialised": bool(last),
        "first_moment": min(map(to_ms, scans), default=None),
        "last_moment": max(map(to_ms, (*scans, *filter(None, (totals.last,)))), default=None),
        "last_smartscan_started": last.get("started"),
        "last_smartscan_ended": last.get("ended"),
        "domains": len(path.entry_ids(EntryKind.DOMAIN)),
        "accounts": sum(not entry.deleted for entry in accounts.values()),
        "accounts_deleted": sum(entry.deleted for entry in accounts.values()),
        "accounts_unreadable": sum(
            has_lost_entry(path, account) for account in entries.keys() - accounts.keys()
        ),
        "items": totals.items,
        "states": totals.states,
        "items_unreadable": totals.unreadable,
        "blobs": blobs,
        "size_bytes": totals.history_bytes + blob_bytes,
        "free_bytes": path.tree.room().bytes,
    }
