"""Fixtures for all tests; the data folder is set earlier, by `tests/isolation.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def genuine() -> Path:
    """Return the folder with what a real Zimbra server wrote; it lies beside the repository."""
    folder = ROOT.parent / "shared" / "genuine"
    if not folder.is_dir():
        pytest.skip("../shared/genuine is missing: genuine data of a Zimbra server")
    return folder
