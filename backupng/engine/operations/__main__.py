"""The process of one operation: one JSON line in, JSON lines out.

It reads its line from standard input up to the end of file and writes to standard output
`{"event": "progress", "phase", "done", "total", "counts"}`, `{"event": "log", "line", "level"}`,
after phase 1 of an import one `{"event": "phase1", "said"}`, and at last one
`{"event": "end", "state", "error", "report"}`. It lives no longer than the process that
started it, and SIGTERM asks it to end at the next safe point.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from backupng.engine.errors import BackupError, OperationError, Stopped
from backupng.engine.operations import OPERATIONS, parameters, tether
from backupng.engine.operations.base import Level, Report
from backupng.engine.operations.channel import Channel, StopRequest
from backupng.engine.operations.context import ServerContext

_GARBAGE: Final = 20_000
"""After so many new objects garbage is looked for."""


class WatchedContext(ServerContext):
    """A context whose progress and log go to the parent, and that passes on its wish to stop."""

    def __init__(self, line: Mapping[str, Any], *, channel: Channel, stop: StopRequest) -> None:
        super().__init__(line, clock=_clock)
        self._channel = channel
        self._stop = stop

    def tick(
        self, done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None
    ) -> None:
        """Report progress. Raises Stopped when an admin has asked for the end."""
        self._channel.progress(phase=phase, done=done, total=total, counts=dict(counts or {}))
        if self._stop.made:
            raise Stopped("The operation was stopped before its end.")

    def announce_phase1(self, said: Mapping[str, Any]) -> None:
        """Have the parent tell what phase 1 of an import came to."""
        self._channel.write("phase1", said=said)

    def log(self, line: str, *, level: Level = Level.INFO) -> None:
        """Add an entry to the operation's log."""
        self._channel.write("log", line=self.named(line), level=level)


def main() -> int:
    """Run the operation of the line on standard input; 0 when its end was reported."""
    tether.die_with_parent()
    os.umask(0o027)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is loaded stays, and items come and go in groups: to look for circles is in vain.
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    stop = StopRequest()
    line = json.loads(sys.stdin.buffer.read())
    if os.getppid() != line["parent"]:
        # The parent died before the kernel knew that we belong to it.
        return 1
    channel = Channel(sys.stdout.buffer)
    channel.write("end", **_run(line, channel, stop))
    return 0


def _run(line: Mapping[str, Any], channel: Channel, stop: StopRequest) -> dict[str, Any]:
    """Run the operation and return its end, whatever happens in it."""
    name = line["operation"]["command"]
    try:
        with WatchedContext(line, channel=channel, stop=stop) as ctx:
            report = _perform(name, line["operation"]["parameters"], ctx)
            report.notes = [ctx.named(each) for each in report.notes]
            report.warnings = [ctx.named(each) for each in report.warnings]
    except Stopped as error:
        return {"state": "stopped", "error": _spell_error(error), "report": {}}
    except BackupError as error:
        return {"state": "failed", "error": _spell_error(error), "report": {}}
    except Exception as error:  # noqa: BLE001 - a defect must end one operation, not its record
        traceback.print_exc()
        message = f"{name} ended by a defect of the program: {type(error).__name__}."
        return {
            "state": "failed",
            "error": {"code": "defect", "message": message, "hint": ""},
            "report": {},
        }
    return {"state": "successful", "error": None, "report": report.as_json()}


def _perform(name: str, texts: Mapping[str, str], ctx: ServerContext) -> Report:
    if name not in OPERATIONS:
        raise OperationError(
            f"This version knows no operation {name}.", hint="It was queued by another version."
        )
    operation = parameters.parse(OPERATIONS[name], texts, ctx.zone)
    operation.check(ctx)
    return operation.run(ctx)


def _spell_error(error: BackupError) -> dict[str, str]:
    return {"code": error.code, "message": str(error), "hint": error.hint}


def _clock() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
