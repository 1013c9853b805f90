"""What the clock showed when a tree was last written to, and whether it can be believed now.

A checkpoint keeps it as `clock`: the latest time seen, in ms since the epoch, with the boot of the
host and the ms since that. A time that cannot be believed never takes its place. `confirmed` is the
reading that a person has last said to be right: from there on only what was read later counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from backupng.engine.backuppath import disk
from backupng.engine.errors import BackupPathBroken
from backupng.engine.model import from_ms

if TYPE_CHECKING:
    from backupng.engine.backuppath.store import BackupPath

BACK: Final = timedelta(hours=1)
"""A clock that shows so much less than before is wrong."""
AHEAD: Final = timedelta(days=7)
"""One that shows so much more than it can is wrong, or the host was off for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the clock showed: ms since the epoch, the boot of the host, ms since that."""

    at: int
    boot: str
    up: int

    @classmethod
    def of(cls, now_ms: int) -> Reading:
        """Return the reading of a moment that is now."""
        return cls(at=now_ms, boot=disk.boot_id(), up=disk.since_boot_ms())

    @classmethod
    def parse(cls, said: object) -> Reading:
        """Read what a checkpoint says. Raises BackupPathBroken."""
        match said:
            case {"at": int(at), "boot": str(boot), "up": int(up)}:
                return cls(at=at, boot=boot, up=up)
        raise BackupPathBroken("A checkpoint says nothing of the clock that can be read.")

    def is_after(self, other: Reading, boot: str) -> bool:
        """Say whether it was certainly taken later than another; `boot` is the present one."""
        if self.boot == other.boot:
            return self.up > other.up
        return self.boot == boot

    def as_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return asdict(self)

    def doubt(self, now: Reading) -> str | None:
        """Say why a later reading cannot be believed; None if it can.

        Within one boot the clock must have gone on with the time since then. After another one the
        host may have been off; for more than `AHEAD` only a person knows.
        """
        off = now.boot != self.boot
        expected = self.at + (0 if off else now.up - self.up)
        ahead = timedelta(milliseconds=now.at - expected - (now.up if off else 0))
        if timedelta(milliseconds=now.at - expected) < -BACK:
            return f"the clock shows {_spelled(now.at)}, but it was {_spelled(expected)} already."
        if ahead > AHEAD:
            why = ", or the host was off for so long" if off else ""
            return (
                f"the clock shows {_spelled(now.at)}, {ahead.days} days more than expected:"
                f" it is wrong{why}."
            )
        return None


@dataclass(slots=True)
class Seen:
    """The latest time that a writer has seen and could believe.

    `told` are the times that the tree told when it began: they say nothing of the clock now.
    """

    latest: Reading | None = None
    confirmed: Reading | None = None
    told: frozenset[int] = frozenset()

    @classmethod
    def of(cls, path: BackupPath) -> Seen:
        """Return what a tree tells; nothing where that cannot be read."""
        with suppress(BackupPathBroken):
            said = path.checkpoint(), path.scanner()
            return cls(latest(*said), told=frozenset(each for one in said for each in _times(one)))
        return cls()

    def confirm(self, now: Reading) -> None:
        """Begin anew from a reading that a person says to be right."""
        self.latest = self.confirmed = now

    def noted(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a checkpoint says, and what the clock showed when its last work ended."""
        found = [Reading.of(each) for each in _times(said) if each not in self.told]
        if self.latest:
            found = [self.latest, *(each for each in found if not self.latest.doubt(each))]
        self.latest = max(found, key=lambda each: each.at, default=None)
        more = {"clock": self.latest} | ({"confirmed": self.confirmed} if self.confirmed else {})
        return {**said, **{name: each.as_json() for name, each in more.items() if each}}


def latest(*checkpoints: Mapping[str, Any]) -> Reading | None:
    """Return the latest reading of some checkpoints; None if none has one.

    A confirmed one outranks all that were not certainly taken after it. Raises BackupPathBroken.
    """
    found = [Reading.parse(each["clock"]) for each in checkpoints if "clock" in each]
    boot = disk.boot_id()
    for each in checkpoints:
        if "confirmed" in each:
            floor = Reading.parse(each["confirmed"])
            found = [floor, *(one for one in found if one.is_after(floor, boot))]
    return max(found, key=lambda each: each.at, default=None)


def _times(said: Mapping[str, Any]) -> list[int]:
    """Return the times that a checkpoint tells work to have ended at, in ms."""
    ended = [each.get("ended") for each in said.values() if isinstance(each, Mapping)]
    return [each for each in (said.get("at"), *ended) if type(each) is int]


def _spelled(ms: int) -> str:
    return f"{from_ms(ms):%Y-%m-%d %H:%M} UTC"
