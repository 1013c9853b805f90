"""Grants, mountpoints and searches as a row's metadata has them <-> values (pure).

Keys as in `zimbra-store.md` §8.4 and §8.5; Zimbra/zm-mailbox
`store/src/java/com/zimbra/cs/mailbox/ACL.java` and `Mountpoint.java`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from backupng.engine.errors import BrokenItem
from backupng.engine.mailserver.port import Grant, Target
from backupng.engine.mailserver.zimbra.metadata import Value, as_int, decode_column
from backupng.engine.model import AccountId, ItemId, ItemKind, ItemState

ACL_MAP: Final = "aclm"
_OLD_ACL: Final = "acl"


class Grantee(IntEnum):
    """What a grant is given to."""

    USER = 1
    GROUP = 2
    AUTHENTICATED = 3
    DOMAIN = 4
    COS = 5
    PUBLIC = 6
    GUEST = 7
    KEY = 8


WITH_ID: Final = frozenset({Grantee.USER, Grantee.GROUP, Grantee.DOMAIN, Grantee.COS})
"""Grantees that are entries of the directory, named by their ids."""


def grants_of(state: ItemState) -> list[Grant]:
    """Return the grants on a folder in their order; what is no grant is left out."""
    return parse_grants(_metadata(state))


def parse_grants(values: dict[str, Value]) -> list[Grant]:
    """Return the grants that a folder's metadata tell of."""
    access = values.get(ACL_MAP)
    found = access.get("g") if isinstance(access, dict) else values.get(_OLD_ACL)
    listed = found if isinstance(found, list) else []
    return [_grant(each) for each in listed if isinstance(each, dict)]


def spell_grants(grants: Iterable[Grant]) -> dict[str, Value]:
    """Return the value of `ACL_MAP` that tells of these grants."""
    return {"g": [_spell(grant) for grant in grants], "ge": 0, "ie": 0}


def target_of(state: ItemState) -> Target:
    """Return where a mountpoint leads to. Raises BrokenItem for one that leads nowhere."""
    values = _metadata(state)
    owner, folder = values.get("aid"), values.get("id")
    if not isinstance(owner, str) or folder is None:
        raise BrokenItem(f"item {state.item_id}: the mountpoint does not say where it leads to")
    return Target(AccountId(owner), ItemId(as_int(folder)), str(values.get("ruuid", "")))


def aim_of(folder: ItemState) -> object:
    """Return where a mountpoint leads, or what a search folder looks for. Raises BrokenItem."""
    if folder.kind is ItemKind.MOUNTPOINT:
        return target_of(folder)
    return str(_metadata(folder).get("q") or "") if folder.kind is ItemKind.SEARCH else None


def is_alike(state: ItemState, found: ItemState) -> bool:
    """Say whether two folders of one name are of one kind and have one aim.

    One that cannot be read is like no other.
    """
    try:
        return state.kind is found.kind and aim_of(state) == aim_of(found)
    except BrokenItem:
        return False


def _metadata(state: ItemState) -> dict[str, Value]:
    return decode_column(state.row.get("metadata"))


def _grant(values: dict[str, Value]) -> Grant:
    return Grant(
        grantee=str(values.get("g", "")),
        type=as_int(values.get("t", 0)),
        rights=as_int(values.get("r", 0)),
        name=str(values.get("n", "")),
        secret=str(values.get("k" if values.get("t") == Grantee.KEY else "a", "")),
        expiry_ms=as_int(values.get("e", 0)),
    )


def _spell(grant: Grant) -> dict[str, Value]:
    secret = "k" if grant.type == Grantee.KEY else "a"
    optional: dict[str, Value] = {
        "g": grant.grantee,
        "n": grant.name,
        secret: grant.secret,
        "e": grant.expiry_ms,
    }
    kept = {key: value for key, value in optional.items() if value}
    return {**kept, "r": grant.rights, "t": int(grant.type)}
