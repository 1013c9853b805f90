"""Writes what a lookup wants in a file: a new one, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from backupng.engine.errors import BackupError, BadRequest, OperationError
from backupng.engine.operations.base import Document

_MODE: Final = 0o640
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def save(document: Document, *, tree: Path) -> Path:
    """Write a file where none is and return its path; `tree` is the Backup Path, no place for one.

    Raises BadRequest (already_exists, path_missing, path_not_writable, path_in_use) or
    OperationError where the disk refuses it.
    """
    file = document.file
    try:
        file = Path.cwd() / file
        _require_place(file, tree)
        _write(file, document.content)
    except OSError as error:
        raise _refused(file, error) from error
    return file


def _require_place(file: Path, tree: Path) -> None:
    if file.exists() or file.is_symlink():
        raise _there(file)
    if not file.parent.is_dir():
        raise BadRequest(
            f"{file} cannot be written: there is no folder {file.parent}.",
            code="path_missing",
            hint="Make the folder first.",
        )
    if file.parent.resolve().is_relative_to(tree.resolve()):
        raise BadRequest(
            f"{file} lies in the Backup Path, where only backups are written.",
            code="path_in_use",
            hint="Name a file elsewhere.",
        )


def _write(file: Path, content: bytes) -> None:
    """Write it under a name of its own, and rename it when it is whole."""
    part = file.with_name(f".backupng-{os.getpid()}.part")
    descriptor = os.open(part, _NEW, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        if file.exists():
            raise _there(file)
        part.rename(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _there(file: Path) -> BackupError:
    return BadRequest(
        f"{file} is there already.", code="already_exists", hint="Name a file that is not there."
    )


def _refused(file: Path, error: OSError) -> BackupError:
    message = f"{file} cannot be written: {error.strerror or error}."
    if isinstance(error, PermissionError):
        hint = f"Name a folder in which the user {os.geteuid()} may write."
        return BadRequest(message, code="path_not_writable", hint=hint)
    return OperationError(message, hint="See the disk below that folder.")
