"""kill -9 between any two calls: nothing acknowledged is lost, nothing is half; a re-run completes.

FORMAT.md §6: each MUST is broken by a writer that stops between the two steps it speaks of; here
one stops everywhere.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import EntryKind, ItemId
from tests.engine.backuppath import killer
from tests.engine.backuppath.samples import ACCOUNT, SERVER, blobs_below, files, is_kept

ROOT = Path(__file__).resolve().parents[3]
COMPLETE = {257: [11, 12], 258: [12, 13]}


def runs(folder: Path, scenario: str, *, torn: bool = False) -> list[Path]:
    """Return the Backup Paths of all runs of the scenario, the one that lived at the end."""
    folder.mkdir()
    words = [scenario, str(folder), *(["torn"] if torn else [])]
    subprocess.run(
        [sys.executable, "-m", "tests.engine.backuppath.killer", *words], cwd=ROOT, check=True
    )
    return sorted((each for each in folder.iterdir() if each.is_dir()), key=lambda at: int(at.name))


def acknowledged(root: Path) -> set[str]:
    log = Path(f"{root}.acknowledged")
    return set(log.read_text("ascii").split()) if log.exists() else set()


def half_done(root: Path) -> str:
    """Return what is wrong with a tree whose writer was killed; nothing if nothing is."""
    with BackupPath.open(root) as path:
        states = {item: path.history(ACCOUNT, ItemId(item)) for item in COMPLETE}
        found = {item: [state.mod for state in states[item]] for item in COMPLETE}
        rest = path.entry_history(EntryKind.ACCOUNT, ACCOUNT), path.mailbox_history(ACCOUNT)
        whole = found == COMPLETE and [len(each) for each in rest] == [1, 1]
        if any(COMPLETE[item][: len(mods)] != mods for item, mods in found.items()):
            return f"{root}: {found}"
        if not all(is_kept(path, each) for history in states.values() for each in history):
            return f"{root}: a state precedes its blob"
        if not all(list(path.blob(digest)) for digest in blobs_below(root)):
            return f"{root}: a blob is not whole"
        if ("committed" in acknowledged(root) or path.checkpoint()) and not whole:
            return f"{root}: what was acknowledged is not there"
        if "checkpoint" in acknowledged(root) and path.checkpoint() != killer.CHECKPOINT:
            return f"{root}: the acknowledged checkpoint is not there"
    return ""


def completed(root: Path) -> dict[str, bytes]:
    """Run the scenario again, without a kill; return all files but the one with the tree's id."""
    killer.commit(root, lambda _: None)
    return but_format(root)


def but_format(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(root).items() if name != "format"}


@pytest.fixture(scope="module")
def killed_between_calls(in_memory: Path) -> list[Path]:
    return runs(in_memory / "between", "commit")


def test_the_kills_hit_every_step_of_the_order(killed_between_calls: list[Path]) -> None:
    found = [files(root) for root in killed_between_calls]
    history = str(layout.item_file(ACCOUNT, ItemId(257)))

    assert {1, 2, 3, 4} == {sum(name.startswith("items/") for name in each) for each in found}
    assert {1, 2} == {each[history].count(b"\n") for each in found}
    assert {0, 1, 2} <= {len(list((r / ".staging").glob("*/*"))) for r in killed_between_calls}
    assert {0, 1, 2} == {len(acknowledged(root)) for root in killed_between_calls}


def test_a_commit_killed_between_any_two_calls_leaves_nothing_half(
    killed_between_calls: list[Path],
) -> None:
    assert len(killed_between_calls) > 40
    assert list(filter(None, map(half_done, killed_between_calls))) == []


def test_the_next_run_completes_what_was_killed_between_any_two_calls(
    killed_between_calls: list[Path], in_memory: Path
) -> None:
    *killed, lived = killed_between_calls

    copies = [shutil.copytree(root, in_memory / "copies" / root.name) for root in killed]

    assert [root for root in copies if completed(root) != but_format(lived)] == []
    assert [root for root in copies if any((root / ".staging/scan").iterdir())] == []


def test_a_commit_killed_within_any_write_leaves_nothing_half_and_is_completed(
    in_memory: Path,
) -> None:
    *killed, lived = runs(in_memory / "within", "commit", torn=True)

    assert len(killed) > 6
    assert list(filter(None, map(half_done, killed))) == []
    assert [root for root in killed if completed(root) != but_format(lived)] == []


def test_a_tree_whose_creation_was_killed_at_any_call_is_made_by_the_next(in_memory: Path) -> None:
    killed = runs(in_memory / "creations", "create")[:-1]

    made = [_made_again(root) for root in killed]

    assert len(made) > 10
    assert {path for root in killed for path in (root / ".staging").rglob("*/*")} == set()
    assert made == [SERVER] * len(made)


def _made_again(root: Path) -> str:
    killer.create(root, lambda _: None)
    with BackupPath.open(root) as path:
        return path.form.server_id
