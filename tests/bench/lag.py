"""How long it takes from a change on the server until it is durable in the Backup Path."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import figures
from tests.bench.figures import Line, quantile, share
from tests.bench.mailserver import Mix, make_server, opened

SECONDS = 60
RATES = (200, 500)
ACCOUNTS = 20
_GROUP_BYTES = 4096


def run(*, seconds: int = SECONDS) -> None:
    """Print the lag at each rate; the scanner is a process of its own."""
    for rate in RATES:
        with figures.places() as (server, folder):
            make_server(server, accounts=ACCOUNTS)
            raw = figures.raw_appends_ms(folder, count=rate, length=_GROUP_BYTES)
            late_s, found = _follow(server, folder, rate, seconds)
            _show(rate, seconds, late_s, found, raw)


def _follow(server: Path, folder: Path, rate: int, seconds: int) -> tuple[float, dict[str, Any]]:
    """Feed the server; return how late the last change was, and what the follower measured."""
    count = rate * seconds
    program = [sys.executable, "-m", "tests.bench.follower"]
    path = folder / "path"
    path.mkdir()
    command = [*program, str(server), str(path), str(count)]
    with opened(server) as sandbox:
        mix = Mix(sandbox)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout
            assert follower.stdout.readline() == "ready\n"
            begin = time.perf_counter()
            for number in range(count):
                due = begin + number / rate
                time.sleep(max(0.0, due - time.perf_counter()))
                mix.step(time.time_ns() // 1_000_000)
            late_s = time.perf_counter() - due
            return late_s, json.loads(follower.stdout.readline())


def _show(rate: int, seconds: int, late_s: float, found: dict[str, Any], raw: list[float]) -> None:
    lags = sorted(found["lags_ms"])
    reached = len(lags) / (seconds + late_s)
    lines = [
        Line(f"a synced write of {_GROUP_BYTES} bytes, p50", f"{quantile(raw, 0.5):.2f} ms"),
        Line("changes made", f"{reached:,.0f} /s"),
        *(
            Line(f"lag, p{100 * each:g}", f"{quantile(lags, each):.0f} ms", ratio)
            for each, ratio in (
                (0.5, share(quantile(lags, 0.5), quantile(raw, 0.5), "synced write")),
                (0.95, ""),
                (0.99, f"target {250 if rate <= 200 else 500} ms"),
            )
        ),
        Line("lag, longest", f"{lags[-1]:.0f} ms"),
        Line("groups", f"{found['groups']:,}", f"{len(lags) / found['groups']:.1f} events each"),
        Line("CPU an event", f"{found['cpu_s'] / len(lags) * 1000:.2f} ms"),
        Line("CPU", f"{found['cpu_s'] / (seconds + late_s):.0%}", "of one core"),
        Line("memory at half time", f"{found['half_mb']:.0f} MB"),
        Line("memory", f"{found['mb']:.0f} MB", share(found["mb"], found["half_mb"], "half time")),
    ]
    figures.show(f"lag: {rate} changes/s for {seconds} s", lines)
