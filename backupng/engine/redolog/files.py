"""Where a server keeps its redo log: the current file and the folder of those before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogFiles:
    """`current` is the file being written, `archive` the folder of those rolled over."""

    current: Path
    archive: Path
