"""Purge: what was deleted longer ago than the retention time is removed, and what nothing names.

Of an item whose last state is a deletion that old, the whole history goes. An item that still
exists keeps all of its states, however old: the manual's Purge "removes any item whose last update
(deletion) timestamp is higher than the retention time", and nothing else. An account that was
deleted that long ago, or has counted as deleted that long because its class of service has backup
off, goes as a whole, and so does an archive of the configuration that was replaced that long ago.
Then go the blobs that no metadata names any more.

Metadata go before blobs; blobs and accounts go into `.trash`, from where a later purge deletes
them. A purge may be killed anywhere: the next one finds the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Final, Protocol

from backupng.engine.backuppath import customizations, layout
from backupng.engine.backuppath.ground import Ground
from backupng.engine.backuppath.removal import Remover
from backupng.engine.backuppath.sharing import Pulse
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import OperationError
from backupng.engine.model import to_ms
from backupng.engine.upkeep.purge_blobs import (
    BLOBS,
    Survey,
    earlier_purges,
    needed,
    survey,
    trash_folder,
)
from backupng.engine.upkeep.purge_brakes import RUNS, brakes, runs_of
from backupng.engine.upkeep.purge_findings import Marked
from backupng.engine.upkeep.purge_mark import Limits, Marking
from backupng.engine.upkeep.purge_removal import (
    Removed,
    Removers,
    empty_trash,
    move_blobs,
    remove_metadata,
    removers,
)

ROLE: Final = "purge"
SETTLED: Final = timedelta(hours=24)
"""What was written or relied on within this time is left alone."""
GRACE: Final = timedelta(days=6)
"""So long the trash is kept: until the next weekly purge."""
_LATE: Final = timedelta(days=1)
"""A deletion that a scan found is written down when the scan comes to its end."""
_SET_BACK_S: Final = 60.0
_NS_A_MS: Final = 1_000_000


class Tick(Protocol):
    """Reports progress and raises Stopped when an end is asked for."""

    def __call__(self, done: int, total: int, *, phase: str, counts: Mapping[str, int]) -> None:
        """Say how much of a phase is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days deleted items and deleted accounts are kept; None: nothing expires."""

    items_days: int | None
    accounts_days: int | None


@dataclass(slots=True, kw_only=True)
class Result:
    """What a purge did, or a dry run would; sizes are in bytes.

    `items_late` would have expired, were they not written down as deleted much later than they say.
    `trashed` was moved into the trash, `freed` is really gone: histories, and what earlier purges
    had put there. `accounts` maps the id of each account that went to its name and why it counted
    as deleted. `brakes` are reasons for a person to look first, `damage` those for which no blob
    was removed: the first few of `flaws`.
    """

    items_examined: int = 0
    items_purged: int = 0
    metadata_removed: int = 0
    accounts: dict[str, tuple[str, str]] = field(default_factory=dict)
    items_late: int = 0
    blobs: int = 0
    blobs_removed: int = 0
    blobs_still_named: int = 0
    blobs_young: int = 0
    blobs_put_back: int = 0
    customizations: int = 0
    trashed: int = 0
    freed: int = 0
    brakes: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    flaws: int = 0

    def counts(self) -> dict[str, int]:
        """Return the numbers by name."""
        return {
            "items_examined": self.items_examined,
            "items_purged": self.items_purged,
            "metadata_removed": self.metadata_removed,
            "accounts_purged": len(self.accounts),
            "blobs_removed": self.blobs_removed,
            "blobs_still_named": self.blobs_still_named,
            "customizations_removed": self.customizations,
            "bytes_freed": self.freed,
            "bytes_in_trash": self.trashed,
        }


@dataclass(slots=True)
class _Plan:
    marking: Marking
    found: Survey
    before_ns: int
    has_spared: bool = False

    @property
    def marked(self) -> Marked:
        return self.marking.marked

    def spare(self, removed: Removed) -> None:
        """Count what was written to meanwhile, and so has not gone, as it is now."""
        account = removed.mark.account
        if removed.is_spared:
            self.marking.spare_account(account)
        for item in removed.spared:
            self.marking.spare(account, item)
        self.has_spared |= removed.is_spared or bool(removed.spared)


@dataclass(slots=True, kw_only=True)
class Purge:
    """One purge of one tree.

    `doubt` says why the clock cannot be trusted, if it cannot. `confirmed`: a person has seen what
    the brakes say, of the clock too. `customizations_zone` is the zone of the server, in which
    archives of its configuration are named; without it none of them goes.
    """

    path: BackupPath
    retention: Retention
    now: Callable[[], datetime]
    tick: Tick
    doubt: Callable[[], str | None] = lambda: None
    confirmed: bool = False
    customizations_zone: tzinfo | None = None
    grace: timedelta = GRACE
    result: Result = field(default_factory=Result)
    _started: datetime = field(init=False)
    _started_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._started, self._started_s = self.now(), time.monotonic()

    def look(self) -> Result:
        """Say what a purge would do; changes nothing. Raises what `tick` raises."""
        with Ground(self.path.tree.root) as ground:
            self._foretell(self._plan(ground, doubt=self.doubt()))
        return self.result

    def run(self) -> Result:
        """Purge. Raises OperationError where a brake holds it back, and what `tick` raises."""
        root, doubt = self.path.tree.root, self.doubt()
        with self.path.writer(ROLE) as writer, Remover(root) as remover, remover.alone():
            plan = self._plan(remover, writer.pulse, doubt=doubt)
            if self.result.brakes and not self.confirmed:
                raise _held_back(self.result.brakes)
            if doubt:
                writer.trust_clock(self._started)
            with removers(root) as several:
                # All of them have been opened by its name, the path long before.
                self.path.require_in_place()
                self._remove_metadata(several, plan)
                self._remove_customizations(remover)
                remover.sync()
                self._put_back(remover, plan)
                if not self._is_damaged(plan):
                    self._move_blobs(several, plan)
                    self._empty_trash(several, remover)
            remover.sync()
            said = self.path.checkpoint()
            runs = [*runs_of(said), self.result.blobs_removed][-RUNS:]
            times = {"started": to_ms(self._started), "ended": to_ms(self.now())}
            writer.set_checkpoint({**said, "purge": {**times, "blobs": runs}})
        return self.result

    # What is to be done

    def _plan(self, ground: Ground, own: Pulse | None = None, *, doubt: str | None) -> _Plan:
        settled_ns = to_ms(self._started - SETTLED) * _NS_A_MS
        pulse = ground.oldest_pulse(besides=own)
        # A writer that lives may still owe the states of blobs it has relied on since.
        before_ns = settled_ns if pulse is None else min(settled_ns, pulse)
        limits = Limits(
            items_before_ms=self._before(self.retention.items_days),
            accounts_before_ms=self._before(self.retention.accounts_days),
            settled_before_ns=settled_ns,
            slack_ns=None if self.confirmed else _LATE // timedelta(microseconds=1) * 1_000,
        )
        marking = Marking(self.path, ground, limits, tick=self._ticker("reading the metadata"))
        marked = marking.run()
        looking = self._ticker("looking at the blobs")
        found = survey(ground, marked, settled_before_ns=before_ns, tick=looking)
        result = self.result
        result.items_examined = sum(each.examined for each in marked.accounts)
        result.blobs, result.blobs_young = found.blobs, found.young
        result.blobs_still_named = found.still_named
        result.damage, result.flaws = marked.damage, marked.flaws
        result.items_late = marked.late
        result.brakes = brakes(marked, found, runs_of(self.path.checkpoint()), doubt=doubt)
        return _Plan(marking, found, before_ns)

    def _before(self, days: int | None) -> int | None:
        return None if days is None else to_ms(self._started - timedelta(days=days))

    def _foretell(self, plan: _Plan) -> None:
        result, found = self.result, plan.found
        for mark in plan.marked.accounts:
            result.items_purged += mark.purged
            result.metadata_removed += mark.files
            if mark.deletion is not None:
                result.accounts[mark.account] = mark.deletion.name, mark.deletion.reason
                result.trashed += mark.size
            else:
                result.freed += mark.size
        archives = self._old_customizations()
        result.customizations = len(archives)
        result.freed += sum(size for _, size in archives)
        if not plan.marked.flaws:
            result.blobs_removed, result.trashed = found.dead, result.trashed + found.dead_size

    def _old_customizations(self) -> list[tuple[str, int]]:
        """Return name and bytes of each archive that goes."""
        if self.customizations_zone is None or self.retention.items_days is None:
            return []
        limit = self._started - timedelta(days=self.retention.items_days)
        before = limit.astimezone(self.customizations_zone).replace(tzinfo=None)
        tree = self.path.tree
        old = customizations.replaced_before(tree, before)
        sizes = (tree.mark(layout.SERVER / each.name)[2:3] for each in old)
        return [(each.name, sum(size)) for each, size in zip(old, sizes, strict=True)]

    # Doing it

    def _remove_metadata(self, several: Removers, plan: _Plan) -> None:
        marks = [each for each in plan.marked.accounts if each.files]
        total = sum(each.purged for each in marks)
        tick = self._ticker("removing the metadata")
        for group in remove_metadata(several, marks, purge_ms=to_ms(self._started)):
            for removed in group:
                self._take_note(removed, plan)
            tick(self.result.items_purged, total)

    def _remove_customizations(self, remover: Remover) -> None:
        if names := [name for name, _ in self._old_customizations()]:
            self.result.freed += remover.delete(layout.SERVER, names)
            self.result.customizations = len(names)

    def _take_note(self, removed: Removed, plan: _Plan) -> None:
        mark, result = removed.mark, self.result
        if removed.items is None and mark.deletion is not None:
            result.accounts[mark.account] = mark.deletion.name, mark.deletion.reason
            result.items_purged += mark.purged
            result.metadata_removed += mark.files
            result.trashed += removed.size
            return
        result.items_purged += len(removed.items or ())
        result.metadata_removed += len(removed.items or ())
        result.freed += removed.size
        plan.spare(removed)

    def _put_back(self, remover: Remover, plan: _Plan) -> None:
        """Take out of the trash what is named after all; nothing but a fault can be why."""
        for purge_ms in earlier_purges(remover):
            for digest in needed(remover, purge_ms, plan.marked.living):
                into = trash_folder(purge_ms) / BLOBS
                self.result.blobs_put_back += remover.put_back(into, digest)

    def _is_damaged(self, plan: _Plan) -> bool:
        self.result.damage, self.result.flaws = plan.marked.damage, plan.marked.flaws
        return plan.marked.flaws > 0

    def _move_blobs(self, several: Removers, plan: _Plan) -> None:
        living = plan.marked.living if plan.has_spared else None
        tick, done = self._ticker("removing the blobs"), 0
        for group in move_blobs(
            several,
            plan.found,
            living,
            purge_ms=to_ms(self._started),
            before_ns=plan.before_ns,
        ):
            self.result.blobs_removed += sum(number for number, _ in group)
            self.result.trashed += sum(size for _, size in group)
            done += len(group)
            tick(done, len(plan.found.buckets))
            self._require_steady_clock()

    def _empty_trash(self, several: Removers, remover: Remover) -> None:
        tick, now_ms = self._ticker("emptying the trash"), to_ms(self._started)
        for purge_ms in earlier_purges(remover):
            if now_ms - purge_ms >= self.grace // timedelta(milliseconds=1):
                for group in empty_trash(several, remover, purge_ms):
                    self.result.freed += sum(group)
                    tick(0, 0)

    # The clock

    def _require_steady_clock(self) -> None:
        passed_s = (self.now() - self._started).total_seconds()
        if passed_s - (time.monotonic() - self._started_s) < -_SET_BACK_S:
            # What a writer relied on since would look old.
            raise OperationError(
                "The clock was set back while the purge ran: no more blobs were removed.",
                code="clock",
                hint="Run it again.",
            )

    def _ticker(self, phase: str) -> Callable[[int, int], None]:
        def tick(done: int, total: int) -> None:
            self.tick(done, total, phase=phase, counts=self.result.counts())

        return tick


def _held_back(reasons: list[str]) -> OperationError:
    return OperationError(
        f"Nothing was purged: {' '.join(reasons)}",
        code="brake",
        hint="Look at what it would remove: backupng backup doPurge dryrun true. If that is right:"
        " backupng backup doPurge confirm true",
    )
