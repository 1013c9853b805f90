"""The folder of an export: held from its check on, begun or gone on with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backupng.engine.backuppath import unfinished
from backupng.engine.backuppath.provisioning import Format
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.typed import TypedFolder, folder_to_write
from backupng.engine.errors import BadRequest, NotABackupPath
from backupng.engine.model import from_ms, to_ms
from backupng.engine.operations.base import Context
from backupng.engine.operations.named_path import bounds

_NOTHING_YET = "not_initialized"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an export is written, and what it is of, as its `format` says until its end."""

    path: Path
    said: str
    goes_on: bool


@contextmanager
def held(ctx: Context, place: Place) -> Iterator[tuple[TypedFolder, BackupPath | None]]:
    """Check and hold the folder; open what was begun there, if it is to go on.

    Raises BadRequest.
    """
    with folder_to_write(place.path, bounds(ctx), is_begun=place.goes_on) as folder:
        found = _found(ctx, place) if place.goes_on else None
        try:
            yield folder, found
        finally:
            if found is not None:
                found.close()


@contextmanager
def begun(ctx: Context, place: Place) -> Iterator[BackupPath]:
    """Make the tree of an export of now, and open it; its `created` is the moment it is of."""
    own = ctx.owned_path().form
    form = Format(
        tree_id=str(uuid.uuid4()),
        server_id=own.server_id,
        server_name=own.server_name,
        created=from_ms(to_ms(ctx.now)),
        incomplete=place.said,
    )
    unfinished.begin(place.path, form)
    with BackupPath.open(place.path, is_unfinished=True) as path:
        yield path


def _found(ctx: Context, place: Place) -> BackupPath | None:
    """Open the export that is to go on; None if nothing of it was written. Raises BadRequest."""
    try:
        path = BackupPath.open(place.path, is_unfinished=True)
    except NotABackupPath as error:
        if error.code == _NOTHING_YET:
            return None
        raise _refused(place, "holds no export that could go on") from error
    try:
        if not path.form.incomplete:
            raise _refused(place, "holds a backup that is complete: nothing is left to be done")
        if path.form.server_id != ctx.source.server_id:
            raise _refused(place, f"holds an export of the server {path.form.server_name}")
        if path.form.incomplete != place.said:
            raise _refused(place, f"holds an export of something else: {path.form.incomplete}")
    except BaseException:
        path.close()
        raise
    return path


def _refused(place: Place, problem: str) -> BadRequest:
    return BadRequest(
        f"{place.path} {problem}.",
        code="path_not_empty",
        hint="Name the folder of an export of this server that was cut off, with the domains and"
        " classes of service it was begun with; or begin one in an empty folder.",
    )
