"""A mailbox that only remembers what is put into it: where a dry run restores to.

What is there already is asked of the real one, which is never written to; of a mailbox that is yet
to be made nothing is there but the folders that every mailbox has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import Blobs, MailboxWriter, Places
from backupng.engine.mailserver.zimbra.codes import folded
from backupng.engine.mailserver.zimbra.grants import is_alike
from backupng.engine.model import FOLDER_LIKE, ItemId, ItemKind, ItemState
from backupng.engine.restore.rename import FIRST_USER_ID

_FIRST: Final = 2**50
"""No id of a mailbox, nor of a folder that a restore makes up, is as high as those given here."""

_PAPERS: Final = frozenset({ItemKind.DOCUMENT, ItemKind.WIKI})


class DryMailbox:
    """Implements `port.MailboxWriter`; `real` is the mailbox that is there, if one is.

    `coming` and `coming_bytes` count what was put, by folder. Of a blob only the beginning is read:
    one that is there is believed to be sound.
    """

    def __init__(self, real: MailboxWriter | None) -> None:
        self.coming: Counter[ItemId] = Counter()
        self.coming_bytes: Counter[ItemId] = Counter()
        self._real = real
        self._ids = count(_FIRST)
        self._made: dict[ItemId, ItemState] = {}
        self._tags: dict[str, ItemId] = {}
        self._folders: dict[tuple[ItemId | None, str], ItemId] = {}

    @property
    def longest_line(self) -> int | None:
        """The real one's."""
        return self._real.longest_line if self._real else None

    def find_tag(self, name: str) -> ItemId | None:
        """Return the tag of that name, there or put here."""
        found = self._tags.get(_tag_key(name))
        return found or (self._real.find_tag(name) if self._real else None)

    def find_folder(self, state: ItemState, parent: ItemId) -> ItemId | None:
        """Return the folder of a state's name, there or put here. Raises InvalidItem."""
        found = self._folders.get((parent, folded(state.name or "")))
        if found is None:
            is_real = self._real is not None and parent < _FIRST
            return self._real.find_folder(state, parent) if self._real and is_real else None
        if not is_alike(state, self._made[found]):
            raise _taken(state)
        return found

    def put_tag(self, state: ItemState, *, keep: bool = False) -> tuple[ItemId, bool]:
        """Remember a tag; says whether it is new."""
        found = self.find_tag(state.name or "")
        if found is not None:
            return found, False
        made = self._tags[_tag_key(state.name or "")] = self._remember(state)
        return made, True

    def put_folder(
        self, state: ItemState, parent: ItemId, *, keep: bool = False
    ) -> tuple[ItemId, bool]:
        """Remember a folder; says whether it is new. Raises InvalidItem."""
        if self._real is None and parent < _FIRST and state.item_id < FIRST_USER_ID:
            return self._remember(replace(state, folder_id=parent), state.item_id), False
        found = self.find_folder(state, parent)
        if found is not None:
            return found, False
        made = self._remember(replace(state, folder_id=parent))
        self._folders[parent, folded(state.name or "")] = made
        return made, True

    def put_item(
        self, state: ItemState, places: Places, blobs: Blobs, *, begun: ItemId | None = None
    ) -> ItemId:
        """Remember an item whose blob is there. Raises InvalidItem, ReadError or BrokenItem."""
        if state.kind is ItemKind.COMMENT and state.row.get("parent_id") not in places.items:
            raise InvalidItem(f"item {state.item_id}: the document of this comment is not there")
        if state.kind in _PAPERS and begun is None:
            self._require_free(state, places.folder)
        if state.digest is not None:
            next(iter(blobs(state.digest)), b"")
        self.coming[places.folder] += 1
        self.coming_bytes[places.folder] += state.size or 0
        return self._remember(replace(state, folder_id=places.folder), begun)

    def equal(
        self, wanted: Sequence[tuple[ItemState, ItemId | None]]
    ) -> Mapping[ItemId, Sequence[ItemId]]:
        """Find what is there already; nothing is in a folder that was only put here."""
        found: dict[ItemId, Sequence[ItemId]] = {state.item_id: () for state, _ in wanted}
        asked = [(state, folder) for state, folder in wanted if (folder or 0) < _FIRST]
        return found | dict(self._real.equal(asked) if self._real and asked else {})

    def living(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these ids are there, or were put here."""
        asked = set(items)
        mine = {item for item in asked if item >= _FIRST or item in self._made}
        return mine | (self._real.living(asked - mine) if self._real else set())

    def read_back(self, items: Iterable[ItemId]) -> Mapping[ItemId, ItemState]:
        """Return each of these as it is there, or as it was put here: of an item, only once.

        So no more than a batch of items is remembered.
        """
        asked = set(items)
        mine = {item: self._made[item] for item in asked & self._made.keys()}
        for item, state in mine.items():
            if state.kind not in FOLDER_LIKE:
                del self._made[item]
        left = sorted(item for item in asked - mine.keys() if item < _FIRST)
        return mine | dict(self._real.read_back(left) if self._real and left else {})

    def is_own(self, _change: int) -> bool:
        """Return True: what is put here nobody else changes."""
        return True

    def deleted(self, _items: Iterable[ItemId]) -> set[ItemId]:
        """Return nothing."""
        return set()

    def changed(self, _items: Iterable[ItemId]) -> set[ItemId]:
        """Return nothing."""
        return set()

    def _require_free(self, state: ItemState, folder: ItemId) -> None:
        """Refuse a name that is taken in a folder, as the real one does."""
        if self.find_folder(state, folder) is not None:
            raise _taken(state)

    def _remember(self, state: ItemState, begun: ItemId | None = None) -> ItemId:
        made = begun or ItemId(next(self._ids))
        self._made[made] = replace(state, item_id=made)
        return made


def _tag_key(name: str) -> str:
    """Return what no two tags of a mailbox have in common."""
    return folded(name.strip())


def _taken(state: ItemState) -> InvalidItem:
    message = f"item {state.item_id}: something else is called {state.name!r} there"
    return InvalidItem(message, code="already_exists")
