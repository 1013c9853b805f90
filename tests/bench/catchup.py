"""How fast a Real-Time Scanner catches up after a time off, and that its memory stays flat.

ext4 makes files dearly for minutes after many were deleted, and the run before has just done that:
a second run on the same file system is slower by a third. TMPDIR on a new one shows what is meant.
"""

from __future__ import annotations

import time

from backupng.engine.mailserver.sandbox.server import Sandbox
from tests.bench import figures
from tests.bench.figures import Line, share
from tests.bench.mailserver import START_MS, Mix, make_server, opened
from tests.engine.scan.scanners import Scanner

CHANGES = 16_000
ACCOUNTS = 20
_GROUP = 500


def run() -> None:
    """Print events and MB per second, CPU an event and memory."""
    with figures.places() as (server, folder):
        make_server(server, accounts=ACCOUNTS)
        with opened(server) as sandbox:
            mix = Mix(sandbox)
            with sandbox.writing.making():
                for number in range(CHANGES):
                    mix.step(START_MS + number)
        with Sandbox.open(server) as sandbox:
            size = sandbox.redo_log.current.stat().st_size
            groups = CHANGES // _GROUP
            raw_ms = sum(figures.raw_appends_ms(folder, count=groups, length=size // groups))
            raw_rate = CHANGES / raw_ms * 1000
            lines = [Line("the same bytes to a plain file, synced", f"{raw_rate:,.0f} events/s")]
            scanner = Scanner(sandbox.source(), folder / "path", catalog_file=folder / "catalog")
            lines += _measured(scanner, size, raw_rate)
        figures.show(f"catch-up: {CHANGES:,} changes, {size / 1e6:.0f} MB of log", lines)


def _measured(scanner: Scanner, size: int, raw_rate: float) -> list[Line]:
    half_mb = 0.0
    begin, cpu = time.perf_counter(), time.process_time()
    with scanner.running() as running:
        while running.turn(0):
            if not half_mb and running.standing.events >= CHANGES // 2:
                half_mb = figures.peak_mb()
        events = running.standing.events
        seconds, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    whole_mb = figures.peak_mb()
    return [
        Line("events", f"{events / seconds:,.0f} /s", share(events / seconds, raw_rate, "raw")),
        Line("log", f"{size / seconds / 1e6:,.1f} MB/s"),
        Line("CPU an event", f"{cpu_s / events * 1000:.2f} ms", "limit of one core:"),
        Line("events, by CPU alone", f"{events / cpu_s:,.0f} /s"),
        Line("memory after half of them", f"{half_mb:.0f} MB"),
        Line("memory after all", f"{whole_mb:.0f} MB", share(whole_mb, half_mb, "half")),
    ]
