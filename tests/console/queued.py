"""Rows of the queue in any state, users in any role, and what a reader sees of a page."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from console import hosting
from console.models import QueuedOperation, Server, State

RESTORE = {
    "source_account": "a1@example.com",
    "destination_account": "new@example.com",
    "date": "25/11/2026 10:15:10",
}
LOST = {
    "anna@example.com": [[13339, "invalid item"], [856, "broken item"]],
    "=cmd()@example.com": [[5, "read error"]],
}
COUNTERS = {"planned": 15368, "restored": 15240, "skipped": 125, "unrestored": 3}
PROGRESS = {
    "phase": "restoring items",
    "done": 9412,
    "total": 15233,
    "counts": {"restored": 9400, "skipped": 2, "unrestored": 10},
    "rate": 41.0,
    "rev": 7,
}


def bare_server(name: str = "mail1") -> Server:
    """Return a server of this host that only has a row."""
    return Server.objects.create(
        name=name, kind="sandbox", backup_path=f"backup/{name}", identity=hosting.identity()
    )


def login(client: Client, role: str) -> User:
    """Return a new user of a role, who is logged in."""
    user = User.objects.create_user(role.lower(), f"{role.lower()}@example.com")
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return user


def add(state: State = State.SUCCESSFUL, **fields: Any) -> QueuedOperation:
    """Put a row into the queue of the only server, as it would be in that state."""
    now = timezone.now()
    server = Server.objects.get()
    found: dict[str, Any] = {"server": server, "command": "doSmartScan", "seq": server.next_seq}
    Server.objects.update(next_seq=server.next_seq + 1)
    if state not in (State.QUEUED, State.REMOVED):
        found["started_at"] = now - timedelta(minutes=5)
    if state == State.STARTED:
        found["progress_at"] = now
    if state not in (State.QUEUED, State.STARTED):
        found["ended_at"] = now
    found |= fields
    if outcome := found.get("outcome"):
        found |= QueuedOperation.ended_with(outcome)
    return QueuedOperation.objects.create(state=state, **found)


def running(**fields: Any) -> QueuedOperation:
    """Put a restore into the queue that is somewhere in its middle."""
    parts = {"command": "doRestoreOnNewAccount", "parameters": RESTORE, "progress": PROGRESS}
    return add(State.STARTED, **parts | fields)


def report(**parts: Any) -> dict[str, Any]:
    """Return the outcome of an operation with that report."""
    return {"state": "successful", "error": None, "report": {"losses": False} | parts}


def lossy(**fields: Any) -> dict[str, Any]:
    """Return the fields of a restore that lost something."""
    outcome = report(losses=True, counters=COUNTERS, unrestored=LOST, unreadable={}, notes=[])
    return {"command": "doRestoreOnNewAccount", "parameters": RESTORE, "outcome": outcome} | fields


def words(response: Any) -> str:
    """Return what a reader sees of an answer, spaces made even."""
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", text.replace("\u202f", " "))


def live_address(response: Any, element: str) -> str | None:
    """Return what a live element fetches; None once it does not live any more."""
    (tag,) = re.findall(rf'<\w+ id="{element}"[^>]*>', response.content.decode())
    found = re.search(r'hx-get="([^"]+)"', tag)
    assert (found is None) == ("hx-trigger" not in tag)
    return found[1].replace("&amp;", "&") if found else None
