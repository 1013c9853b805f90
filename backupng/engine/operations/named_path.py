"""A folder that a parameter names: where it may lie, and what may be changed in it.

A Backup Path is changed by its own server alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.typed import USUAL_ROOTS, Bounds
from backupng.engine.errors import BackupPathError, BadRequest, UnsupportedFormat
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


def bounds(ctx: Context, *, is_confined: bool = False) -> Bounds:
    """Return where a typed folder may lie.

    `is_confined`: below the allowed roots alone, for who is not logged in on the host itself.
    """
    tree = ctx.backup_path
    return Bounds(
        roots=ctx.settings.allowed_paths or (tree.parent, *USUAL_ROOTS),
        tree=tree,
        closed=ctx.settings.closed_paths,
        is_confined=is_confined,
    )


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
    path.tree.require_writable()
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
