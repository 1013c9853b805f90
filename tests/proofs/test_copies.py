"""P6. A copy made at any moment, while a scanner writes at full speed, can be restored.

Each history of a copy is the beginning of the one that the scanner has written in the end. By the
recipe of docs/backup-path.md nothing is missing that the copied checkpoint speaks of; of a copy in
one go nothing is wrong, and what did not come along is pending or reported. Where the checkpoint
comes first, all that did not come along is pending.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.pending import Frontier
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ReadError
from backupng.engine.model import AccountId, ItemId, ItemState
from backupng.engine.restore.select import ALL_TIME, select_account
from tests.proofs.busy import busy_backup
from tests.proofs.told import new_seed, tell

Model = dict[tuple[AccountId, ItemId], tuple[ItemState, ...]]
Copy = Callable[[Path, Path], None]
MAP = str(layout.map_file("of-another-server"))
WITHOUT_WORK = ("--exclude=/.staging", "--exclude=/.lock")


def by_recipe(tree: Path, copy: Path) -> None:
    """Copy checkpoints, then maps and metadata, then blobs."""
    in_order(tree, copy, ("format", "checkpoint"), (MAP,), ("accounts", "server"), ("items",))


def blobs_too_early(tree: Path, copy: Path) -> None:
    """Copy checkpoints, then blobs, then metadata: what is newer lacks its blobs."""
    in_order(tree, copy, ("format", "checkpoint"), ("items",), ("accounts", "server"), (MAP,))


def in_order(tree: Path, copy: Path, *parts: Sequence[str]) -> None:
    for names in parts:
        there = [str(tree / name) for name in names if (tree / name).exists()]
        run("rsync", "-aH", *there, str(copy), may_end_with=(0, 24))


def in_one_pass(tree: Path, copy: Path) -> None:
    run("rsync", "-aH", *WITHOUT_WORK, f"{tree}/", str(copy), may_end_with=(0, 24))


def listed_first(tree: Path, copy: Path) -> None:
    """Copy what a list of everything names that was made before."""
    words = ("-aH", "--no-inc-recursive", *WITHOUT_WORK)
    run("rsync", *words, f"{tree}/", str(copy), may_end_with=(0, 24))


def by_tar(tree: Path, copy: Path) -> None:
    archive = copy.with_suffix(".tar")
    words = ("--exclude=./.staging", "--exclude=./.lock", "-cf", str(archive))
    # It ends with 1 when a file has grown while it was read.
    run("tar", "-C", str(tree), *words, ".", may_end_with=(0, 1))
    run("tar", "-C", str(copy), "-xf", str(archive))
    archive.unlink()


def by_cp(tree: Path, copy: Path) -> None:
    # It ends with 1 when a working file has vanished.
    run("cp", "-a", f"{tree}/.", str(copy), may_end_with=(0, 1))


def run(*words: str, may_end_with: Sequence[int] = (0,)) -> None:
    done = subprocess.run(words, check=False, capture_output=True)
    assert done.returncode in may_end_with, done.stderr


CHECKPOINT_FIRST: tuple[Copy, ...] = (by_recipe, blobs_too_early)
IN_ONE_GO: tuple[Copy, ...] = (in_one_pass, listed_first, by_tar, by_cp)


def model_of(tree: Path) -> Model:
    """Return every history that was written in the end."""
    with BackupPath.open(tree) as path:
        return {
            (account, item): path.history(account, item)
            for account in path.accounts()
            for item in path.items(account)
        }


def flaws(copy: Path, model: Model, found: Counter[str]) -> list[str]:
    """Return what a copy says that never was; count in `found` what it lacks."""
    with BackupPath.open(copy) as path:
        histories = {
            (account, item): path.history(account, item)
            for account in path.accounts()
            for item in path.items(account)
        }
        wrong = [
            f"{key} is no beginning"
            for key, states in histories.items()
            if states != model[key][: len(states)]
        ]
        for account in path.accounts():
            selection = select_account(path, account, ALL_TIME)
            states = list(selection.states())
            wrong += [f"{account}: {error}" for _, error in selection.unreadable]
            found["pending"] += len(selection.pending)
            found["restored"] += len(states)
            found["missing"] += sum(not is_whole(path, state) for state in states)
            wrong += missing_before(path, account, model)
    return wrong if (copy / MAP).is_file() else [*wrong, f"{MAP} is missing"]


def is_whole(path: BackupPath, state: ItemState) -> bool:
    """Read a state's blob; False if it did not come along. Raises BrokenItem if it is wrong."""
    try:
        return state.digest is None or sum(map(len, path.blob(state.digest))) == state.size
    except ReadError:
        return False


def missing_before(path: BackupPath, account: AccountId, model: Model) -> list[str]:
    """Return the states from before the copied checkpoint that a copy has not got, blob included.

    Only a copy that begins with the checkpoint is bound to have them all.
    """
    if not is_bound(path.tree.root):
        return []
    frontier = Frontier.of(path, account)
    assert frontier.log
    missing = []
    for (whose, item), states in model.items():
        # A deletion may be decided long after the record that tells of it.
        old = [each for each in states if not (each.deleted or frontier.is_newer(each.source))]
        if whose == account and old:
            has = path.history(account, item)
            missing += [
                f"{item}: {state.source} is missing before {frontier.log}"
                for state in old
                if state not in has or not is_whole(path, state)
            ]
    return missing


def is_bound(copy: Path) -> bool:
    return copy.name.partition(".")[0] in {each.__name__ for each in CHECKPOINT_FIRST}


def make_copies(folder: Path, how: Sequence[Copy], *, seed: int, lead: int) -> Counter[str]:
    """Copy a busy backup in each of these ways; return what the copies have and lack."""
    copies = []
    with busy_backup(folder, seed=seed, lead=lead) as tree:
        (tree / MAP).write_bytes(b"")
        for number, copy in enumerate(how):
            to = folder / f"{copy.__name__}.{number}"
            to.mkdir()
            copy(tree, to)
            copies.append(to)
    model = model_of(folder / "backup")
    total: Counter[str] = Counter()
    for each in copies:
        found: Counter[str] = Counter()
        wrong = flaws(each, model, found)
        assert wrong == [], f"seed {seed}, {each.name}: {wrong[:5]}"
        assert not (is_bound(each) and found["missing"]), f"seed {seed}, {each.name}: {found}"
        total += found
    return total


@pytest.fixture(autouse=True)
def _needs_rsync() -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is missing: apt install rsync")


def test_copies_of_a_busy_backup_can_be_restored(in_memory: Path) -> None:
    seed = new_seed()
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    dice = random.Random(seed)  # noqa: S311 - a way to copy, no secret
    how = (*CHECKPOINT_FIRST, dice.choice(IN_ONE_GO))

    found = make_copies(in_memory, how, seed=seed, lead=40)

    assert found["restored"] > 0
    tell("P6", len(how), "copies", seed=seed)


@pytest.mark.proofs
@pytest.mark.parametrize("number", range(6))
def test_many_copies_of_a_busy_backup_can_be_restored(in_memory: Path, number: int) -> None:
    seed = new_seed()
    print(f"seed {seed}")  # noqa: T201  # a failure shows it, and can be repeated
    how = (*CHECKPOINT_FIRST * 3, *IN_ONE_GO)

    found = make_copies(in_memory, how, seed=seed, lead=100 + 150 * number)

    tell("P6", len(how), "copies", seed=seed)
    tell("P6", found["pending"], "pending items left out by them")
    tell("P6", found["missing"], "contents reported missing by copies in one go")
