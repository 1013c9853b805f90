"""fixBackup: what is broken goes to quarantine, nothing is destroyed, and it may be killed."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupPathBusy
from backupng.engine.model import Digest, ItemId
from backupng.engine.upkeep.coherency_findings import Flaw
from tests.engine.backuppath.calls import watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    PLAIN,
    SCAN,
    blob_file,
    files,
    item_file,
    mailbox,
    message,
    mods,
    new_path,
    write,
)
from tests.engine.upkeep.coherence import check, checkpoint, filled, in_memory, repair, told

Tree = tuple[BackupPath, Digest, Digest]


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return an empty folder where syncs cost nothing."""
    with in_memory() as folder:
        yield folder


@pytest.fixture
def tree(memory: Path) -> Iterator[Tree]:
    """Return an open Backup Path with one of everything, and its two blobs."""
    path, first, second = filled(memory / "tree")
    with path:
        yield path, first, second


def spoil(file: Path, line: int = 0) -> bytes:
    """Change one byte of a line, counted from 0; return what the file was."""
    good = file.read_bytes()
    lines = good.splitlines(keepends=True)
    lines[line] = lines[line].replace(b"t", b"u", 1)
    file.write_bytes(b"".join(lines))
    return good


def quarantined(path: BackupPath) -> dict[str, bytes]:
    found = files(path.tree.root / "quarantine" / "check")
    return {name: data for name, data in found.items() if name != "list"}


def uncertain(path: BackupPath) -> set[str]:
    return set(path.scanner().get("uncertain", {}))


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

    assert repair(path, findings) == []
    assert told(check(path)) == []


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


# Killed at any call


def damaged(root: Path) -> BackupPath:
    """Make a tree with a flaw of each kind that is moved."""
    path, first, second = filled(root)
    with path.writer(SCAN) as writer:
        writer.add_blob([b"nobody names me"])
        writer.add_mailbox(mailbox(15))
        writer.commit()
    spoil(item_file(path), line=1)
    spoil(path.tree.root / layout.mailbox_file(ACCOUNT), line=1)
    os.truncate(blob_file(path, first), 9)
    blob_file(path, second).write_bytes(b"neither")
    return path


def repair_and_die(root: Path, at: int) -> None:
    """Repair up to the call of that number that changes the disk."""
    calls = 0

    def before(_call: str, _args: tuple[Any, ...]) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)

    with BackupPath.open(root) as path:
        findings = check(path)
        with watched(before):
            repair(path, findings)


def dies(root: Path, at: int) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            repair_and_die(root, at)
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    assert os.WIFSIGNALED(ended) or os.WEXITSTATUS(ended) == 0
    return os.WIFSIGNALED(ended)


def contents(root: Path) -> set[bytes]:
    """Return every content there is below a root, wherever it lies."""
    return set(files(root).values())


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.proofs)])
def test_a_repair_that_is_killed_anywhere_destroys_nothing_and_can_be_run_again(
    memory: Path, step: int
) -> None:
    damaged(memory / "origin").close()
    valuable = {
        data
        for name, data in files(memory / "origin").items()
        if not name.startswith("checkpoint/")
    }
    number, lived = 1 - step, False
    while not lived:
        number += step
        root = memory / str(number)
        shutil.copytree(memory / "origin", root)
        lived = not dies(root, number)

        assert valuable <= contents(root), f"killed at call {number}"
        with new_path(root) as path:
            repair(path, check(path))
            assert told(check(path)) == [
                ("missing blob", str(file)) for file in sorted(_missing(path))
            ], f"killed at call {number}"
            assert ACCOUNT in uncertain(path)
        assert valuable <= contents(root)
        shutil.rmtree(root)
    assert number > 20


def _missing(path: BackupPath) -> list[Path]:
    return [
        Path(layout.blob_file(state.digest))
        for item in path.items(ACCOUNT)
        for state in path.history(ACCOUNT, item)
        if state.digest
    ]
