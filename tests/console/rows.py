"""Rows of operations in every state, as the queue leaves them; unsaved until a test saves them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from console.models import QueuedOperation, Server, State

ID = UUID("30ed9eb9-eb28-4ca6-b65e-9940654b8601")
QUEUED = datetime(2024, 11, 12, 21, 0, 3, tzinfo=UTC)
STARTED = QUEUED + timedelta(seconds=2)
ENDED = STARTED + timedelta(minutes=6, seconds=3)
LOST = {
    "john@example.com": [
        *([45658, "invalid item"], [856, "broken item"], [13339, "invalid item"]),
        *([45200, "invalid item"], [45655, "invalid item"], [45656, "invalid item"]),
        [45657, "invalid item"],
    ],
    "anna@example.com": [[1369, "read error"], [1255, "read error"]],
    "jack@example.com": [[49965, "read error"]],
}
RESTORED: dict[str, Any] = {
    "losses": True,
    "counters": {
        "planned": 15368,
        "restored": 15233,
        "skipped": 125,
        "unrestored": 10,
        "accounts_scanned": 0,
        "items_new": 0,
        "items_updated": 0,
        "items_deleted": 0,
        "read_errors": 0,
        "folders": 12,
        "tags": 3,
        "mountpoints_not_carried": 1,
        "grants_not_carried": 2,
    },
    "unrestored": LOST,
    "unreadable": {},
    "notes": ["Account settings are those read at 12/11/2024 21:00:00."],
}
SCANNED: dict[str, Any] = {
    "losses": False,
    "counters": {
        "planned": 0,
        "restored": 0,
        "skipped": 0,
        "unrestored": 0,
        "accounts_scanned": 245,
        "items_new": 148,
        "items_updated": 61,
        "items_deleted": 9,
        "read_errors": 0,
        "accounts_new": 1,
        "accounts_updated": 11,
        "accounts_deleted": 0,
        "accounts_skipped_by_cos": 4,
        "items_checked": 5120,
        "blobs_new": 131,
        "bytes_read": 14_200_000,
        "bytes_written": 9_600_000,
        "domains": 3,
        "classes_of_service": 5,
        "lists": 22,
        "entries_changed": 0,
    },
    "unrestored": {},
    "unreadable": {},
    "notes": [],
}
HOSTILE = (
    "a\r\nBcc: b@evil.org",
    "a\nUnrestored Items: 0",
    *("a\x0bb", "a\x0cb", "a\x1cb", "a\x1db", "a\x1eb", "a\x85b", "a\u2028b", "a\u2029b"),
    *("a\x00b", "a\x1bb[2J", "a\x7fb", "a\u202eb", "a\u2066b", "a\ud800b", "a\uffffb"),
    *("<b>&amp;]]>", "${x}{{x}}{%x%}%s", "*()\\'\";--`id`", "é" * 300, "e\u0301\U0001f600"),
    *("=?utf-8?q?a?=", "../../etc/passwd", "x" * 65536, " \t ", "- stats -\n\n- stats -"),
)
"""Texts that try to get out of where they are put."""
PARAMETERS = {
    "source_account": "a1@example.com",
    "destination_account": "copy@example.com",
    "date": "12/11/2024 21:59:59",
    "hide_in_gal": "true",
    "notifications": "ops@example.com",
}


def mail_server() -> Server:
    """Return a server in Berlin, unsaved."""
    return Server(name="mail.example.com", kind="sandbox", zone="Europe/Berlin")


def restore(**changes: Any) -> QueuedOperation:
    """Return a started Restore on New Account that a user of the console asked for."""
    found = {
        "id": ID,
        "seq": 1,
        "command": "doRestoreOnNewAccount",
        "parameters": PARAMETERS,
        "origin": "console",
        "requester_address": "admin@example.com",
        "created_at": QUEUED,
        "started_at": STARTED,
        "state": State.STARTED,
    }
    server = changes.pop("server", None) or mail_server()
    return QueuedOperation(server=server, **{**found, **changes})


def scan(**changes: Any) -> QueuedOperation:
    """Return a started SmartScan of a schedule."""
    found = {
        "command": "doSmartScan",
        "parameters": {},
        "origin": "schedule",
        "requester_address": "",
    }
    return restore(**{**found, **changes})


def ended(row: QueuedOperation, state: State, **outcome: Any) -> QueuedOperation:
    """End a row; `outcome` holds its error or its report."""
    row.state, row.ended_at = state, ENDED
    found = {"state": str(state), "error": None, "report": {}, **outcome}
    for name, value in row.ended_with(found).items():
        setattr(row, name, value)
    return row


def failed(row: QueuedOperation, *, message: str, hint: str = "") -> QueuedOperation:
    """End a row by an error."""
    error = {"code": "server_unreachable", "message": message, "hint": hint}
    return ended(row, State.FAILED, error=error)


def restored(**changes: Any) -> QueuedOperation:
    """Return a restore that ended, with losses."""
    return ended(restore(**changes), State.SUCCESSFUL, report=RESTORED)


def losing(items: int, account: str = "john@example.com") -> QueuedOperation:
    """Return a restore that lost so many items of one account."""
    lost = {account: [[number, "read error"] for number in range(1, items + 1)]}
    return ended(restore(), State.SUCCESSFUL, report=RESTORED | {"unrestored": lost})


def asked(row: QueuedOperation | None = None, **changes: Any) -> QueuedOperation:
    """Return a saved row, by default a restore that an administrator asked for."""
    row = row or restore(**changes)
    row.server = Server.objects.filter(name=row.server.name).first() or row.server
    row.server.save()
    row.save()
    return row


def ends(row: QueuedOperation, state: State, **outcome: Any) -> None:
    """Write an end to the database only, as the queue does."""
    ended(row, state, **outcome)
    QueuedOperation.objects.filter(pk=row.pk).update(
        state=row.state, ended_at=row.ended_at, **row.ended_with(row.outcome)
    )
