"""Compressed, content-addressed blobs: plain bytes <-> what lies under `items/` (pure).

A blob is one zstandard frame or one gzip member; its name is the digest of the plain bytes, so
every read verifies what it delivers. Readers tell the codec by its magic.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import BinaryIO

import zstandard

from backupng.engine.errors import BrokenItem, InvalidItem, ReadError
from backupng.engine.model import Digest, spell_digest

CHUNK = 1 << 17
LARGEST_BLOB = 2 << 30
WIDEST_WINDOW = 8 << 20
_MORE_THAN_TOLD = 64 << 20
_BITE = 1 << 10
"""Packed bytes unpacked at once: no block of them, however hostile, becomes more than 32 MiB."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"


class BlobCodec(StrEnum):
    """How new blobs are compressed (property `ZxBackup_BlobCodec`)."""

    ZSTD = "zstd"
    GZIP = "gzip"


UNPACK = {BlobCodec.ZSTD: "zstd -dc", BlobCodec.GZIP: "gunzip -c"}
"""The command that prints a blob's plain bytes."""


@dataclass(slots=True)
class Packer:
    """Compresses plain bytes and takes their digest on the way."""

    codec: BlobCodec = BlobCodec.ZSTD
    level: int = 3
    _zstd: zstandard.ZstdCompressor = field(init=False, repr=False, compare=False)
    """Made once: its tables are large, and most blobs are small."""

    def __post_init__(self) -> None:
        level = self.level if self.codec is BlobCodec.ZSTD else 0
        self._zstd = zstandard.ZstdCompressor(level=level, write_checksum=True)

    def pack(self, plain: Iterable[bytes], write: Callable[[bytes], object]) -> tuple[Digest, int]:
        """Hand `plain` compressed to `write`; return its digest and length in plain bytes.

        Raises InvalidItem for more than a reader would take.
        """
        chunks = iter(plain)
        first, second = next(chunks, b""), next(chunks, b"")
        if not second and len(first) <= LARGEST_BLOB:
            write(self._packed(first))
            return spell_digest(hashlib.sha256(first).digest()), len(first)
        digest, length, packing = hashlib.sha256(), 0, self._compressor()
        for chunk in chain((first, second), chunks):
            length += len(chunk)
            if length > LARGEST_BLOB:
                raise InvalidItem(f"its content is larger than {LARGEST_BLOB} bytes")
            digest.update(chunk)
            write(packing.compress(chunk))
        write(packing.flush())
        return spell_digest(digest.digest()), length

    def _packed(self, plain: bytes) -> bytes:
        """Return all of a small content compressed, at once."""
        if self.codec is BlobCodec.GZIP:
            return zlib.compress(plain, self.level, 31)
        return self._zstd.compress(plain)

    def _compressor(self) -> zlib._Compress | zstandard.ZstdCompressionObj:
        if self.codec is BlobCodec.GZIP:
            return zlib.compressobj(self.level, zlib.DEFLATED, 31)
        return self._zstd.compressobj()


def codec_of(file: BinaryIO, digest: Digest) -> BlobCodec:
    """Tell the codec of a blob's file by its first bytes; the file is rewound.

    Raises BrokenItem if they are neither's.
    """
    magic = file.read(4)
    file.seek(0)
    if magic == ZSTD_MAGIC:
        return BlobCodec.ZSTD
    if magic[:2] == _GZIP_MAGIC:
        return BlobCodec.GZIP
    raise BrokenItem(f"the blob {digest} is neither zstandard nor gzip")


def most_of(size: int | None) -> int:
    """Return how many plain bytes a blob is worth reading of which a state tells that size.

    Rows of mail servers tell wrong sizes, too: far from them only a bomb is.
    """
    return LARGEST_BLOB if size is None else min(LARGEST_BLOB, max(size, 0) + _MORE_THAN_TOLD)


def unpack(file: BinaryIO, digest: Digest, *, most: int | None = None) -> Iterator[bytes]:
    """Yield the plain bytes of a blob file in chunks and close it.

    `most` of them, or as many as the format allows.
    Raises BrokenItem, at the end at the latest, when they are not those that `digest` names;
    whoever writes them somewhere keeps the result only after the last chunk.
    """
    found, length = hashlib.sha256(), 0
    most = LARGEST_BLOB if most is None else most
    with file:
        try:
            chunks = _unzstd(file) if codec_of(file, digest) is BlobCodec.ZSTD else _gunzip(file)
            for chunk in chunks:
                length += len(chunk)
                if length > most:
                    too = "the format allows" if most == LARGEST_BLOB else "its state says"
                    raise BrokenItem(f"the blob {digest} unpacks to more than {too}")
                found.update(chunk)
                yield chunk
        except (zstandard.ZstdError, zlib.error, EOFError) as error:
            raise BrokenItem(f"the blob {digest} cannot be unpacked: {error}") from error
        except OSError as error:
            raise ReadError(f"the blob {digest} cannot be read: {error.strerror}") from error
    if spell_digest(found.digest()) != digest:
        raise BrokenItem(f"the blob {digest} holds other bytes than its name says")


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    # Not stream_reader, which passes over whatever follows the frame.
    unpacking = zstandard.ZstdDecompressor(max_window_size=WIDEST_WINDOW).decompressobj()
    while not unpacking.eof and (data := file.read(_BITE)):
        yield unpacking.decompress(data)
    if not unpacking.eof or unpacking.unused_data or file.read(1):
        raise EOFError("the frame is cut short or followed by something else")


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    # The gzip module would join a second member and swallow trailing NULs.
    unpacking = zlib.decompressobj(31)
    data = file.read(CHUNK)
    while data and not unpacking.eof:
        yield unpacking.decompress(data, CHUNK)
        data = unpacking.unconsumed_tail or file.read(CHUNK)
    if not unpacking.eof or unpacking.unused_data or data:
        raise EOFError("the member is cut short or followed by something else")
