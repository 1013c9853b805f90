"""What a person should know before trusting a restore: shares that stay behind, and mail that went.

`LossWatch` looks at the histories that a restore reads anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from backupng.engine.model import FOLDER_LIKE, ItemKind, ItemState
from backupng.engine.restore.rename import Plan, grant_count
from backupng.engine.restore.select import Selection

_SHORT: Final = timedelta(days=1)
_NO_ITEMS: Final = FOLDER_LIKE | {ItemKind.TAG, ItemKind.CONVERSATION}
_LISTED: Final = 20


class LossWatch:
    """Counts, while a selection of the last state is read, what went within a day before."""

    def __init__(self, selection: Selection, *, now: datetime) -> None:
        self._pick = selection.pick
        self._since = now - _SHORT
        self._living = 0
        self._gone: list[datetime] = []
        selection.pick = self._watch

    @property
    def first_loss(self) -> datetime | None:
        """When it began, if more than half of the mailbox went within a day; else None."""
        return min(self._gone) if len(self._gone) > self._living else None

    @property
    def number(self) -> int:
        """How many items went."""
        return len(self._gone)

    def _watch(self, history: Sequence[ItemState]) -> ItemState | None:
        state = self._pick(history)
        if history and history[0].kind not in _NO_ITEMS:
            self._living += state is not None
            if state is None and history[-1].deleted and history[-1].start >= self._since:
                self._gone.append(history[-1].start)
        return state


def lost_shares(plan: Plan) -> str:
    """Name the shares that are not carried over; empty if there are none."""
    names = [f"the mountpoint {state.name}" for state in plan.shares]
    for state in (*plan.system, *plan.folders):
        if number := grant_count(state):
            grants = "1 grant" if number == 1 else f"{number} grants"
            names.append(f"{grants} on {state.name}")
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
