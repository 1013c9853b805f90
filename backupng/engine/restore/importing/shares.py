"""Phase 3 of an import: grants and mountpoints of one account, with the ids of this server.

A grant names who may, a mountpoint whose folder: both come when all accounts and items are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from backupng.engine.errors import BrokenItem, InvalidItem, ItemError
from backupng.engine.mailserver.port import Grant, ShareWriter, Source, Target
from backupng.engine.mailserver.zimbra.codes import TYPE_OF_KIND
from backupng.engine.mailserver.zimbra.grants import Grantee, grants_of, target_of
from backupng.engine.model import AccountId, EntryKind, ItemId, ItemKind, ItemState, Mailbox
from backupng.engine.restore.importing.attributes import NewId
from backupng.engine.restore.rename import FIRST_USER_ID, ROOTS

ItemsOf = Callable[[AccountId], Mapping[ItemId, ItemId] | None]
"""Returns what became of the items of an account, named by its id at the source; None if it was not
imported."""

_KINDS: Final = {
    Grantee.USER: EntryKind.ACCOUNT,
    Grantee.GROUP: EntryKind.LIST,
    Grantee.DOMAIN: EntryKind.DOMAIN,
    Grantee.COS: EntryKind.COS,
}
_SHARED: Final = frozenset(TYPE_OF_KIND[kind] for kind in (ItemKind.FOLDER, ItemKind.MOUNTPOINT))
NO_OWNER: Final = "the owner of the shared folder is not here"
NO_FOLDER: Final = "the shared folder is not here"


@dataclass(frozen=True, slots=True)
class Shared:
    """A folder of the source that is shared, and the rights on it."""

    folder: ItemId
    grants: tuple[Grant, ...]


@dataclass(slots=True)
class SharesResult:
    """What became of an account's shares; mountpoints are counted with the items.

    `nowhere` are mountpoints left out, with why; `dangling` are mountpoints and grants that name
    ids of the source, for want of others: they are mended once those have been imported.
    """

    mountpoints: int = 0
    mountpoints_there: int = 0
    grants: int = 0
    grants_lost: int = 0
    dangling: int = 0
    nowhere: list[tuple[ItemId, str]] = field(default_factory=list)
    unrestored: list[tuple[ItemId, str]] = field(default_factory=list)
    errors: list[tuple[ItemId, ItemError]] = field(default_factory=list)
    made: dict[ItemId, ItemId] = field(default_factory=dict)


def shared_of(states: Sequence[ItemState]) -> list[Shared]:
    """Return the folders among these that are shared."""
    found = [(state.item_id, tuple(grants_of(state))) for state in states]
    return [Shared(folder, grants) for folder, grants in found if grants]


class Shares:
    """Restores the shares of one account."""

    def __init__(
        self,
        writer: ShareWriter,
        *,
        there: Mapping[ItemId, ItemState],
        items: Mapping[ItemId, ItemId],
        new_id: NewId,
        items_of: ItemsOf,
        at_home: bool = False,
    ) -> None:
        """`there` are the folders and mountpoints of the mailbox here, `items` what became of its
        items; `at_home` if this is the mailbox they are from.
        """
        self._at_home = at_home
        self._writer, self._there, self._items = writer, there, items
        self._new_id, self._items_of = new_id, items_of
        self._result = SharesResult()

    def run(self, shared: Sequence[Shared], mountpoints: Sequence[ItemState]) -> SharesResult:
        """Grant, then mount."""
        for each in shared:
            self._grant(each)
        for state in mountpoints:
            try:
                self._mount(state)
            except BrokenItem as error:
                self._result.nowhere.append((state.item_id, str(error)))
            except ItemError as error:
                self._result.unrestored.append((state.item_id, error.cause))
                self._result.errors.append((state.item_id, error))
        return self._result

    def _grant(self, shared: Shared) -> None:
        folder = self._place(shared.folder)
        state = None if folder is None else self._there.get(folder)
        if folder is None or state is None:
            self._result.grants_lost += len(shared.grants)
            return
        there = {each.grantee: _rights(each) for each in grants_of(state)}
        for grant in shared.grants:
            mapped = self._mapped(grant)
            if there.get(mapped.grantee) != _rights(mapped):
                try:
                    self._writer.put_grant(folder, mapped)
                    self._result.grants += 1
                except InvalidItem:
                    self._result.grants_lost += 1

    def _mapped(self, grant: Grant) -> Grant:
        """Return a grant with the id of its grantee here; one that nobody knows stays as it is."""
        kind = _KINDS.get(Grantee(grant.type)) if grant.type in set(Grantee) else None
        if kind is None:
            return grant
        found = self._new_id(kind, grant.grantee)
        self._result.dangling += found is None
        return grant if found is None else replace(grant, grantee=found)

    def _mount(self, state: ItemState) -> None:
        old = target_of(state)
        known = self._items.get(state.item_id)
        if known is not None:
            self._mend(state, known, old)
            self._result.mountpoints_there += 1
            return
        new = self._target(old)
        target = new or old
        parent = self._place(state.folder_id or ROOTS[0]) or ROOTS[0]
        found = self._same(state, parent, target)
        if found is None:
            found = self._put(state, parent, target, is_dangling=new is None)
            self._result.mountpoints += 1
        else:
            self._result.mountpoints_there += 1
        self._result.dangling += new is None
        self._result.made[state.item_id] = found

    def _mend(self, state: ItemState, known: ItemId, old: Target) -> None:
        """Let a mountpoint that is there lead on, if it still leads where it did at the source.

        One that is gone was taken away by its owner.
        """
        there = self._there.get(known)
        if there is None or there.kind is not state.kind or target_of(there) != old:
            return
        target = self._target(old)
        self._result.dangling += target is None
        is_right = self._at_home and target == replace(old, uuid="")
        if target is not None and not is_right:
            self._result.made[state.item_id] = self._writer.point(there, target)

    def _put(
        self, state: ItemState, parent: ItemId, target: Target, *, is_dangling: bool
    ) -> ItemId:
        try:
            return self._writer.put_mountpoint(state, parent, target)
        except InvalidItem as error:
            if is_dangling and error.code == "no_such_folder":
                raise BrokenItem(NO_OWNER) from error
            raise

    def _same(self, state: ItemState, parent: ItemId, target: Target) -> ItemId | None:
        """Return the mountpoint that a killed import made and could not note any more."""
        for each in self._there.values():
            is_same = (each.kind, each.name, each.folder_id) == (state.kind, state.name, parent)
            if is_same and replace(target_of(each), uuid=target.uuid) == target:
                return each.item_id
        return None

    def _target(self, target: Target) -> Target | None:
        """Return where a mountpoint leads to on this server; None if nobody knows.

        Raises BrokenItem for a folder that was not there at the source either.
        """
        items = self._items_of(target.owner)
        owner = self._new_id(EntryKind.ACCOUNT, target.owner)
        if items is None or owner is None:
            return None
        folder = target.folder if target.folder < FIRST_USER_ID else items.get(target.folder)
        if folder is None:
            raise BrokenItem(NO_FOLDER)
        return Target(AccountId(owner), folder)

    def _place(self, folder: ItemId) -> ItemId | None:
        return folder if folder < FIRST_USER_ID else self._items.get(folder)


def folders_there(source: Source, mailbox: Mailbox | None) -> dict[ItemId, ItemState]:
    """Return the folders and mountpoints of a mailbox."""
    if mailbox is None:
        return {}
    ids = [ItemId(row["id"]) for row in source.traits(mailbox) if row.get("type") in _SHARED]
    found = dict(source.states(mailbox, ids))
    return {item: state for item, state in found.items() if isinstance(state, ItemState)}


def _rights(grant: Grant) -> tuple[int, int, str]:
    return grant.type, grant.rights, grant.secret
