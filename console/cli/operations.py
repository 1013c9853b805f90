"""The commands that watch, list and stop operations, and how progress reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.utils import timezone

from backupng.engine.errors import BadRequest
from backupng.engine.model import to_ms
from backupng.engine.operations import OPERATIONS
from backupng.engine.operations.base import Command
from backupng.engine.operations.words import Uuid
from console import audit, hosting, queue, telling
from console.capture import Scanner
from console.cli import output
from console.cli.base import Console, ConsoleCommand
from console.models import OPEN_STATES, Origin, QueuedOperation, Server, State
from console.standing import standing, unit
from console.templatetags.console import duration

_UTC = ZoneInfo("UTC")
_NAMED = 3
"""So many operations are named when a beginning of an id fits several."""
_ALL_SERVERS = "all_servers"

# Commands about one operation


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationCommand(Command):
    """A command about one operation, whatever its server; the beginning of its id will do."""

    operation_uuid: Uuid

    def find(self, host: str) -> QueuedOperation:
        """Return the operation; a `host` must be the one it belongs to. Raises BadRequest."""
        rows = QueuedOperation.objects.select_related("server")
        found = list(rows.filter(pk__istartswith=self.operation_uuid).order_by("created_at"))
        if not found:
            raise BadRequest(
                f"There is no operation {self.operation_uuid}.",
                code="no_such_operation",
                hint="What has not ended is listed by:"
                " backupng --host all_servers backup getAllOperations",
            )
        if len(found) > 1:
            names = ", ".join(str(row.pk) for row in found[:_NAMED])
            raise BadRequest(
                f"{len(found)} operations begin with {self.operation_uuid}.",
                code="bad_value",
                hint=f"Type more of it: {names}{', …' if len(found) > _NAMED else ''}.",
                parameter="operation_uuid",
                value=self.operation_uuid,
            )
        (row,) = found
        if host and host.lower() not in (_ALL_SERVERS, row.server.name.lower()):
            raise BadRequest(
                f"The operation {row.pk} is not one of {host}.",
                code="no_such_operation",
                hint=f"It is one of {row.server.name}: {telling.monitor_command(row)}",
                host=row.server.name,
            )
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor(OperationCommand):
    """Watch an operation to its end."""

    command: ClassVar[str] = "monitor"
    title: ClassVar[str] = "Monitor"
    summary: ClassVar[str] = "Monitor: shows how far an operation is until its end, then its result"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup monitor 30ed9eb9-eb28-4ca6-b65e-9940654b8601",
        "backupng backup monitor 30ed9eb9 operation_host mail.example.com",
    )

    operation_host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoStopOperation(OperationCommand):
    """Stop an operation that runs, or take it out of the queue."""

    command: ClassVar[str] = "doStopOperation"
    title: ClassVar[str] = "Stop an operation"
    summary: ClassVar[str] = "Stop an operation: ends what runs, removes what waits in the queue"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup doStopOperation 30ed9eb9-eb28-4ca6-b65e-9940654b8601",
    )

    def stop(self, row: QueuedOperation) -> dict[str, Any]:
        """Ask for the end and return what becomes of it. Raises BadRequest if it had ended."""
        user = hosting.user_name()
        was = queue.stop(row, by=user)
        row.refresh_from_db()
        audit.note_as(
            user,
            "stop operation",
            client=audit.CLI,
            subject=str(row.pk),
            detail=was or "had ended already",
        )
        if was is None:
            raise BadRequest(
                f"The {telling.title(row)} {row.pk} had ended already: {telling.state(row)}.",
                code="already_ended",
                hint=f"See: {telling.monitor_command(row)}",
            )
        return {
            "operationId": str(row.pk),
            "name": telling.title(row),
            "state": row.shown_state,
            "host": row.server.name,
        }


# Commands about the queue of a server


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAllOperations(ConsoleCommand):
    """List what runs and what waits."""

    command: ClassVar[str] = "getAllOperations"
    title: ClassVar[str] = "Operations"
    summary: ClassVar[str] = (
        "Operations: lists what runs, then what waits, in the order of the queue"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getAllOperations",
        "backupng backup getAllOperations verbose true",
    )
    on_server: ClassVar[bool] = True

    verbose: bool = False

    def perform(self, console: Console) -> dict[str, Any]:
        """Return them in order, and whether the scanner has anything left to do."""
        rows = QueuedOperation.objects.filter(server=console.chosen, state__in=OPEN_STATES)
        listed = rows.select_related("server").order_by("seq")
        return {
            "operationList": [
                _listed(row, position, verbose=self.verbose)
                for position, row in enumerate(listed, start=1)
            ],
            "realTimeScanOperations": Scanner.objects.filter(
                server=console.chosen, enabled=True, behind_bytes__gt=0
            ).count(),
        }

    def shown(self, response: dict[str, Any]) -> Mapping[str, Any]:
        """Return the blocks of text mode."""
        listed = [_block(each) for each in response["operationList"]]
        tree: dict[str, Any] = {"operations": listed or "none is running or queued"}
        if self.verbose:
            tree["waiting real-time scan operations"] = response["realTimeScanOperations"]
        return tree


@dataclass(frozen=True, slots=True, kw_only=True)
class DoStopAllOperations(ConsoleCommand):
    """Stop what runs and empty the queue."""

    command: ClassVar[str] = "doStopAllOperations"
    title: ClassVar[str] = "Stop all operations"
    summary: ClassVar[str] = "Stop all operations: ends the running one and empties the queue"
    examples: ClassVar[tuple[str, ...]] = ("backupng backup doStopAllOperations",)
    on_server: ClassVar[bool] = True
    confirmation: ClassVar[str] = "This stops what runs and removes all that waits on {servers}."

    def perform(self, console: Console) -> dict[str, Any]:
        """Return how many were stopped and removed."""
        user = hosting.user_name()
        stopped, removed = queue.stop_all(console.chosen, by=user)
        detail = f"{stopped} stopped, {removed} removed"
        audit.note_as(
            user,
            "stop all operations",
            client=audit.CLI,
            subject=str(console.chosen),
            detail=detail,
        )
        return {"stopped": stopped, "removed": removed}


def _listed(row: QueuedOperation, position: int, *, verbose: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(row.pk),
        "module": "backup",
        "name": telling.title(row),
        "descName": f"{telling.title(row)} {telling.subject(row)}".strip(),
        "state": row.shown_state,
        "host": row.server.name,
        "queuedTime": to_ms(row.created_at),
        "startTime": to_ms(row.started_at) if row.started_at else None,
        "parameters": dict(telling.parameters(row)),
        "monitorCommand": telling.monitor_command(row),
        "position": position,
    }
    if verbose:
        known = OPERATIONS.get(row.command)
        found |= {
            "description": known.summary if known else "",
            "requester": row.requester_address or row.requester_name,
            "origin": Origin(row.origin).label,
            "progress": row.progress,
            "extraAddresses": list(telling.addresses(row)),
        }
    return found


def _block(listed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an operation under the labels of text mode."""
    labels = {
        **{name: name for name in ("id", "name", "state", "host")},
        "queuedTime": "queued at",
        "startTime": "started at",
        "position": "position",
    }
    if "description" in listed:
        labels |= {
            **{name: name for name in ("description", "requester", "origin")},
            "parameters": "parameters",
            "extraAddresses": "extra addresses",
            "monitorCommand": "monitor command",
            "progress": "progress",
        }
    block = {label: listed[name] for name, label in labels.items()}
    return {label: value for label, value in block.items() if value not in ({}, [])}


# Progress


def progress_text(row: QueuedOperation) -> str:
    """Return the block that says how far an operation is; without the line's end."""
    block = {"state": row.shown_state}
    if row.state == State.QUEUED:
        block["position"] = str(queue.position(row))
    else:
        block |= _numbers(row)
    return output.tree({"progress": block}, _UTC).rstrip("\n")


def no_worker_note(server: Server) -> str:
    """Say that an operation waits because nobody drains the queue."""
    return f"{server} has no worker; the operation waits. Start one: backupng run"


def _numbers(row: QueuedOperation) -> dict[str, str]:
    now = standing(row, now=timezone.now())
    counts = now.counts
    scans = unit(row) == "accounts"
    found = {"phase": now.phase} if now.phase else {}
    if now.total:
        found["accounts scanned" if scans else "items"] = f"{now.done}/{now.total}"
    if "items_checked" in counts:
        found["items scanned"] = str(counts["items_checked"])
    names = ("updated", "new", "deleted") if scans else ("restored", "skipped", "unrestored")
    keys = [f"items_{name}" if scans else name for name in names]
    if any(key in counts for key in keys):
        numbers = "/".join(str(counts.get(key, 0)) for key in keys)
        found[f"items {'/'.join(names)}"] = numbers
    if now.rate and not row.has_ended:
        found["rate"] = f"{now.rate:.1f} items/s"
    if now.left is not None and not row.has_ended:
        found["remaining"] = duration(now.left)
    return found


def operation_block(row: QueuedOperation) -> dict[str, Any]:
    """Return the block that names an operation that has ended."""
    block = {
        "id": str(row.pk),
        "name": telling.title(row),
        "state": telling.state(row),
        "host": row.server.name,
        "queued at": to_ms(row.created_at),
        "started at": to_ms(row.started_at) if row.started_at else None,
        "ended at": to_ms(row.ended_at) if row.ended_at else None,
    }
    return {"operation": {name: value for name, value in block.items() if value is not None}}


COMMANDS: dict[str, type[Command]] = {
    each.command: each for each in (Monitor, GetAllOperations, DoStopOperation, DoStopAllOperations)
}
