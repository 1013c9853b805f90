"""doFixOrphans."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from backupng.engine.operations.base import Context, Operation, Report
from backupng.engine.operations.do_purge import check_path, purge
from backupng.engine.operations.words import NO_ADDRESSES, Addresses
from backupng.engine.upkeep.purge import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class DoFixOrphans(Operation):
    """Remove the blobs that no metadata refers to: what a Purge does with blobs, and no more."""

    command: ClassVar[str] = "doFixOrphans"
    title: ClassVar[str] = "Removal of Orphans"
    summary: ClassVar[str] = "Removes the blobs of a Backup Path that no metadata refers to"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup doFixOrphans",
        "backupng backup doFixOrphans dryrun false",
    )

    backup_path: Path | None = field(default=None, metadata={"default": "the active Backup Path"})
    dryrun: bool = field(default=True, metadata={"values": "true|false"})
    confirm: bool = field(default=False, metadata={"values": "true|false"})
    notifications: Addresses = NO_ADDRESSES

    def check(self, ctx: Context) -> None:
        """Refuse what is no Backup Path, or cannot be written."""
        check_path(ctx, self.backup_path, writes=not self.dryrun)

    def run(self, ctx: Context) -> Report:
        """Look, or remove."""
        nothing = Retention(items_days=None, accounts_days=None)
        return purge(
            ctx,
            self,
            nothing,
            backup_path=self.backup_path,
            dryrun=self.dryrun,
            confirmed=self.confirm,
        )
