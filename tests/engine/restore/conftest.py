"""An office for tests that change nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cast import BOB, Office, office


@pytest.fixture(scope="module")
def office_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Return an office that is scanned, bob's account deleted."""
    with office(tmp_path_factory.mktemp("office")) as made:
        made.scan()
        made.client.delete_account(BOB)
        made.scan()
        yield made
