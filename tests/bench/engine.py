"""Our side of the comparison: operations in their own process, started as the console starts them.

The process is the one that `backupng backup doSmartScan --sync` starts, with the same line on its
standard input. What that command itself takes to begin is not in it: it is Django's.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.bench.costs import Cost, cost_of

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_PATIENCE: Final = {"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)}


class NotThere(Exception):
    """No such operation is known to this version."""


@dataclass
class Engine:
    """One sandbox server and its Backup Path; `end` is what the last operation said at its end."""

    server: Path
    path: Path
    end: dict[str, Any] = field(default_factory=dict)

    def run(self, command: str, *, watch: bool = False, days: int = 0, **parameters: str) -> Cost:
        """Run an operation, in so many days. Raises RuntimeError unless successful, NotThere."""
        self._catalog.mkdir(exist_ok=True)
        line = json.dumps(self._line(command, parameters)).encode()
        later = ("-m", "tests.bench.later", str(days))
        words = later if days else ("-m", "backupng.engine.operations")
        program = [sys.executable, *words]
        cost = cost_of(program, env=_PATIENCE, cwd=ROOT, said=line, watch=watch, takes=self._take)
        error = self.end["error"] or {}
        if f"knows no operation {command}" in error.get("message", ""):
            raise NotThere(command)
        if self.end["state"] != "successful":
            raise RuntimeError(f"{command}: {error}")
        return cost

    @property
    def _catalog(self) -> Path:
        return self.path.with_name(f"{self.path.name}-catalog")

    def _take(self, output: bytes) -> None:
        lines = output.splitlines()
        self.end = json.loads(lines[-1]) if lines else {"state": "vanished", "error": None}

    def _line(self, command: str, parameters: dict[str, str]) -> dict[str, Any]:
        return {
            "server": {
                "name": "mail",
                "kind": "sandbox",
                "connection": {"folder": str(self.server)},
                "backup_path": str(self.path),
                "tree_id": "",
                "catalog": str(self._catalog),
            },
            "settings": {
                "zone": "UTC",
                "blob_codec": "zstd",
                "compression_level": 3,
                "skip_lists": False,
                "space_threshold_mb": 100,
            },
            "operation": {"id": "bench", "command": command, "parameters": parameters},
            "parent": os.getpid(),
        }
