"""An office for tests that change nothing, and a server that another one is moved to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cast import BOB, Office, office
from tests.engine.restore.migrating import empty_office


@pytest.fixture(scope="module")
def office_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Return an office that is scanned, bob's account deleted."""
    with office(tmp_path_factory.mktemp("office")) as made:
        made.scan()
        made.client.delete_account(BOB)
        made.scan()
        yield made


@pytest.fixture
def to(tmp_path: Path) -> Iterator[Office]:
    """Return a server without any account."""
    with empty_office(tmp_path) as made:
        yield made
