"""What to do in a test whose component this machine may lack."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def require(program: str, package: str) -> str:
    """Return the path of `program`; where it is missing skip the test, or fail it.

    It fails where BACKUPNG_REQUIRE_SERVICES=1 says that every component must be there.
    """
    found = shutil.which(program, path=_search_path())
    if found:
        return found
    reason = f"{program} is missing: apt-get install {package}, or ./run services for all"
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
