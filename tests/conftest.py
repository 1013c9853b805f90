"""Fixtures for all tests; the data folder is set earlier, by `tests/isolation.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cast import Office, office
from tests.mariadb import MariaDB
from tests.slapd import Slapd

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def genuine() -> Path:
    """Return the folder with what a real Zimbra server wrote; it lies beside the repository."""
    folder = ROOT.parent / "shared" / "genuine"
    if not folder.is_dir():
        pytest.skip("../shared/genuine is missing: genuine data of a Zimbra server")
    return folder


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[Office]:
    """Open the office of `tests/cast.py` in a folder of its own."""
    with office(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    """Run a directory server; whoever uses it loads it first, and while it is used nobody else."""
    server = Slapd()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """Run a database server; whoever uses it loads it first, and while it is used nobody else."""
    server = MariaDB()
    try:
        server.start()
        yield server
    finally:
        server.remove()
