"""Rename: in which order states are injected, and where the ids they name have gone (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.model import FOLDER_LIKE, ItemId, ItemKind, ItemState, from_ms

FIRST_USER_ID = ItemId(256)
ROOTS = (ItemId(1), ItemId(11))
"""The top that users see, and the server's own top above it."""

_TURN = {ItemKind.APPOINTMENT: 0, ItemKind.TASK: 0, ItemKind.COMMENT: 2}
"""What other items name comes first, what names another one last; the rest in between."""
_BATCH: Final = 100
_BATCH_BYTES: Final = 16 << 20
"""So many items, or bytes of them, are made before they are read back and recorded."""
_NEVER: Final = from_ms(0)
_DERIVED = frozenset({ItemKind.CONVERSATION})
_NOT_CARRIED = frozenset({ItemKind.MOUNTPOINT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is remembered of an item until its turn: the rest is read again then."""

    item_id: ItemId
    kind: ItemKind
    mod: int
    folder_id: ItemId | None
    size: int
    document: ItemId | None = None
    """Of a comment, what it is on: it comes only with that."""


@dataclass(slots=True)
class Plan:
    """The states of one account in the order in which they can be made.

    `system` are the folders that every mailbox has: not part of what is planned, but their colour
    and flags are carried. `shares` are someone else's folders and are only counted, unless
    `with_shares` lets them come along in the mailbox that they are of. `frame` are
    folders that are made once something lies in them, and are not part of what is planned either.
    With a `top` everything goes below a new folder of that name.
    """

    tags: list[ItemState] = field(default_factory=list)
    system: list[ItemState] = field(default_factory=list)
    frame: list[ItemState] = field(default_factory=list)
    folders: list[ItemState] = field(default_factory=list)
    items: list[Planned] = field(default_factory=list)
    shares: list[ItemState] = field(default_factory=list)
    top: str = ""

    @property
    def size(self) -> int:
        """How many states the destination is to have in the end."""
        return len(self.tags) + len(self.folders) + len(self.items)

    def with_shares(self) -> Plan:
        """Return the plan with someone else's folders among those that are made."""
        return replace(self, folders=[*self.folders, *self.shares], shares=[])


def order(states: Iterable[ItemState]) -> Plan:
    """Sort states for injection: tags, folders before what lies in them, calendar items before the
    messages that name them, documents before their comments.

    Conversations follow from their messages and are left out. Folders and tags are kept whole, of
    items only what their order needs.
    """
    plan = Plan()
    folders: list[ItemState] = []
    for state in states:
        if state.kind in _DERIVED:
            continue
        if state.kind in _NOT_CARRIED:
            plan.shares.append(state)
        elif state.kind is ItemKind.TAG:
            plan.tags.append(state)
        elif state.kind in FOLDER_LIKE:
            (plan.system if state.item_id < FIRST_USER_ID else folders).append(state)
        else:
            plan.items.append(_planned(state))
    for each in (plan.shares, plan.tags, plan.system, folders):
        each.sort(key=lambda state: state.item_id)
    plan.folders = parents_first(folders)
    plan.items.sort(key=lambda item: (_TURN.get(item.kind, 1), item.item_id))
    return plan


def parents_first(folders: list[ItemState]) -> list[ItemState]:
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


def folder_named(name: str) -> ItemState:
    """Return a plain folder of that name, of no mailbox."""
    return ItemState(item_id=FIRST_USER_ID, kind=ItemKind.FOLDER, mod=0, start=_NEVER, name=name)


def tag_named(name: str) -> ItemState:
    """Return a tag of that name, of no mailbox."""
    row = {"name": name, "listed": 1}
    return replace(folder_named(name), kind=ItemKind.TAG, row=row)


def batches(items: Iterable[Planned]) -> Iterator[list[Planned]]:
    """Part items into batches that are made, read back and recorded each as one.

    Comments begin one of their own: where their documents are is known by then.
    """
    batch: list[Planned] = []
    size = 0
    for item in items:
        if item.kind is ItemKind.COMMENT and batch and batch[-1].kind is not ItemKind.COMMENT:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
        if len(batch) == _BATCH or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def grant_count(state: ItemState) -> int:
    """Return how many grants a folder has; none where that cannot be read."""
    try:
        access = decode_column(state.row.get("metadata")).get("aclm")
    except ItemError:
        return 0
    grants = access.get("g") if isinstance(access, dict) else None
    return len(grants) if isinstance(grants, list) else 0


def _planned(state: ItemState) -> Planned:
    is_comment = state.kind is ItemKind.COMMENT
    return Planned(
        item_id=state.item_id,
        kind=state.kind,
        mod=state.mod,
        folder_id=state.folder_id,
        size=state.size or 0,
        document=ItemId(state.row.get("parent_id", 0)) if is_comment else None,
    )
