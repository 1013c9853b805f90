"""Commands on classes of service: whether their accounts are backed up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from backupng.engine.errors import BadRequest
from backupng.engine.operations.smart_scan import SmartScan
from console import audit, cosflags, scheduling, telling
from console.cli import user
from console.cli.base import Console, ConsoleCommand
from console.models import Server

_ENABLE: Final = "enable"
_DISABLE: Final = "disable"
_ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class GetCosBackupStatus(ConsoleCommand):
    """List the classes of service and whether their accounts are backed up."""

    command: ClassVar[str] = "getCOSBackupStatus"
    title: ClassVar[str] = "Classes of service"
    summary: ClassVar[str] = "Classes of service: lists whether their accounts are backed up"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getCOSBackupStatus",
        "backupng backup getCOSBackupStatus cos_name staff",
    )
    on_server: ClassVar[bool] = True

    cos_name: str = _ALL

    def perform(self, console: Console) -> dict[str, Any]:
        """Read the markers afresh, and bring the console's cache up to them."""
        found = cosflags.read(console.chosen)
        wanted = self.cos_name.lower()
        chosen = [cos for cos in found if wanted in (_ALL, cos.name.lower(), cos.cos_id.lower())]
        if not chosen:
            raise BadRequest(
                f"There is no class of service {self.cos_name}.",
                code="no_such_cos",
                hint=f"There are: {', '.join(cos.name for cos in found)}.",
            )
        return {
            "classes": [
                {
                    "name": cos.name,
                    "id": cos.cos_id,
                    "backup": "disabled" if cos.disabled else "enabled",
                    "accounts": cos.accounts,
                }
                for cos in chosen
            ]
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DoEnableDisableCos(ConsoleCommand):
    """Switch the backup of a class of service."""

    command: ClassVar[str] = "doEnableDisableCOS"
    title: ClassVar[str] = "Backup of a class of service"
    summary: ClassVar[str] = (
        "Backup of a class of service: switches it by the marker in the Notes of the class"
    )
    examples: ClassVar[tuple[str, ...]] = ("backupng backup doEnableDisableCOS staff disable",)
    on_server: ClassVar[bool] = True

    cos_name: str
    action: str = field(metadata={"values": f"{_ENABLE}|{_DISABLE}"})

    def perform(self, console: Console) -> dict[str, Any]:
        """Write the marker or take it out, and say whether that changed anything."""
        action = self.action.lower()
        if action not in (_ENABLE, _DISABLE):
            raise BadRequest(
                f"action: {self.action!r} is not accepted.",
                hint=f"Expected: {_ENABLE} or {_DISABLE}.",
                parameter="action",
                value=self.action,
            )
        server = console.chosen
        switched = cosflags.switch(
            server, self.cos_name, disabled=action == _DISABLE, by=user.current()
        )
        result = audit.DONE if switched.changed else "unchanged"
        subject = f"{switched.name} on {server.name}"
        audit.note_as(
            user.current(), f"cos_{action}", client=audit.CLI, subject=subject, result=result
        )
        return {
            "cos": switched.name,
            "id": switched.cos_id,
            "backup": "disabled" if switched.disabled else "enabled",
            "changed": switched.changed,
            "smartscan_due": switched.changed and not switched.disabled,
            **_scan(server, is_due=switched.changed and not switched.disabled),
        }

    def text(self, response: dict[str, Any]) -> str:
        """Print what is so now, and what is due."""
        already = "" if response["changed"] else " already; nothing was changed"
        lines = [f"The backup of {response['cos']} is {response['backup']}{already}."]
        if response["smartscan_due"]:
            said = "queued; follow it" if "operationId" in response else "due"
            lines.append(f"A SmartScan is {said}: {response['nextCommand']}")
        return "".join(f"{line}\n" for line in lines)


def _scan(server: Server, *, is_due: bool) -> dict[str, str]:
    """Return what there is to say of a SmartScan that is due: the one that is queued already."""
    if not is_due:
        return {}
    scan = scheduling.waiting_smartscan(server)
    if scan is None:
        return {"nextCommand": f"backupng --host {server.name} backup {SmartScan.command}"}
    return {"operationId": str(scan.pk), "nextCommand": telling.monitor_command(scan)}
