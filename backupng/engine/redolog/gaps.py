"""Says what is missing between two files of a redo log, if anything."""

from __future__ import annotations

from backupng.engine.redolog.chain import FileId
from backupng.engine.redolog.events import Gap
from backupng.engine.redolog.header import SIZE, FileHeader


def gap_within(file: FileId, offset: int, following: FileHeader, *, since: int) -> Gap:
    """Return the gap from a place in a file that is gone to the file that follows.

    Here and below, `since` is the time of the last commit read, ms; 0: none was read.
    """
    return Gap(
        after=f"sequence {file.sequence}, byte {offset}",
        until=_begins(following),
        reason=f"the redo log of sequence {file.sequence} is not there any more",
        since=since,
        before=_time(following),
    )


def gap_cut(file: FileId, offset: int, anew: FileHeader, *, since: int) -> Gap:
    """Return the gap from a place in a file that was cut or replaced to where it is read anew."""
    return Gap(
        after=f"sequence {file.sequence}, byte {offset}",
        until=_begins(anew),
        reason=f"the redo log of sequence {file.sequence} was cut or replaced",
        since=since,
        # The header of a file that was only cut is older than what is missing.
        before=_time(anew) if _time(anew) > max(since, file.created) else 0,
    )


def gap_between(old: FileHeader, size: int, following: FileHeader, *, since: int) -> Gap | None:
    """Return the gap between the end of a file that was read, `size` bytes long, and another."""
    reason = _missing(old, size, following)
    if reason is None:
        return None
    return Gap(
        after=f"the end of sequence {old.sequence}",
        until=_begins(following),
        reason=reason,
        since=since,
        before=_time(following),
    )


def _missing(old: FileHeader, size: int, following: FileHeader) -> str | None:
    first, last = old.sequence + 1, following.sequence - 1
    if following.sequence > old.sequence:
        return _lost(first, last) if first <= last else None
    if following.sequence > 0:
        return f"the numbers start anew, and {_lost(0, last)}"
    # A server closes a file that has records only to begin the next one.
    if not old.is_open and old.size == size and size > SIZE:
        return f"the numbers start anew, and {_lost(first, first)}"
    return None


def _lost(first: int, last: int) -> str:
    if first == last:
        return f"the redo log of sequence {first} is missing"
    return f"the redo logs of sequence {first} to {last} are missing"


def _begins(head: FileHeader) -> str:
    return f"the beginning of sequence {head.sequence}"


def _time(head: FileHeader) -> int:
    return head.created or head.first_op
