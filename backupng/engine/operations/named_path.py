"""A Backup Path that a parameter names, and what may be changed there: its own server's alone."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupError, BackupPathError, BadRequest, UnsupportedFormat
from backupng.engine.operations.base import Context, open_named

_NEWER: Final = "Use a newer version of Backup NG."


@contextmanager
def opened(ctx: Context, backup_path: Path | None) -> Iterator[BackupPath]:
    """Open another Backup Path, or the server's own."""
    if backup_path is None:
        yield ctx.path
        return
    with open_named(backup_path) as path:
        yield path


def require_changeable(ctx: Context, path: BackupPath, *, hint: str = _NEWER) -> None:
    """Refuse to change a tree: another server's, or one that cannot be written.

    Raises BadRequest (path_in_use, path_not_writable) or UnsupportedFormat with that hint.
    """
    if path.form.server_id != _own_id(ctx):
        raise BadRequest(
            f"{path.tree.root} is the backup of the server {path.form.server_name}:"
            " only that server may change it.",
            code="path_in_use",
            hint="Run the command there. Looking at it is allowed here.",
            path=str(path.tree.root),
        )
    _require_writable(path)
    if path.form.read_only:
        raise UnsupportedFormat(
            f"{path.tree.root} uses a newer format that this version can only read.", hint=hint
        )


def _own_id(ctx: Context) -> str:
    """Return the id of the server: its own Backup Path tells while the mail server is down."""
    try:
        return ctx.path.form.server_id
    except (BadRequest, BackupPathError):
        return ctx.source.server_id


def _require_writable(path: BackupPath) -> None:
    try:
        path.tree.require_writable()
    except BackupError as error:
        if os.statvfs(path.tree.root).f_flag & os.ST_RDONLY:
            message, hint = "lies on a disk that is mounted read-only", "Mount it for writing."
        else:
            message = f"cannot be written by the user {_user_name()}"
            hint = "Make that user the owner of the folder."
        raise BadRequest(
            f"{path.tree.root} {message}.", code="path_not_writable", hint=hint
        ) from error


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
