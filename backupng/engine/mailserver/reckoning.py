"""What a backup has of a mailbox beside what its last scan counted: has any of it gone since?

Histories vouch for their own lines, and for nobody else: one that is gone as a whole, or has lost
its last lines, leaves no trace of its own. The mark of the last scan tells of it (FORMAT.md §4.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backupng.engine.mailserver.port import Census, paired
from backupng.engine.model import ItemId, MailboxState, to_ms


@dataclass(frozen=True, slots=True)
class Missing:
    """What the last scan saw and the backup has not: so many items, or last lines of some (0).

    `item` is the one, where the sums tell which.
    """

    items: int
    item: ItemId

    def __str__(self) -> str:
        if not self.items:
            return "last lines of histories that the last scan saw are missing"
        if self.items == 1:
            named = f" (item {self.item})" if self.item else ""
            return f"the history of 1 item{named} that the last scan saw is missing"
        return f"the histories of {self.items} items that the last scan saw are missing"


@dataclass(slots=True)
class Reckoning:
    """Adds up the last states of an account's histories, and compares them with its last scan.

    Nothing is told in doubt: what has changed since that scan, could not be saved by it or cannot
    be read now may have been counted or not.
    """

    last: MailboxState
    _open: set[ItemId] = field(init=False)
    _start_ms: int = field(init=False)
    _count: int = 0
    _ids: int = 0
    _pairs: int = 0

    def __post_init__(self) -> None:
        self._open = set(self.last.unread)
        self._start_ms = to_ms(self.last.start)

    def add(self, item: ItemId, *, mod: int, start_ms: int, deleted: bool) -> None:
        """Take in the last state of a history."""
        if mod > self.last.mod or start_ms > self._start_ms:
            self.doubt(item)
        elif not deleted and item not in self._open:
            self._count += 1
            self._ids += item
            self._pairs += paired(item, mod - self.last.base)

    def doubt(self, item: ItemId) -> None:
        """Take in a history of which nobody can tell what the last scan saw."""
        self._open.add(item)

    def is_unseen(self, *, mod: int, start_ms: int) -> bool:
        """Say whether no scan has seen a deletion yet: the last one has counted what it was of."""
        is_reckoned = Census.sums_of(self.last.mark) is not None
        return is_reckoned and mod > self.last.mod and start_ms > self._start_ms

    def missing(self, now: MailboxState | None) -> Missing | None:
        """Return what is missing; None if nothing is, or nobody can tell.

        `now` is the last scan after all histories were read: with another one, nobody can.
        """
        noted = Census.sums_of(self.last.mark)
        if noted is None or now != self.last:
            return None
        count, ids, pairs, _ = noted
        gone = count - self._count - len(self._open)
        if gone > 0:
            is_known = gone == 1 and not self._open
            return Missing(gone, ItemId(ids - self._ids) if is_known else ItemId(0))
        is_exact = count == self._count and not self._open
        return (
            Missing(0, ItemId(0)) if is_exact and (ids, pairs) != (self._ids, self._pairs) else None
        )
