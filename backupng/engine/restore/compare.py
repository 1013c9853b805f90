"""Compare: what was wanted and what is there, field by field (pure)."""

from __future__ import annotations

from typing import Any, Final

from backupng.engine.mailserver.zimbra.codes import three_bytes
from backupng.engine.model import ItemKind, ItemState

_SEEN: Final = "kind", "name", "subject", "flags", "unread", "tags", "color", "size", "digest"
"""What must be the same when the destination is read again, besides the folder."""
_TEXTS: Final = frozenset({"name", "subject", "tags"})
_BARE: Final = {"flags": "", "tags": (), "color": 0}
_DRAFT: Final = "d"
_MAIL: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})


def is_same(wanted: ItemState, found: ItemState) -> bool:
    """Say whether a user sees the same. Texts as a database holds them, which no log does."""
    return all(
        _held(name, getattr(wanted, name)) == _held(name, getattr(found, name)) for name in _SEEN
    )


def is_itself(wanted: ItemState, found: ItemState, *, at_home: bool) -> bool:
    """Say whether an id still is the item that it was, whatever its folder and marks are now.

    Not so if its content is another one, or if there is a doubt. `at_home`: uuids are the same.
    """
    if found.kind is not wanted.kind:
        return False
    if found.digest not in (wanted.digest, wanted.row.get("blob_digest")):
        return False
    own = wanted.row.get("uuid") if at_home else None
    if own:
        return bool(own == found.row.get("uuid"))
    return bool(_traits(wanted) == _traits(found))


def is_another(wanted: ItemState, found: ItemState) -> bool:
    """Say whether an id is an item now that the one it was cannot have become. A doubt is a No.

    An owner may change anything but the content and date of mail that was delivered, the UID of a
    calendar item, and all of a contact or document at once.
    """
    if found.kind is not wanted.kind:
        return True
    if found.kind in _MAIL:
        same = found.digest in (wanted.digest, wanted.row.get("blob_digest"))
        is_draft = _DRAFT in found.flags
        return not (wanted.digest is None or same or is_draft or found.date == wanted.date)
    ours, theirs = _marks(wanted), _marks(found)
    return bool(ours) and bool(theirs) and not ours & theirs


def _marks(state: ItemState) -> frozenset[object]:
    """Return what an item keeps some of whatever its owner does to it; empty: that is unknown."""
    if state.kind is ItemKind.CONTACT:
        return frozenset(each for each in state.fields.items() if each[0] != "fileAs")
    if state.kind is ItemKind.DOCUMENT:
        older = (row.get("blob_digest") for row in state.side_rows.get("revision", ()))
        return frozenset(each for each in (state.name, state.digest, *older) if each)
    return frozenset(row.get("uid") for row in state.side_rows.get("appointment", ()))


def _traits(state: ItemState) -> Any:
    """Return what tells an item from one of the same kind and bytes, or from one without bytes."""
    if state.kind in _MAIL:
        return state.date
    if state.kind is ItemKind.CONTACT:
        return dict(state.fields)
    if state.kind is ItemKind.NOTE:
        return three_bytes(state.subject), state.date, state.color
    uids = [row.get("uid") for row in state.side_rows.get("appointment", ())]
    return [*map(three_bytes, (state.name, state.subject)), *map(three_bytes, uids)]


def is_half_made(wanted: ItemState, found: ItemState) -> bool:
    """Say whether an equal item lacks what an injection gives it last.

    That is its last version, or colour, flags, tags and date; it has none of its own instead. Mail
    comes with all of these but the colour.
    """
    if found.digest != wanted.digest:
        return True
    if any(getattr(found, name) not in (getattr(wanted, name), _BARE[name]) for name in _BARE):
        return False
    lacking = {name for name in _BARE if getattr(found, name) != getattr(wanted, name)}
    if wanted.kind in _MAIL:
        return lacking == {"color"}
    return bool(lacking) or found.date != wanted.date


def _held(name: str, value: Any) -> Any:
    if name not in _TEXTS:
        return value
    return tuple(map(three_bytes, value)) if isinstance(value, tuple) else three_bytes(value)
