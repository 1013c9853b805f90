"""Blobs: what is packed comes back, what is not a blob is refused, bombs stop."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from backupng.engine.backuppath import blobs
from backupng.engine.backuppath.blobs import UNPACK, BlobCodec, Packer, codec_of, unpack
from backupng.engine.errors import BrokenItem, InvalidItem, ReadError
from backupng.engine.model import Digest, spell_digest
from tests.services import require

DICE = random.Random(7)  # noqa: S311  # content, not secrets
PLAIN = {
    "empty": b"",
    "one byte": b"x",
    "mail": b"Subject: Ordine n. 0\r\n\r\n" + b"Buongiorno. " * 500,
    "noise": DICE.randbytes(300_000),
    "zeros": bytes(3_000_000),
}
CODECS = list(BlobCodec)


def packed(plain: bytes, packer: Packer | None = None) -> bytes:
    target = io.BytesIO()
    (packer or Packer()).pack([plain], target.write)
    return target.getvalue()


def digest_of(plain: bytes) -> Digest:
    return spell_digest(hashlib.sha256(plain).digest())


def unpacked(data: bytes, plain: bytes) -> bytes:
    return b"".join(unpack(io.BytesIO(data), digest_of(plain)))


@pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("codec", CODECS)
def test_what_is_packed_comes_back_and_is_named_by_its_digest(
    codec: BlobCodec, plain: bytes
) -> None:
    target = io.BytesIO()

    digest, length = Packer(codec).pack(
        (plain[at : at + 1000] for at in range(0, len(plain), 1000)),
        target.write,
    )

    assert (digest, length) == (digest_of(plain), len(plain))
    assert codec_of(io.BytesIO(target.getvalue()), digest) is codec
    assert unpacked(target.getvalue(), plain) == plain


@pytest.mark.parametrize(
    ("packer", "length"),
    [
        (Packer(level=1), 9 << 20),
        (Packer(level=19), 9 << 20),
        (Packer(BlobCodec.GZIP, 1), 1 << 20),
        (Packer(BlobCodec.GZIP, 9), 1 << 20),
    ],
)
def test_every_level_that_can_be_set_can_be_read(packer: Packer, length: int) -> None:
    plain = DICE.randbytes(length // 9) * 9

    assert unpacked(packed(plain, packer), plain) == plain


@pytest.mark.parametrize("codec", CODECS)
def test_the_printed_command_prints_the_plain_bytes(codec: BlobCodec, tmp_path: Path) -> None:
    program, flag = UNPACK[codec].split()
    found = require(program, {"zstd": "zstd", "gunzip": "gzip"}[program])
    (tmp_path / "blob").write_bytes(packed(PLAIN["mail"], Packer(codec)))

    with (tmp_path / "blob").open("rb") as blob:
        shown = subprocess.run([found, flag], stdin=blob, capture_output=True, check=True)

    assert shown.stdout == PLAIN["mail"]


def test_a_file_closes_at_the_end_and_at_an_error_and_when_nobody_reads_on() -> None:
    whole, broken, left = (io.BytesIO(packed(PLAIN["noise"])) for _ in range(3))

    assert len(b"".join(unpack(whole, digest_of(PLAIN["noise"])))) == 300_000
    with pytest.raises(BrokenItem):
        list(unpack(broken, digest_of(b"other")))
    reading = unpack(left, digest_of(PLAIN["noise"]))
    next(reading)
    del reading

    assert (whole.closed, broken.closed, left.closed) == (True, True, True)


# --- what is no blob

Spoil = Callable[[bytes], bytes]
SPOILT: dict[str, Spoil] = {
    "nothing": lambda _: b"",
    "three bytes": lambda data: data[:3],
    "the head alone": lambda data: data[:12],
    "a byte short": lambda data: data[:-1],
    "a checksum short": lambda data: data[:-4],
    "half": lambda data: data[: len(data) // 2],
    "a byte behind": lambda data: data + b"x",
    "zeros behind": lambda data: data + bytes(600_000),
    "itself behind": lambda data: data + data,
    "an empty zstandard frame behind": lambda data: data + packed(b""),
    "a skippable frame behind": lambda data: data + b"\x50\x2a\x4d\x18\x00\x00\x00\x00",
    "an empty gzip member behind": lambda data: data + gzip.compress(b""),
    "something before": lambda data: b"x" + data,
    "plain bytes": lambda _: PLAIN["mail"],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize(
    "plain", [b"", PLAIN["mail"], PLAIN["noise"]], ids=["empty", "mail", "noise"]
)
@pytest.mark.parametrize("codec", CODECS)
def test_what_is_not_exactly_one_frame_or_member_is_broken(
    codec: BlobCodec, plain: bytes, spoil: Spoil
) -> None:
    data = spoil(packed(plain, Packer(codec)))

    with pytest.raises(BrokenItem, match=digest_of(plain).replace("+", r"\+")):
        unpacked(data, plain)


@pytest.mark.parametrize("codec", CODECS)
def test_a_byte_behind_is_found_where_a_chunk_of_reading_ends(codec: BlobCodec) -> None:
    noise = (PLAIN["noise"][:length] for length in range(blobs.CHUNK - 60, blobs.CHUNK))
    plain = next(each for each in noise if len(packed(each, Packer(codec))) == blobs.CHUNK)
    data = packed(plain, Packer(codec))

    assert unpacked(data, plain) == plain
    with pytest.raises(BrokenItem, match="cut short or followed by something else"):
        unpacked(data + b"x", plain)


def test_content_of_another_digest_is_broken() -> None:
    with pytest.raises(BrokenItem, match="other bytes than its name says"):
        unpacked(packed(b"one"), b"two")


def test_a_window_wider_than_the_format_allows_is_broken() -> None:
    plain = bytes(1000)
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    packing = zstandard.ZstdCompressor(compression_params=wide).compressobj()

    with pytest.raises(BrokenItem, match="cannot be unpacked"):
        unpacked(packing.compress(plain) + packing.flush(), plain)


def test_a_frame_that_needs_a_dictionary_is_broken() -> None:
    noise = PLAIN["noise"][:4096]
    words = zstandard.ZstdCompressionDict(noise)
    named = zstandard.ZstdCompressor(dict_data=words).compress(noise)

    with pytest.raises(BrokenItem):
        unpacked(named, noise)


@pytest.mark.parametrize("claimed", [0, 1, 2 << 30, 2**63], ids=hex)
def test_a_frame_that_lies_about_its_size_is_broken_at_once(claimed: int) -> None:
    # Magic, a header with an eight-byte size and a window of 1 KiB, one last raw block of 4 bytes.
    frame = b"\x28\xb5\x2f\xfd\xc0\x00" + claimed.to_bytes(8, "little") + b"\x21\x00\x00four"

    with pytest.raises(BrokenItem):
        unpacked(frame, b"four")


@pytest.mark.parametrize("claimed", [0, 1, 2 << 30, 2**32 - 1], ids=hex)
def test_a_member_that_lies_about_its_size_is_broken(claimed: int) -> None:
    data = packed(b"four", Packer(BlobCodec.GZIP))[:-4] + claimed.to_bytes(4, "little")

    with pytest.raises(BrokenItem):
        unpacked(data, b"four")


# --- limits


def zstd_bomb() -> bytes:
    packing = zstandard.ZstdCompressor().compressobj()
    return b"".join(packing.compress(bytes(1 << 20)) for _ in range(300)) + packing.flush()


def gzip_bomb() -> bytes:
    packing = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(packing.compress(bytes(1 << 20)) for _ in range(70)) + packing.flush()


@pytest.mark.parametrize("bomb", [zstd_bomb, gzip_bomb])
def test_a_bomb_stops_at_the_limit_and_never_fills_the_memory(
    bomb: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "LARGEST_BLOB", 64 << 20)
    chunks = map(len, unpack(io.BytesIO(bomb()), digest_of(b"")))
    lengths: list[int] = []

    with pytest.raises(BrokenItem, match="more than the format allows"):
        lengths.extend(chunks)

    assert max(lengths) <= 32 << 20
    assert sum(lengths) <= 64 << 20


def test_content_larger_than_a_reader_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "LARGEST_BLOB", 5)

    assert unpacked(packed(b"12345"), b"12345") == b"12345"
    with pytest.raises(InvalidItem, match="larger than 5 bytes"):
        packed(b"123456")


def test_the_limit_is_two_gibibytes() -> None:
    assert blobs.LARGEST_BLOB == 2**31


class Failing(io.BytesIO):
    """A file whose disk fails behind the first bytes."""

    def read(self, size: int | None = -1, /) -> Any:
        """Read up to the bad place."""
        if self.tell() > 100:
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_a_disk_that_fails_while_a_blob_is_read_is_a_read_error() -> None:
    file = Failing(packed(PLAIN["noise"]))

    with pytest.raises(ReadError, match="cannot be read: Input/output error"):
        list(unpack(file, digest_of(PLAIN["noise"])))


def test_an_error_of_the_source_passes_through_the_packer_unchanged() -> None:
    def source() -> Iterator[bytes]:
        yield b"first"
        raise ReadError("the volume is gone")

    with pytest.raises(ReadError, match="the volume is gone"):
        Packer().pack(source(), lambda _: None)
