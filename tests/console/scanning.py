"""A server with a scanner as rows, and what a scanner's process says; no engine is needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console import hosting
from console.capture import Scanner
from console.models import QueuedOperation, Server, State
from tests.console import rows

NOW = datetime(2026, 11, 25, 18, 41, 58, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def bare_server(data: Path, name: str = "mail1") -> Server:
    """Return a server of this host with an empty Backup Path."""
    path = data / "backup" / name
    path.mkdir(parents=True)
    return Server.objects.create(
        name=name,
        kind="sandbox",
        connection={"folder": f"servers/{name}"},
        backup_path=str(path),
        zone="Europe/Rome",
        identity=hosting.identity(),
    )


def scanner(server: Server, **changes: Any) -> Scanner:
    """Return the row of a scanner that follows since yesterday."""
    found: dict[str, Any] = {
        "enabled": True,
        "state": Scanner.State.FOLLOWING,
        "since": NOW - DAY,
        "seen_at": NOW,
        "captured_at": NOW,
        "sequence": 2041,
        "offset": 18_442_112,
        "due_since": NOW - DAY,
        "due_why": Scanner.Why.FIRST,
    }
    return Scanner.objects.create(server=server, **(found | changes))


def scan(server: Server, *, began: datetime | None, state: State = State.SUCCESSFUL) -> Any:
    """Return a SmartScan of a server, by default one that was successful."""
    number = QueuedOperation.objects.filter(server=server).count()
    ended = began + timedelta(minutes=1) if began and state == State.SUCCESSFUL else None
    return QueuedOperation.objects.create(
        server=server,
        seq=number,
        command="doSmartScan",
        state=state,
        started_at=began,
        ended_at=ended,
        counters=rows.SCANNED["counters"] | {"accounts_scanned": 182},
    )


def standing(**changes: Any) -> dict[str, Any]:
    """Return an event of a process that is at the end of the log."""
    found = {
        "event": "standing",
        "sequence": 7,
        "offset": 4096,
        "behind_bytes": 0,
        "last_change_ms": int(NOW.timestamp() * 1000) - 300,
        "lag_ms": 180,
        "events": 12,
        "uncertain": 0,
        "captured_ms": int(NOW.timestamp() * 1000),
    }
    return found | changes
