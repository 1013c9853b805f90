"""A blob's file held against its name: as strict as a restore reads it, and as fast as it can be.

A zstandard frame tells its blocks, and no block unpacks to more than 128 KiB: so a frame is known
to be short before it is unpacked, and a short one is unpacked at once, not by small bites. One that
says to hold more than its blocks can is not: room for all it says would be made first. The layout
of frames and blocks is that of RFC 8878, 3.1.1.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import zstandard

from backupng.engine.backuppath import blobs
from backupng.engine.errors import BrokenItem, ReadError
from backupng.engine.model import Digest, spell_digest

_AT_ONCE: Final = 8 << 20
"""Bytes of a file that is read at once, at most."""
_LARGEST_BLOCK: Final = 128 << 10
_MOST_BLOCKS: Final = 256
_REPEATED, _RESERVED = 1, 3
_UNSAID: Final = zstandard.CONTENTSIZE_UNKNOWN


class Verifier:
    """Verifies blobs one after the other; its decompressor serves for all of them."""

    def __init__(self) -> None:
        self._unpacking = zstandard.ZstdDecompressor(max_window_size=blobs.WIDEST_WINDOW)

    def verify(self, file: BinaryIO, digest: Digest, size: int | None = None) -> tuple[int, int]:
        """Read a blob's file to its end and close it; return its length and that of the content.

        `size` is the largest that a state tells of it, if one does.

        Raises BrokenItem if it is not what `digest` names, ReadError if it cannot be read.
        """
        with file:
            try:
                length = os.fstat(file.fileno()).st_size
                data = file.read(length) if length <= _AT_ONCE else b""
                file.seek(0)
            except OSError as error:
                raise ReadError(f"the blob {digest} cannot be read: {error.strerror}") from error
            most = _most(data)
            if most is not None:
                return length, self._at_once(data, digest, most)
            plain = blobs.unpack(file, digest, most=blobs.most_of(size))
            return length, sum(map(len, plain))

    def _at_once(self, data: bytes, digest: Digest, most: int) -> int:
        try:
            plain = self._unpacking.decompress(data, max_output_size=max(most, 1))
        except zstandard.ZstdError as error:
            raise BrokenItem(f"the blob {digest} cannot be unpacked: {error}") from error
        if spell_digest(hashlib.sha256(plain).digest()) != digest:
            raise BrokenItem(f"the blob {digest} holds other bytes than its name says")
        return len(plain)


def unpack_twice(file: BinaryIO, digest: Digest) -> Iterator[bytes]:
    """Yield the content of a blob that an old defect compressed twice by gzip, and close its file.

    Raises BrokenItem, at the end at the latest, for any other.
    """
    found, length = hashlib.sha256(), 0
    outer, inner = zlib.decompressobj(31), zlib.decompressobj(31)
    with file:
        try:
            for chunk in _inflated(
                _inflated(iter(lambda: file.read(blobs.CHUNK), b""), outer), inner
            ):
                length += len(chunk)
                if length > blobs.LARGEST_BLOB:
                    break
                found.update(chunk)
                yield chunk
        except zlib.error as error:
            raise BrokenItem(f"the blob {digest} cannot be unpacked twice: {error}") from error
        except OSError as error:
            raise ReadError(f"the blob {digest} cannot be read: {error.strerror}") from error
    if not (outer.eof and inner.eof) or spell_digest(found.digest()) != digest:
        raise BrokenItem(f"the blob {digest} holds other bytes than its name says")


def _inflated(chunks: Iterable[bytes], unpacking: zlib._Decompress) -> Iterator[bytes]:
    for chunk in chunks:
        data = chunk
        while data and not unpacking.eof:
            yield unpacking.decompress(data, blobs.CHUNK)
            data = unpacking.unconsumed_tail


def _most(data: bytes) -> int | None:
    """Return how many bytes a file can unpack to if it is one whole frame that is short.

    None: whatever else it is, it has to be unpacked with care.
    """
    try:
        frame = zstandard.get_frame_parameters(data)
        place = zstandard.frame_header_size(data)
    except zstandard.ZstdError:
        return None
    if (
        frame.window_size > blobs.WIDEST_WINDOW
        or frame.dict_id
        or not data.startswith(blobs.ZSTD_MAGIC)
    ):
        return None
    for number in range(1, _MOST_BLOCKS + 1):
        header = int.from_bytes(data[place : place + 3], "little")
        kind, size = header >> 1 & 3, header >> 3
        place += 3 + (1 if kind == _REPEATED else size)
        if kind == _RESERVED or size > _LARGEST_BLOCK or place > len(data):
            return None
        if header & 1:
            most = number * _LARGEST_BLOCK
            is_whole = place + 4 * frame.has_checksum == len(data)
            is_honest = frame.content_size == _UNSAID or frame.content_size <= most
            return most if is_whole and is_honest else None
    return None
