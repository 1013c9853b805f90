"""Left: what the last import of a source could not restore, and a retry tries again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import IdMap, ItemMap
from backupng.engine.errors import BackupPathBroken
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId, ItemState
from backupng.engine.restore.rename import Plan, order
from backupng.engine.restore.select import Selection

Only = frozenset[ItemId] | None
"""What is wanted of an account; None: everything."""
_ANYTHING = ItemId(0)


def left_of(
    tree: Tree, server_id: str, accounts: Iterable[DirectoryEntry]
) -> dict[AccountId, Only]:
    """Return what the maps of a tree note of those accounts as not restored; none of the others.

    All of an account whose map is damaged. Raises BackupPathBroken for the map of entries, or
    ReadError.
    """
    id_map = IdMap(tree, server_id, dry=True)
    found: dict[AccountId, Only] = {}
    for account in accounts:
        source = AccountId(account.entry_id)
        here = id_map.new_id(EntryKind.ACCOUNT, source)
        if here is None:
            continue
        try:
            known = ItemMap(tree, AccountId(here), server_id=server_id, source=source, dry=True)
        except BackupPathBroken:
            found[source] = None
            continue
        if known.left:
            found[source] = None if _ANYTHING in known.left else known.left
    return found


def planned(selection: Selection, states: Iterator[ItemState], only: Only) -> Plan:
    """Return the states of a selection in their order, as far as they are wanted.

    Folders that are not are made once something needs them. What the selection says of others is
    forgotten.
    """
    plan = order(states)
    if only is None:
        return plan
    for listed in (selection.outdated, selection.pending):
        listed[:] = [item for item in listed if item in only]
    selection.unreadable[:] = [each for each in selection.unreadable if each[0] in only]
    return replace(
        plan,
        tags=[each for each in plan.tags if each.item_id in only],
        system=[],
        frame=[*plan.system, *(each for each in plan.folders if each.item_id not in only)],
        folders=[each for each in plan.folders if each.item_id in only],
        items=[each for each in plan.items if each.item_id in only],
        shares=[each for each in plan.shares if each.item_id in only],
    )
