"""doFixShares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from backupng.engine.errors import BadRequest, InvalidItem
from backupng.engine.mailserver.port import Target
from backupng.engine.operations.base import Context, Level, Operation, Report
from backupng.engine.operations.share_maps import describe, load, maps_there, tell
from backupng.engine.operations.words import NO_ADDRESSES, Addresses
from backupng.engine.upkeep.shares import Problem, count_shares, problems, read_mailboxes

_READING = "reading grants and mountpoints"
_MENDING = "mending shares"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoFixShares(Operation):
    """Give grants and mountpoints the ids of this server that a map of an import has for theirs."""

    command: ClassVar[str] = "doFixShares"
    title: ClassVar[str] = "Repair of Shares"
    summary: ClassVar[str] = "Repair of Shares: mends grants and mountpoints by an import's map"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup doFixShares map_544d94c6-aaef-4736-8964-56a667f1fe12",
    )
    may_stand_first: ClassVar[str] = "import_idmap_file"

    import_idmap_file: str = field(default="", metadata={"default": "the only map"})
    dryrun: bool = field(default=False, metadata={"values": "true|false"})
    notifications: Addresses = NO_ADDRESSES

    def check(self, ctx: Context) -> None:
        """Refuse what is no map, and several of which none is named."""
        load(ctx, self._map(ctx))

    def run(self, ctx: Context) -> Report:
        """Mend what the map knows; once more, there is nothing left to mend."""
        by = load(ctx, self._map(ctx))
        mailboxes = read_mailboxes(ctx.source, lambda name: ctx.tick(0, 0, phase=_READING))
        found = list(problems(mailboxes, [by]))
        repaired, left = 0, []
        for number, each in enumerate(found):
            ctx.tick(number, len(found), phase=_MENDING)
            if each.remedy is None or not (self.dryrun or _mend(ctx, each)):
                left.append(each)
                ctx.log(describe(each), level=Level.WARNING)
            else:
                repaired += 1
                ctx.log(f"{'Would be mended' if self.dryrun else 'Mended'}: {describe(each)}")
        report, (grants, mountpoints) = Report(), count_shares(mailboxes)
        report.counters = {
            "accounts": len(mailboxes.accounts),
            "grants": grants,
            "mountpoints": mountpoints,
            "would_be_repaired" if self.dryrun else "repaired": repaired,
            "not_repairable": len(left),
        }
        tell(report, left)
        report.notes.append(f"The map {by.name} was used.")
        if self.dryrun:
            report.notes.append("This was a dry run: nothing was changed.")
        return report

    def _map(self, ctx: Context) -> str:
        if self.import_idmap_file:
            return self.import_idmap_file
        names = maps_there(ctx)
        if len(names) != 1:
            said = f"There are several: {', '.join(names)}." if names else "There is none."
            raise BadRequest(
                f"Which map is meant has to be said. {said}",
                code="usage",
                hint="An External Restore writes map_<source server id> into the Backup Path.",
            )
        return names[0]


def _mend(ctx: Context, problem: Problem) -> bool:
    """Put the remedy in the place of what is broken; say whether the server took it."""
    shares = ctx.destination.shares(problem.owner)
    try:
        if isinstance(problem.remedy, Target):
            shares.point(problem.item, problem.remedy)
        elif problem.grant is not None and problem.remedy is not None:
            shares.put_grant(problem.item.item_id, problem.remedy)
            shares.revoke(problem.item.item_id, problem.grant.grantee)
    except InvalidItem as error:
        ctx.log(f"{problem.owner.name}: {error}", level=Level.WARNING)
        return False
    return True
