"""getBackupInfo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from backupng.engine.backuppath.provisioning import FORMAT_MAJOR
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import EntryKind, to_ms
from backupng.engine.operations.base import BackupPathLookup, Context
from backupng.engine.restore.select import account_histories


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBackupInfo(BackupPathLookup):
    """Say what a Backup Path holds."""

    command: ClassVar[str] = "getBackupInfo"
    title: ClassVar[str] = "Backup Path"
    summary: ClassVar[str] = "Backup Path: whose it is, how far it reaches and what it holds"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getBackupInfo backup_path /mnt/import/",
    )

    def look(self, path: BackupPath, _ctx: Context) -> dict[str, Any]:
        """Return format, server, last scan and numbers of what is there."""
        return _outline(path)


def _outline(path: BackupPath) -> dict[str, Any]:
    histories = list(account_histories(path))
    last = path.checkpoint().get("smartscan", {})
    items = {account: sum(1 for _ in path.items(account)) for account, _ in histories}
    scans = [path.mailbox_history(account) for account, _ in histories]
    firsts = [to_ms(scan[0].start) for scan in scans if scan]
    return {
        "path": str(path.tree.root),
        "format": f"{FORMAT_MAJOR}.{path.form.minor}",
        "tree_id": path.form.tree_id,
        "server_id": path.form.server_id,
        "server_name": path.form.server_name,
        "created": to_ms(path.form.created),
        "initialised": bool(last),
        "first_moment": min(firsts, default=None),
        "last_smartscan_started": last.get("started"),
        "last_smartscan_ended": last.get("ended"),
        "domains": len(path.entry_ids(EntryKind.DOMAIN)),
        "accounts": sum(not history[-1].deleted for _, history in histories),
        "accounts_deleted": sum(history[-1].deleted for _, history in histories),
        "items": sum(items.values()),
        "blobs": path.count_blobs(),
        "free_bytes": path.tree.free_bytes(),
    }
