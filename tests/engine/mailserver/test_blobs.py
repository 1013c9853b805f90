"""Blobs of a volume that are plain, packed, damaged, or no files at all."""

from __future__ import annotations

import gzip
import os
import random
import secrets
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backupng.engine.errors import BrokenItem, ItemError, ReadError
from backupng.engine.mailserver.zimbra.volumes import (
    CHUNK_BYTES,
    digest_of,
    hash_name_of,
    open_blob,
)
from backupng.engine.model import Digest

HELLO = b"Hello\r\n\r\nhi"
HELLO_SHA256 = Digest("Jv4DBbe5eDcCRb1G+wk357fe00C1KBn5Y47tVQpHWxY=")
HELLO_SHA1 = Digest("ALseqyFLo5AeXw57SFDX05qKu2o=")
MESSAGE = b"Subject: hello\r\n\r\n" + b"The quick brown fox. " * 20_000


@contextmanager
def dice() -> Iterator[random.Random]:
    """Give fresh random numbers; a failure inside tells the seed that makes them again."""
    seed = secrets.randbits(32)
    try:
        yield random.Random(seed)  # noqa: S311  # test data, no secret
    except BaseException as error:
        error.add_note(f"the random numbers had seed {seed}")
        raise


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    return tmp_path / "257-2.msg"


def read_blob(path: Path, size: int) -> bytes:
    with open_blob(path, size) as stream:
        return stream.read()


def read_or_fail(path: Path, size: int) -> bytes | str:
    try:
        return read_blob(path, size)
    except ItemError as error:
        return error.cause


# --- digests


@pytest.mark.parametrize("digest", [HELLO_SHA256, HELLO_SHA1])
def test_a_digest_is_made_with_the_hash_of_its_length(blob: Path, digest: Digest) -> None:
    blob.write_bytes(HELLO)
    with open_blob(blob, len(HELLO)) as stream:
        assert digest_of(stream, digest) == digest


@pytest.mark.parametrize("digest", ["", "x" * 43, "x" * 45, "x" * 64])
def test_a_digest_of_another_length_is_broken(digest: str) -> None:
    with pytest.raises(BrokenItem):
        hash_name_of(Digest(digest))


# --- whole blobs


@pytest.mark.parametrize(
    "content",
    [b"", b"x", HELLO, MESSAGE, b"\x1f\x8b is how this one begins", bytes(CHUNK_BYTES)],
    ids=len,
)
def test_a_plain_blob_is_read_as_it_is(blob: Path, content: bytes) -> None:
    blob.write_bytes(content)
    assert read_blob(blob, len(content)) == content


@pytest.mark.parametrize("content", [b"", b"x", HELLO, MESSAGE, bytes(CHUNK_BYTES * 3)], ids=len)
def test_a_packed_blob_is_unpacked(blob: Path, content: bytes) -> None:
    blob.write_bytes(gzip.compress(content))
    assert read_blob(blob, len(content)) == content


def test_a_gzip_file_of_the_told_length_is_plain(blob: Path) -> None:
    packed = gzip.compress(MESSAGE)
    blob.write_bytes(packed)
    assert read_blob(blob, len(packed)) == packed


def test_a_blob_can_be_read_in_small_pieces(blob: Path) -> None:
    blob.write_bytes(gzip.compress(MESSAGE))
    with open_blob(blob, len(MESSAGE)) as stream:
        assert b"".join(iter(lambda: stream.read(997), b"")) == MESSAGE


def test_a_blob_has_lines(blob: Path) -> None:
    blob.write_bytes(HELLO)
    with open_blob(blob, len(HELLO)) as stream:
        assert list(stream) == [b"Hello\r\n", b"\r\n", b"hi"]


def test_a_hard_linked_blob_is_read(blob: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(HELLO)
    blob.hardlink_to(tmp_path / "other")
    assert read_blob(blob, len(HELLO)) == HELLO


def test_random_blobs_come_back(blob: Path) -> None:
    with dice() as numbers:
        content = numbers.randbytes(numbers.randrange(300_000)) + bytes(numbers.randrange(300_000))
        blob.write_bytes(gzip.compress(content, numbers.randrange(10)))
        assert read_blob(blob, len(content)) == content


# --- blobs that are not what they claim to be


@pytest.mark.parametrize("size", [0, 1, len(HELLO) - 1, len(HELLO) + 1, 2**40, -1])
def test_a_plain_blob_of_another_length_is_broken(blob: Path, size: int) -> None:
    blob.write_bytes(HELLO)
    with pytest.raises(BrokenItem):
        open_blob(blob, size)


@pytest.mark.parametrize("size", [0, 1, len(MESSAGE) - 1, len(MESSAGE) + 1, 2**40, -1])
def test_a_packed_blob_of_another_length_is_broken(blob: Path, size: int) -> None:
    blob.write_bytes(gzip.compress(MESSAGE))
    assert read_or_fail(blob, size) == "broken item"


@pytest.mark.parametrize("size", [1000, 0, -1])
def test_a_bomb_is_not_unpacked(blob: Path, size: int) -> None:
    blob.write_bytes(gzip.compress(bytes(64 * 1024 * 1024)))
    tracemalloc.start()
    outcome = read_or_fail(blob, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome == "broken item"
    assert peak < 1024 * 1024


def test_a_long_blob_is_never_held_whole(blob: Path) -> None:
    size = 64 * 1024 * 1024
    blob.write_bytes(gzip.compress(bytes(size)))
    tracemalloc.start()
    with open_blob(blob, size) as stream:
        read = sum(len(chunk) for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == size
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("kept", [2, 5, 10, 18, -9, -8, -1])
def test_a_torn_packed_blob_is_broken(blob: Path, kept: int) -> None:
    blob.write_bytes(gzip.compress(MESSAGE)[:kept])
    assert read_or_fail(blob, len(MESSAGE)) == "broken item"


@pytest.mark.parametrize(
    "tail",
    [b"\0", b"garbage", b"\x1f\x8b", gzip.compress(b"", mtime=0), gzip.compress(HELLO, mtime=0)],
)
@pytest.mark.parametrize("content", [HELLO, MESSAGE, bytes(range(256)) * 700], ids=len)
def test_a_packed_blob_with_something_behind_it_is_broken(
    blob: Path, content: bytes, tail: bytes
) -> None:
    blob.write_bytes(gzip.compress(content, 0) + tail)
    assert read_or_fail(blob, len(content)) == "broken item"


def test_what_follows_a_full_chunk_is_seen(blob: Path) -> None:
    content = bytes(CHUNK_BYTES - len(gzip.compress(b"", 0)))
    packed = gzip.compress(content, 0)
    blob.write_bytes(packed + b"x")
    assert len(packed) == CHUNK_BYTES
    assert read_or_fail(blob, len(content)) == "broken item"


def test_a_wrong_checksum_is_broken(blob: Path) -> None:
    packed = bytearray(gzip.compress(MESSAGE))
    packed[-5] ^= 1
    blob.write_bytes(packed)
    assert read_or_fail(blob, len(MESSAGE)) == "broken item"


def test_the_last_bytes_come_only_when_the_blob_is_whole(blob: Path) -> None:
    blob.write_bytes(gzip.compress(MESSAGE) + b"garbage")
    with open_blob(blob, len(MESSAGE)) as stream, pytest.raises(BrokenItem):
        stream.read(len(MESSAGE))


def test_a_broken_blob_does_not_end_like_a_whole_one(blob: Path) -> None:
    blob.write_bytes(gzip.compress(MESSAGE) + b"garbage")
    with open_blob(blob, len(MESSAGE)) as stream:
        with pytest.raises(BrokenItem):
            stream.read()
        with pytest.raises(BrokenItem):
            stream.read()


@pytest.mark.parametrize("now", [b"", HELLO[:-1], HELLO + b"!"])
def test_a_plain_blob_that_changes_while_it_is_read_is_broken(blob: Path, now: bytes) -> None:
    blob.write_bytes(HELLO)
    with open_blob(blob, len(HELLO)) as stream:
        blob.write_bytes(now)
        with pytest.raises(BrokenItem):
            stream.read()


def test_randomly_damaged_packed_blobs_are_whole_or_broken(blob: Path) -> None:
    with dice() as numbers:
        content = numbers.randbytes(300) + bytes(500)
        outcomes = [damage_and_read(numbers, blob, content) for _ in range(500)]
        # Only header bytes without a meaning (time, system) can change and leave it whole.
        assert set(outcomes) <= {content, "broken item"}
        assert "broken item" in outcomes


def damage_and_read(dice: random.Random, blob: Path, content: bytes) -> bytes | str:
    packed = bytearray(gzip.compress(content))
    packed[dice.randrange(len(packed))] ^= 1 << dice.randrange(8)
    blob.write_bytes(packed[: dice.choice((len(packed), len(packed), dice.randrange(1, 200)))])
    return read_or_fail(blob, len(content))


# --- files that cannot be read


def test_a_missing_blob_is_a_read_error(blob: Path) -> None:
    with pytest.raises(ReadError, match="No such file"):
        open_blob(blob, 1)


def test_a_name_that_no_file_can_have_is_a_read_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        open_blob(tmp_path / "a\0b", 1)


def test_a_link_is_not_followed(blob: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(HELLO)
    blob.symlink_to(tmp_path / "target")
    with pytest.raises(ReadError):
        open_blob(blob, len(HELLO))


def test_a_folder_is_a_read_error(blob: Path) -> None:
    blob.mkdir()
    with pytest.raises(ReadError):
        open_blob(blob, blob.stat().st_size)


def test_a_pipe_is_a_read_error_and_nobody_waits_for_its_other_end(blob: Path) -> None:
    os.mkfifo(blob)
    with pytest.raises(ReadError, match="no regular file"):
        open_blob(blob, 0)


def test_a_device_is_a_read_error() -> None:
    with pytest.raises(ReadError, match="no regular file"):
        open_blob(Path("/dev/zero"), 0)


def test_a_disk_that_fails_is_a_read_error() -> None:
    # A regular file that answers every read at its start with an input/output error.
    memory = Path("/proc/self/mem")
    with pytest.raises(ReadError, match="Input/output error"), open_blob(memory, 0) as stream:
        stream.read()
