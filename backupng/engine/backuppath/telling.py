"""What a writer tells a listener of each group, once that is durable: what it really appended.

An account's folder bears a *stamp*: its modification time in ns. Whoever locks it to write gives it
a later one before anything else, so that two equal stamps mean that nothing was written in between,
whoever was killed. A listener that knows the account as it was at `before` knows it at `after` once
it has taken a batch in; any other is behind, and sees that by comparing stamps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backupng.engine.backuppath.disk import Mark
from backupng.engine.model import AccountId, Digest, EntryState, ItemId, ItemState, MailboxState

NOTHING = -2
"""Stands in `Batch.before` for an account of which nothing was written yet; no stamp, and not the 0
of a listener that does not know how far it has come.
"""
UNKNOWN = -1
"""Stands in `Batch.after` where the disk bears no stamp, or more may lie there than is told."""


@dataclass(frozen=True, slots=True)
class ItemLine:
    """A line of an item's history: its number, its state, the blob that keeps its bulk.

    The state's own start may lie before that of the line before, which then counts.
    """

    number: int
    state: ItemState
    bulk: Digest | None = None


@dataclass(frozen=True, slots=True)
class Grown:
    """The lines that one item's history got, in order, and what its file is now."""

    item: ItemId
    mark: Mark
    lines: Sequence[ItemLine]


@dataclass(slots=True)
class Batch:
    """What was appended to one account's histories while its lock was held once."""

    account: AccountId
    before: int
    after: int = UNKNOWN
    items: list[Grown] = field(default_factory=list)
    entries: list[tuple[int, EntryState]] = field(default_factory=list)
    mailboxes: list[tuple[int, MailboxState]] = field(default_factory=list)


Listener = Callable[[Sequence[Batch]], None]
"""Takes the batches of one group, in order. It raises nothing: no backup fails for its sake."""
