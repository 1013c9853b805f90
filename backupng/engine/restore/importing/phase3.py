"""Phase 3 of an import: what an account gets once all items are there.

Identities, signatures, data sources, and the attributes that were held back: what would disturb the
coming of the items, or names them (`zimbra-provisioning.md` §6.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import Destination
from backupng.engine.model import DirectoryEntry, EntryKind, ItemId
from backupng.engine.restore.importing.attributes import NewId, carry, translated
from backupng.engine.restore.importing.phase1 import Failure, Placed
from backupng.engine.restore.importing.setting import set_attributes

_GAL: Final = "zimbraDataSourceType"
_LAST: Final = frozenset({"zimbraAccountStatus", "zimbraDomainStatus"})
_COUNTERS: Final = {
    EntryKind.IDENTITY: "identities",
    EntryKind.SIGNATURE: "signatures",
    EntryKind.DATA_SOURCE: "data_sources",
}


class Phase3:
    """Completes accounts; `counts` and `failures` grow with each."""

    def __init__(
        self, destination: Destination, new_id: NewId, *, with_data_sources: bool, with_rights: bool
    ) -> None:
        self._destination, self._new_id = destination, new_id
        self._with_data_sources, self._with_rights = with_data_sources, with_rights
        self.counts: Counter[str] = Counter()
        self.failures: list[Failure] = []

    def complete(self, placed: Placed, items: Mapping[ItemId, ItemId]) -> None:
        """Give an account its children, then what was held back."""
        for child in placed.source.children:
            if child.kind is EntryKind.DATA_SOURCE and not self._wants(child):
                continue
            self._put(placed, child, items)
        of_items = {
            name: values
            for name, old in placed.of_items.items()
            if (values := translated(old, items))
        }
        self.set_later(placed.here, of_items | placed.later)

    def set_later(self, here: DirectoryEntry, attributes: dict[str, tuple[bytes, ...]]) -> None:
        """Set what was held back of an entry; its status last, which may close it."""
        last = {name: values for name, values in attributes.items() if name in _LAST}
        first = {name: values for name, values in attributes.items() if name not in _LAST}
        for some in (first, last):
            for name, why in set_attributes(self._destination, here, some):
                self.failures.append(Failure(here.kind, here.name, f"attribute {name}: {why}"))

    def _wants(self, child: DirectoryEntry) -> bool:
        """Say whether a data source comes along; those of GAL accounts are made anew by hand."""
        if child.first(_GAL).lower() == "gal":
            return False
        self.counts["data_sources_left_out"] += not self._with_data_sources
        return self._with_data_sources

    def _put(self, placed: Placed, child: DirectoryEntry, items: Mapping[ItemId, ItemId]) -> None:
        carried = carry(child, self._new_id, with_rights=self._with_rights)
        of_items = {name: translated(old, items) for name, old in carried.of_items.items()}
        found = {name: values for name, values in of_items.items() if values}
        try:
            attributes = carried.now | carried.later | found
            self._destination.put_child(placed.here, replace(child, attributes=attributes))
            self.counts[_COUNTERS[child.kind]] += 1
        except InvalidItem as error:
            what = f"{child.kind} {child.name}: {error}".rstrip(".")
            self.failures.append(Failure(EntryKind.ACCOUNT, placed.source.name, what))
