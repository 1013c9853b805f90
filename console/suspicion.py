"""Suspected corruption: what scans, restores and the scanner met is told once and looked into.

A Coherency Check of the server's Backup Path is queued, not one for each item, and none while one
waits, nor for what one has looked into already.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import transaction

from backupng.engine.operations import parameters
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from console import alerting
from console.alerting import Alert
from console.letter import layout
from console.models import Level, QueuedOperation, Server, State

logger = logging.getLogger(__name__)

SUSPECTED = "suspected"
"""The event of the notification."""
_NAMED = 20

Submit = Callable[[Server, DoCoherencyCheck, str], QueuedOperation]
"""Queues the check under a `dedupe` key."""


def in_report(outcome: Mapping[str, Any]) -> Mapping[str, list[int]]:
    """Return what the report in an operation's outcome suspects: items by account."""
    report = outcome.get("report")
    found = report.get("suspected") if isinstance(report, dict) else None
    return found if isinstance(found, dict) else {}


def last_check(server: Server) -> QueuedOperation | None:
    """Return the last check of the server's Backup Path that ended well; None without one."""
    ended = _checks(server).filter(state=State.SUCCESSFUL)
    found: QueuedOperation | None = ended.order_by("-seq").first()
    return found


def look_into(server: Server, items: Mapping[str, Iterable[int]], submit: Submit) -> None:
    """Queue a check for what was met, and tell of it; call it in a transaction.

    Nothing happens for what is known: a set of items is suspected once, until a repair. A failure
    is logged: it is none of who met it.
    """
    named = {str(account): sorted(map(int, found)) for account, found in items.items()}
    if not any(named.values()):
        return
    try:
        with transaction.atomic():
            _look_into(server, named, submit)
    except Exception:
        if transaction.get_connection().needs_rollback:
            raise
        logger.exception("no Coherency Check could be queued for %s", server)


def _look_into(server: Server, named: Mapping[str, list[int]], submit: Submit) -> None:
    key = _key(server, named)
    if QueuedOperation.objects.filter(dedupe=key).exists():
        return
    if _checks(server).filter(state=State.QUEUED).exists():
        return
    operation = DoCoherencyCheck(backup_path=server.path)
    row = submit(server, operation, key)
    alerting.tell(server, _alert(row, named))


def _checks(server: Server) -> Any:
    """Return the checks of all accounts of the server's own Backup Path."""
    whole = parameters.spell(DoCoherencyCheck(backup_path=server.path), server.zone_info)
    return QueuedOperation.listed().filter(
        server=server,
        command=DoCoherencyCheck.command,
        parameters__backup_path=whole["backup_path"],
    )


def _key(server: Server, named: Mapping[str, list[int]]) -> str:
    repairs = _checks(server).filter(state=State.SUCCESSFUL, parameters__fixBackup="true")
    last = repairs.order_by("-seq").values_list("seq", flat=True).first()
    spelled = repr((last, sorted(named.items())))
    digest = hashlib.sha256(spelled.encode("utf-8", "backslashreplace")).hexdigest()
    return f"suspicion {server.pk} {digest[:40]}"


def _alert(row: QueuedOperation, named: Mapping[str, list[int]]) -> Alert:
    number = sum(map(len, named.values()))
    shown = [
        f"{layout.clean(account)}: {','.join(map(str, items[:_NAMED]))}"
        for account, items in sorted(named.items())[:_NAMED]
    ]
    return Alert(
        event=SUSPECTED,
        level=Level.WARNING,
        subject=f"suspected corruption, {layout.items(number)} – a Coherency Check is queued",
        lead=(
            f"The backup of {layout.items(number)} cannot be read as it was written. "
            "A Coherency Check of the Backup Path is queued."
        ),
        fields={"path": str(row.server.path), "items": "; ".join(shown), "check": str(row.pk)},
        advice="Its notification names all that is broken, and what to do about it.",
        counters={"items": number},
    )
