"""Trees that somebody else made or changed: nothing in them is believed, nothing leads outside."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout, metadata
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import (
    BackupPathBroken,
    BadRequest,
    BrokenItem,
    ItemError,
    ReadError,
    UnsupportedFormat,
)
from backupng.engine.model import Digest, EntryKind, ItemId, from_ms, spell_digest
from tests.engine.backuppath.samples import (
    ACCOUNT,
    ITEM,
    PLAIN,
    SCAN,
    SERVER,
    blob_file,
    blobs_below,
    files,
    fill,
    item_file,
    message,
    write,
)

FLIPS = 300


# --- hostile trees


def sealed_history(path: BackupPath, *bodies: bytes) -> None:
    """Write a history whose sums are right, whatever it says."""
    file = layout.item_file(ACCOUNT, ITEM)
    digits, data = metadata.first_digits(layout.chain_seed(file)), b""
    for body in bodies:
        line, digits = metadata.seal(digits, body)
        data += line
    item_file(path).parent.mkdir(parents=True, exist_ok=True)
    item_file(path).write_bytes(data)


LINE = b'{"n":1,"mod":11,"t":0,"type":"message"%s}'
MORE = b',"more":"%s"'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"n":1}',
        LINE.replace(b"1,", b"2,", 1) % b"",
        LINE.replace(b'"n":1', b'"n":true') % b"",
        LINE.replace(b'"n":1,', b"") % b"",
        LINE % b',"mod":12',
        LINE % b',"date":1e999',
        LINE % (b',"x":' + b"[" * 100 + b"]" * 100),
        LINE % (b',"x":"' + b"y" * (1 << 20) + b'"'),
        LINE % (MORE % b"no digest"),
        LINE % (MORE % (b"../" * 14 + b"x=")),
        LINE % b',"more":5',
        LINE % b',"digest":"../../etc/passwd"',
    ],
)
def test_a_body_with_a_right_sum_is_not_believed(path: BackupPath, body: bytes) -> None:
    sealed_history(path, body)

    with pytest.raises(BrokenItem, match=str(item_file(path))):
        path.history(ACCOUNT, ITEM)
    with pytest.raises(BrokenItem):
        write(path, message(mod=12))


def bulk(path: BackupPath, data: bytes) -> bytes:
    with path.writer(SCAN) as writer:
        digest, _, _ = writer.add_blob([data])
        writer.commit()
    return LINE % (MORE % digest.encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"row":[]}', b'{"row":{"a":1,"a":2}}', b'{"x":"' + bytes(100) + b'"}']
)
def test_bulk_is_not_believed_either(path: BackupPath, data: bytes) -> None:
    sealed_history(path, bulk(path, data))

    with pytest.raises(BrokenItem, match=str(item_file(path))):
        path.history(ACCOUNT, ITEM)


def test_bulk_that_unpacks_to_more_than_a_history_stops_at_once(path: BackupPath) -> None:
    sealed_history(path, bulk(path, b'{"row":{}}' + b" " * (70 << 20)))

    with pytest.raises(BrokenItem, match="larger than the format allows"):
        path.history(ACCOUNT, ITEM)


def test_bulk_that_is_missing_is_a_read_error(path: BackupPath) -> None:
    sealed_history(path, LINE % (MORE % spell_digest(bytes(32)).encode()))

    with pytest.raises(ReadError, match="is missing"):
        path.history(ACCOUNT, ITEM)


def test_bulk_never_overrides_its_body(path: BackupPath) -> None:
    sealed_history(path, bulk(path, b'{"mod":99,"t":99,"row":{"a":1},"n":7}'))

    (state,) = path.history(ACCOUNT, ITEM)

    assert (state.mod, state.start, state.row) == (11, from_ms(0), {"a": 1})


def test_a_history_of_two_gibibytes_is_refused_without_being_read(path: BackupPath) -> None:
    sealed_history(path, LINE % b"")
    os.truncate(item_file(path), 2 << 30)

    with pytest.raises(ReadError, match=f"{item_file(path)} is larger"):
        path.history(ACCOUNT, ITEM)


@pytest.mark.parametrize(
    "digest", ["", "x", "/etc/passwd", "../../../etc/passwd", "../" * 14 + "x=", "a" * 44]
)
def test_what_is_no_digest_leads_nowhere(path: BackupPath, digest: str) -> None:
    with pytest.raises(ReadError, match="is missing"):
        list(path.blob(Digest(digest)))
    with path.writer(SCAN) as writer:
        assert not writer.has_blob(Digest(digest))
    assert path.find_blob(Digest(digest)) is None


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch, lambda path: path.symlink_to("/")])
@pytest.mark.parametrize("name", ["accounts", "items", "server", "checkpoint"])
def test_a_top_folder_that_is_none_ends_the_operation(
    path: BackupPath, make: Callable[[Path], None], name: str
) -> None:
    make(path.tree.root / name)
    reading: dict[str, Callable[[], object]] = {
        "accounts": path.accounts,
        "items": path.measure_blobs,
        "server": lambda: path.entry_ids(EntryKind.COS),
        "checkpoint": path.checkpoint,
    }

    with pytest.raises(BadRequest) as caught:
        reading[name]()

    assert caught.value.code == "path_not_readable"


def test_an_empty_blob_is_written_anew_and_an_empty_checkpoint_is_damage(path: BackupPath) -> None:
    digest, _ = fill(path)
    os.truncate(blob_file(path, digest), 0)
    os.truncate(path.tree.root / layout.checkpoint_file(SERVER), 0)

    with path.writer(SCAN) as writer:
        assert not writer.has_blob(digest)
        writer.add_blob([PLAIN[0]])
        writer.commit()

    assert content(path, digest) == PLAIN[0]
    with pytest.raises(BackupPathBroken):
        path.checkpoint()


# --- every flipped bit


def found_flaws(root: Path) -> list[str]:
    """Read everything that a tree of `fill` holds; return what is wrong, each with its file."""
    flaws: list[str] = []

    def look(read: Callable[[], object]) -> None:
        try:
            read()
        except (ItemError, BackupPathBroken, UnsupportedFormat) as error:
            flaws.append(str(error))

    look(lambda: BackupPath.open(root).close())
    if flaws:
        return flaws
    with BackupPath.open(root) as path:
        look(path.checkpoint)
        look(lambda: path.entry_history(EntryKind.ACCOUNT, ACCOUNT))
        look(lambda: path.entry_history(EntryKind.COS, "c"))
        look(lambda: path.mailbox_history(ACCOUNT))
        look(lambda: path.history(ACCOUNT, ITEM))
        look(lambda: path.history(ACCOUNT, ItemId(258)))
        for digest in blobs_below(root):
            look(partial(content, path, digest))
    return flaws


def content(path: BackupPath, digest: Digest) -> bytes:
    return b"".join(path.blob(digest))


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def unfound(root: Path, flips: int, seed: int) -> list[str]:
    """Flip one bit at a time, in every file in turn; return where nobody noticed.

    A blob whose content is right all the same is named in brackets: some bits of a compressed file
    say nothing, such as the time in a gzip member.
    """
    dice, names = random.Random(seed), sorted(files(root))  # noqa: S311  # bits, not secrets
    missed: list[str] = []
    for number in range(flips):
        name = names[number % len(names)]
        bit = dice.randrange((root / name).stat().st_size * 8)
        flip(root / name, bit)
        flaws = found_flaws(root)
        if len(flaws) != 1 or Path(name).name not in flaws[0]:
            missed.append(f"({name})" if reads_right(root, name) else f"{name} bit {bit}")
        flip(root / name, bit)
    return missed


def reads_right(root: Path, name: str) -> bool:
    with BackupPath.open(root) as path:
        return name.startswith("items/") and content(path, Digest(Path(name).name)) in PLAIN


def test_a_flipped_bit_in_any_file_is_found_and_the_file_is_named(path: BackupPath) -> None:
    fill(path)
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated

    missed = unfound(path.tree.root, FLIPS, seed)

    assert [each for each in missed if not each.startswith("(")] == []
    assert len(missed) < FLIPS / 10
    assert found_flaws(path.tree.root) == []
