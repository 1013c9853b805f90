"""Blobs that go from one tree into another as they lie: compressed once, verified on the way."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, cast

from backupng.engine.backuppath.blobs import CHUNK, most_of, unpack
from backupng.engine.model import Digest


def copied(
    file: BinaryIO, digest: Digest, size: int | None, write: Callable[[bytes], object]
) -> int:
    """Hand the bytes of a blob's file to `write`, and close it; return its length in plain bytes.

    `size` is what its state tells, if one does. Raises ReadError, or BrokenItem when it is not what
    its name says: what was written is worth nothing then.
    """
    teed = _Teed(file, write)
    length = sum(map(len, unpack(cast("BinaryIO", teed), digest, most=most_of(size))))
    teed.finish()
    return length


class _Teed(io.BufferedIOBase):
    """A file that hands on what is read of it, each byte once, in pieces that are worth a write."""

    def __init__(self, file: BinaryIO, write: Callable[[bytes], object]) -> None:
        self._file, self._write = file, write
        self._place = self._done = 0
        self._waiting = bytearray()

    def read(self, size: int | None = -1) -> bytes:
        """Read on."""
        data = self._file.read(-1 if size is None else size)
        self._waiting += data[max(self._done - self._place, 0) :]
        self._place += len(data)
        self._done = max(self._done, self._place)
        if len(self._waiting) >= CHUNK:
            self.finish()
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Read some of it again."""
        self._place = self._file.seek(offset, whence)
        return self._place

    def finish(self) -> None:
        """Hand on what waits."""
        if self._waiting:
            self._write(bytes(self._waiting))
            self._waiting.clear()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
