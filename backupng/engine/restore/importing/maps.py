"""All maps of a Backup Path as one: where shares lead to that name what came from other servers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from backupng.engine.backuppath import layout, mapfile
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import IdMap, ItemMap
from backupng.engine.errors import BackupPathBroken, ItemError
from backupng.engine.model import AccountId, EntryKind, ItemId
from backupng.engine.restore.importing.attributes import NewId

NOTHING: Final[Mapping[AccountId, Mapping[ItemId, ItemId]]] = MappingProxyType({})
_KEPT: Final = 4
"""So many maps of items are kept at hand: each may be large."""


class Maps:
    """The map of the source that is imported now, then those of earlier imports."""

    def __init__(
        self,
        tree: Tree,
        server_id: str,
        new_id: NewId,
        *,
        at_home: Mapping[AccountId, Collection[ItemId]] | None = None,
        foretold: Mapping[AccountId, Mapping[ItemId, ItemId]] = NOTHING,
    ) -> None:
        """Read the maps; a damaged one says nothing, as it is told of where it is needed.

        `at_home`, for a backup of the server itself, are the folders of each account that are there
        under their own ids; whoever is in no map keeps his. `foretold` is what would become of an
        account's folders in a dry run, which no map says.
        """
        self._tree, self._server_id, self._own = tree, server_id, new_id
        self._at_home, self._foretold = at_home, foretold
        # Many mount what one shares.
        self._read = lru_cache(_KEPT)(self._items)
        self._others: dict[str, IdMap] = {}
        for name in mapfile.maps_of(tree):
            other = layout.server_of_map(name)
            if other is None or other == server_id:
                continue
            try:
                self._others[other] = IdMap(tree, other)
            except (BackupPathBroken, ItemError):
                continue

    def new_id(self, kind: EntryKind, old: str) -> str | None:
        """Return the id here of an entry of any source; None for one without a counterpart."""
        found = self._own(kind, old)
        for other in self._others.values():
            found = found or other.new_id(kind, old)
        return found if self._at_home is None else found or old

    def items_of(self, account: AccountId) -> Mapping[ItemId, ItemId] | None:
        """Return what became of an account's items.

        None if it was never imported, or if its map is damaged.
        """
        if account in self._foretold:
            return self._foretold[account]
        found = self._own(EntryKind.ACCOUNT, account)
        server_id = self._server_id
        for other_id, other in self._others.items():
            if found is None:
                found, server_id = other.new_id(EntryKind.ACCOUNT, account), other_id
        if found is None:
            return None
        return self._read(AccountId(found), server_id, account)

    def _items(
        self, here: AccountId, server_id: str, source: AccountId
    ) -> Mapping[ItemId, ItemId] | None:
        try:
            mapped = ItemMap(self._tree, here, server_id=server_id, source=source).items
        except (BackupPathBroken, ItemError):
            return None
        return {each: each for each in (self._at_home or {}).get(source, ())} | dict(mapped)
