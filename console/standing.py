"""How far a running operation has come, when it may be done, and whether it still answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupng.engine.operations.importing import PHASE_2
from console.models import QueuedOperation, State

SILENCE = timedelta(seconds=60)
"""After so long without a sign of life an operation is shown as not responding."""
_FIRST_ESTIMATE = timedelta(seconds=5)
_FIRST_SHARE = 0.02
"""Before that much time has passed and that share is done, an estimate would be a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a row last heard of its operation.

    `total` is 0 while it is counted; `rate` is items per second; `left` is None without estimate.
    """

    phase: str
    done: int
    total: int
    counts: Mapping[str, int]
    rate: float
    left: timedelta | None
    silent_since: datetime | None

    @property
    def percent(self) -> int:
        """How much is done, 0 while that is unknown."""
        return min(100, 100 * self.done // self.total) if self.total else 0


def standing(row: QueuedOperation, *, now: datetime) -> Standing:
    """Read the progress of a row; what it does not tell is zero."""
    progress = row.progress
    done, total = int(progress.get("done") or 0), int(progress.get("total") or 0)
    counts: Mapping[str, int] = progress.get("counts") or {}
    rate = float(progress.get("rate") or 0)
    return Standing(
        phase=str(progress.get("phase") or ""),
        done=done,
        total=total,
        counts=counts,
        rate=rate,
        left=_left(row, done, total, 0.0 if "items_checked" in counts else rate),
        silent_since=_silent_since(row, now),
    )


def unit(row: QueuedOperation) -> str:
    """Return what `done` and `total` of an operation count."""
    is_import = row.command == "doExternalRestore"
    if row.command == "doSmartScan" or (is_import and row.progress.get("phase") != PHASE_2):
        return "accounts"
    return "items"


def _left(row: QueuedOperation, done: int, total: int, rate: float) -> timedelta | None:
    """Estimate from the rate; without one that counts the same, from the time taken so far."""
    if row.started_at is None or row.progress_at is None or not 0 < done < total:
        return None
    taken = row.progress_at - row.started_at
    if taken < _FIRST_ESTIMATE or done < _FIRST_SHARE * total:
        return None
    if rate > 0:
        return timedelta(seconds=(total - done) / rate)
    return taken * (total - done) / done


def _silent_since(row: QueuedOperation, now: datetime) -> datetime | None:
    """Return the last sign of life of a started operation if that is long ago."""
    if row.state != State.STARTED:
        return None
    last = row.progress_at or row.started_at
    return last if last is not None and now - last >= SILENCE else None
