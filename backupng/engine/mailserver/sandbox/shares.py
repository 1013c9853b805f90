"""Grants and mountpoints of a sandbox mailbox; implements `port.ShareWriter`.

Each grant and each mountpoint is a change of its own, as a client of a real server makes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import Grant, Target
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.series import Series
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.grants import ACL_MAP, parse_grants, spell_grants
from backupng.engine.mailserver.zimbra.metadata import Value, decode_column, encode_column
from backupng.engine.model import ItemId, ItemKind, ItemState

_FOLDER_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.FOLDER]
_LOOKS: Final = ("c", "vt", "rem", "das")
"""Metadata that a mountpoint keeps wherever it leads to."""


class SandboxShares:
    """Changes the shares of one mailbox."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def put_grant(self, folder: ItemId, grant: Grant) -> None:
        """Grant rights on a folder; an earlier grant to the same grantee is replaced."""
        with self._series.change() as change:
            if change.row(folder)["type"] != _FOLDER_TYPE:
                raise InvalidItem(f"item {folder} is no folder that can be shared")
            _write_grants(change, folder, [*_others(change, folder, grant.grantee), grant])
            change.log(
                "GrantAccess",
                folderId=folder,
                grantee=grant.grantee or None,
                granteeType=int(grant.type),
                rights=grant.rights,
                inherit=True,
                password=grant.secret,
                expiry=grant.expiry_ms,
            )

    def revoke(self, folder: ItemId, grantee: str) -> None:
        """Take a grant away."""
        with self._series.change() as change:
            _write_grants(change, folder, _others(change, folder, grantee))
            change.log("RevokeAccess", folderId=folder, grantee=grantee, dueToExpiry=False)

    def put_mountpoint(self, state: ItemState, parent: ItemId, target: Target) -> ItemId:
        """Put someone else's folder below `parent`, looking as `state` does."""
        own = decode_column(state.row.get("metadata"))
        values: dict[str, Value] = {key: own[key] for key in _LOOKS if key in own}
        values |= {"aid": target.owner, "id": target.folder}
        values |= {"ruuid": target.uuid} if target.uuid else {}
        with self._series.change() as change:
            return arrivals.new_folder(
                change,
                parent,
                state.name or "",
                kind=ItemKind.MOUNTPOINT,
                flags=int(state.row.get("flags", 0)) & int(codes.CLIENT_BITS),
                values=values,
                date=state.row.get("date"),
            )

    def point(self, state: ItemState, target: Target) -> ItemId:
        """Let the mountpoint that `state` is lead elsewhere."""
        with self._series.change() as change:
            values = decode_column(change.row(state.item_id)["metadata"])
            values.pop("ruuid", None)
            values |= {"aid": target.owner, "id": target.folder}
            change.update(state.item_id, metadata=encode_column(values))
            change.log(
                "RefreshMountpoint",
                id=state.item_id,
                ownerId=target.owner,
                remoteId=target.folder,
            )
        return state.item_id


def _others(change: Change, folder: ItemId, grantee: str) -> list[Grant]:
    """Return the grants on a folder but those to one grantee."""
    values = decode_column(change.row(folder)["metadata"])
    return [each for each in parse_grants(values) if each.grantee != grantee]


def _write_grants(change: Change, folder: ItemId, grants: Iterable[Grant]) -> None:
    values = decode_column(change.row(folder)["metadata"])
    values.pop("acl", None)
    values[ACL_MAP] = spell_grants(grants)
    change.update(folder, metadata=encode_column(values))
