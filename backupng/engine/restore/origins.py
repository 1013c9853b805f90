"""Origins: in which folders deleted items lay, by the names those had then; not in the Trash.

What was moved to the Trash and deleted there came from somewhere else: that is where it belongs. A
folder that was moved to the Trash belongs where it lay before, and so does what is in it. What
never lay anywhere else belongs in the Trash.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID, SYSTEM_FOLDERS, SystemFolder
from backupng.engine.model import FOLDER_LIKE, AccountId, ItemId, ItemKind, ItemState, from_ms
from backupng.engine.restore.dress import dressed

_TRASH: Final = ItemId(SystemFolder.TRASH)
_TOPS: Final = frozenset({ItemId(SystemFolder.USER_ROOT), ItemId(SystemFolder.ROOT)})
_FIRST_OF_OURS: Final = 2**40
_KEPT: Final = 2_000
_SPECS: Final = {ItemId(number): spec for number, spec in SYSTEM_FOLDERS.items()}
_NEVER: Final = from_ms(0)


class Origins:
    """The folders of one account as they were at several moments.

    One that had two names at two moments is two folders here, each under an id of our own; `frame`
    has all that were asked for. System folders keep their ids.
    """

    def __init__(self, path: BackupPath, account: AccountId) -> None:
        self._path = path
        self._account = account
        self._history = lru_cache(maxsize=_KEPT)(self._read)
        self._ids: dict[tuple[ItemId, int, ItemId], ItemId] = {}
        self._fresh = count(_FIRST_OF_OURS)
        self._frame: dict[ItemId, ItemState] = {}

    @property
    def frame(self) -> list[ItemState]:
        """The folders that were asked for, and those above them."""
        return list(self._frame.values())

    def folder_of(
        self, history: Sequence[ItemState], state: ItemState, moment: datetime
    ) -> ItemId | None:
        """Return where an item belongs that was in this state until it went at that moment.

        That is an id in `frame`, or that of a folder nobody knows any more.
        """
        return self._home(history, state, moment, frozenset({state.item_id}))

    def _home(
        self,
        history: Sequence[ItemState],
        state: ItemState,
        moment: datetime,
        seen: frozenset[ItemId],
    ) -> ItemId | None:
        """Return the id here of the last folder outside the Trash, else of that in the Trash."""
        before = [each for each in history if not each.deleted and each.mod <= state.mod]
        for each in reversed(before):
            if not self._is_in_trash(each.folder_id, moment, seen):
                return self._placed(each.folder_id, moment, seen)
        return self._placed(state.folder_id, moment, seen)

    def _is_in_trash(
        self, folder: ItemId | None, moment: datetime, seen: frozenset[ItemId]
    ) -> bool:
        """Say whether a folder lies in the Trash, and always did."""
        if folder is None or folder == _TRASH or folder < FIRST_USER_ID or folder in seen:
            return folder == _TRASH
        history, state = self._then(folder, moment)
        if state is None:
            return False
        before = [each for each in history if not each.deleted and each.mod <= state.mod]
        further = seen | {folder}
        return all(self._is_in_trash(each.folder_id, moment, further) for each in before)

    def _placed(
        self, folder: ItemId | None, moment: datetime, seen: frozenset[ItemId]
    ) -> ItemId | None:
        """Return the id here of a folder as it was at a moment, put where it belongs."""
        if folder is None or folder in _TOPS or folder in seen:
            return folder
        history, state = self._then(folder, moment)
        if state is None:
            return folder
        if folder < FIRST_USER_ID:
            self._frame[folder] = state
            if state.folder_id not in _TOPS:
                self._placed(state.folder_id, moment, seen | {folder})
            return folder
        parent = self._home(history, state, moment, seen | {folder})
        key = (folder, state.mod, parent or ItemId(0))
        if key not in self._ids:
            self._ids[key] = ItemId(next(self._fresh))
            self._frame[self._ids[key]] = _moved(history, state, self._ids[key], parent)
        return self._ids[key]

    def _then(
        self, folder: ItemId, moment: datetime
    ) -> tuple[Sequence[ItemState], ItemState | None]:
        """Return a folder's history, and its last living state of before a moment, or its first."""
        history = self._history(folder)
        living = [each for each in history if not each.deleted]
        earlier = [each for each in living if each.start <= moment]
        return history, next(iter([*reversed(earlier), *living]), None)

    def _read(self, folder: ItemId) -> tuple[ItemState, ...]:
        try:
            history = self._path.history(self._account, folder)
        except ItemError:
            history = ()
        known = tuple(each for each in history if each.kind in FOLDER_LIKE or each.deleted)
        return known or _of_every_mailbox(folder)


def _moved(
    history: Sequence[ItemState], state: ItemState, own: ItemId, parent: ItemId | None
) -> ItemState:
    """Return a plain folder that looks as that state does."""
    found = dressed(history, state)
    return ItemState(
        item_id=own,
        kind=ItemKind.FOLDER,
        mod=state.mod,
        start=state.start,
        folder_id=parent,
        name=state.name,
        color=state.color,
        flags=state.flags,
        row=found.row,
    )


def _of_every_mailbox(folder: ItemId) -> tuple[ItemState, ...]:
    """Return a system folder that the backup lost; empty for any other."""
    spec = _SPECS.get(folder)
    if spec is None:
        return ()
    return (
        ItemState(
            item_id=folder,
            kind=ItemKind.FOLDER,
            mod=0,
            start=_NEVER,
            folder_id=ItemId(spec.parent),
            name=spec.name,
        ),
    )
