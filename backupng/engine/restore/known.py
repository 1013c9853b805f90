"""Known: what of a source is at the destination already, so that nothing comes twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.model import ItemId, ItemState


class Known(Protocol):
    """What earlier restores of one mailbox brought, old id to new one; of folders and tags too."""

    def find(self, item: ItemId) -> ItemId | None:
        """Return where an item has gone; None if nothing of it is known."""

    def is_free(self, state: ItemState, found: ItemId) -> bool:
        """Say whether what was found there may be that item: no other one claims it."""

    def record(self, pairs: Iterable[tuple[ItemId, ItemId]]) -> None:
        """Remember where items have gone; durable when it returns. Called once per batch."""


class Nothing:
    """Knows of no earlier restore: what is there and equal is what one that was cut short made."""

    def find(self, _item: ItemId) -> ItemId | None:
        """Return None."""
        return None

    def is_free(self, _state: ItemState, _found: ItemId) -> bool:
        """Return True."""
        return True

    def record(self, pairs: Iterable[tuple[ItemId, ItemId]]) -> None:
        """Remember nothing."""


class AtHome(Mapping[ItemId, ItemId]):
    """Where items of the mailbox itself are: where they have come back, else where they were."""

    def __init__(self, moved: Mapping[ItemId, ItemId], writer: MailboxWriter) -> None:
        self._moved = moved
        self._writer = writer

    def __getitem__(self, item: ItemId) -> ItemId:
        if item in self._moved:
            return self._moved[item]
        if item in self._writer.living([item]):
            return item
        raise KeyError(item)

    def __iter__(self) -> Iterator[ItemId]:
        return iter(self._moved)

    def __len__(self) -> int:
        return len(self._moved)
