"""Known: what of a source is at the destination already, so that nothing comes twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.model import ItemId, ItemState
from backupng.engine.restore.compare import is_another, is_itself
from backupng.engine.restore.rename import ROOTS, folder_named

_AT_ONCE: Final = 100


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


def is_set_back(
    brought: Mapping[ItemId, ItemId],
    history_of: Callable[[ItemId], Sequence[ItemState]],
    there: Callable[[Sequence[ItemId]], Mapping[ItemId, ItemState]],
) -> bool:
    """Say whether a mailbox has lost what a map says was brought into it, and grown since.

    It gives its ids out in order and none twice, unless it is set back to an earlier state: then
    the highest that the map knows are the first to become other items. Of those that live the
    highest that can be told from another decides. `history_of` gives the states of an item at the
    source, `there` what lives of some ids here.
    """
    old_of = {new: old for old, new in brought.items()}
    ids = sorted(old_of, reverse=True)
    for at in range(0, len(ids), _AT_ONCE):
        found = there(ids[at : at + _AT_ONCE])
        for new in sorted(found, reverse=True):
            states = [each for each in history_of(old_of[new]) if not each.deleted]
            if any(is_itself(each, found[new], at_home=False) for each in states):
                return False
            if states and all(is_another(each, found[new]) for each in states):
                return True
    return False


def free_name(wanted: str, is_taken: Callable[[str], bool]) -> str:
    """Return that name, or the next such as `name_2` that is not taken."""
    number, name = 1, wanted
    while is_taken(name):
        number += 1
        name = f"{wanted}_{number}"
    return name


def is_there(writer: MailboxWriter, name: str) -> bool:
    """Say whether something has that name at the top of a mailbox."""
    try:
        return writer.find_folder(folder_named(name), ROOTS[0]) is not None
    except InvalidItem:
        return True


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
