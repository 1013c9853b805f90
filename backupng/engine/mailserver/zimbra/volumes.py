"""Blob volumes: where a blob lies, and its plain bytes, whether it is stored plain or as gzip.

    <volume path>/[<server folder>/]<M>/<mailbox id>/msg/<F>/<item id>-<mod_content>.msg
    M = (mailbox id >> mailbox bits) & (2 ** mailbox group bits - 1)
    F = (item id    >> file bits)    & (2 ** file group bits - 1)

Zimbra/zm-mailbox, all below `store/src/java/com/zimbra/cs/`: `volume/Volume.java`,
`store/Blob.java`, `store/file/FileBlobStore.java`, `mailbox/util/MailItemHelper.java` (locators).
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from backupng.engine.errors import BrokenItem, ItemError, MailServerError, ReadError
from backupng.engine.model import Digest, Row, spell_digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES: Final = 64 * 1024
SMALL_BYTES: Final = 1 << 20
"""A blob of up to so many bytes is read at once."""

_HASH_OF_LENGTH: Final = {44: "sha256", 28: "sha1"}
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_LOCATOR = re.compile(r"([0-9]{1,3})(@@.*)?", re.DOTALL)
_MAX_VOLUME_ID: Final = 255
_MAX_BITS: Final = 31
_INTERNAL_STORE: Final = 1
_FILE_BLOB_STORE: Final = "com.zimbra.cs.store.file.FileBlobStore"


class VolumeType(IntEnum):
    """What a volume holds: new blobs, older blobs, or the search index."""

    PRIMARY = 1
    SECONDARY = 2
    INDEX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume of a mail server.

    `server_folder` is the server's id where the directory switches on folders per server, else "".
    Blobs of an `external` volume lie in a store that only the mail server itself can read.
    """

    volume_id: int
    volume_type: VolumeType
    name: str
    path: Path
    file_bits: int = 12
    file_group_bits: int = 8
    mailbox_bits: int = 12
    mailbox_group_bits: int = 8
    compress_blobs: bool = False
    compression_threshold_bytes: int = 4096
    external: bool = False
    server_folder: str = ""

    @property
    def root(self) -> Path:
        """The folder that its numbered folders lie in."""
        return self.path / self.server_folder if self.server_folder else self.path

    def __post_init__(self) -> None:
        bits = (
            self.file_bits,
            self.file_group_bits,
            self.mailbox_bits,
            self.mailbox_group_bits,
        )
        if not all(0 <= count <= _MAX_BITS for count in bits):
            raise MailServerError(f"The folder bits of volume {self.volume_id} make no sense.")


def volume_of_row(row: Row, *, home: Path | None = None, server_folder: str = "") -> Volume:
    """Return the volume of a row of `zimbra.volume`.

    `home` is the server's install root if its paths are relative (`zimbra_relative_volume_path`).
    """
    try:
        return Volume(
            volume_id=int(row["id"]),
            volume_type=VolumeType(row["type"]),
            name=str(row["name"]),
            path=_volume_path(str(row["path"]), home),
            file_bits=int(row["file_bits"]),
            file_group_bits=int(row["file_group_bits"]),
            mailbox_bits=int(row["mailbox_bits"]),
            mailbox_group_bits=int(row["mailbox_group_bits"]),
            compress_blobs=bool(row["compress_blobs"]),
            compression_threshold_bytes=int(row["compression_threshold"]),
            external=_is_external(row),
            server_folder=server_folder,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MailServerError(
            f"A row of the mail server's list of volumes is not understood: {error}."
        ) from error


def volume_id_of(locator: str) -> int:
    """Return the volume that a `locator` column names: `3`, or `3@@key` for an external store."""
    match = _LOCATOR.fullmatch(locator)
    volume_id = int(match[1]) if match else 0
    if not 1 <= volume_id <= _MAX_VOLUME_ID:
        raise ReadError(f"The blob is in an external store, under the locator {locator!r}.")
    return volume_id


def blob_path(volume: Volume, mailbox_id: int, *, item_id: int, mod_content: int | None) -> Path:
    """Return where the blob of an item or revision lies; None asks for the name of old installs."""
    if volume.external:
        raise ReadError(f"The blob of item {item_id} is in the external store {volume.name!r}.")
    mailbox_folder = (mailbox_id >> volume.mailbox_bits) & ((1 << volume.mailbox_group_bits) - 1)
    file_folder = (item_id >> volume.file_bits) & ((1 << volume.file_group_bits) - 1)
    name = f"{item_id}.msg" if mod_content is None else f"{item_id}-{mod_content}.msg"
    return volume.root / str(mailbox_folder) / str(mailbox_id) / "msg" / str(file_folder) / name


def find_blob(volume: Volume, mailbox_id: int, *, item_id: int, mod_content: int) -> Path:
    """Return where the blob lies: under its name, or where only that exists, its old name."""
    path = blob_path(volume, mailbox_id, item_id=item_id, mod_content=mod_content)
    old_path = blob_path(volume, mailbox_id, item_id=item_id, mod_content=None)
    return old_path if not os.path.lexists(path) and os.path.lexists(old_path) else path


def read_plain(
    volume: Volume, mailbox_id: int, *, item_id: int, mod_content: int, size_bytes: int
) -> bytes | None:
    """Return the bytes of a small blob that is stored plain, under its name; most are.

    None for every other, what cannot be read included: `find_blob` and `open_blob` look closer.
    """
    if volume.external or not 0 <= size_bytes <= SMALL_BYTES:
        return None
    mailbox_folder = (mailbox_id >> volume.mailbox_bits) & ((1 << volume.mailbox_group_bits) - 1)
    file_folder = (item_id >> volume.file_bits) & ((1 << volume.file_group_bits) - 1)
    inside = f"{mailbox_folder}/{mailbox_id}/msg/{file_folder}/{item_id}-{mod_content}.msg"
    try:
        descriptor = _open_descriptor(f"{volume.root}/{inside}", os.O_RDONLY)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_bytes:
            return None
        data = os.read(descriptor, size_bytes)
        return data if len(data) == size_bytes else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def open_blob(path: Path, size_bytes: int) -> BinaryIO:
    """Open a blob and stream its plain bytes, `size_bytes` of them as its row tells.

    A file of that length is plain, any other must be one gzip stream that gives that many bytes.
    BrokenItem comes before the last bytes if it gives more or fewer, is torn, or if anything
    follows it; at most one byte more than `size_bytes` is ever unpacked. Check the digest too.
    """
    file = _open_file(path)
    try:
        chunks = _plain_chunks(file, path=path, size_bytes=size_bytes)
    except BaseException:
        file.close()
        raise
    checked = _exactly(chunks, size_bytes, path=path)
    return io.BufferedReader(_BlobStream(file, checked), CHUNK_BYTES)


def hash_name_of(digest: Digest) -> str:
    """Return `hashlib`'s name of the hash that a digest spells: SHA-256, in old rows SHA-1."""
    name = _HASH_OF_LENGTH.get(len(digest))
    if name is None:
        raise BrokenItem(f"The digest {digest!r} has neither 44 nor 28 characters.")
    return name


def digest_of(blob: BinaryIO, like: Digest) -> Digest:
    """Read a blob to its end and return its digest, made with the same hash as `like`."""
    running = hashlib.new(hash_name_of(like), usedforsecurity=False)
    while chunk := blob.read(CHUNK_BYTES):
        running.update(chunk)
    return spell_digest(running.digest())


def _volume_path(path: str, home: Path | None) -> Path:
    # The server puts its home in front of whatever is stored, a leading slash included.
    return Path(path) if home is None else home / path.lstrip("/")


def _is_external(row: Row) -> bool:
    # Only Zimbra 10 has the two columns.
    store_class = row.get("store_manager_class") or _FILE_BLOB_STORE
    return row.get("store_type", _INTERNAL_STORE) != _INTERNAL_STORE or (
        store_class != _FILE_BLOB_STORE
    )


def _open_file(path: Path) -> io.FileIO:
    try:
        return io.FileIO(path, "r", opener=_open_descriptor)
    except (OSError, ValueError) as error:
        raise _unread(path, error) from error


def _open_descriptor(path: str, flags: int) -> int:
    # Nothing in a volume may make us follow a link or wait for the other end of a pipe.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


def _plain_chunks(file: io.FileIO, *, path: Path, size_bytes: int) -> Iterator[bytes]:
    try:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ReadError(f"The blob {path} cannot be read: it is no regular file.")
        if found.st_size == size_bytes:
            return _stored(file, path=path)
        packed = size_bytes >= 0 and os.pread(file.fileno(), 2, 0) == _GZIP_MAGIC
    except OSError as error:
        raise _unread(path, error) from error
    if packed:
        return _unpacked(file, path=path, limit_bytes=size_bytes + 1)
    raise BrokenItem(f"The blob {path} has {found.st_size} bytes instead of {size_bytes}.")


def _stored(file: io.FileIO, *, path: Path) -> Iterator[bytes]:
    while chunk := _read(file, path):
        yield chunk


def _unpacked(file: io.FileIO, *, path: Path, limit_bytes: int) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=_GZIP_WINDOW)
    left = limit_bytes
    while not stream.eof:
        packed = stream.unconsumed_tail or _read(file, path)
        if not packed:
            raise BrokenItem(f"The blob {path} is compressed and ends too early.")
        try:
            chunk = stream.decompress(packed, min(left, CHUNK_BYTES))
        except zlib.error as error:
            raise BrokenItem(f"The blob {path} is compressed and damaged.") from error
        left -= len(chunk)
        if chunk:
            yield chunk
    if stream.unused_data or _read(file, path):
        raise BrokenItem(f"The blob {path} is compressed and goes on after its end.")


def _exactly(chunks: Iterator[bytes], size_bytes: int, *, path: Path) -> Iterator[bytes]:
    """Pass the chunks on, the last one only when all are known to be there and no more."""
    left = size_bytes
    held = b""
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise BrokenItem(f"The blob {path} has more than {size_bytes} bytes.")
        if held:
            yield held
        held = chunk
    if left:
        raise BrokenItem(f"The blob {path} has {size_bytes - left} bytes instead of {size_bytes}.")
    if held:
        yield held


class _BlobStream(io.RawIOBase):
    """A file object over the chunks; once broken it stays broken instead of coming to an end."""

    def __init__(self, file: io.FileIO, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._file = file
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._failure: ItemError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._rest:
            self._rest = memoryview(self._next())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def _next(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            return next(self._chunks, b"")
        except ItemError as error:
            self._failure = error
            raise


def _read(file: io.FileIO, path: Path) -> bytes:
    try:
        return file.read(CHUNK_BYTES) or b""
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: Path, error: OSError | ValueError) -> ReadError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
    return ReadError(f"The blob {path} cannot be read: {reason}.")
