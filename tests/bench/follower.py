"""The scanner of the benchmark `lag`, a process of its own: SERVER PATH COUNT.

It says `ready` once it waits for changes, and at last in one line of JSON what it has measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.redolog.follow import Committed, Event
from backupng.engine.scan.realtime import RealTimeScanner
from tests.bench import figures

_WAIT_S = 0.5
_LONGEST_S = 60.0


class _Timed(RealTimeScanner):
    """Notes for every change how old it was when its group was durable."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.lags_ms: list[int] = []
        self.groups = 0
        super().__init__(*arguments, **named)

    def _count(self, events: list[Event]) -> None:
        super()._count(events)
        now_ms = time.time_ns() // 1_000_000
        self.lags_ms += [
            now_ms - event.committed_at for event in events if isinstance(event, Committed)
        ]
        self.groups += 1


@contextmanager
def _scanner(server: Path, folder: Path) -> Iterator[_Timed]:
    with Sandbox.open(server) as sandbox:
        source = sandbox.source()
        owner = Owner(server_id=source.server_id, server_name=source.server_name)
        with (
            BackupPath.open_or_create(folder, owner, now=_clock()) as path,
            # Kept beside the tree, as the scanner's process keeps it.
            Catalog(path, folder.with_name("catalog")) as catalog,
        ):
            path.listener = catalog.take
            scanner = _Timed(
                source,
                path,
                packer=Packer(),
                clock=_clock,
                log=_complain,
                gap=_complain,
                catalog=catalog,
            )
            with closing(scanner):
                yield scanner


def _clock() -> datetime:
    return datetime.now(UTC)


def _complain(what: object) -> None:
    print(what, file=sys.stderr)  # noqa: T201


def follow(server: Path, folder: Path, count: int) -> None:
    """Follow until so many changes are saved."""
    with _scanner(server, folder) as it:
        while it.turn(0):
            pass
        it.lags_ms, it.groups = [], 0
        print("ready", flush=True)  # noqa: T201
        cpu, half_mb, heard = time.process_time(), 0.0, time.monotonic()
        while len(it.lags_ms) < count and time.monotonic() < heard + _LONGEST_S:
            if it.turn(_WAIT_S):
                heard = time.monotonic()
            if not half_mb and len(it.lags_ms) >= count // 2:
                half_mb = figures.peak_mb()
        found = {
            "lags_ms": it.lags_ms,
            "groups": it.groups,
            "cpu_s": time.process_time() - cpu,
            "half_mb": half_mb,
            "mb": figures.peak_mb(),
        }
        print(json.dumps(found), flush=True)  # noqa: T201


if __name__ == "__main__":
    follow(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
