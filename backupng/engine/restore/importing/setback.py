"""What scans took for deleted because the server was set back to a snapshot before them.

A mailbox never counts its changes backwards. Where a scan found a lower number than the one before
it, what had a higher one was lost by a roll-back, though the backup holds it for deleted since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.model import AccountId, ItemState, MailboxState
from backupng.engine.restore.select import Pick


@dataclass(slots=True)
class SetBack:
    """The last time that a scan found a mailbox set back: `start` is that scan's.

    `number` is the highest change number that the mailbox still knew. `lost` counts the items above
    it that were held for deleted then, once they have been looked at.
    """

    start: datetime
    number: int
    lost: int = 0

    @classmethod
    def of(cls, path: BackupPath, account: AccountId) -> SetBack | None:
        """Look at the scans of an account; None if they tell of nothing."""
        try:
            scans = path.mailbox_history(account)
        except ItemError:
            return None
        found = None
        for at, (before, after) in enumerate(pairwise(scans), 1):
            if _count(after) < _count(before) and _is_same(before, after):
                # What begins an era has the moment of the scan before it.
                start = next((each.start for each in scans[at:] if each.mark), None)
                found = cls(start, before.base + _count(after)) if start else None
        return found

    def watching(self, pick: Pick) -> Pick:
        """Return a choice that counts the lost among what it chooses from."""

        def watched(history: Sequence[ItemState]) -> ItemState | None:
            self.lost += any(self._is_lost(*pair) for pair in pairwise(history))
            return pick(history)

        return watched

    def _is_lost(self, before: ItemState, after: ItemState) -> bool:
        is_deletion = after.deleted and not before.deleted
        return is_deletion and before.mod > self.number and before.start < self.start <= after.start


def _count(scan: MailboxState) -> int:
    return int(scan.mailbox.row.get("change_checkpoint", 0))


def _is_same(before: MailboxState, after: MailboxState) -> bool:
    return before.mailbox.mailbox_id == after.mailbox.mailbox_id
