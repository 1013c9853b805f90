"""The process of a server's Real-Time Scanner: one JSON line in, JSON lines out, until SIGTERM.

It reads the line of an operation, without an operation in it, and writes to standard output
`{"event": "standing", "sequence", "offset", "behind_bytes", "last_change_ms", "lag_ms", "events",
"uncertain", "captured_ms"}` at most once a second when anything of it has changed, and every few
seconds as a sign of life; `{"event": "log", "line", "level"}`; `{"event": "gap", "after", "until",
"reason", "since_ms", "before_ms"}`; `{"event": "suspicion", "account", "item"}` once for an item
whose backup is damaged; `{"event": "halted", "code", "reason", "hint", "since_ms"}` when what it
needs does not answer and `{"event": "resumed"}` when it does again; at last one `{"event": "end",
"error"}`. `captured_ms` is the moment up to which everything is saved. It lives no longer than the
process that started it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from backupng.engine.errors import BackupError
from backupng.engine.model import to_ms
from backupng.engine.operations import tether
from backupng.engine.operations.base import Level
from backupng.engine.operations.channel import Channel, StopRequest
from backupng.engine.operations.context import ServerContext
from backupng.engine.operations.smart_scan import SmartScan
from backupng.engine.redolog.follow import Gap
from backupng.engine.scan.realtime import RealTimeScanner, Standing

_TURN_S = 0.5
"""How long a turn waits for news; as long may the end take that somebody asks for."""
_STANDING_EVERY_S = 1.0
_SIGN_EVERY_S = 5.0
_CHECK_EVERY_S = 30.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_LOOK_EVERY_S = 0.1
_DEFECT = "defect"


class Teller:
    """Tells how the scanner stands: not more often than anybody could read."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._told: Standing | None = None
        self._told_at = 0.0
        self._captured_ms: int | None = None
        self._halted = False
        self._suspected: set[tuple[str, int]] = set()

    def captured(self, moment_ms: int) -> None:
        """Note that everything up to a moment is saved."""
        self._captured_ms = max(moment_ms, self._captured_ms or 0)

    def standing(self, standing: Standing) -> None:
        """Tell it now, or when it is time."""
        now = time.monotonic()
        pause = _SIGN_EVERY_S if standing == self._told else _STANDING_EVERY_S
        if self._told is not None and now < self._told_at + pause:
            return
        self._channel.write("standing", **asdict(standing), captured_ms=self._captured_ms)
        self._told, self._told_at = standing, now

    def halted(self, error: BackupError, *, since_ms: int) -> None:
        """Tell why nothing is followed."""
        self._halted, self._told = True, None
        self._channel.write(
            "halted", code=error.code, reason=str(error), hint=error.hint, since_ms=since_ms
        )

    def resumed(self) -> None:
        """Tell that it goes on, if it was halted."""
        if self._halted:
            self._halted = False
            self._channel.write("resumed")

    def suspect(self, account: str, item: int) -> None:
        """Tell, once, of an item whose backup is damaged."""
        if (account, item) not in self._suspected:
            self._suspected.add((account, item))
            self._channel.write("suspicion", account=account, item=item)

    def gap(self, gap: Gap) -> None:
        """Tell what the redo log lacks."""
        self._channel.write(
            "gap",
            after=gap.after,
            until=gap.until,
            reason=gap.reason,
            since_ms=gap.since or None,
            before_ms=gap.before or None,
        )

    def log(self, line: str, *, level: Level = Level.INFO) -> None:
        """Add an entry to the scanner's log."""
        self._channel.write("log", line=line, level=level)


class ScannerProcess:
    """Follows one server's redo log; what does not answer is tried again, later and later."""

    def __init__(self, line: Mapping[str, Any], *, teller: Teller, stop: StopRequest) -> None:
        self._line = line
        self._teller = teller
        self._stop = stop
        self._pause_s = _FIRST_PAUSE_S
        self._halted_ms: int | None = None

    def run(self) -> None:
        """Follow until the end is asked for."""
        while not self._stop.made:
            try:
                self._follow()
            except BackupError as error:
                self._halt(error)

    def _follow(self) -> None:
        next_check = 0.0
        with ServerContext(self._line, clock=_clock) as ctx, self._scanner(ctx) as scanner:
            while not self._stop.made:
                if time.monotonic() >= next_check:
                    # Whatever would refuse a SmartScan, a full disk above all, halts us too.
                    SmartScan().check(ctx)
                    next_check = time.monotonic() + _CHECK_EVERY_S
                self._turn(scanner)

    @contextmanager
    def _scanner(self, ctx: ServerContext) -> Iterator[RealTimeScanner]:
        path = ctx.owned_path()
        path.tell = self._teller.log
        scanner = RealTimeScanner(
            ctx.source,
            path,
            packer=ctx.settings.packer,
            clock=_clock,
            log=self._teller.log,
            gap=self._teller.gap,
            suspect=self._teller.suspect,
            skip_lists=ctx.settings.skip_lists,
            catalog=ctx.catalog,
        )
        with closing(scanner):
            yield scanner

    def _turn(self, scanner: RealTimeScanner) -> None:
        looked_ms = to_ms(_clock())
        did = scanner.turn(_TURN_S)
        standing = scanner.standing
        if not did and not standing.behind_bytes:
            self._teller.captured(looked_ms)
        elif standing.last_change_ms is not None:
            self._teller.captured(standing.last_change_ms)
        self._teller.resumed()
        self._halted_ms, self._pause_s = None, _FIRST_PAUSE_S
        self._teller.standing(standing)

    def _halt(self, error: BackupError) -> None:
        """Say so and wait; somebody may ask for the end meanwhile."""
        if self._halted_ms is None:
            self._halted_ms = to_ms(_clock())
        self._teller.halted(error, since_ms=self._halted_ms)
        again = time.monotonic() + self._pause_s
        while not self._stop.made and time.monotonic() < again:
            time.sleep(_LOOK_EVERY_S)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)


def main() -> int:
    """Follow the redo log of the server on standard input; 0 when its end was asked for."""
    tether.die_with_parent()
    os.umask(0o027)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopRequest()
    line = json.loads(sys.stdin.buffer.read())
    if os.getppid() != line["parent"]:
        # The parent died before the kernel knew that we belong to it.
        return 1
    channel = Channel(sys.stdout.buffer)
    try:
        ScannerProcess(line, teller=Teller(channel), stop=stop).run()
    except Exception as error:  # noqa: BLE001 - a defect must be told before it ends the process
        traceback.print_exc()
        message = f"The scanner ended by a defect of the program: {type(error).__name__}."
        channel.write("end", error={"code": _DEFECT, "message": message, "hint": ""})
        return 1
    channel.write("end", error=None)
    return 0


def _clock() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
