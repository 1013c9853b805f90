"""What to do in a test whose component this machine may lack."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require(program: str, package: str) -> str:
    """Return the path of `program`; where it is missing skip the test, or fail it.

    It fails where BACKUPNG_REQUIRE_SERVICES=1 says that every component must be there.
    """
    return shutil.which(program, path=_search_path()) or _lacks(program, package)


def require_library(name: str, package: str) -> None:
    """Go on if the shared library can be loaded; else skip or fail the test, as `require` does."""
    try:
        ctypes.CDLL(name)
    except OSError:
        _lacks(name, package)


def _lacks(component: str, package: str) -> NoReturn:
    reason = f"{component} is missing: apt-get install {package}, or ./run services for all"
    if os.environ.get("BACKUPNG_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _search_path() -> str:
    """Return PATH and the folders where Debian keeps servers, the newest PostgreSQL first."""
    postgresql = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    servers = [*map(str, reversed(postgresql)), "/usr/sbin", "/sbin"]
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *servers])
