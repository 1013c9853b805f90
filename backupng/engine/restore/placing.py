"""Placing: where the folders of a plan have gone. Each is made once something needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import NO_SUCH_ITEM, MailboxWriter
from backupng.engine.model import ItemId, ItemState
from backupng.engine.restore.known import free_name, is_there
from backupng.engine.restore.ready import put_folder
from backupng.engine.restore.rename import ROOTS, Plan, folder_named, unknown_folder

_Result = TypeVar("_Result")


@dataclass(slots=True, kw_only=True)
class Placing:
    """Where old folders are in a mailbox; `at_home` it is the one they are from.

    `record` is told of each that is made here. People may work in that mailbox: a folder that
    somebody has deleted since is made again, with those above it, for what is to lie in it.
    """

    plan: Plan
    writer: MailboxWriter
    at_home: bool
    beside: bool
    record: Callable[[Sequence[tuple[ItemId, ItemId]]], None]
    top: str = ""
    """The name that the plan's `top` was given, once there was something to put there."""
    unknown: int = 0
    places: dict[ItemId, ItemId] = field(default_factory=dict)
    waiting: dict[ItemId, ItemState] = field(default_factory=dict)
    """Folders that are made once something needs them."""
    _states: dict[ItemId, ItemState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = {root: root for root in ROOTS}
        if self.plan.top:
            del self.places[ROOTS[0]]
        self.waiting = {state.item_id: state for state in self.plan.frame}
        self._states = {each.item_id: each for each in (*self.plan.frame, *self.plan.folders)}

    def place(self, folder: ItemId | None) -> ItemId:
        """Return where a folder has gone; it is made if it waits for that.

        One that nobody knows any more gets one at the top. Raises ItemError.
        """
        old = folder or ItemId(0)
        if old not in self.places:
            self.places[old] = self._make_top() if old == ROOTS[0] else self._make(old)
        return self.places[old]

    def put(self, folder: ItemId | None, put: Callable[[ItemId], _Result]) -> _Result:
        """Put something where a folder has gone, once more if that was gone. Raises ItemError."""
        place = self.place(folder)
        try:
            return put(place)
        except InvalidItem as error:
            if error.code != NO_SUCH_ITEM or place in self.writer.living([place]):
                raise
        return put(self._revived(folder))

    def _revived(self, folder: ItemId | None) -> ItemId:
        """Return where a folder is, made again if it is gone, with those above it."""
        old = folder or ItemId(0)
        place = self.places.get(old)
        if place is not None and place in self.writer.living([place]):
            return place
        self.places.pop(old, None)
        # Taken out meanwhile: folders may lie within each other.
        state = self._states.pop(old, None)
        if state is None:
            return self.place(old)
        self._revived(state.folder_id)
        self.waiting[old] = self._states[old] = state
        return self.place(old)

    def _make(self, old: ItemId) -> ItemId:
        # Taken out first: folders may lie within each other.
        state = self.waiting.pop(old, None)
        if state is None:
            self.unknown += 1
            parent, state = self.place(ROOTS[0]), folder_named(unknown_folder(old))
        else:
            parent = self.place(state.folder_id)
        _, made, _ = put_folder(self.writer, state, parent, keep=True, beside=self.beside)
        self.record([(old, made)])
        return made

    def _make_top(self) -> ItemId:
        """Make the folder for everything; at home under a name that nothing has yet."""
        wanted = self.plan.top
        self.top = free_name(wanted, partial(is_there, self.writer)) if self.at_home else wanted
        return self.writer.put_folder(folder_named(self.top), ROOTS[0], keep=True)[0]
