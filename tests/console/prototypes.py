"""Sandboxes that are made once, and copied or looked at by each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_django import Settings

from backupng.engine.operations.smart_scan import SmartScan
from console import connect
from console.models import Server


@dataclass(frozen=True, slots=True)
class Prototype:
    """A data folder with a sandbox, and the row that the sandbox had."""

    folder: Path
    row: dict[str, Any]

    def copied(self, data: Path) -> Server:
        """Copy it into the data folder of a test, with a row of its own."""
        shutil.copytree(self.folder, data, dirs_exist_ok=True)
        return Server.objects.create(**self.row)

    def shown(self, settings: Settings) -> Server:
        """Give it a row, for tests that only look at it."""
        settings.DATA_DIR = self.folder
        return Server.objects.create(**self.row)


Grow = Callable[[Prototype, str, Callable[[Server], object]], Prototype]


def smart_scan(server: Server) -> None:
    """Let a SmartScan see what is there now."""
    with connect.context(server) as ctx:
        SmartScan().run(ctx)
