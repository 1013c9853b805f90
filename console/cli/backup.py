"""The module `backup`: its commands, and how their answers read."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.db import transaction

from backupng.engine.errors import BackupError, OperationError
from backupng.engine.model import to_ms
from backupng.engine.operations import LOOKUPS, OPERATIONS
from backupng.engine.operations.base import Command, Lookup
from backupng.engine.operations.do_purge import DoPurge
from backupng.engine.operations.words import Words
from console import audit, connect, hosting, properties, queue, suspicion, telling
from console.cli import operations, output
from console.cli.base import Console, ConsoleCommand
from console.cli.cos import DoEnableDisableCos, GetCosBackupStatus
from console.cli.scheduler import Scheduler
from console.models import QueuedOperation, Server, State
from console.scanner import switching

_NONE = Words(())
_UTC = ZoneInfo("UTC")
_ACCOUNT_FIELDS = ("name", "id", "server", "status", "created", "deleted")


# Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class GetProperty(ConsoleCommand):
    """Show properties of a server."""

    command: ClassVar[str] = "getProperty"
    title: ClassVar[str] = "Properties"
    summary: ClassVar[str] = "Properties: shows how the backup of a server is set up"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getProperty",
        "backupng backup getProperty verbose true property_name ZxBackup_DestPath",
    )
    on_server: ClassVar[bool] = True

    verbose: bool = False
    property_name: Words = _NONE

    def perform(self, console: Console) -> dict[str, Any]:
        """Return the values, those that can only be read if they are named or `verbose` is true."""
        named = [properties.find(name) for name in self.property_name]
        chosen = named or [
            each for each in properties.PROPERTIES if self.verbose or not each.read_only
        ]
        values = connect.values(console.chosen)
        measured: dict[str, Any] = {}
        if any(each.read_only for each in chosen):
            measured = connect.measured(console.chosen)
        found = {
            each.name: measured[each.name] if each.read_only else values[each.name].value
            for each in chosen
        }
        response: dict[str, Any] = {"properties": {name: _plain(found[name]) for name in found}}
        if self.verbose:
            response["details"] = {each.name: _details(each, values, found) for each in chosen}
        return response

    def text(self, response: dict[str, Any]) -> str:
        """Print a line for each property, or a block for each where it is verbose."""
        if details := response.get("details"):
            blocks = (f"{name}\n{output.indented(_tree(details[name]))}" for name in details)
            return "\n".join(blocks)
        values = response["properties"]
        width = max(map(len, values), default=0) + 3
        return "".join(
            f"{name.ljust(width)}{output.spell_value(name, values[name], _UTC)}\n"
            for name in values
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SetProperty(ConsoleCommand):
    """Set a property of a server, at once."""

    command: ClassVar[str] = "setProperty"
    title: ClassVar[str] = "Set a property"
    summary: ClassVar[str] = "Set a property: changes how the backup of a server is set up, at once"
    examples: ClassVar[tuple[str, ...]] = ("backupng backup setProperty ZxBackup_BlobCodec gzip",)
    on_server: ClassVar[bool] = True

    property_name: str
    property_value: str

    def perform(self, console: Console) -> dict[str, Any]:
        """Set it and return its new value."""
        return set_property(console.chosen, self.property_name, self.property_value)

    def text(self, response: dict[str, Any]) -> str:
        """Print `ok`, and below what is due."""
        return set_text(response)


def set_property(server: Server, typed: str, text: str) -> dict[str, Any]:
    """Set a property and return its new value, with an invitation if something is due now.

    Raises BadRequest.
    """
    name = properties.find(typed).name
    subject = f"{name} on {server.name}"
    before = properties.find(name).spell(connect.values(server)[name].value)
    try:
        with transaction.atomic():
            connect.set_property(server, name, text)
            invitation = switching.after_setting(server, name, by=hosting.user_name())
    except BackupError as error:
        _note_setting(subject, result=audit.REFUSED, detail=str(error))
        raise
    _note_setting(subject, detail=f"{before} → {text}")
    server.refresh_from_db()
    found = {"properties": {name: _plain(connect.values(server)[name].value)}}
    return found | ({"invitation": invitation} if invitation else {})


def set_text(response: Mapping[str, Any]) -> str:
    """Return `ok`, and below it what is due."""
    return "".join(f"{line}\n" for line in ("ok", response.get("invitation", "")) if line)


def _note_setting(subject: str, *, result: str = audit.DONE, detail: str) -> None:
    audit.note_as(
        hosting.user_name(),
        SetProperty.command,
        client=audit.CLI,
        subject=subject,
        result=result,
        detail=detail,
    )


def _details(
    each: properties.Property, values: Mapping[str, properties.Value], found: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "value": _plain(found[each.name]),
        "type": each.type_label,
        "default": _plain(each.default),
        "source": "measured" if each.read_only else values[each.name].source,
        "meaning": each.meaning,
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: paths are text."""
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, bool | int) else str(value)


def _tree(block: Mapping[str, Any]) -> str:
    return output.tree(block, _UTC)


COMMANDS: dict[str, type[Command]] = {
    **OPERATIONS,
    **LOOKUPS,
    GetProperty.command: GetProperty,
    SetProperty.command: SetProperty,
    **operations.COMMANDS,
    DoEnableDisableCos.command: DoEnableDisableCos,
    GetCosBackupStatus.command: GetCosBackupStatus,
    Scheduler.command: Scheduler,
}


# Lookups


def lookup_text(
    command: str, response: Mapping[str, Any], zone: ZoneInfo
) -> Iterable[str] | bytes | None:
    """Return what text mode prints for a lookup; None for the plain tree."""
    match command:
        case "getAvailableAccounts":
            return _sections_text(response) or _accounts_text(response, zone)
        case "getItem":
            return _item_text(response, zone)
        case "doItemSearch":
            return output.listing("items", (_found(each, zone) for each in response["items"]), zone)
        case "export-item" if "content_base64" in response:
            return base64.b64decode(response["content_base64"])
    return None


def completed(lookup: Lookup, response: dict[str, Any], server: Server) -> dict[str, Any]:
    """Return a lookup's response with what only the console knows: what was run on the server."""
    if lookup.command != "getBackupInfo" or getattr(lookup, "backup_path", None) is not None:
        return response
    rows = QueuedOperation.listed().filter(
        server=server, command=DoPurge.command, state=State.SUCCESSFUL
    )
    real = (row for row in rows.order_by("-seq").iterator() if _is_purge_of_own(row.parameters))
    purge = next(real, None)
    check = suspicion.last_check(server)
    return response | {
        "last_purge_ended": _ended_ms(purge),
        "last_coherency_check_ended": _ended_ms(check),
    }


def _is_purge_of_own(parameters: Mapping[str, str]) -> bool:
    """Say whether a purge was a real one, of the server's own Backup Path."""
    return parameters.get("dryrun") != "true" and "backup_path" not in parameters


def _ended_ms(row: QueuedOperation | None) -> int | None:
    return None if row is None or row.ended_at is None else to_ms(row.ended_at)


def saved(response: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return the response of a lookup that was written to a file."""
    kept = {key: value for key, value in response.items() if key != "content_base64"}
    return kept | {"file": str(file)}


def _found(item: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """Return the block of an item that was found: what it has."""
    shown = {key: value for key, value in item.items() if value is not None}
    if "date" in shown:
        # Elsewhere a date under that name is in seconds, and is not spelled.
        shown["date"] = output.spell_value("of_date", shown["date"], zone)
    return shown


def _sections_text(response: Mapping[str, Any]) -> str:
    """Return the sections that were asked for and not written to a file, a line an account."""
    names = [] if "file" in response else [name for name in response if name != "accounts"]
    lines: list[str] = []
    for name in names:
        section = response[name]
        rows = section.items() if isinstance(section, Mapping) else section
        lines += [f"# {name}", *map(_words, rows)]
    return "".join(f"{line}\n" for line in lines)


def _words(row: Any) -> str:
    if isinstance(row, str):
        return row
    return " ".join(row.values() if isinstance(row, Mapping) else row)


def _accounts_text(response: Mapping[str, Any], zone: ZoneInfo) -> str:
    """One line per account."""
    rows = [_ACCOUNT_FIELDS] + [
        tuple(output.spell_value(name, account[name], zone) for name in _ACCOUNT_FIELDS)
        for account in response["accounts"]
    ]
    widths = [max(map(len, column)) + 3 for column in zip(*rows, strict=True)]
    lines = (
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)


def _item_text(response: Mapping[str, Any], zone: ZoneInfo) -> bytes:
    """The states as a tree, then the blob's bytes if they were asked for."""
    states = [dict(state) for state in response["itemStates"]]
    blobs = [state.pop("blob_base64", None) for state in states]
    first = ("start_date", "type", "deleted", "blob_path", "end_date", "unpack")
    ordered = [
        {key: state[key] for key in (*first, *state) if key == "end_date" or state[key] is not None}
        for state in states
    ]
    text = output.tree({"itemStates": ordered}, zone).encode("utf-8", "backslashreplace")
    return text + b"".join(b"\nblob\n" + base64.b64decode(blob) for blob in blobs if blob)


# Operations


def started(row: QueuedOperation) -> dict[str, Any]:
    """Return the response to a queued operation."""
    return {
        "operationId": str(row.pk),
        "name": telling.title(row),
        "state": row.shown_state,
        "status": row.shown_state,
        "position": queue.position(row),
        "host": row.server.name,
        "monitorCommand": telling.monitor_command(row),
    }


def started_text(row: QueuedOperation) -> str:
    """Return the operation block of a queued operation."""
    found = started(row)
    shown = {
        "id": found["operationId"],
        **{key: found[key] for key in ("name", "state", "position", "host")},
        "monitor command": found["monitorCommand"],
    }
    return output.tree({"operation": shown}, row.server.zone_info)


def ended(row: QueuedOperation) -> dict[str, Any]:
    """Return the response for an operation that has ended."""
    report = row.outcome.get("report", {})
    return {
        "operationId": str(row.pk),
        "name": telling.title(row),
        "state": row.shown_state,
        "status": row.shown_state,
        "losses": row.losses,
        "counters": report.get("counters", {}),
        "host": row.server.name,
        "monitorCommand": telling.monitor_command(row),
        "report": {
            name: report.get(name) for name in ("unrestored", "unreadable", "warnings", "notes")
        }
        | {"error": row.outcome.get("error")},
    }


def ended_error(row: QueuedOperation) -> BackupError | None:
    """Return why an operation did not succeed; None if it did."""
    reason = telling.error(row)
    if reason is None:
        return None
    return OperationError(reason.message, code=reason.code, hint=reason.hint)


def ended_text(row: QueuedOperation) -> str:
    """Return the result block: state, counters, and every item that was lost, or found broken."""
    blocks: dict[str, Any] = {
        "result": {"state": telling.state(row), **dict(telling.counters(row))}
    }
    if telling.is_check(row):
        blocks["findings"] = [_finding(each) for each in telling.findings(row)]
    for lost in () if telling.is_check(row) else telling.losses(row):
        blocks.setdefault(f"{lost.kind} items", []).append(_losses(lost))
    return "\n" + output.tree(blocks, row.server.zone_info)


def _finding(found: telling.Finding) -> dict[str, str]:
    """Return the block of one class of findings in a file or an account."""
    owner = {"file" if found.is_file else "account": found.owner, "finding": found.flaw}
    return owner | ({"items": found.where} if found.where else {})


def _losses(lost: telling.Losses) -> dict[str, str]:
    """Return the block of one account, as the mails have it: the ids, then how often each cause."""
    return {
        "account": lost.account,
        f"{lost.kind} items": ",".join(map(str, lost.ids)),
        "why": ", ".join(f"{cause} {number}" for cause, number in lost.causes),
    }
