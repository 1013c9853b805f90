"""When a purge refuses to go on by itself: what it is about to do is not what purges do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from backupng.engine.upkeep.purge_blobs import Survey
from backupng.engine.upkeep.purge_findings import Marked

LARGEST_SHARE: Final = 0.1
"""Of all blobs, so many may go at once."""
LARGEST_SHARE_OF_FEW: Final = 0.25
"""Of those of a small server, so many."""
LARGEST_GROWTH: Final = 3
"""Times the median of the last runs, so many may go at once."""
RUNS: Final = 5
_FEW: Final = 100
"""Up to so many blobs are no growth that anybody has to look at, and few."""


def brakes(
    marked: Marked, found: Survey, runs: Sequence[int], *, doubt: str | None = None
) -> list[str]:
    """Return why a person has to look first, one sentence each; empty if nobody has to.

    `runs` are the numbers of blobs that the last purges removed; `doubt` says why the clock cannot
    be trusted. All are told at once, for a person confirms them all at once.
    """
    reasons = [f"{doubt[:1].upper()}{doubt[1:]}"] if doubt else []
    few = min(_FEW, found.blobs * LARGEST_SHARE_OF_FEW)
    if found.dead > max(few, found.blobs * LARGEST_SHARE):
        reasons.append(
            f"It would remove {found.dead} of {found.blobs} blobs, more than"
            f" {LARGEST_SHARE:.0%} of them."
        )
    if len(runs) == RUNS and found.dead > max(_FEW, LARGEST_GROWTH * sorted(runs)[RUNS // 2]):
        reasons.append(
            f"It would remove {found.dead} blobs, more than {LARGEST_GROWTH} times as many as the"
            f" last {RUNS} purges usually did."
        )
    if marked.doubtful:
        names = ", ".join(sorted(marked.doubtful))
        reasons.append(
            "These accounts are said to have been deleted long ago, but were written down as"
            f" deleted within the retention time: {names}."
        )
    if reasons and marked.late:
        # They are no reason to wait, but who confirms the others has them go, too.
        reasons.append(
            "Once it is confirmed, it also removes what is said to have been deleted long ago, but"
            f" was written down as deleted within the retention time, items: {marked.late}."
        )
    return reasons


def runs_of(checkpoint: Mapping[str, Any]) -> list[int]:
    """Return how many blobs the last purges removed, oldest first, as a checkpoint tells."""
    said = checkpoint.get("purge")
    found = said.get("blobs") if isinstance(said, Mapping) else None
    numbers = found if isinstance(found, list) else []
    return [each for each in numbers if type(each) is int and each >= 0][-RUNS:]
