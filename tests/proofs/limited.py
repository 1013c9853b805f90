"""As a program: back up a mail server and read all of it back; for a process with little memory.

    python -m tests.proofs.limited SERVER BACKUP

It prints items saved, states read back, plain bytes read back, the longest pause between two ticks
in ms of computing, and the most memory it had in MiB.
"""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.scan.smartscan import SmartScan

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Pauses:
    """Notes the longest time between two ticks; that of others does not count."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._last = time.process_time()

    def tick(self, _done: int, _total: int, _phase: str) -> None:
        """Take progress; here an operation would be stopped."""
        now = time.process_time()
        self.longest_s = max(self.longest_s, now - self._last)
        self._last = now


def peak_mib() -> int:
    """Return the most memory that this program had; `ru_maxrss` has that of who started it, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) >> 10


def main(server: Path, root: Path) -> None:
    root.mkdir()
    pauses = Pauses()
    with Sandbox.open(server) as sandbox:
        source = sandbox.source()
        owner = Owner(server_id=source.server_id, server_name=source.server_name)
        with BackupPath.open_or_create(root, owner, now=NOW) as path:
            result = SmartScan(
                source=source, path=path, started=NOW, tick=pauses.tick, log=lambda _line: None
            ).run(now=lambda: NOW)
            assert result.unreadable == {}, result.unreadable
            (account,) = path.accounts()
            states, digests = 0, set()
            for item in path.items(account):
                history = path.history(account, item)
                states += len(history)
                digests |= {state.digest for state in history if state.digest}
            read = sum(len(chunk) for digest in digests for chunk in path.blob(digest))
    pause_ms = round(pauses.longest_s * 1000)
    found = result.counts.items_new, states, read, pause_ms, peak_mib()
    sys.stdout.write(" ".join(map(str, found)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
