"""Archives of the mail server's configuration folders: how they are named, which are there.

They lie in `server/`, named as the manual names them: `customizations_dd_MM_yy#HH_mm_ss.tar.gz`, in
the time zone of the server. The newest tells how the configuration is, each older one how it was
until the next was made.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.disk import Kind, reading
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import BrokenItem

_THREE: Final = "[0-9]{2}_[0-9]{2}_[0-9]{2}"
_NAME: Final = re.compile(rf"customizations_({_THREE}#{_THREE})\.tar\.gz")
_GZIP: Final = 16 + zlib.MAX_WBITS
_CHUNK: Final = 1 << 16
_MOMENT: Final = "%d_%m_%y#%H_%M_%S"


@dataclass(frozen=True, slots=True, order=True)
class Archive:
    """One archive: when it was made, without a zone as its name tells it, and its name."""

    made: datetime
    name: str


def name_of(moment: datetime) -> str:
    """Return the name of an archive that is made then; `moment` is in the zone of the server."""
    return f"customizations_{moment.strftime(_MOMENT)}.tar.gz"


def archive_of(name: str) -> Archive | None:
    """Return the archive that a file of that name in `server/` is, or None for something else."""
    found = _NAME.fullmatch(name)
    try:
        return Archive(datetime.strptime(found[1], _MOMENT), name) if found else None  # noqa: DTZ007  # it has none
    except ValueError:
        return None


def archives(tree: Tree) -> list[Archive]:
    """List the archives of a tree, oldest first: regular files of such a name. Raises ReadError."""
    entries = tree.entries(layout.SERVER)
    return sorted(filter(None, (archive_of(name) for name, kind in entries if kind is Kind.FILE)))


def replaced_before(tree: Tree, moment: datetime) -> list[Archive]:
    """List the archives that a newer one took the place of before `moment`. Raises ReadError.

    `moment` is one without a zone, as `Archive.made` is. The newest is never among them.
    """
    return [older for older, newer in pairwise(archives(tree)) if newer.made < moment]


def is_archive(path: Place) -> bool:
    """Say whether a file of the tree is such an archive, by its place."""
    return path.parent == layout.SERVER and archive_of(path.name) is not None


def check(tree: Tree, path: Place) -> int | None:
    """Read an archive to its end; return its length in bytes, None if it is gone.

    Raises ReadError, or BrokenItem when its checksum fails or it does not end.
    """
    file = tree.open(path)
    if file is None:
        return None
    length, unpacker = 0, zlib.decompressobj(wbits=_GZIP)
    with file, reading(tree.root, path):
        try:
            while chunk := file.read(_CHUNK):
                length += len(chunk)
                unpacker.decompress(chunk, _CHUNK)
                while unpacker.unconsumed_tail:
                    unpacker.decompress(unpacker.unconsumed_tail, _CHUNK)
        except zlib.error as error:
            raise BrokenItem("the archive is damaged") from error
    if not unpacker.eof or unpacker.unused_data:
        raise BrokenItem("the archive was cut short, or something was written behind it")
    return length
