"""Coherency Check: every flaw is found and named by its file, what is whole is left in peace."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout, metadata, values
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import Stopped
from backupng.engine.model import Digest, ItemId
from backupng.engine.upkeep.coherency import CoherencyCheck
from tests.engine.backuppath.samples import (
    ACCOUNT,
    NOON,
    PLAIN,
    SCAN,
    add_message,
    blob_file,
    item_file,
    message,
    write,
)
from tests.engine.upkeep.coherence import check, checkpoint, filled, in_memory, told
from tests.engine.upkeep.purging import real_now

BROKEN, MISSING, WRONG = "broken metadata", "missing blob", "wrong digest"
ORPHAN, NO_FILE = "orphan", "no regular file"


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return an empty folder where syncs cost nothing."""
    with in_memory() as folder:
        yield folder


@pytest.fixture
def tree(memory: Path) -> Iterator[tuple[BackupPath, Digest, Digest]]:
    """Return an open Backup Path with one of everything, and its two blobs."""
    path, first, second = filled(memory / "tree")
    with path:
        yield path, first, second


def name(digest: Digest) -> str:
    return str(layout.blob_file(digest))


def test_a_whole_tree_has_no_findings_and_everything_in_it_is_counted(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree

    findings = check(path)

    assert told(findings) == []
    assert {each: findings.counts[each] for each in ("accounts", "metadata_files", "states")} == {
        "accounts": 1,
        "metadata_files": 5,
        "states": 6,
    }
    assert findings.counts["blobs"] == 2
    read = sum(
        file.stat().st_size
        for top in ("accounts", "server", "items")
        for file in (path.tree.root / top).rglob("*")
        if file.is_file()
    )
    assert findings.counts["bytes_read"] == read


def test_a_missing_and_a_wrong_blob_are_told_with_the_item_that_needs_them(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, first, second = tree
    blob_file(path, first).unlink()
    blob_file(path, second).write_bytes(gzip.compress(b"something else"))

    findings = check(path)

    assert told(findings) == [(MISSING, name(first)), (WRONG, name(second))]
    assert {(each.account, each.item, each.is_current) for each in findings.found} == {
        (ACCOUNT, ItemId(257), False),
        (ACCOUNT, ItemId(258), True),
    }


@pytest.mark.parametrize("size", [0, 1, 20])
def test_a_blob_that_was_cut_is_wrong(tree: tuple[BackupPath, Digest, Digest], size: int) -> None:
    path, first, _ = tree
    os.truncate(blob_file(path, first), size)

    assert told(check(path)) == [(WRONG, name(first))]


def test_what_follows_a_frame_makes_the_blob_wrong(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, first, _ = tree
    blob_file(path, first).write_bytes(blob_file(path, first).read_bytes() + b"\0")

    assert told(check(path)) == [(WRONG, name(first))]


def test_an_orphan_is_told_and_a_wrong_one_is_wrong(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        orphan, _, _ = writer.add_blob([b"nobody names me"])
        broken, _, _ = writer.add_blob([b"nor me"])
        writer.commit()
    os.truncate(blob_file(path, broken), 5)

    assert told(check(path)) == sorted([(ORPHAN, name(orphan)), (WRONG, name(broken))])


def test_a_young_blob_is_no_orphan_while_somebody_writes(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        writer.add_blob([b"about to be named"])
        writer.commit()

        findings = check(path)

    assert told(findings) == []
    assert findings.counts["on_their_way"] == 1


def test_a_blob_that_is_named_while_the_check_runs_is_no_orphan(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        digest, length, _ = writer.add_blob([b"named late"])
        writer.commit()

    def tick(_done: int, _total: int, place: str) -> None:
        if place.startswith("items/") and not path.history(ACCOUNT, ItemId(300)):
            write(path, message(300, 20, digest=digest, size=length))

    # The clock of the disk may lag behind that of the host.
    findings = CoherencyCheck(path, real_now() + timedelta(minutes=59), tick).run()

    assert told(findings) == []


def test_blobs_of_old_and_of_long_states_are_no_orphans(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        old, _, _ = writer.add_blob([b"version 1"])
        sha1, _, _ = writer.add_blob([b"version 0"])
        side = {"revision": ({"version": 1, "blob_digest": old},)}
        kept = {Digest("a" * 27 + "="): sha1}
        long = message(300, 20, name="x" * (1 << 20), side_rows=side, kept_as=kept)
        writer.add_states(ACCOUNT, [long, message(300, 21)])
        writer.commit()

    assert told(check(path)) == []


def test_a_lost_bulk_breaks_the_history_that_needs_it(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    known = set(path.tree.root.glob("items/*/*"))
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(300, 20), message(300, 21, name="x" * (1 << 20))])
        writer.commit()
    (bulk,) = set(path.tree.root.glob("items/*/*")) - known
    bulk.unlink()

    assert (BROKEN, str(layout.item_file(ACCOUNT, ItemId(300)))) in told(check(path))


@pytest.mark.parametrize("place", ["account", "mailbox", "item", "cos", "checkpoint"])
def test_a_changed_byte_is_found_in_each_kind_of_metadata(
    tree: tuple[BackupPath, Digest, Digest], place: str
) -> None:
    path, _, _ = tree
    folder = layout.account_folder(ACCOUNT)
    file = {
        "account": str(folder / "account"),
        "mailbox": str(folder / "mailbox"),
        "item": str(layout.item_file(ACCOUNT, ItemId(257))),
        "cos": "server/cos/c",
        "checkpoint": checkpoint(),
    }[place]
    at = path.tree.root / file
    data = bytearray(at.read_bytes())
    data[5] ^= 1
    at.write_bytes(data)

    assert told(check(path)) == [(BROKEN, file)]


def test_a_number_that_no_writer_would_append_is_broken(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    file = layout.item_file(ACCOUNT, ItemId(300))
    digits, data = metadata.first_digits(layout.chain_seed(file)), b""
    for number, mod in enumerate((5, 4), 1):
        body = values.dump_body(metadata.spell_state(message(300, mod), number))
        line, digits = metadata.seal(digits, body)
        data += line
    item_file(path, 300).parent.mkdir()
    item_file(path, 300).write_bytes(data)

    assert told(check(path)) == [(BROKEN, str(file))]


def test_a_torn_tail_is_no_damage(tree: tuple[BackupPath, Digest, Digest]) -> None:
    path, _, _ = tree
    with item_file(path).open("ab") as file:
        file.write(b'{"n":3,"mod"')
    since = 2_000_000_001
    os.utime(item_file(path), (since, since))

    findings = check(path)

    assert told(findings) == []
    assert findings.counts["torn_tails"] == 1


def test_a_state_that_is_newer_than_the_checkpoint_may_lack_its_blob(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        digest, length, _ = writer.add_blob([b"not copied yet"])
        state = message(300, 20, digest=digest, size=length, source="scan:3000000000000")
        writer.add_states(ACCOUNT, [state])
        writer.commit()
    blob_file(path, digest).unlink()

    findings = check(path)

    assert told(findings) == []
    assert findings.counts["pending"] == 1


def test_links_pipes_and_folders_are_told_and_never_opened(
    tree: tuple[BackupPath, Digest, Digest], tmp_path: Path
) -> None:
    path, first, second = tree
    blob_file(path, first).unlink()
    blob_file(path, first).symlink_to(tmp_path / "outside")
    blob_file(path, second).unlink()
    os.mkfifo(blob_file(path, second))
    item_file(path).unlink()
    item_file(path).mkdir()

    assert told(check(path)) == sorted(
        (NO_FILE, file)
        for file in (name(second), name(first), str(layout.item_file(ACCOUNT, ItemId(257))))
    )


def test_names_that_are_not_the_trees_are_counted_and_left_alone(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, _ = tree
    root = path.tree.root
    strays = ("notes.txt", "items/readme", "items/zz", "server/other")
    for strange in (*strays, "accounts/a.b", "accounts/README"):
        (root / strange).parent.mkdir(parents=True, exist_ok=True)
        (root / strange).write_text("mine")
    item_file(path).with_name("0257").write_text("mine")

    findings = check(path)

    assert told(findings) == [(NO_FILE, "items/zz")]
    assert findings.counts["foreign_names"] == 6


def test_of_one_account_only_what_it_needs_is_read(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, first, _ = tree
    with path.writer(SCAN) as writer:
        orphan, _, _ = writer.add_blob([b"nobody names me"])
        writer.commit()
    os.truncate(blob_file(path, orphan), 0)
    blob_file(path, first).unlink()

    findings = check(path, {ACCOUNT})

    assert told(findings) == [(MISSING, name(first))]
    assert findings.counts["blobs"] == 1


def test_a_size_that_is_not_that_of_the_blob_is_told(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, second = tree
    write(path, message(301, 20, digest=second, size=len(PLAIN[1]) + 1))

    assert told(check(path)) == [("wrong size", name(second))]


def test_what_was_compressed_twice_is_told_if_that_is_asked_for(
    tree: tuple[BackupPath, Digest, Digest],
) -> None:
    path, _, second = tree
    blob_file(path, second).write_bytes(gzip.compress(gzip.compress(PLAIN[1])))

    assert told(check(path)) == [(WRONG, name(second))]
    assert told(check(path, looks_twice=True)) == [("compressed twice", name(second))]


def test_a_stop_is_heard_on_the_way(tree: tuple[BackupPath, Digest, Digest]) -> None:
    path, _, _ = tree

    def tick(_done: int, _total: int, place: str) -> None:
        if place.startswith("items/"):
            raise Stopped("asked for")

    with pytest.raises(Stopped):
        CoherencyCheck(path, NOON, tick).run()


def test_a_long_blob_is_verified_by_bites(tree: tuple[BackupPath, Digest, Digest]) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        digest = add_message(writer, b"ab" * (20 << 20), 300, 20)
        writer.commit()

    assert told(check(path)) == []
    file = blob_file(path, digest)
    file.write_bytes(file.read_bytes() + b"x")
    assert told(check(path)) == [(WRONG, name(digest))]
