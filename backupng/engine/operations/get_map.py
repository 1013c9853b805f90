"""getMap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from backupng.engine.model import AccountId, ItemId
from backupng.engine.operations.base import Context, Lookup
from backupng.engine.operations.share_maps import read_map


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMap(Lookup):
    """Show a map that an External Restore has written: old ids and what they became."""

    command: ClassVar[str] = "getMap"
    title: ClassVar[str] = "Map"
    summary: ClassVar[str] = "Map: shows which ids an import has given to what it brought"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getMap /opt/zimbra/backup/ng/map_544d94c6-aaef-4736-8964-56a667f1fe12",
    )

    file_path: Path

    def answer(self, ctx: Context) -> dict[str, Any]:
        """Return the lines of a map of entries, or per source account those of one of items."""
        entries, items = read_map(ctx, self.file_path)
        newest = {(each.kind, each.old): each for each in entries}
        merged: dict[tuple[str, AccountId], dict[ItemId, ItemId]] = {}
        for each in items:
            merged.setdefault((each.server_id, each.account), {}).update(each.items)
        return {
            "entries": [
                {
                    "kind": each.kind.value,
                    "old": each.old,
                    "new": each.new,
                    "name": each.name,
                    "here": each.here,
                }
                for each in newest.values()
            ],
            "items": [
                {
                    "server": server,
                    "account": account,
                    "items": [{"old": old, "new": new} for old, new in sorted(found.items())],
                }
                for (server, account), found in merged.items()
            ],
        }
