"""P16. Trees of every version are read for ever; what a newer one may need is respected."""

from __future__ import annotations

import json
import random
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupPathBroken, UnsupportedFormat
from tests.cast import Office
from tests.engine.backuppath.samples import files
from tests.proofs import golden
from tests.proofs.told import new_seed, tell

GOLDEN = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "formats").glob("*.*"))
NAMES = [folder.name for folder in GOLDEN]


def expected(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def spelled(value: object) -> Any:
    """Return a value as JSON brings it back."""
    return json.loads(json.dumps(value))


def test_there_is_a_golden_tree_of_each_released_version() -> None:
    assert NAMES == ["1.0"]


@pytest.mark.parametrize("folder", GOLDEN, ids=NAMES)
def test_all_of_a_golden_tree_is_read_and_nothing_is_changed(folder: Path) -> None:
    before = files(folder)

    with BackupPath.open(folder / "tree") as path:
        found = spelled(golden.held(path))

    assert found == expected(folder, "expected")
    assert files(folder) == before
    tell("P16", len(found["items"]) + len(found["blobs"]), "histories and blobs of golden trees")


@pytest.mark.parametrize("folder", GOLDEN, ids=NAMES)
def test_all_of_a_golden_tree_is_restored(folder: Path, mail: Office) -> None:
    assert spelled(golden.restored(mail, folder)) == expected(folder, "restored")


@pytest.mark.parametrize("folder", GOLDEN, ids=NAMES)
def test_the_golden_tree_has_one_thing_of_each_kind(folder: Path) -> None:
    held = expected(folder, "expected")
    text = b"".join(data for name, data in files(folder / "tree").items() if "items/" in name)
    bases = {state[2] for states in held["mailboxes"].values() for state in states}
    reasons = {state[2] for states in held["entries"].values() for state in states}

    assert {codec for codec, _ in held["blobs"].values()} == {"zstd", "gzip"}
    assert bases == {0, 1_000_000}
    assert "backup is off for its class of service" in reasons
    assert {b'"more":', b'"revision":', b'"deleted":true', b'"pos":"log:'} <= {
        word
        for word in (b'"more":', b'"revision":', b'"deleted":true', b'"pos":"log:')
        if word in text
    }
    assert held["checkpoint"]["smartscan"]
    assert held["scanner"]["log"]


WORDS = ("era", "dedup2", "chunks", "é", "x" * 60, "a-b", "1")
RULES = ("compat", "ro-compat", "incompat", "", "COMPAT", "never")


def judged(path: Path, features: list[str], version: tuple[int, int]) -> str:
    """Write a `format` of that version with these features; return what opening the tree says."""
    text = (path / "format").read_bytes().rpartition(b"#")[0].partition(b"\n")[2]
    head = f"backupng {version[0]}.{version[1]}\n".encode()
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(b"features")]
    if features:
        lines.append(f"features {' '.join(features)}\n".encode())
    whole = head + b"".join(lines)
    (path / "format").write_bytes(whole + b"#%08x\n" % zlib.crc32(whole))
    try:
        with BackupPath.open(path) as opened:
            return "read" if opened.form.read_only else "written"
    except UnsupportedFormat as error:
        return "refused" if error.hint and "Nothing was changed" in error.hint else repr(error)


def rule_for(features: list[str], version: tuple[int, int]) -> str:
    """Return what FORMAT.md §5 says of such a tree."""
    rules = {feature.partition(":")[2] for feature in features}
    if version[0] != 1 or rules - {"compat", "ro-compat"}:
        return "refused"
    return "read" if "ro-compat" in rules else "written"


@pytest.mark.parametrize("count", [200, pytest.param(5_000, marks=pytest.mark.proofs)])
def test_newer_trees_are_used_as_far_as_they_allow_it(tmp_path: Path, count: int) -> None:
    seed = new_seed()
    dice = random.Random(seed)  # noqa: S311 - words, not secrets
    shutil.copytree(GOLDEN[-1] / "tree", tmp_path / "tree")
    for number in range(count):
        features = [f"{dice.choice(WORDS)}:{dice.choice(RULES)}" for _ in range(dice.randrange(4))]
        version = dice.choice((1, 1, 1, 0, 2, 99)), dice.randrange(30)
        found = judged(tmp_path / "tree", features, version)
        assert found == rule_for(features, version), f"seed {seed}, {number}: {features} {version}"
    tell("P16", count, "feature words and versions", seed=seed)


def test_a_version_that_is_none_is_damage(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN[-1] / "tree", tmp_path / "tree")
    (tmp_path / "tree" / "format").write_bytes(b"backupng x.y\n")
    with pytest.raises(BackupPathBroken):
        BackupPath.open(tmp_path / "tree")
