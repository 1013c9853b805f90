"""Whether a file system tells capital letters from small ones: digests differ in nothing else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from backupng.engine.backuppath.disk import FILE_MODE
from backupng.engine.backuppath.layout import FORMAT
from backupng.engine.errors import BadRequest

_PROBE: Final = ".case-probe"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def require_case_sensitive(folder: int, *, root: Path) -> None:
    """Raise BadRequest (path_case_insensitive) where names that differ in their case are one.

    In a folder without a tree a file is made for a moment; where that fails, whatever is wrong
    there is told later.
    """
    with suppress(OSError):
        if _is_one(folder, FORMAT) or (not _lies(folder, FORMAT) and _makes_one(folder)):
            raise BadRequest(
                f"{root} lies on a file system that does not tell capital from small letters.",
                code="path_case_insensitive",
                hint="Use one that does, such as ext4 or XFS.",
            )


def _makes_one(folder: int) -> bool:
    os.close(os.open(_PROBE, _NEW, FILE_MODE, dir_fd=folder))
    try:
        return _is_one(folder, _PROBE)
    finally:
        os.unlink(_PROBE, dir_fd=folder)


def _is_one(folder: int, name: str) -> bool:
    """Say whether what bears a name is also found by it in capital letters."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        other = os.stat(name.upper(), dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(found, other)
    return False


def _lies(folder: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    return False
