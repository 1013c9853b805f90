"""What a running operation reports, on its way into its row; a stop asked for, on its way back."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.utils import timezone

from console.models import QueuedOperation, State

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_BEAT_EVERY_S = 4.0
_RATE_OVER_S = 60.0


class Progress:
    """The progress of one started row: `phase`, `done`, `total`, `counts`, `rate`, `rev`.

    It is written at most once a second, `rev` growing with each; `progress_at` says every few
    seconds that somebody still watches the operation.
    """

    def __init__(
        self, row: QueuedOperation, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._row = row
        self._clock = clock
        self._noted: dict[str, Any] = {}
        self._is_new = False
        self._rate = Rate()
        self._rev = int(row.progress.get("rev", 0))
        self._next_look = 0.0
        self._next_beat = 0.0
        self._answers = True
        self.stop_asked = False
        self.phase1: dict[str, Any] | None = None
        """What the first phase of an import came to, once that was said."""

    def note(self, progress: dict[str, Any]) -> None:
        """Remember progress until it is time to write."""
        self._noted, self._is_new = progress, True
        self._rate.add(self._clock(), progress)

    def look(self) -> bool:
        """Say whether the operation is to stop; call it often, it asks and writes once a second.

        While the database is away the last answer stands.
        """
        now = self._clock()
        if now < self._next_look:
            return self.stop_asked
        self._next_look = now + _LOOK_EVERY_S
        try:
            self.write()
            self.stop_asked = self.stop_asked or self._mine.exclude(stop_requested_at=None).exists()
            self._answers = True
        except (OperationalError, InterfaceError) as error:
            if self._answers:
                logger.warning(
                    "the database does not take the progress of %s: %s", self._row, error
                )
            self._answers = False
            connection.close()
        return self.stop_asked

    def write(self) -> None:
        """Write what is new, or at least a sign of life when the last one is old."""
        now = self._clock()
        if self._is_new:
            self._is_new = False
            self._write_noted()
        elif now >= self._next_beat:
            self._mine.update(progress_at=timezone.now())
        else:
            return
        self._next_beat = now + _BEAT_EVERY_S

    def _write_noted(self) -> None:
        fresh = self._noted | {"rate": self._rate.per_s(), "rev": self._rev + 1}
        try:
            self._mine.update(progress=fresh, progress_at=timezone.now())
            self._rev += 1
        except (OperationalError, InterfaceError):
            self._is_new = True
            raise
        except DatabaseError as error:
            # What the database refuses now it refuses for ever; the operation goes on.
            logger.warning("progress of %s cannot be stored: %s", self._row, error)

    @property
    def _mine(self) -> Any:
        row = self._row
        return QueuedOperation.objects.filter(pk=row.pk, token=row.token, state=State.STARTED)


class Rate:
    """Items per second, the mean of the last minute; a new phase begins anew.

    Items are what a scan has checked; of anything else what is done.
    """

    def __init__(self) -> None:
        self._phase = ""
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, moment_s: float, progress: dict[str, Any]) -> None:
        """Take progress that was seen at a moment of a clock that never goes back."""
        checked = progress["counts"].get("items_checked")
        phase = progress["phase"] if checked is None else ""
        items = progress["done"] if checked is None else checked
        if phase != self._phase:
            self._seen.clear()
        self._phase = phase
        self._seen.append((moment_s, items))
        while len(self._seen) > 2 and self._seen[1][0] <= moment_s - _RATE_OVER_S:
            self._seen.popleft()

    def per_s(self) -> float:
        """Return the rate; 0 as long as there is nothing to compare."""
        if not self._seen:
            return 0.0
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return round((last - first) / (last_s - first_s), 1) if last_s > first_s else 0.0
