"""doCheckShares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from backupng.engine.errors import BackupError
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.share_maps import describe, load, maps_there, tell
from backupng.engine.operations.words import NO_ADDRESSES, Addresses
from backupng.engine.upkeep.shares import (
    MapOf,
    count_elsewhere,
    count_shares,
    problems,
    read_mailboxes,
)

_READING = "reading grants and mountpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoCheckShares(Operation):
    """Look at every grant and mountpoint of the server, and say which lead nowhere."""

    command: ClassVar[str] = "doCheckShares"
    title: ClassVar[str] = "Check of Shares"
    summary: ClassVar[str] = "Check of Shares: says which grants and mountpoints lead nowhere"
    examples: ClassVar[tuple[str, ...]] = ("backupng backup doCheckShares",)

    notifications: Addresses = NO_ADDRESSES

    def run(self, ctx: Context) -> Report:
        """Read, compare, propose."""
        mailboxes = read_mailboxes(ctx.source, lambda name: ctx.tick(0, 0, phase=_READING))
        maps, unusable = list[MapOf](), list[str]()
        for name in maps_there(ctx):
            try:
                maps.append(load(ctx, name))
            except BackupError as error:
                unusable.append(str(error))
        found = list(problems(mailboxes, maps))
        for each in found:
            ctx.log(describe(each), level=Level.WARNING)
        report, (grants, mountpoints) = Report(), count_shares(mailboxes)
        report.counters = {
            "accounts": len(mailboxes.accounts),
            "grants": grants,
            "mountpoints": mountpoints,
        }
        tell(report, found)
        report.warnings += unusable
        if not found:
            report.notes.append("All grants and mountpoints lead to what is there.")
        elif named := sorted({each.map_name for each in found if each.map_name}):
            report.notes.append(f"doFixShares mends by a map: {', '.join(named)}.")
        if elsewhere := count_elsewhere(mailboxes):
            what = "1 mountpoint leads" if elsewhere == 1 else f"{elsewhere} mountpoints lead"
            report.notes.append(
                f"{what} to accounts of other servers: only whether those exist was looked at."
                " After an import there, doFixShares with the path of its map mends what it moved."
            )
        return report
