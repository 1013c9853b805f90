"""A scan beside a running Real-Time Scanner: what each of the two writes.

After a scan's snapshot the scanner is waited for until it has passed the end that the redo log had
then. All that it will ever write about that snapshot is in the Backup Path by that time, and the
scan finds only what the scanner has missed; what is newer than the snapshot stays the scanner's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.port import Source
from backupng.engine.model import AccountId, ItemId
from backupng.engine.redolog.files import LogEnd, end_of

if TYPE_CHECKING:
    from backupng.engine.redolog.events import Position

SCANNER_ROLE: Final = "scanner"
"""The role that the Real-Time Scanner writes under."""
PATIENCE_S: Final = 30.0
"""A scanner whose position has not moved for so long is not waited for."""
LONGEST_COMMIT_S: Final = 5.0
"""An operation that has not ended for so long was left open by a crash."""
_EVENTS: Final = "backupng.engine.redolog.events"
"""Loaded if there is a scanner."""
_ROLLOVER_S: Final = 2.0
_PAUSE_S: Final = 0.03


class Beside:
    """Waits for the scanner of one server, if one runs, for all accounts of a scan."""

    def __init__(
        self,
        source: Source,
        path: BackupPath,
        *,
        log: Callable[[str], None],
        patience_s: float = PATIENCE_S,
        longest_commit_s: float = LONGEST_COMMIT_S,
    ) -> None:
        self._source = source
        self._path = path
        self._log = log
        self._patience_s = patience_s
        self._longest_commit_s = longest_commit_s
        self._is_stuck = False
        self._stuck_at: Position | None = None
        self._left_open: frozenset[tuple[int, int]] = frozenset()

    def wait(self, pause: Callable[[], None]) -> bool:
        """Wait until the scanner has passed the redo log's present end; True if it has.

        What had begun by then has ended by then, too: its changes may be in the database already.
        False without a running scanner, or when it does not move on: then the scan has to write
        all that it sees. `pause` is called now and then and may raise Stopped.
        """
        end = self._end(pause)
        return end is not None and self._has_passed(end, pause) and self._has_ended(end, pause)

    def _end(self, pause: Callable[[], None]) -> LogEnd | None:
        """Return where the log ends; None without a running scanner, or a log for it to read."""
        since = time.monotonic()
        while self._path.is_writing(SCANNER_ROLE):
            end = end_of(self._source.redo_log)
            # Between two files of a rollover there is none.
            if end is not None or time.monotonic() - since > _ROLLOVER_S:
                return end
            _rest(pause)
        return None

    def _has_passed(self, end: LogEnd, pause: Callable[[], None]) -> bool:
        seen, since = position_of(self._path.scanner()), time.monotonic()
        while seen is None or not seen.reaches(end):
            if not self._path.is_writing(SCANNER_ROLE) or self._is_stuck_at(seen):
                return False
            if time.monotonic() - since > self._patience_s:
                self._give_up(seen)
                return False
            _rest(pause)
            now = position_of(self._path.scanner())
            if now != seen:
                seen, since = now, time.monotonic()
        return True

    def _has_ended(self, end: LogEnd, pause: Callable[[], None]) -> bool:
        since = time.monotonic()
        while still_open := self._open_before(end) - self._left_open:
            if not self._path.is_writing(SCANNER_ROLE):
                return False
            if time.monotonic() - since > self._longest_commit_s:
                # A crash of the mail server left them: they never happened.
                self._left_open |= still_open
                return True
            _rest(pause)
        return True

    def _open_before(self, end: LogEnd) -> frozenset[tuple[int, int]]:
        position = position_of(self._path.scanner())
        places = position.open_ops if position else ()
        return frozenset(place for place in places if place < (end.sequence, end.offset))

    def _is_stuck_at(self, seen: Position | None) -> bool:
        return self._is_stuck and seen == self._stuck_at

    def _give_up(self, seen: Position | None) -> None:
        # Not once more for every other account.
        self._is_stuck, self._stuck_at = True, seen
        self._log(
            f"The Real-Time Scanner has not moved on for {self._patience_s:.0f} seconds: "
            "it is not waited for any longer."
        )


def _rest(pause: Callable[[], None]) -> None:
    pause()
    time.sleep(_PAUSE_S)


def doomed(path: BackupPath, account: AccountId) -> frozenset[ItemId]:
    """Return the items of an account whose deletion the scanner is about to settle by itself."""
    pending = path.scanner().get("pending", {}).get(account, {})
    return frozenset(ItemId(int(item)) for item in pending.get("doomed", {}))


def position_of(said: Mapping[str, Any]) -> Position | None:
    """Return up to where in the redo log a scanner has written all; None before it has begun.

    Raises BadPosition.
    """
    log = said.get("log")
    return cast("Position", import_module(_EVENTS).Position.from_json(log)) if log else None
