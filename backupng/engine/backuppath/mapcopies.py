"""A map by its path, wherever it lies: its text, if it is one of ours."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from backupng.engine.backuppath import values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import BadRequest, NotABackupPath, ReadError


def text_of(file: Path) -> bytes:
    """Return what a map says; raises BadRequest (path_missing, path_not_readable), NotABackupPath
    for what is no map of ours.
    """
    data = None
    if file.parent.is_dir():
        with closing(Tree(file.parent)) as tree:
            try:
                data = tree.read(Place(file.name), limit=values.LONGEST_FILE)
            except ReadError as error:
                raise BadRequest(str(error), code="path_not_readable") from error
    if data is None:
        raise BadRequest(
            f"There is no file {file}.",
            code="path_missing",
            hint="An External Restore writes maps, into the Backup Path of its server.",
        )
    if data and not data.startswith(b"{"):
        raise NotABackupPath(
            f"{file} is no map of Backup NG: those are text. The binary maps of Zextras, and other"
            " files, cannot be read.",
            code="unsupported_format",
            hint="The maps of this server lie in its Backup Path: map_<source server id>.",
        )
    return data
