"""Where a server keeps its redo log: the current file and the folder of those before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backupng.engine.redolog.faults import RedoLogError
from backupng.engine.redolog.reader import RedoLog


@dataclass(frozen=True, slots=True)
class LogFiles:
    """`current` is the file being written, `archive` the folder of those rolled over."""

    current: Path
    archive: Path


def end_of(files: LogFiles) -> tuple[int, int] | None:
    """Return sequence and size in bytes of the current file; None when none can be read."""
    try:
        with RedoLog(files.current) as log:
            return log.header.sequence, log.size
    except RedoLogError:
        return None
