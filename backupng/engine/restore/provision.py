"""Provision: which attributes an account restored under another name gets (pure)."""

from __future__ import annotations

from backupng.engine.mailserver.zimbra.attributes import (
    IDENTITY,
    IMMUTABLE,
    SERVER_KEPT,
    VOLATILE,
)
from backupng.engine.model import DirectoryEntry, EntryKind

_LEFT_OUT = IDENTITY | IMMUTABLE | SERVER_KEPT | VOLATILE
CHILDREN_CARRIED = (EntryKind.IDENTITY, EntryKind.SIGNATURE)


def attributes_for(source: DirectoryEntry, *, hide_in_gal: bool) -> dict[str, tuple[bytes, ...]]:
    """Return the attributes of a new account made after `source`.

    Preferences, quota, class of service and the like are carried; what belongs to that one account,
    gives rights, or follows from the server is not.
    """
    kept = {name: values for name, values in source.attributes.items() if name not in _LEFT_OUT}
    return kept | ({"zimbraHideInGal": (b"TRUE",)} if hide_in_gal else {})
