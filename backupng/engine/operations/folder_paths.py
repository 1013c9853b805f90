"""class FolderPaths: where a folder lay at a moment, as a path from the top of the mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import AccountId, ItemId, ItemState
from backupng.engine.restore.select import state_at

_TOPS = frozenset({int(SystemFolder.ROOT), int(SystemFolder.USER_ROOT)})
_KEPT = 2_000


@dataclass(frozen=True, slots=True)
class _Placed:
    """What a path needs to know of a state of a folder."""

    start: datetime
    name: str
    folder: ItemId | None


class FolderPaths:
    """Folders of one account by their histories in the tree; the histories read last are kept."""

    def __init__(self, path: BackupPath, account: AccountId) -> None:
        self._path = path
        self._account = account
        self._history = lru_cache(maxsize=_KEPT)(self._read)

    def find(self, folder: ItemId | None, before: datetime) -> str:
        """Return the folder's path as it was just before that moment; a newer folder's as it began.

        A damaged history shortens a path, it does not hide what lies there.
        """
        names: list[str] = []
        seen: set[ItemId] = set()
        while folder is not None and folder not in _TOPS and folder not in seen:
            seen.add(folder)
            history = self._history(folder)
            if not history:
                break
            then = state_at(history, before) or history[0]
            names.append(then.name)
            folder = then.folder
        return "/" + "/".join(reversed(names))

    def _read(self, folder: ItemId) -> tuple[_Placed, ...]:
        try:
            history = self._path.history(self._account, folder)
        except ItemError:
            return ()
        placed = []
        for state in history:
            content = last_content(history, state)
            placed.append(_Placed(state.start, content.name or "", content.folder_id))
        return tuple(placed)


def last_content(history: Sequence[ItemState], state: ItemState) -> ItemState:
    """Return the state itself, or of a deletion the last living one before it."""
    if not state.deleted:
        return state
    living = [each for each in history if not each.deleted and each.mod <= state.mod]
    return living[-1] if living else state
