"""Single items: which state of each comes back, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.restore.compare import is_same
from backupng.engine.restore.origins import Origins
from backupng.engine.restore.rename import Plan, folder_named
from backupng.engine.restore.select import ALL_TIME, Selection, living_at
from backupng.engine.restore.undelete import Gone, visible

_TOP = ItemId(SystemFolder.USER_ROOT)
_TRASH = ItemId(SystemFolder.TRASH)
_FIRST_OF_PATH = 2**41


@dataclass(slots=True, kw_only=True)
class Single:
    """Chosen items of one account: as they were before `before`, or as they last lived.

    They go where they were, or into the folder of that path, which is made: a copy of what lives.
    """

    gone: Gone
    origins: Origins
    items: Sequence[ItemId]
    now: datetime
    before: datetime | None = None
    folder: tuple[str, ...] | None = None
    """The names of a path, none for the top; None: where each item was."""
    chosen: dict[ItemId, ItemState] = field(default_factory=dict)
    """What was picked of each, as the backup has it."""
    thrown: set[ItemId] = field(default_factory=set)
    """Those that lie in the Trash and came from somewhere else: they are not in place there."""

    def selection(self) -> Selection:
        """Return what to read."""
        return Selection(
            path=self.gone.path,
            account=self.gone.account,
            pick=self.pick,
            look=self.look,
            items=self.items,
            before=self.before or ALL_TIME,
        )

    def plan(self, plan: Plan) -> Plan:
        """Complete a plan with the folders that the items go to."""
        plan.frame = self.origins.frame if self.folder is None else self._path_folders()
        plan.folders += plan.system
        plan.system = []
        return plan

    def pick(self, history: Sequence[ItemState]) -> ItemState | None:
        """Choose the state of that moment, else the last living one."""
        if self.before is None:
            state = next((each for each in reversed(history) if not each.deleted), None)
        else:
            state = living_at(history, self.before)
        if state is None:
            return None
        self.chosen[state.item_id] = state
        self.gone.moments[state.item_id] = self._moment(history, state)
        return state

    def _moment(self, history: Sequence[ItemState], state: ItemState) -> datetime:
        """Return when the item ceased to be as in that state, or where it belongs."""
        later = next((each.start for each in history if each.mod > state.mod), None)
        if later is None and self.folder is None:
            thrown = _thrown_away(history)
            if thrown is not None:
                self.thrown.add(state.item_id)
            return thrown or self.now
        # A copy of what lives may have been asked for before: it came after that state did.
        return later or state.start

    def look(self, history: Sequence[ItemState], state: ItemState) -> ItemState:
        """Return the state as it comes back."""
        if self.folder is not None:
            path = self._path_folders()
            return visible(replace(state, folder_id=path[-1].item_id if path else _TOP))
        moment = self.gone.moments[state.item_id]
        return visible(replace(state, folder_id=self.origins.folder_of(history, state, moment)))

    def is_in_place(self, present: ItemState) -> bool:
        """Say whether an item lives as the state that was picked of it, and nothing is to do."""
        state = self.chosen.get(present.item_id)
        if state is None or self.folder is not None or present.item_id in self.thrown:
            return False
        return present.folder_id == state.folder_id and is_same(state, present)

    def _path_folders(self) -> list[ItemState]:
        parent, found = _TOP, []
        for number, name in enumerate(self.folder or ()):
            own = ItemId(_FIRST_OF_PATH + number)
            found.append(replace(folder_named(name), item_id=own, folder_id=parent))
            parent = own
        return found


def _thrown_away(history: Sequence[ItemState]) -> datetime | None:
    """Return when an item went to the Trash; None if it is not there, or was never elsewhere."""
    start = None
    for each in reversed(history):
        if each.folder_id != _TRASH:
            return start
        start = each.start
    return None


def cannot_come_back(kind: ItemKind) -> str:
    """Say why an item of that kind is not restored by itself; empty if it is."""
    if kind is ItemKind.CONVERSATION:
        return "is a conversation: it follows from its messages. Give their ids"
    return ""
