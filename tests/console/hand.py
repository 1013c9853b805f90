"""A process beside those under test that reaches into their database, by lines of JSON.

`python -m django shell -c "from tests.console import hand; hand.serve()"`
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection, connections
from django_q.models import OrmQ, Schedule, Task
from django_q.tasks import async_task

from backupng.engine.model import EntryKind
from backupng.engine.operations.smart_scan import SmartScan
from console import bells, connect, hosting, queue
from console.connect import SandboxRequest
from console.models import Notification, QueuedOperation, Server, State
from tests.console.holding import NOT_BY_ITSELF

END: dict[str, Any] = {"state": "successful", "error": None, "report": {}}


def serve() -> None:
    """Do what each line asks for and answer with a line, until there are no more."""
    for line in sys.stdin:
        wish = json.loads(line)
        try:
            found = DEEDS[wish["do"]](*wish["words"])
            answer = {"found": found}
        except Exception as error:  # noqa: BLE001 - the test is told
            connection.close()
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(f"{json.dumps(answer, default=str)}\n")
        sys.stdout.flush()


def create(name: str) -> str:
    """Make a sandbox of two accounts whose folders are in the Backup Path; return that.

    No SmartScan starts by itself, neither at its hour nor with the backup.
    """
    request = SandboxRequest(name=name, domain="example.com", accounts=2, items=0, seed=1)
    server = connect.create_sandbox(request)
    for setting, value in NOT_BY_ITSELF.items():
        connect.set_property(server, setting, value)
    with connect.context(server) as ctx:
        ctx.owned_path()
        accounts = [entry.entry_id for entry in ctx.source.entries(EntryKind.ACCOUNT)]
    for account in accounts:
        Path(server.path, "accounts", account).mkdir(parents=True)
    return str(server.path)


def news(name: str) -> None:
    """Let something happen in an account, so that a scan has something to write."""
    with connect.sandbox(name) as client:
        client.create_folder("a1@example.com", f"/{uuid.uuid4()}")


def submit(name: str, count: int) -> list[str]:
    """Queue SmartScans and return their ids."""
    server = Server.objects.get(name=name)
    return [str(queue.submit(server, SmartScan()).pk) for _ in range(count)]


def rows() -> list[dict[str, Any]]:
    """Return all operations in the order of their queues."""
    told = Notification.objects.values_list("operation_id", "event")
    return [
        {
            "id": str(row.pk),
            "server": row.server.name,
            "state": row.state,
            "pid": row.runner.get("pid"),
            "progress": row.progress,
            "started": str(row.started_at),
            "ended": str(row.ended_at),
            "message": (row.outcome.get("error") or {}).get("message", ""),
            "events": sorted(event for operation, event in told if operation == row.pk),
            "begun": _begun(row),
        }
        for row in QueuedOperation.objects.select_related("server").order_by("server__name", "seq")
    ]


def _begun(row: QueuedOperation) -> int:
    """Return how often a process of the operation was started, by its log."""
    log = hosting.log_file(row.pk)
    return log.read_text().count(" begins in process ") if log.exists() else 0


def stop(operation: str) -> str | None:
    """Ask for the end of an operation."""
    return queue.stop(QueuedOperation.objects.get(pk=operation), by="test")


def stop_all(name: str) -> tuple[int, int]:
    """Ask for the end of all operations of a server."""
    return queue.stop_all(Server.objects.get(name=name), by="test")


def ring(name: str, times: int) -> None:
    """Ring the bell, whether it rings already or not."""
    for _ in range(times):
        async_task(bells.DRAIN, name, cluster=bells.cluster(name), timeout=-1)


def lose_bells() -> int:
    """Take away the bells that nobody has heard yet; return how many."""
    return int(OrmQ.objects.all().delete()[0])


def heard() -> int:
    """Return how many bells were heard."""
    return int(Task.objects.count())


def ticks() -> list[list[str]]:
    """Return the schedules."""
    return [list(row) for row in Schedule.objects.values_list("func", "args", "cluster")]


def claim_all(processes: int) -> list[str]:
    """Have processes claim and end operations of mail1 without its lock; return who got what."""
    connections.close_all()
    reader, writer = os.pipe()
    children = [pid for _ in range(processes) if (pid := _claim_in_child(writer))]
    os.close(writer)
    with os.fdopen(reader) as lines:
        claimed = lines.read().split()
    for pid in children:
        os.waitpid(pid, 0)
    return claimed


def _claim_in_child(writer: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    server = Server.objects.get(name="mail1")
    while QueuedOperation.objects.filter(state=State.QUEUED).exists():
        row = queue._claim(server, lambda: False)
        if row:
            os.write(writer, f"{row.seq}\n".encode())
            queue.finish(row, END)
    os._exit(0)


def reset() -> None:
    """Forget all operations."""
    for model in (Notification, QueuedOperation, OrmQ, Task):
        model.objects.all().delete()
    Server.objects.update(next_seq=1, drain_pending=False, paused=False)


def migrate() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0, interactive=False)


DEEDS: dict[str, Callable[..., Any]] = {
    deed.__name__: deed
    for deed in (
        *(create, news, submit, rows, stop, stop_all, ring),
        *(lose_bells, heard, ticks, claim_all, reset, migrate),
    )
}
