"""The process of an operation, some days later by its own clock: DAYS.

Purges remove what was deleted long ago, and nobody waits for that.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from backupng.engine.operations import __main__ as program


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(days=int(sys.argv[1]))


if __name__ == "__main__":
    # Nothing else can set the program's own clock.
    program._clock = _later
    sys.exit(program.main())
