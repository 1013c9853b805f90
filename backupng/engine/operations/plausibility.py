"""Whether the clock can be believed: what a wrong one would do harm with waits for a person."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from backupng.engine.backuppath import clock
from backupng.engine.backuppath.clock import Reading
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import from_ms, to_ms
from backupng.engine.operations.words import DATE_FORMAT


def doubt(path: BackupPath, now: datetime, *, zone: tzinfo = UTC) -> str | None:
    """Say, to stand behind a colon, why the clock cannot be believed; None if it can.

    It is compared with the latest time that scans, scanner and purges have seen. Where a person has
    confirmed that it is right, `Writer.trust_clock` has all checkpoints begin from it. The sentence
    has times of the zone.
    """
    known = clock.latest(path.checkpoint(), path.scanner())
    reading = Reading.of(to_ms(now))
    found = known.doubt(reading) if known else None
    if known is None or found is None:
        return None
    for ms in (reading.at, known.at, known.at + reading.up - known.up):
        at = from_ms(ms)
        found = found.replace(
            f"{at:%Y-%m-%d %H:%M} UTC", f"{at.astimezone(zone):{DATE_FORMAT} %Z}", 1
        )
    return found
