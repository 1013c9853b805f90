"""How an operation ended, whether its process said so or not: the end events that rows keep."""

from __future__ import annotations

from typing import Any

from backupng.engine.operations import OPERATIONS
from backupng.engine.operations.base import Operation
from console import hosting
from console.models import QueuedOperation

_CUT_OFF = "It was stopped, and ended before it could say so."


def judge(
    row: QueuedOperation, end: dict[str, Any] | None, *, ending: bool, stopped: bool
) -> dict[str, Any]:
    """Return the end of an operation, whatever its process said or left unsaid."""
    if ending and not stopped and (end is None or end["state"] == "stopped"):
        return _interrupted(row, "The service was stopped while it ran.")
    if end is None and stopped:
        return refused("stopped", "stopped", _CUT_OFF)
    if end is None:
        return _interrupted(row, "The operation's process was killed or broke down.")
    if end["error"] and end["error"]["code"] == "defect":
        end["error"]["hint"] = _see_log(row)
    return end


def cut_off(row: QueuedOperation) -> dict[str, Any]:
    """Return the end of an operation that nobody watches any more."""
    if row.stop_requested_at:
        return refused("stopped", "stopped", _CUT_OFF)
    restarted = row.runner.get("boot_id") != hosting.boot_id()
    reason = "The host was restarted" if restarted else "The process that ran it ended"
    return _interrupted(row, f"{reason} before the operation had ended.")


def not_storable(row: QueuedOperation) -> dict[str, Any]:
    """Return what stands for an end that the database refuses."""
    text = "The operation ended, but what it reported could not be stored."
    return refused("failed", "defect", text, hint=_see_log(row))


def refused(state: str, code: str, message: str, *, hint: str = "") -> dict[str, Any]:
    """Return the end of an operation that did not do what it was asked for."""
    return {
        "state": state,
        "error": {"code": code, "message": message, "hint": hint},
        "report": {},
    }


def _interrupted(row: QueuedOperation, message: str) -> dict[str, Any]:
    known = OPERATIONS.get(row.command, Operation)
    return refused("interrupted", "interrupted", message, hint=known.after_interruption)


def _see_log(row: QueuedOperation) -> str:
    return f"Its log tells more: {hosting.log_file(row.pk)}."
