"""The backup of classes of service, read and switched; every switch that is found is told once.

The marker in the Notes is the truth. Whoever reads it first after a change tells of it: the page,
the command line, or the look that the worker takes every minute.
"""

from __future__ import annotations

import shlex
from typing import Final

from django.db import transaction

from backupng.engine.operations.smart_scan import SmartScan
from console import browse, scheduling, telling
from console.alerting import Alert, spelled, tell
from console.browse import Switched
from console.letter import layout
from console.models import CosFlag, Level, QueuedOperation, Server
from console.scanner import switching

EVENT: Final = "cos_switched"


def read(server: Server, *, by: str = "") -> list[CosFlag]:
    """Bring the cache up to the directory and tell what was switched; returns all flags by name.

    Where one was switched on, the SmartScan that is due is queued, if the property says so.

    Raises MailServerError and MailServerUnreachable.
    """
    with transaction.atomic():
        switched = browse.read_cos_flags(server)
        scan = None
        if any(not flag.disabled for flag in switched):
            scan = switching.queue_scan(server, scheduling.BY_TIMETABLE)
        for flag in switched:
            tell(server, _alert(flag, by, scan))
    return list(CosFlag.objects.filter(server=server).order_by("name", "cos_id"))


def switch(server: Server, name: str, *, disabled: bool, by: str) -> Switched:
    """Switch the backup of a class of service, by name or id, and tell of it.

    Raises BadRequest (no_such_cos) and MailServerError.
    """
    switched = browse.switch_cos(server, name, disabled=disabled)
    read(server, by=by)
    return switched


def _alert(flag: CosFlag, by: str, scan: QueuedOperation | None) -> Alert:
    fields = {
        "class of service": layout.clean(flag.name),
        "id": flag.cos_id,
        "accounts": str(flag.accounts),
        "found": spelled(flag.server, flag.changed_at),
        "by": by or "somebody who changed the marker in its Notes",
    }
    name = layout.clean(flag.name)
    if flag.disabled:
        return Alert(
            event=EVENT,
            level=Level.WARNING,
            subject=f"backup switched off for the class of service {name}",
            lead=(
                f"Backup is off for the class of service {name}: its accounts are not saved any "
                "more and count as deleted. What is saved of them stays until the retention of "
                "deleted accounts ends; switching it on again undoes that."
            ),
            fields=fields,
            commands={"switch it on": _command(flag, "enable")},
        )
    commands = {"start it": f"backupng --host {flag.server.name} backup {SmartScan.command}"}
    if scan:
        commands = {"follow it": telling.monitor_command(scan)}
    is_what = "queued" if scan else "due"
    return Alert(
        event=EVENT,
        level=Level.WARNING,
        subject=f"backup switched on for the class of service {name} – a SmartScan is {is_what}",
        lead=(
            f"Backup is on for the class of service {name}: its accounts count as living again. "
            f"A SmartScan is {is_what}: it saves what they hold now."
        ),
        fields=fields,
        commands=commands,
    )


def _command(flag: CosFlag, action: str) -> str:
    words = ["backupng", "--host", flag.server.name, "backup", "doEnableDisableCOS", flag.name]
    return shlex.join([*words, action])
