"""Compare: what was wanted and what is there, field by field (pure)."""

from __future__ import annotations

from typing import Any, Final

from backupng.engine.mailserver.zimbra.codes import folded, three_bytes
from backupng.engine.model import ItemKind, ItemState

_SEEN: Final = "kind", "name", "subject", "flags", "unread", "tags", "color", "size", "digest"
"""What must be the same when the destination is read again, besides the folder."""
_TEXTS: Final = frozenset({"name", "subject"})
_BARE: Final = {"flags": "", "tags": (), "color": 0}
_DRAFT: Final = "d"
_MAIL: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})


def is_same(wanted: ItemState, found: ItemState) -> bool:
    """Say whether a user sees the same. Texts as a database holds them, which no log does."""
    return all(_is_held(name, wanted, found) for name in _SEEN)


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

    An owner may change anything but the kind of an item, the content and date of mail that was
    delivered, and the UID of a calendar item.
    """
    if found.kind is not wanted.kind:
        return True
    if found.kind in _MAIL:
        same = found.digest in (wanted.digest, wanted.row.get("blob_digest"))
        is_draft = _DRAFT in found.flags
        return not (wanted.digest is None or same or is_draft or found.date == wanted.date)
    ours, theirs = _uids(wanted), _uids(found)
    return bool(ours) and bool(theirs) and not {*ours} & {*theirs}


def _uids(state: ItemState) -> list[Any]:
    return [row.get("uid") for row in state.side_rows.get("appointment", ())]


def _traits(state: ItemState) -> Any:
    """Return what tells an item from one of the same kind and bytes, or from one without bytes."""
    if state.kind in _MAIL:
        return state.date
    if state.kind is ItemKind.CONTACT:
        return dict(state.fields)
    if state.kind is ItemKind.NOTE:
        return three_bytes(state.subject), state.date, state.color
    return [*map(three_bytes, (state.name, state.subject, *_uids(state)))]


def is_half_made(wanted: ItemState, found: ItemState) -> bool:
    """Say whether an equal item lacks what an injection gives it last.

    That is its last version, or colour, flags, tags and date; it has none of its own instead. Mail
    comes with all of these but the colour.
    """
    if found.digest != wanted.digest:
        return True
    lacking = {name for name in _BARE if not _is_held(name, wanted, found)}
    if any(getattr(found, name) != _BARE[name] for name in lacking):
        return False
    if wanted.kind in _MAIL:
        return lacking == {"color"}
    return bool(lacking) or found.date != wanted.date


def _is_held(name: str, wanted: ItemState, found: ItemState) -> bool:
    return bool(_held(name, getattr(wanted, name)) == _held(name, getattr(found, name)))


def _held(name: str, value: Any) -> Any:
    if name == "tags":
        # The server spells each as the tag that it has of that name, and names none twice.
        return tuple(dict.fromkeys(folded(tag.strip()) for tag in value))
    return three_bytes(value) if name in _TEXTS else value
