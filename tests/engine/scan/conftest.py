"""Fixtures of the scans' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cast import Office
from tests.engine.scan.scanners import Scanner
from tests.engine.scan.scenes import Scene, scene_on


@pytest.fixture
def scene(mail: Office, tmp_path: Path) -> Iterator[Scene]:
    """Return the office with two scanners; at the end both agree with the database."""
    with scene_on(mail, tmp_path) as made:
        yield made


@pytest.fixture
def follower(mail: Office) -> Scanner:
    """Return a scanner of the office that has seen all that happened up to now."""
    found = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    found.catch_up()
    mail.later(seconds=1)
    return found
