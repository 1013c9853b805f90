"""Shares: what is wrong with grants and mountpoints of a server, and how a map of an import helps.

A grant names an entry of the directory, a mountpoint an account and a folder of it. After an import
both may name ids of the old server, which the map translates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.port import Grant, Source, Target
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID, TYPE_OF_KIND
from backupng.engine.mailserver.zimbra.grants import Grantee, grants_of, target_of
from backupng.engine.model import (
    AccountId,
    DirectoryEntry,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
)

NewId = Callable[[EntryKind, str], str | None]
ItemsOf = Callable[[str, AccountId], Mapping[ItemId, ItemId]]
"""Returns what the items of an account became: by its id at the source, and its id here."""

_SHARED: Final = frozenset(TYPE_OF_KIND[kind] for kind in (ItemKind.FOLDER, ItemKind.MOUNTPOINT))
_KINDS: Final = {
    Grantee.USER: EntryKind.ACCOUNT,
    Grantee.GROUP: EntryKind.LIST,
    Grantee.DOMAIN: EntryKind.DOMAIN,
    Grantee.COS: EntryKind.COS,
}
_ANY_ACCOUNT: Final = frozenset(Grantee) - {Grantee.USER, Grantee.GUEST, Grantee.KEY}


class Flaw(StrEnum):
    """What can be wrong with a share."""

    DANGLING = "dangling id"
    WRONG_ID = "wrong id after import"
    NO_TARGET = "missing mountpoint target"
    NO_GRANT = "missing grant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One broken share: in whose mailbox, which folder or mountpoint, who is named by it.

    `remedy` is what to put in its place, None if nobody knows; `map_name` is the map that says so.
    """

    owner: DirectoryEntry
    item: ItemState
    path: str
    named: str
    flaw: Flaw
    grant: Grant | None = None
    remedy: Grant | Target | None = None
    map_name: str = ""


@dataclass(slots=True, kw_only=True)
class Mailboxes:
    """The shared folders and mountpoints of all accounts, as they are read."""

    source: Source
    accounts: dict[str, DirectoryEntry]
    folders: dict[str, dict[ItemId, ItemState]]
    known: dict[EntryKind, set[str]]
    others: dict[str, bool] = field(default_factory=dict)
    """Of accounts whose mail does not lie here, asked for one by one: whether they exist."""

    def knows(self, kind: EntryKind, entry_id: str) -> bool:
        """Say whether an entry exists; an account's mail may lie on any server."""
        if entry_id in self.known[kind]:
            return True
        return kind is EntryKind.ACCOUNT and self.is_elsewhere(entry_id)

    def is_elsewhere(self, account: str) -> bool:
        """Say whether an account exists whose mail lies on another server."""
        if account in self.accounts:
            return False
        if account not in self.others:
            self.others[account] = self.source.has_account(account)
        return self.others[account]


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map of an import, as shares are mended by it."""

    name: str
    new_id: NewId
    items_of: ItemsOf


def read_mailboxes(source: Source, tick: Callable[[str], None]) -> Mailboxes:
    """Read all folders and mountpoints of the accounts of a server; `tick` hears each address."""
    accounts = {entry.entry_id: entry for entry in source.entries(EntryKind.ACCOUNT)}
    folders: dict[str, dict[ItemId, ItemState]] = {}
    for account, entry in accounts.items():
        tick(entry.name)
        folders[account] = _folders(source, AccountId(account))
    kinds = (EntryKind.LIST, EntryKind.DOMAIN, EntryKind.COS)
    known = {kind: {entry.entry_id for entry in source.entries(kind)} for kind in kinds}
    return Mailboxes(
        source=source,
        accounts=accounts,
        folders=folders,
        known=known | {EntryKind.ACCOUNT: set(accounts)},
    )


def problems(found: Mailboxes, maps: list[MapOf]) -> Iterator[Problem]:
    """Yield what is broken, account by account, each with what the maps propose."""
    for account in sorted(found.folders, key=lambda each: found.accounts[each].name):
        states = found.folders[account]
        for item in sorted(states):
            if states[item].kind is ItemKind.MOUNTPOINT:
                yield from _of_mountpoint(found, account, states[item], maps)
            else:
                yield from _of_folder(found, account, states[item], maps)


def count_shares(found: Mailboxes) -> tuple[int, int]:
    """Return how many grants and how many mountpoints there are."""
    states = [state for each in found.folders.values() for state in each.values()]
    mountpoints = sum(1 for state in states if state.kind is ItemKind.MOUNTPOINT)
    return sum(len(grants_of(state)) for state in states), mountpoints


def count_elsewhere(found: Mailboxes) -> int:
    """Return how many mountpoints lead to accounts whose mail lies on another server."""
    return sum(1 for owner in _owners(found) if found.is_elsewhere(owner))


def _owners(found: Mailboxes) -> Iterator[str]:
    for states in found.folders.values():
        for state in states.values():
            if state.kind is ItemKind.MOUNTPOINT:
                with suppress(BrokenItem):
                    yield target_of(state).owner


def _folders(source: Source, account: AccountId) -> dict[ItemId, ItemState]:
    mailbox = source.mailbox(account)
    if mailbox is None:
        return {}
    ids = [ItemId(row["id"]) for row in source.traits(mailbox) if row.get("type") in _SHARED]
    states = dict(source.states(mailbox, ids))
    return {item: state for item, state in states.items() if isinstance(state, ItemState)}


def _of_folder(
    found: Mailboxes, account: str, state: ItemState, maps: list[MapOf]
) -> Iterator[Problem]:
    for grant in grants_of(state):
        kind = _KINDS.get(Grantee(grant.type)) if grant.type in set(Grantee) else None
        if kind is None or found.knows(kind, grant.grantee):
            continue
        problem = _problem(found, account, state, grant.grantee, Flaw.DANGLING)
        problem = replace(problem, grant=grant)
        for each in maps:
            new = each.new_id(kind, grant.grantee)
            if new is not None and found.knows(kind, new):
                remedy = replace(grant, grantee=new)
                problem = replace(problem, flaw=Flaw.WRONG_ID, remedy=remedy, map_name=each.name)
                break
        yield problem


def _of_mountpoint(
    found: Mailboxes, account: str, state: ItemState, maps: list[MapOf]
) -> Iterator[Problem]:
    try:
        target = target_of(state)
    except BrokenItem:
        yield _problem(found, account, state, "", Flaw.NO_TARGET)
        return
    if found.is_elsewhere(target.owner):
        yield from _of_far_mountpoint(found, account, state, maps)
        return
    folders = found.folders.get(target.owner)
    folder = folders.get(target.folder) if folders else None
    if folder is not None and folder.kind is ItemKind.FOLDER and _is_meant(target, folder):
        if not _may_read(found, account, target, folder):
            yield _problem(found, account, state, target.owner, Flaw.NO_GRANT)
        return
    flaw = Flaw.DANGLING if folders is None else Flaw.NO_TARGET
    problem = _problem(found, account, state, target.owner, flaw)
    for each in maps:
        remedy = _remedy(found, target, each)
        if remedy is not None:
            problem = replace(problem, flaw=Flaw.WRONG_ID, remedy=remedy, map_name=each.name)
            break
    yield problem


def _of_far_mountpoint(
    found: Mailboxes, account: str, state: ItemState, maps: list[MapOf]
) -> Iterator[Problem]:
    """Yield a mountpoint to an account of another server, if its map says that it leads astray.

    What that account shares, only its own server can tell; a mountpoint that was mended knows no
    uuid any more, and is left alone.
    """
    target = target_of(state)
    for each in maps if target.uuid else ():
        remedy = _moved(target, each)
        if remedy not in (None, replace(target, uuid="")) and found.knows(
            EntryKind.ACCOUNT, remedy.owner
        ):
            problem = _problem(found, account, state, target.owner, Flaw.WRONG_ID)
            yield replace(problem, remedy=remedy, map_name=each.name)
            return


def _is_meant(target: Target, folder: ItemState) -> bool:
    """Say whether it is the folder that was mounted: the same id may be another one's by now."""
    return not target.uuid or folder.row.get("uuid", target.uuid) == target.uuid


def _remedy(found: Mailboxes, target: Target, by: MapOf) -> Target | None:
    """Return the folder here that a map has for a mountpoint's target."""
    moved = _moved(target, by)
    is_here = moved is not None and moved.folder in found.folders.get(moved.owner, {})
    return moved if is_here else None


def _moved(target: Target, by: MapOf) -> Target | None:
    """Return what a map says that a mountpoint's target has become."""
    new = by.new_id(EntryKind.ACCOUNT, target.owner)
    if new is None:
        return None
    owner = AccountId(new)
    folder: ItemId | None = target.folder
    if target.folder >= FIRST_USER_ID:
        folder = by.items_of(target.owner, owner).get(target.folder)
    return None if folder is None else Target(owner, folder)


def _may_read(found: Mailboxes, account: str, target: Target, folder: ItemState) -> bool:
    """Say whether a folder, or one above it, is granted to an account, as far as that is known."""
    seen: set[ItemId] = set()
    states = found.folders[target.owner]
    at: ItemState | None = folder
    while at is not None and at.item_id not in seen:
        seen.add(at.item_id)
        for grant in grants_of(at):
            if grant.grantee == account or grant.type in _ANY_ACCOUNT:
                return True
        at = states.get(at.folder_id) if at.folder_id is not None else None
    return False


def _problem(found: Mailboxes, account: str, state: ItemState, named: str, flaw: Flaw) -> Problem:
    return Problem(
        owner=found.accounts[account],
        item=state,
        path=_path(state, found.folders[account]),
        named=named,
        flaw=flaw,
    )


def _path(state: ItemState, states: Mapping[ItemId, ItemState]) -> str:
    names = [state.name or ""]
    seen = {state.item_id}
    at = states.get(state.folder_id) if state.folder_id else None
    while at is not None and at.item_id >= 2 and at.item_id not in seen and len(names) < 100:
        seen.add(at.item_id)
        names.append(at.name or "")
        at = states.get(at.folder_id) if at.folder_id else None
    return "/" + "/".join(reversed(names))
