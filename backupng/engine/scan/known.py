"""What the Backup Path knows of one account's items, while records are applied to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import ItemError
from backupng.engine.model import FOLDER_LIKE, AccountId, ItemId, ItemKind, ItemState

_CACHED_STATES: Final = 2_000
TRASH: Final = ItemId(3)


@dataclass(frozen=True, slots=True)
class Brief:
    """What finds a living item by what it belongs to."""

    kind: ItemKind
    folder_id: ItemId | None
    parent_id: ItemId | None
    tags: tuple[str, ...]
    flags: str

    @classmethod
    def of(cls, state: ItemState) -> Brief:
        """Return what is remembered of a state."""
        return cls(state.kind, state.folder_id, state.row.get("parent_id"), state.tags, state.flags)


class Known:
    """Last states of an account's items, those that wait to be written included."""

    def __init__(self, path: BackupPath, writer: Writer, account: AccountId) -> None:
        self._path = path
        self._writer = writer
        self.account = account
        self.ahead: set[ItemId] = set()
        """Items whose last state here is not what it was when the next record came."""
        self._last: OrderedDict[ItemId, ItemState | None] = OrderedDict()
        self._briefs: dict[ItemId, Brief] | None = None
        self._scanned: datetime | None = None

    def refresh(self) -> None:
        """Forget what a scan may have changed meanwhile; comes before each group of records."""
        self._last.clear()
        try:
            last = self._writer.last_mailbox(self.account)
        except ItemError:
            last = None
        scanned = last.start if last else None
        if scanned != self._scanned:
            self._scanned, self._briefs = scanned, None

    def last(self, item: ItemId) -> ItemState | None:
        """Return an item's last state, a deletion too; None if it is unknown or unreadable."""
        if item in self._last:
            self._last.move_to_end(item)
            return self._last[item]
        try:
            found = self._writer.last_state(self.account, item)
        except ItemError:
            # The writer will refuse what is appended to it, and so report the damage.
            found = None
        self._remember(item, found)
        return found

    def living(self, item: ItemId) -> ItemState | None:
        """Return an item's last state if it lives."""
        state = self.last(item)
        return None if state is None or state.deleted else state

    def last_content(self, item: ItemId) -> ItemState | None:
        """Return an item's last living state, however it ended."""
        last = self.last(item)
        if last is None or not last.deleted:
            return last
        try:
            history = self._path.history(self.account, item)
        except ItemError:
            return None
        return next((state for state in reversed(history) if not state.deleted), None)

    def note(self, state: ItemState) -> None:
        """Take note of a state that is about to be written."""
        self._remember(state.item_id, state)
        if self._briefs is not None:
            self._briefs.pop(state.item_id, None)
            if not state.deleted:
                self._briefs[state.item_id] = Brief.of(state)

    def all_living(self) -> dict[ItemId, Brief]:
        """Return all living items; the first call reads every history of the account."""
        if self._briefs is None:
            self._briefs = {}
            for item in self._path.items(self.account):
                state = self.last(item)
                if state is not None and not state.deleted:
                    self._briefs[item] = Brief.of(state)
            for state in self._last.values():
                if state is not None and not state.deleted:
                    self._briefs[state.item_id] = Brief.of(state)
        return self._briefs

    def below(self, folder: ItemId) -> set[ItemId]:
        """Return everything living in a folder and in the folders below it, itself left out."""
        found: set[ItemId] = set()
        level = {folder}
        while level:
            inside = {
                item
                for item, brief in self.all_living().items()
                if brief.folder_id in level and item not in found and item not in level
            }
            found |= inside
            level = {item for item in inside if self.all_living()[item].kind in FOLDER_LIKE}
        return found - {folder}

    def is_in_trash(self, folder: ItemId | None) -> bool:
        """Say whether a folder is the Trash or lies in it, as far as is known."""
        return any(each == TRASH for each in self._upwards(folder))

    def _upwards(self, folder: ItemId | None) -> Iterator[ItemId]:
        passed: set[ItemId] = set()
        while folder is not None and folder not in passed:
            yield folder
            passed.add(folder)
            state = self.last(folder) if folder != TRASH else None
            folder = state.folder_id if state else None

    def _remember(self, item: ItemId, state: ItemState | None) -> None:
        self._last[item] = state
        self._last.move_to_end(item)
        while len(self._last) > _CACHED_STATES:
            self._last.popitem(last=False)
