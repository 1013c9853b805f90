"""The end of a file that is being followed: what there is to wait for, and when that is over."""

from __future__ import annotations

from collections.abc import Callable

from backupng.engine.redolog.chain import Chain
from backupng.engine.redolog.faults import BadRecord, Broken, Torn
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import MAGIC, Txn

SETTLE_S = 3.0
"""So long a file that is no longer the current one, and was not closed properly, must not grow."""
PATIENCE_S = 60.0
"""So long a record may be incomplete while its file grows."""
_MARKER_BYTES = 50


class Tail:
    """Decides about the end of one file.

    `newest` is the newest transaction read before it; `is_final` says that nothing is written to
    the file any more.
    """

    def __init__(self, log: RedoLog, chain: Chain, clock: Callable[[], float]) -> None:
        self.is_final = False
        self.newest = Txn(0, 0)
        self._log = log
        self._chain = chain
        self._clock = clock
        self._mark = (-1, -1)
        self._quiet_since: float | None = None
        self._tried: tuple[object, ...] = ()
        self._fault = _Fault(-1, 0, 0.0)

    def changed(self) -> bool:
        """Look at the file again, and say whether it was written to since the last look."""
        mark = self._log.mark()
        if mark == self._mark:
            return False
        self._mark, self._quiet_since = mark, None
        return True

    def closes(self) -> bool:
        """Say whether the file is final by now: another is the current one, and this one closed."""
        if not self._chain.is_replaced(self._log):
            self._quiet_since = None
            return False
        head = self._log.reread()
        if self._quiet_since is None:
            self._quiet_since = self._clock()
        is_closed = not head.is_open and head.size == self._log.size
        self.is_final = is_closed or self.settles_in() == 0
        return self.is_final

    def settles_in(self) -> float | None:
        """Return in how many seconds `closes` says yes at the latest; None: nobody knows."""
        if self._quiet_since is None:
            return None
        return max(0.0, self._quiet_since + SETTLE_S - self._clock())

    def way_on(self, offset: int, fault: BadRecord) -> int | None:
        """Return where to read on after a bad record, if that is certain by now.

        In a file that still grows a torn record is mostly half written. If the end of its own
        transaction stands where its body should be, its length is wrong; and if it stays torn for
        long, while the file grows, whatever else is certain to be a record is believed.
        """
        if self._tried == (tried := (offset, self._mark, self.is_final, self._is_late(offset))):
            return None
        found = self._find(offset, fault)
        self._tried = tried
        return found

    def _find(self, offset: int, fault: BadRecord) -> int | None:
        if self.is_final or self._is_late(offset):
            return self._resume(offset, fault) or self._resume(offset, Broken(str(fault)))
        if not isinstance(fault, Torn):
            return self._resume(offset, fault)
        return self._resume(offset, fault) if self._has_ended(offset) else None

    def _resume(self, offset: int, fault: BadRecord) -> int | None:
        return self._log.resume(offset, fault, newest=self.newest, is_final=self.is_final)

    def _is_late(self, offset: int) -> bool:
        size = self._log.size
        if self._fault.offset != offset:
            self._fault = _Fault(offset, size, self._clock())
        is_grown = size > self._fault.size
        return is_grown and self._clock() - self._fault.since >= PATIENCE_S

    def _has_ended(self, offset: int) -> bool:
        """Say whether the transaction of a torn record has ended; bytes are looked at once."""
        head = self._log.envelope(offset)
        if head is None:
            return False
        start = max(offset + len(MAGIC), self._fault.searched)
        if self._log.end_marker(head, start) is not None:
            return True
        # A marker may have been half there: it is found from its beginning on the next time.
        self._fault.searched = max(start, self._log.size - _MARKER_BYTES)
        return False


class _Fault:
    """A bad record that is waited for."""

    def __init__(self, offset: int, size: int, since: float) -> None:
        self.offset = offset
        self.size = size
        self.since = since
        self.searched = 0
