"""Rename: in which order states are injected, and where the ids they name have gone (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from backupng.engine.model import FOLDER_LIKE, ItemId, ItemKind, ItemState

FIRST_USER_ID = ItemId(256)
ROOTS = (ItemId(1), ItemId(11))
"""The top that users see, and the server's own top above it."""

_TURN = {ItemKind.APPOINTMENT: 0, ItemKind.TASK: 0, ItemKind.COMMENT: 2}
"""What other items name comes first, what names another one last; the rest in between."""
_DERIVED = frozenset({ItemKind.CONVERSATION})
_NOT_CARRIED = frozenset({ItemKind.MOUNTPOINT})


@dataclass(slots=True)
class Plan:
    """The states of one account in the order in which they can be made.

    `system` are the folders that every mailbox has: not part of what is planned, but their colour
    and flags are carried. `shares` are someone else's folders and are only counted.
    """

    tags: list[ItemState] = field(default_factory=list)
    system: list[ItemState] = field(default_factory=list)
    folders: list[ItemState] = field(default_factory=list)
    items: list[ItemState] = field(default_factory=list)
    shares: list[ItemState] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many states the destination is to have in the end."""
        return len(self.tags) + len(self.folders) + len(self.items)


def order(states: Iterable[ItemState]) -> Plan:
    """Sort states for injection: tags, folders before what lies in them, calendar items before the
    messages that name them, documents before their comments.

    Conversations follow from their messages and are left out.
    """
    plan = Plan()
    folders: list[ItemState] = []
    for state in sorted(states, key=lambda state: state.item_id):
        if state.kind in _DERIVED:
            continue
        if state.kind in _NOT_CARRIED:
            plan.shares.append(state)
        elif state.kind is ItemKind.TAG:
            plan.tags.append(state)
        elif state.kind in FOLDER_LIKE:
            (plan.system if state.item_id < FIRST_USER_ID else folders).append(state)
        else:
            plan.items.append(state)
    plan.folders = _parents_first(folders)
    plan.items.sort(key=lambda state: (_TURN.get(state.kind, 1), state.item_id))
    return plan


def _parents_first(folders: list[ItemState]) -> list[ItemState]:
    """Order folders so that a parent comes before its children; loops and orphans come last."""
    waiting = {state.item_id: state for state in folders}
    ordered: list[ItemState] = []
    ready = [state for state in folders if state.folder_id not in waiting]
    while ready:
        ordered += ready
        for state in ready:
            del waiting[state.item_id]
        done = {state.item_id for state in ready}
        ready = [state for state in waiting.values() if state.folder_id in done]
    return ordered + list(waiting.values())


def unknown_folder(folder: ItemId | None) -> str:
    """Return the name of the folder that stands for one nobody knows any more."""
    return f"unknown_{folder or 0}"
