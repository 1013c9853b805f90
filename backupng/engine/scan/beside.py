"""A scan beside a running Real-Time Scanner: what each of the two writes.

After a scan's snapshot the scanner is waited for until it has passed the end that the redo log had
then. All that it will ever write about that snapshot is in the Backup Path by that time, and the
scan finds only what the scanner has missed; what is newer than the snapshot stays the scanner's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.mailserver.port import Source
from backupng.engine.model import AccountId, ItemId
from backupng.engine.redolog.files import end_of

SCANNER_ROLE: Final = "scanner"
"""The role that the Real-Time Scanner writes under."""
PATIENCE_S: Final = 30.0
"""A scanner whose position has not moved for so long is not waited for."""
_PAUSE_S: Final = 0.03
_NOWHERE: Final = (-1, -1)


class Beside:
    """Waits for the scanner of one server, if one runs, for all accounts of a scan."""

    def __init__(
        self,
        source: Source,
        path: BackupPath,
        *,
        log: Callable[[str], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._source = source
        self._path = path
        self._log = log
        self._patience_s = patience_s
        self._stuck_at: tuple[int, int] | None = None

    def wait(self, pause: Callable[[], None]) -> bool:
        """Wait until the scanner has passed the redo log's present end; True if it has.

        False without a running scanner, or when it does not move on: then the scan has to write
        all that it sees. `pause` is called now and then and may raise Stopped.
        """
        if not self._path.is_writing(SCANNER_ROLE):
            return False
        end = end_of(self._source.redo_log)
        return end is None or self._has_passed(end, pause)

    def _has_passed(self, end: tuple[int, int], pause: Callable[[], None]) -> bool:
        seen, since = self._position(), time.monotonic()
        while seen < end:
            if seen == self._stuck_at or not self._path.is_writing(SCANNER_ROLE):
                return False
            if time.monotonic() - since > self._patience_s:
                self._give_up(seen)
                return False
            pause()
            time.sleep(_PAUSE_S)
            now = self._position()
            if now != seen:
                seen, since = now, time.monotonic()
        return True

    def _give_up(self, seen: tuple[int, int]) -> None:
        # Not once more for every other account.
        self._stuck_at = seen
        self._log(
            f"The Real-Time Scanner has not moved on for {self._patience_s:.0f} seconds: "
            "the scan goes on without it."
        )

    def _position(self) -> tuple[int, int]:
        return position_of(self._path.scanner()) or _NOWHERE


def doomed(path: BackupPath, account: AccountId) -> frozenset[ItemId]:
    """Return the items of an account whose deletion the scanner is about to settle by itself."""
    pending = path.scanner().get("pending", {}).get(account, {})
    return frozenset(ItemId(int(item)) for item in pending.get("doomed", {}))


def position_of(said: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return up to where in the redo log a scanner has written all: file sequence and offset.

    None before it has written anything.
    """
    log = said.get("log")
    return (int(log["sequence"]), int(log["offset"])) if log else None
