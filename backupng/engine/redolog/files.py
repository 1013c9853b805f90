"""Where a server keeps its redo log: the current file and the folder of those before it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from backupng.engine.redolog.faults import RedoLogError

_READER: Final = "backupng.engine.redolog.reader"
"""Loaded by whoever looks into a log: most scans only know where one lies."""


@dataclass(frozen=True, slots=True)
class LogFiles:
    """`current` is the file being written, `archive` the folder of those rolled over."""

    current: Path
    archive: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """Where a log ended at a moment: the file, `created` in ms, 0: unknown; its size in bytes."""

    created: int
    sequence: int
    offset: int


def end_of(files: LogFiles) -> LogEnd | None:
    """Return where the current file ends; None when there is none, or none that can be read."""
    try:
        with import_module(_READER).RedoLog(files.current) as log:
            head = log.header
            return LogEnd(created=head.created, sequence=head.sequence, offset=log.size)
    except RedoLogError:
        return None
