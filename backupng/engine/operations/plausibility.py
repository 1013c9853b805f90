"""Whether the clock can be believed: what a wrong one would do harm with waits for a person."""

from __future__ import annotations

from datetime import datetime

from backupng.engine.backuppath import clock
from backupng.engine.backuppath.clock import Reading
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import to_ms


def doubt(path: BackupPath, now: datetime) -> str | None:
    """Say, to stand behind a colon, why the clock cannot be believed; None if it can.

    It is compared with the latest time that scans, scanner and purges have seen. Where a person has
    confirmed that it is right, `Writer.trust_clock` has the next checkpoint begin from it.
    """
    known = clock.latest(path.checkpoint(), path.scanner())
    return known.doubt(Reading.of(to_ms(now))) if known else None
