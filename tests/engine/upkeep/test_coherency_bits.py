"""P9: one flipped bit anywhere: the check names the file, and nothing wrong is ever read.

And trees that an enemy made: a sentence or findings, never anything outside, bounded memory.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout, metadata
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.verifying import Verifier
from backupng.engine.errors import BackupPathBroken, BackupPathError, BrokenItem, ItemError
from backupng.engine.model import Digest, EntryKind, ItemId, spell_digest
from tests.engine.backuppath.samples import (
    ACCOUNT,
    SCAN,
    blobs_below,
    files,
    item_file,
    message,
)
from tests.engine.upkeep.coherence import check, filled, in_memory
from tests.proofs.told import new_seed, tell

FLIPS, PROOF_FLIPS = 60, 20_000


@pytest.fixture
def root() -> Iterator[Path]:
    """Return the root of a tree with one file of each kind, a `more` blob included."""
    with in_memory() as folder:
        path, _, _ = filled(folder / "tree")
        with path, path.writer(SCAN) as writer:
            writer.add_states(ACCOUNT, [message(300, 20), message(300, 21, name="x" * (1 << 20))])
            writer.commit()
        yield folder / "tree"


def named(root: Path) -> set[str]:
    """Return the files that a check of the tree names."""
    try:
        with BackupPath.open(root) as path:
            return {str(each.path) for each in check(path).found}
    except BackupPathError as error:
        return {name for name in ("format",) if str(root / name) in str(error)}


def readable(root: Path) -> dict[str, object]:
    """Return all that a restore would take from the tree, by what it is."""
    found: dict[str, object] = {}

    def look(name: str, read: Callable[[], object]) -> None:
        try:
            found[name] = read()
        except (ItemError, BackupPathBroken):
            found.pop(name, None)

    try:
        path = BackupPath.open(root)
    except BackupPathError:
        return found
    with path:
        look("checkpoint", path.checkpoint)
        look("account", lambda: path.entry_history(EntryKind.ACCOUNT, ACCOUNT))
        look("cos", lambda: path.entry_history(EntryKind.COS, "c"))
        look("mailbox", lambda: path.mailbox_history(ACCOUNT))
        for item in path.items(ACCOUNT):
            look(f"item {item}", lambda item=item: path.history(ACCOUNT, item))  # type: ignore[misc]
        for digest in blobs_below(root):
            look(digest, lambda digest=digest: content(path, digest))  # type: ignore[misc]
    return found


def content(path: BackupPath, digest: Digest) -> bytes:
    return b"".join(path.blob(digest))


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def survey(root: Path, flips: int) -> list[str]:
    """Flip bits of every file in turn; return where nobody noticed, or something wrong was read."""
    seed = new_seed()
    tell("P9", flips, "flipped bits", seed=seed)
    dice, names = random.Random(seed), sorted(files(root))  # noqa: S311  # bits, not secrets
    whole, wrong = readable(root), []
    for number in range(flips):
        name = names[number % len(names)]
        bit = dice.randrange((root / name).stat().st_size * 8)
        flip(root / name, bit)
        read = readable(root)
        if any(whole[each] != value for each, value in read.items()):
            wrong.append(f"{name} bit {bit} is read as something else")
        elif name not in named(root) and Path(name).name not in read:
            wrong.append(f"{name} bit {bit} is not found")
        flip(root / name, bit)
    return wrong


def test_a_flipped_bit_is_found_in_every_file_and_never_read_as_something_else(root: Path) -> None:
    assert named(root) == set()
    assert survey(root, FLIPS) == []


@pytest.mark.proofs
def test_twenty_thousand_flipped_bits_are_found(root: Path) -> None:
    assert survey(root, PROOF_FLIPS) == []


# Trees of an enemy


def test_a_history_of_two_gibibytes_is_broken_and_not_read(root: Path) -> None:
    with BackupPath.open(root) as path:
        os.truncate(item_file(path), 2 << 30)

        (finding,) = check(path).found

    assert finding.flaw == "broken metadata"
    assert "is larger than" in finding.why


def test_bulk_that_unpacks_to_more_than_a_history_is_broken(root: Path) -> None:
    with BackupPath.open(root) as path:
        with path.writer(SCAN) as writer:
            digest, _, _ = writer.add_blob([b'{"row":{}}' + b" " * (70 << 20)])
            writer.commit()
        file = layout.item_file(ACCOUNT, ItemId(400))
        body = b'{"n":1,"mod":1,"t":0,"type":"message","more":"%s"}' % digest.encode()
        line, _ = metadata.seal(metadata.first_digits(layout.chain_seed(file)), body)
        item_file(path, 400).parent.mkdir(exist_ok=True)
        item_file(path, 400).write_bytes(line)

        assert [str(each.path) for each in check(path).found] == [str(file)]


@pytest.mark.parametrize("top", ["accounts", "items", "server", "checkpoint"])
def test_a_top_folder_that_leads_outside_is_told_and_not_followed(root: Path, top: str) -> None:
    (root / top).rename(root / "elsewhere")
    (root / top).symlink_to(root.parent)

    with BackupPath.open(root) as path:
        findings = check(path).found

    assert ("read error", top) in {(str(each.flaw), str(each.path)) for each in findings}


def test_names_of_bytes_that_are_no_text_are_counted(root: Path) -> None:
    for folder in ("items", "accounts", "server/cos", f"accounts/{ACCOUNT}/items/57"):
        os.mkfifo(os.fsencode(root / folder) + b"/\xff\xfe")

    with BackupPath.open(root) as path:
        findings = check(path)

    assert findings.found == []
    assert findings.counts["foreign_names"] == 4


def test_of_a_blob_whose_frame_lies_no_more_is_unpacked_than_a_blob_may_hold(root: Path) -> None:
    bomb = b"\x28\xb5\x2f\xfd\x04\x88" + b"\x02\x00\x10\x61" * 100_000
    with BackupPath.open(root) as path:
        digest = Digest("A" * 43 + "=")
        file = root / layout.blob_file(digest)
        file.parent.mkdir()
        file.write_bytes(bomb)

        assert [str(each.flaw) for each in check(path).found] == ["wrong digest"]


@pytest.mark.parametrize("said", [1 << 17, 1 << 31, 1 << 40, (1 << 64) - 2])
def test_a_frame_that_says_to_hold_what_its_blocks_cannot_is_not_believed(
    tmp_path: Path, said: int
) -> None:
    plain = b"x" * 100
    block = len(plain) << 3 | 1
    frame = b"\x28\xb5\x2f\xfd\xc0\x68" + said.to_bytes(8, "little")
    file = tmp_path / "blob"
    file.write_bytes(frame + block.to_bytes(3, "little") + plain)

    with pytest.raises(BrokenItem, match="cannot be unpacked"):
        Verifier().verify(file.open("rb"), spell_digest(hashlib.sha256(plain).digest()))
