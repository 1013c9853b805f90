"""Histories that were cut short, emptied or lost after a scan had written them: damage, no tail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import AccountId, Digest, ItemId
from tests.engine.backuppath.samples import (
    ACCOUNT,
    SCAN,
    blobs_below,
    deletion,
    entry,
    files,
    item_file,
    message,
    mods,
)
from tests.engine.upkeep.coherence import check, filled, in_memory, repair, told
from tests.engine.upkeep.purging import DAY, LONG_AGO, run

Tree = tuple[BackupPath, Digest, Digest]
BROKEN = "broken metadata"
_SCANNED = 2_000_000_000
"""When the last SmartScan of these trees began, in seconds."""
_LATER = LONG_AGO + 4_000 * DAY


@pytest.fixture
def tree() -> Iterator[Tree]:
    """Return a Backup Path that was scanned after all its states, and its two blobs."""
    with in_memory() as folder:
        path, first, second = filled(folder / "tree")
        with path:
            yield path, first, second


def cut(file: Path, *, by: int | None = None) -> None:
    """Take bytes from a file's end, or all of them; by its time that was before the last scan."""
    os.truncate(file, 0 if by is None else file.stat().st_size - by)
    os.utime(file, (_SCANNED - 1, _SCANNED - 1))


def own(path: BackupPath, name: str) -> Path:
    return path.tree.root / layout.account_folder(ACCOUNT) / name


@pytest.mark.parametrize("by", [10, None], ids=["cut", "emptied"])
def test_a_history_that_lost_its_end_before_the_last_scan_is_broken(
    tree: Tree, by: int | None
) -> None:
    path, _, _ = tree
    cut(item_file(path, 258), by=by)

    findings = check(path)

    assert told(findings) == [(BROKEN, str(layout.item_file(ACCOUNT, ItemId(258))))]
    assert (findings.counts["torn_tails"], findings.counts["unjudged"]) == (0, by is None)


@pytest.mark.parametrize("by", [10, None], ids=["cut", "emptied"])
def test_one_that_was_written_to_since_is_a_killed_writers(tree: Tree, by: int | None) -> None:
    path, _, _ = tree
    cut(item_file(path, 258), by=by)
    os.utime(item_file(path, 258), (_SCANNED, _SCANNED))

    findings = check(path)

    assert not any(flaw == BROKEN for flaw, _ in told(findings))


@pytest.mark.parametrize("by", [10, 200, None], ids=["cut", "cut deep", "emptied"])
def test_no_blob_is_removed_while_a_history_has_lost_its_end(tree: Tree, by: int | None) -> None:
    path, first, second = tree
    cut(item_file(path, 258), by=by)

    result = run(path, now=lambda: _LATER)

    assert {first, second} <= {Path(name).name for name in files(path.tree.root)}
    assert (result.flaws, result.blobs_removed) == (1, 0)
    assert str(item_file(path, 258)) in result.damage[0]


def test_a_repair_keeps_the_intact_beginning_and_moves_no_blob(tree: Tree) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(258, 20), message(300, 20)])
        writer.commit()
    emptied = item_file(path, 300)
    cut(item_file(path, 258), by=10)
    cut(emptied)
    blobs = len(blobs_below(path.tree.root))

    moved = [source for source, _ in repair(path, check(path))]

    assert sorted(moved) == sorted(
        str(layout.item_file(ACCOUNT, ItemId(each))) for each in (258, 300)
    )
    assert (mods(path, 258), emptied.exists(), len(blobs_below(path.tree.root))) == (
        [12],
        False,
        blobs,
    )
    assert ACCOUNT in path.scanner()["uncertain"]
    assert told(check(path)) == []


@pytest.mark.parametrize("name", ["account", "mailbox"])
@pytest.mark.parametrize("how", ["emptied", "missing"])
def test_an_account_without_its_own_histories_is_told_and_holds_a_purge_back(
    tree: Tree, name: str, how: str
) -> None:
    path, _, _ = tree
    with path.writer(SCAN) as writer:
        writer.add_blob([b"nobody names me"])
        writer.commit()
    cut(own(path, name))
    if how == "missing":
        own(path, name).unlink()
    file = str(layout.account_folder(ACCOUNT) / name)

    findings, result = check(path), run(path, now=lambda: _LATER)

    assert told(findings) == [(BROKEN, file)]
    assert findings.counts["unjudged"] == 1
    assert (result.flaws, result.blobs_removed) == (1, 0)
    assert file in result.damage[0]


def test_an_account_whose_first_scan_never_ended_is_named_and_left(tree: Tree) -> None:
    path, _, _ = tree
    stray = AccountId("9b2c3f3e-0d5c-4a57-9d3b-0d6f3f1c2a11")
    with path.writer(SCAN) as writer:
        writer.add_states(stray, [message(258, 20), deletion(258, 21)])
        orphan = writer.add_blob([b"nobody names me"])[0]
        writer.commit()
    folder = str(layout.account_folder(stray))

    findings, result = check(path), run(path)

    blob = str(layout.blob_file(orphan))
    assert sorted(told(findings)) == [(BROKEN, folder), ("orphan", blob)]
    assert result.flaws == 0
    assert folder in result.damage[0]
    assert repair(path, findings) == [(blob, f"quarantine/check/{blob}")]


def test_an_account_whose_first_scan_may_be_at_work_still_lacks_nothing(tree: Tree) -> None:
    path, _, _ = tree
    for name in ("account", "mailbox"):
        own(path, name).unlink()
    os.utime(own(path, "."), (_SCANNED, _SCANNED))

    assert told(check(path)) == []
    assert run(path).damage == []


def test_an_account_that_was_left_out_after_its_first_scan_was_killed_has_lost_nothing(
    tree: Tree,
) -> None:
    path, _, _ = tree
    own(path, "account").unlink()
    own(path, "mailbox").unlink()
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), deleted=True))
        writer.commit()

    assert told(check(path)) == []
    assert run(path).flaws == 0


def test_what_is_no_accounts_folder_is_foreign_and_named(tree: Tree) -> None:
    path, _, _ = tree
    (path.tree.root / "accounts" / "not-a-uuid").mkdir()
    (path.tree.root / "letter").write_text("hello")

    findings = check(path)

    assert sorted(findings.foreign) == ["accounts/not-a-uuid", "letter"]
    assert findings.counts["accounts"] == 1
