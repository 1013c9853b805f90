"""fixBackup: what is broken goes to quarantine, nothing is destroyed, and it may be killed."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.mapfile import IdMap, ItemMap, Mapped
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupPathBusy
from backupng.engine.model import Digest, EntryKind, ItemId
from backupng.engine.upkeep.coherency_findings import Finding, Flaw
from tests.engine.backuppath.calls import Ledger, inode, watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    NOON,
    PLAIN,
    SCAN,
    blob_file,
    blobs_below,
    entry,
    files,
    item_file,
    mailbox,
    message,
    mods,
    write,
)
from tests.engine.upkeep.coherence import check, checkpoint, filled, repair, spoil, told, uncertain
from tests.engine.upkeep.purging import real_now

Tree = tuple[BackupPath, Digest, Digest]
OTHER = "544d94c6-aaef-4736-8964-56a667f1fe12"


@pytest.fixture
def tree(memory: Path) -> Iterator[Tree]:
    """Return an open Backup Path with one of everything, and its two blobs."""
    path, first, second = filled(memory / "tree")
    with path:
        yield path, first, second


def quarantined(path: BackupPath) -> dict[str, bytes]:
    found = files(path.tree.root / "quarantine" / "check")
    return {name: data for name, data in found.items() if name != "list"}


def test_a_broken_history_keeps_its_intact_beginning_and_goes_to_quarantine_whole(
    tree: Tree,
) -> None:
    path, _, _ = tree
    good = spoil(item_file(path), line=1)
    broken = item_file(path).read_bytes()

    moved = repair(path, check(path))

    file = str(layout.item_file(ACCOUNT, ItemId(257)))
    assert moved == [(file, f"quarantine/check/{file}")]
    assert quarantined(path) == {file: broken}
    assert item_file(path).read_bytes() == good.splitlines(keepends=True)[0]
    assert mods(path) == [11]
    assert told(check(path)) == []
    assert uncertain(path) == {ACCOUNT}


def test_a_history_without_any_intact_line_goes_as_it_is(tree: Tree) -> None:
    path, _, _ = tree
    spoil(item_file(path))
    broken = item_file(path).read_bytes()

    repair(path, check(path))

    assert not item_file(path).exists()
    assert broken in quarantined(path).values()
    assert write(path, message(257, 20)) == 1


def test_a_wrong_blob_and_an_orphan_go_and_what_is_whole_stays(tree: Tree) -> None:
    path, first, second = tree
    with path.writer(SCAN) as writer:
        orphan, _, _ = writer.add_blob([b"nobody names me"])
        writer.commit()
    os.truncate(blob_file(path, second), 9)
    kept = files(path.tree.root)

    repair(path, check(path))

    gone = {str(layout.blob_file(each)) for each in (second, orphan)}
    assert quarantined(path) == {name: kept[name] for name in gone}
    now = {
        name: data
        for name, data in files(path.tree.root).items()
        if not name.startswith(("quarantine/", "checkpoint/"))
    }
    before = {name: data for name, data in kept.items() if not name.startswith("checkpoint/")}
    assert now == {name: data for name, data in before.items() if name not in gone}
    assert b"".join(path.blob(first)) == PLAIN[0]


def test_the_list_says_from_where_to_where_and_why(tree: Tree) -> None:
    path, first, _ = tree
    os.truncate(blob_file(path, first), 9)

    repair(path, check(path))

    text = (path.tree.root / "quarantine" / "check" / "list").read_text()
    source, target, why = text.removesuffix("\n").split("\t")
    assert source == str(layout.blob_file(first))
    assert target == f"quarantine/check/{source}"
    assert why.startswith("wrong digest: ")


def test_links_and_pipes_are_moved_and_not_followed(tree: Tree, tmp_path: Path) -> None:
    path, first, second = tree
    outside = tmp_path / "outside"
    outside.write_text("mine")
    blob_file(path, first).unlink()
    blob_file(path, first).symlink_to(outside)
    blob_file(path, second).unlink()
    os.mkfifo(blob_file(path, second))

    repair(path, check(path))

    moved = path.tree.root / "quarantine" / "check" / layout.blob_file(first)
    assert moved.is_symlink()
    assert outside.read_text() == "mine"
    assert not blob_file(path, second).exists()


def test_a_broken_mailbox_history_begins_a_new_era_at_the_next_scan(tree: Tree) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        writer.add_mailbox(mailbox(15))
        writer.commit()
    spoil(path.tree.root / layout.mailbox_file(ACCOUNT), line=1)

    repair(path, check(path))

    first, last = path.mailbox_history(ACCOUNT)
    assert first.mod == 11
    assert (last.mailbox.mailbox_id, last.mark, last.mod) == (0, "", 12)
    assert told(check(path)) == []


def test_a_broken_checkpoint_makes_room_for_a_new_one(tree: Tree) -> None:
    path, _, _ = tree
    file = path.tree.root / checkpoint()
    file.write_bytes(file.read_bytes()[:-3])

    repair(path, check(path))

    assert path.checkpoint() == {}
    assert list(quarantined(path)) == [checkpoint()]


def scanner_file(path: BackupPath) -> Path:
    return path.tree.root / layout.scanner_file(path.form.server_id)


def say(path: BackupPath, **said: Any) -> None:
    """Have the scanner say something of itself."""
    with path.writer("scanner") as writer:
        writer.set_scanner(said)


def test_a_broken_scanner_checkpoint_leaves_every_account_uncertain(tree: Tree) -> None:
    path, _, _ = tree
    say(path, uncertain={ACCOUNT: {"since": 1, "reason": "a gap"}})
    broken = scanner_file(path).read_bytes()[:-3]
    scanner_file(path).write_bytes(broken)
    findings, at_rename = check(path), []

    def after(call: str, _args: tuple[Any, ...], _named: dict[str, Any], _result: Any) -> None:
        if call == "rename":
            at_rename.append(scanner_file(path).read_bytes() == broken or uncertain(path) == {"*"})

    with watched(after=after):
        repair(path, findings)

    assert len(at_rename) > 2
    assert all(at_rename)
    assert uncertain(path) == {"*"}
    assert list(quarantined(path).values()) == [broken]
    assert told(check(path)) == []


def test_a_scanner_checkpoint_written_anew_since_it_was_found_is_left_alone(tree: Tree) -> None:
    path, _, _ = tree
    scanner_file(path).write_bytes(b"broken")
    findings = check(path)
    scanner_file(path).unlink()
    say(path, uncertain={})

    assert repair(path, findings) == []
    assert uncertain(path) == set()


def test_damaged_maps_of_imports_are_told_and_go_as_a_whole(tree: Tree) -> None:
    path, _, _ = tree
    entries = IdMap(path.tree, OTHER)
    for old in ("1", "2"):
        mapped = Mapped(kind=EntryKind.ACCOUNT, old=old, new="t", name="t", here="t")
        entries.note(mapped, NOON)
        items = ItemMap(path.tree, ACCOUNT, server_id=OTHER, source=ACCOUNT, mailbox="m")
        items.note({ItemId(300 + int(old)): ItemId(400)}, NOON)
    maps = [str(layout.id_mapper(ACCOUNT)), str(layout.map_file(OTHER))]
    whole = check(path)
    for name in maps:
        spoil(path.tree.root / name)

    findings = check(path)
    moved = repair(path, findings)

    assert told(whole) == []
    assert told(findings) == [("broken metadata", name) for name in maps]
    assert sorted(source for source, _ in moved) == maps
    assert uncertain(path) == set()
    assert told(check(path)) == []


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer"])
def test_a_damaged_archive_of_the_configuration_is_told_and_put_aside(
    tree: Tree, damage: str
) -> None:
    path, _, _ = tree
    name = "server/customizations_02_03_26#12_00_00.tar.gz"
    good = gzip.compress(random.Random(1).randbytes(300_000))  # noqa: S311  # no secret
    bad = {
        "flipped": good[:-6] + bytes([good[-6] ^ 1]) + good[-5:],
        "cut": good[:-9],
        "longer": good + b"x",
    }
    (path.tree.root / name).write_bytes(good)
    whole = check(path)
    (path.tree.root / name).write_bytes(bad[damage])

    findings = check(path)
    moved = repair(path, findings)

    assert (told(whole), whole.counts["foreign_names"]) == ([], 0)
    assert told(findings) == [("broken metadata", name)]
    assert [source for source, _ in moved] == [name]
    assert told(check(path)) == []


def test_what_only_bears_the_name_of_an_archive_is_foreign_and_stays(tree: Tree) -> None:
    path, _, _ = tree
    folder = path.tree.root / "server" / "customizations_02_03_26#12_00_00.tar.gz"
    folder.mkdir()
    folder.with_name("customizations_02_03_26#12_00_01.tar.gz").symlink_to(folder)

    findings = check(path)

    assert (told(findings), findings.counts["foreign_names"]) == ([], 2)
    assert repair(path, findings) == []
    assert folder.is_dir()


def test_a_lost_blob_has_its_account_compared(tree: Tree) -> None:
    path, _, second = tree
    blob_file(path, second).unlink()

    assert repair(path, check(path)) == []

    assert uncertain(path) == {ACCOUNT}
    assert not (path.tree.root / "quarantine").exists()


def test_what_was_mended_since_it_was_found_is_left_alone(tree: Tree) -> None:
    path, first, _ = tree
    good = spoil(item_file(path))
    blob = blob_file(path, first).read_bytes()
    os.truncate(blob_file(path, first), 9)
    findings = check(path)
    item_file(path).write_bytes(good)
    blob_file(path, first).write_bytes(blob)

    assert repair(path, findings) == []


def test_an_orphan_that_was_named_since_it_was_found_is_left_alone(tree: Tree) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        orphan, length, _ = writer.add_blob([b"named late"])
        writer.commit()
    findings = check(path)
    write(path, message(300, 20, digest=orphan, size=length))

    # The clock of the disk may lag behind that of the host.
    assert repair(path, findings, started=real_now() + timedelta(minutes=59)) == []
    assert told(check(path)) == []


def test_while_a_late_history_cannot_be_read_no_orphan_goes(tree: Tree) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        orphan, length, _ = writer.add_blob([b"named late"])
        writer.commit()
    findings = check(path)
    write(path, message(300, 20, digest=orphan, size=length))
    item_file(path, 300).unlink()
    item_file(path, 300).mkdir()

    assert repair(path, findings) == []


def test_an_orphan_that_a_directory_entry_named_since_it_was_found_is_left_alone(
    tree: Tree,
) -> None:
    path, _, _ = tree
    findings = check(path)
    with path.writer(SCAN) as writer:
        writer.add_entry(entry(EntryKind.COS, "c", notes=b"n" * 2_000_000))
        writer.commit()
    (late,) = set(blobs_below(path.tree.root)) - set(tree[1:])
    findings.add(Finding(Flaw.ORPHAN, layout.blob_file(late), "no metadata refers to it"))

    assert repair(path, findings) == []


def test_accounts_are_uncertain_and_stamped_before_anything_of_them_is_moved(tree: Tree) -> None:
    path, _, _ = tree
    spoil(item_file(path), line=1)
    findings = check(path)
    stamp, at_move = path.stamp(ACCOUNT), []

    def before(call: str, args: tuple[Any, ...]) -> None:
        if call == "rename" and args[1] in ("257", *tree[1:]):
            at_move.append((uncertain(path), path.stamp(ACCOUNT) > stamp))

    with watched(before):
        repair(path, findings)

    assert len(at_move) == 2
    assert all(each == ({ACCOUNT}, True) for each in at_move)


def test_the_copy_of_a_broken_history_is_durable_before_its_beginning_replaces_it(
    tree: Tree,
) -> None:
    path, _, _ = tree
    spoil(item_file(path), line=1)
    findings, ledger = check(path), Ledger()
    copied: list[tuple[set[tuple[int, int]], set[tuple[int, int]]]] = []

    def before(call: str, args: tuple[Any, ...]) -> None:
        if call == "rename" and args[1] == "257":
            copied.append((set(ledger.files), set(ledger.folders)))

    with watched(before, ledger.after):
        repair(path, findings)

    (copy,) = (path.tree.root / "quarantine").rglob("257")
    assert inode(copy) not in copied[1][0]
    assert inode(copy.parent) not in copied[1][1]


def test_blobs_that_a_broken_history_may_name_are_no_orphans(tree: Tree) -> None:
    path, first, second = tree
    spoil(item_file(path))
    findings = check(path)

    assert told(findings) == [
        ("broken metadata", str(layout.item_file(ACCOUNT, ItemId(257)))),
    ]
    repair(path, findings)
    assert blob_file(path, first).exists()
    assert blob_file(path, second).exists()


def test_content_that_was_compressed_twice_is_written_anew(tree: Tree) -> None:
    path, _, second = tree
    twice = gzip.compress(gzip.compress(PLAIN[1]))
    blob_file(path, second).write_bytes(twice)

    findings = check(path, looks_twice=True)
    repair(path, findings, flaws=frozenset({Flaw.COMPRESSED_TWICE}))

    assert b"".join(path.blob(second)) == PLAIN[1]
    assert list(quarantined(path).values()) == [twice]


def test_nobody_repairs_beside_a_writer(tree: Tree) -> None:
    path, _, _ = tree
    with path.writer(SCAN), pytest.raises(BackupPathBusy), path.repairing():
        pass
    with path.repairing(), pytest.raises(BackupPathBusy), path.writer(SCAN):
        pass
