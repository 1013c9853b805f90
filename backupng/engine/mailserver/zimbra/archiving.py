"""Packs files of the mail server's installation into a `tar.gz`."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, Final

from backupng.engine.model import Unread

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LARGEST: Final = 64 << 20
"""In bytes: what is larger is no configuration; it is left out, and named."""
_TOO_LARGE: Final = f"larger than {LARGEST >> 20} MiB"
_REPLACED: Final = "it was replaced meanwhile"
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Sink(io.RawIOBase):
    """A file that is only written, from its beginning to its end."""

    def __init__(self, put: Callable[[bytes], object]) -> None:
        super().__init__()
        self._put = put

    def write(self, data: ReadableBuffer, /) -> int:
        plain = bytes(data)
        self._put(plain)
        return len(plain)


def pack(
    home: Path,
    entries: Iterable[tuple[str, os.stat_result]],
    write: Callable[[bytes], object],
    *,
    pause: Callable[[], None],
) -> list[Unread]:
    """Write an archive of these paths below `home`, each with what `lstat` said of it.

    Returns what could not be read. `pause` is called before each.
    """
    unread = []
    with tarfile.open(fileobj=_Sink(write), mode="w|gz", format=tarfile.PAX_FORMAT) as archive:
        for path, seen in entries:
            pause()
            try:
                info, content = _read(home / path, path, seen)
            except OSError as error:
                unread.append(Unread.of(path, error))
                continue
            if len(content) > LARGEST:
                unread.append(Unread(path, _TOO_LARGE, may_pass=False))
                continue
            archive.addfile(info, io.BytesIO(content))
    return unread


def _read(file: Path, path: str, seen: os.stat_result) -> tuple[tarfile.TarInfo, bytes]:
    """Return how a path stands in the archive, and its content, cut short if it is too large."""
    info, content = tarfile.TarInfo(path), b""
    info.mode, info.mtime = S_IMODE(seen.st_mode), int(seen.st_mtime)
    info.uid, info.gid = seen.st_uid, seen.st_gid
    if S_ISDIR(seen.st_mode):
        info.type = tarfile.DIRTYPE
    elif S_ISLNK(seen.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(file)
    else:
        with os.fdopen(os.open(file, _FILE), "rb") as opened:
            if not S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise OSError(_REPLACED)
            content = opened.read(LARGEST + 1)
        info.size = len(content)
    return info, content
