"""What the clock showed when a tree was last written to, and whether it can be believed now.

A checkpoint keeps it as `clock`: the latest time seen, in ms since the epoch, with the boot of the
host and the ms since that. A time that cannot be believed never takes its place.
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
    """The latest time that a writer has seen and could believe."""

    latest: Reading | None = None

    def noted(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a checkpoint says, and what the clock showed when its last work ended."""
        ended = [each.get("ended") for each in said.values() if isinstance(each, Mapping)]
        found = [Reading.of(each) for each in (said.get("at"), *ended) if type(each) is int]
        if self.latest:
            found = [self.latest, *(each for each in found if not self.latest.doubt(each))]
        self.latest = max(found, key=lambda each: each.at, default=None)
        return {**said, "clock": self.latest.as_json()} if self.latest else said


def seen_by(path: BackupPath) -> Reading | None:
    """Return the latest reading that a tree tells of; None without one that can be read."""
    with suppress(BackupPathBroken):
        return latest(path.checkpoint(), path.scanner())
    return None


def latest(*checkpoints: Mapping[str, Any]) -> Reading | None:
    """Return the latest reading of some checkpoints; None if none has one."""
    found = [Reading.parse(each["clock"]) for each in checkpoints if "clock" in each]
    return max(found, key=lambda each: each.at, default=None)


def _spelled(ms: int) -> str:
    return f"{from_ms(ms):%Y-%m-%d %H:%M} UTC"
