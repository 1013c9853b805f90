"""Which attributes of an entry are imported, when, and with which ids in them (pure).

The classes are those of `zimbra-provisioning.md` §6.1. What is imported is named by an allow-list;
what would make somebody an administrator or let somebody in is left out unless it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from backupng.engine.mailserver.zimbra import attributes as classes
from backupng.engine.model import DirectoryEntry, EntryKind, ItemId

NewId = Callable[[EntryKind, str], str | None]
"""Returns the id here of an entry of the source; None for one that has no counterpart."""

_NEVER: Final = (
    (classes.VOLATILE | classes.IMMUTABLE | classes.SERVER_KEPT | classes.OF_SERVER)
    - {"zimbraDomainType"}
) | {"zimbraDomainAliasTargetId", "memberURL", "zimbraDomainType"}
_KNOWN: Final = re.compile(r"(zimbra|carbonio|amavis)[A-Za-z0-9]*")
_HASH: Final = re.compile(rb"\{(SSHA512|SSHA256|SSHA|SHA512|SHA256|SHA|CRYPT|ARGON2)\}.", re.I)
_OF_USERS: Final = re.compile(
    rb"[^ ]+ (usr|grp|dom|all) -?(invite|viewFreeBusy|sendAs|sendOnBehalfOf|sendAsDistList"
    rb"|sendOnBehalfOfDistList|sendToDistList|viewDistList|ownDistList)"
)
"""Rights that one user grants another: whoever has them administers nothing and logs in as nobody.
"""
_GRANTEE_KINDS: Final = {
    "usr": EntryKind.ACCOUNT,
    "grp": EntryKind.LIST,
    "dom": EntryKind.DOMAIN,
}
_NOT_HERE: Final = "refers to what is not here"
_WHY: Final = {
    "userPassword": "is no hash of a password that can be taken over",
    "zimbraCOSId": "names a class of service that is not here: the domain's default counts",
}
_OF_MAIL: Final = classes.HELD_BACK - {
    "zimbraAccountStatus",
    "zimbraDomainStatus",
    "zimbraMailQuota",
    "zimbraPrefDefaultSignatureId",
    "zimbraPrefForwardReplySignatureId",
}
"""Of an account that an import has made these go when they have gone at the source."""
_FIRST_USER_ID: Final = 256
_LISTS_OWN: Final = "zimbraMailForwardingAddress"


@dataclass(slots=True)
class Carried:
    """The attributes of one entry on their way.

    `now` are set at once, `later` after the items; `of_items` hold ids of items still to be
    translated. `rights` are those left out because they would give rights, `dropped` says what else
    was left out and why.
    """

    now: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    later: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    of_items: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    rights: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def carry(entry: DirectoryEntry, new_id: NewId, *, with_rights: bool) -> Carried:
    """Sort the attributes of an entry, ids of other entries in them translated."""
    carried = Carried(rights=[] if with_rights else rights_in(entry))
    for name, values in entry.attributes.items():
        if name in _NEVER or (entry.kind is EntryKind.LIST and name == _LISTS_OWN):
            continue
        if name in classes.RIGHTS and not with_rights:
            values = _among_users(name, values)
            if not values:
                continue
        if not (name in classes.PERSONAL or _KNOWN.fullmatch(name)):
            carried.dropped.append(f"attribute {name} is not among those that are imported")
        else:
            _sort(entry, name, values, new_id, carried)
    return carried


def rights_in(entry: DirectoryEntry) -> list[str]:
    """Return the names of the attributes by which an entry gives rights; FALSE gives none."""
    rights = {n: v for n, v in entry.attributes.items() if n in classes.RIGHTS - _NEVER}
    return [n for n, v in rights.items() if v not in ((b"FALSE",), _among_users(n, v))]


def _among_users(name: str, values: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return those of the values that only say what users may do with each other."""
    return tuple(v for v in values if name == "zimbraACE" and _OF_USERS.fullmatch(v))


def taken_away(
    source: DirectoryEntry, here: DirectoryEntry, earlier: Iterable[DirectoryEntry]
) -> list[str]:
    """Return the names of what forwards, filters or answers mail here, and at the source no more.

    `earlier` is what the source said when it was imported: only what still is as it was there then
    has come from it. It is read only if it is needed.
    """
    names = here.attributes.keys() & _OF_MAIL - source.attributes.keys()
    came = [entry.attributes for entry in earlier] if names else []
    return [
        name
        for name in sorted(names)
        if any({*said.get(name, ())} == {*here.attributes[name]} for said in came)
    ]


def translated(values: tuple[bytes, ...], items: Mapping[ItemId, ItemId]) -> tuple[bytes, ...]:
    """Return values that hold ids of items with the new ids; unknown ones are left out."""
    found = (",".join(_items(value, items)).encode() for value in values)
    return tuple(value for value in found if value)


def _sort(
    entry: DirectoryEntry, name: str, values: tuple[bytes, ...], new_id: NewId, carried: Carried
) -> None:
    kept = _rewritten(entry, name, values, new_id, carried)
    if not kept:
        return
    if name in classes.OF_ITEMS:
        carried.of_items[name] = kept
    elif name in classes.HELD_BACK:
        carried.later[name] = kept
    else:
        carried.now[name] = kept


def _rewritten(
    entry: DirectoryEntry, name: str, values: tuple[bytes, ...], new_id: NewId, carried: Carried
) -> tuple[bytes, ...]:
    """Return the values with the ids of this server in them, what has none left out and told."""
    translate = _TRANSLATIONS.get(name)
    if translate is None:
        return values
    kept = []
    for value in values:
        text = translate(value.decode("utf-8", "replace"), new_id)
        if text is None:
            carried.dropped.append(f"attribute {name} {_WHY.get(name, _NOT_HERE)}")
        else:
            kept.append(value if name == "userPassword" else text.encode())
    return tuple(kept)


def _cos(text: str, new_id: NewId) -> str | None:
    return new_id(EntryKind.COS, text)


def _account(text: str, new_id: NewId) -> str | None:
    return new_id(EntryKind.ACCOUNT, text)


def _cos_limit(text: str, new_id: NewId) -> str | None:
    cos, _, limit = text.partition(":")
    found = new_id(EntryKind.COS, cos)
    return None if found is None else f"{found}:{limit}"


def _ace(text: str, new_id: NewId) -> str | None:
    """Translate `GRANTEE TYPE RIGHT`; grantees without an id of an entry stay as they are."""
    grantee, _, rest = text.partition(" ")
    kind = _GRANTEE_KINDS.get(rest.partition(" ")[0])
    found = grantee if kind is None else new_id(kind, grantee)
    return None if found is None else f"{found} {rest}"


def _password(text: str, _new_id: NewId) -> str | None:
    """Take hashes that servers log in with, and nothing else for one."""
    return text if _HASH.match(text.encode()) else None


_TRANSLATIONS: Final[Mapping[str, Callable[[str, NewId], str | None]]] = {
    **dict.fromkeys(classes.OF_COS, _cos),
    **dict.fromkeys(classes.OF_ACCOUNTS, _account),
    "zimbraDomainCOSMaxAccounts": _cos_limit,
    "zimbraACE": _ace,
    "userPassword": _password,
}


def _items(value: bytes, items: Mapping[ItemId, ItemId]) -> list[str]:
    """Return the new ids of a list; those of system folders are the same everywhere."""
    texts = value.decode("ascii", "replace").split(",")
    old = [ItemId(int(text)) for text in texts if text.isdecimal() and len(text) < 11]
    new = [each if each < _FIRST_USER_ID else items.get(each) for each in old]
    return [str(each) for each in new if each is not None]
