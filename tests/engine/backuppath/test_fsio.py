"""The one door to the disk: links, kinds of files, modes, locks, syncs, and what it refuses."""

from __future__ import annotations

import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backupng.engine.backuppath.folders import KEPT_OPEN
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import BackupPathUnwritable, BadRequest, ReadError
from tests.processes import descriptors

HISTORY = Place("accounts/a/items/57/257")
BLOB = Place("items/y,/y,HY")
STAGED = Place(".staging/scan")
NOBODY = 65534


def staged(tree: Tree, data: bytes = b"blob") -> Place:
    with tree.stage("scan") as file:
        file.write(data)
    return file.path


def stage_half(tree: Tree) -> None:
    with tree.stage("scan") as file:
        file.write(b"half")
        raise ReadError("the source fails")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def largest_file(length: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- the root


@pytest.mark.parametrize("name", ["missing", "file", "missing/below", "file/below", "nul\0"])
def test_a_root_that_is_no_folder_is_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BadRequest) as caught:
        Tree(tmp_path / name)

    assert caught.value.code == "path_missing"


def test_a_root_that_cannot_be_opened_is_not_readable(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(BadRequest) as caught:
        Tree(tmp_path / "loop")

    assert caught.value.code == "path_not_readable"


# --- reading


def test_what_is_not_there_is_none_and_an_absent_folder_is_empty(tree: Tree) -> None:
    assert tree.open(HISTORY) is None
    assert tree.read(HISTORY, limit=10) is None
    assert tree.names(HISTORY.parent) == []


def test_a_file_is_read_up_to_its_limit_and_no_larger_one(tree: Tree) -> None:
    (tree.root / "file").write_bytes(b"12345")

    assert tree.read(Place("file"), limit=5) == b"12345"
    with pytest.raises(ReadError, match="file is larger than 4 bytes"):
        tree.read(Place("file"), limit=4)


def test_a_huge_sparse_file_is_refused_without_being_read(tree: Tree) -> None:
    with (tree.root / "file").open("wb") as file:
        file.truncate(1 << 42)

    with pytest.raises(ReadError, match="larger"):
        tree.read(Place("file"), limit=64 << 20)


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(os.path.relpath(path))


ODD: list[Callable[[Path], None]] = [_link, _loop, _dangling, os.mkfifo, os.mkdir, _socket]


@pytest.mark.parametrize("make", ODD)
def test_what_is_there_and_no_regular_file_cannot_be_read(
    tree: Tree, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.root)
    make(tree.root / "odd")
    before = descriptors()

    with pytest.raises(ReadError, match=str(tree.root / "odd")):
        tree.open(Place("odd"))

    assert descriptors() == before


@pytest.mark.parametrize("depth", range(4))
def test_a_folder_that_is_a_link_leads_nowhere(tree: Tree, tmp_path: Path, depth: int) -> None:
    outside = tmp_path / "outside"
    outside.joinpath(*HISTORY.parts[depth + 1 : -1]).mkdir(parents=True)
    outside.joinpath(*HISTORY.parts[depth + 1 :]).write_bytes(b"secret")
    link = tree.root.joinpath(*HISTORY.parts[: depth + 1])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)

    with pytest.raises(ReadError):
        tree.read(HISTORY, limit=100)
    with pytest.raises(ReadError):
        tree.names(HISTORY.parent)
    with pytest.raises(BackupPathUnwritable):
        tree.append(HISTORY, b"more", cut_to=6)
    with pytest.raises(BackupPathUnwritable):
        tree.touch(HISTORY)


@pytest.mark.parametrize("path", ["../x/y", "a/../../x/y", "/etc/passwd", "/x"])
def test_a_path_that_leads_out_of_the_tree_is_refused(tree: Tree, path: str) -> None:
    (tree.root / "a").mkdir()

    with pytest.raises(ReadError, match="leads out of the tree"):
        tree.open(Place(path))
    with pytest.raises(BackupPathUnwritable, match="leads out of the tree"):
        tree.append(Place(path), b"x", cut_to=0)


def test_a_folder_swapped_for_a_link_is_not_followed(tree: Tree) -> None:
    tree.append(HISTORY, b"mine", cut_to=0)
    tree.root.joinpath("accounts").rename(tree.root.with_name("moved"))
    tree.root.joinpath("accounts").symlink_to("/etc")

    assert tree.read(HISTORY, limit=10) == b"mine"
    assert tree.names(Place("accounts")) == ["a"]


@contextmanager
def no_longer_root() -> Iterator[None]:
    """Be nobody for a while where the tests run as root, to whom nothing is closed."""
    user = os.geteuid()
    os.seteuid(NOBODY if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_without_permission_is_a_read_error(tree: Tree) -> None:
    tree.root.chmod(0o755)
    (tree.root / "file").touch(mode=0)

    with no_longer_root(), pytest.raises(ReadError, match="file cannot be read: permission denied"):
        tree.open(Place("file"))


# --- writing


def test_lines_are_appended_and_a_torn_tail_is_cut_first(tree: Tree) -> None:
    tree.append(HISTORY, b"one\n", cut_to=0)
    tree.append(HISTORY, b"two\nto", cut_to=4)
    tree.append(HISTORY, b"three\n", cut_to=8)

    assert tree.read(HISTORY, limit=100) == b"one\ntwo\nthree\n"


def test_a_history_shorter_than_it_was_read_is_not_filled_with_nulls(tree: Tree) -> None:
    tree.append(HISTORY, b"one\n", cut_to=0)

    with pytest.raises(BackupPathUnwritable, match="shorter than it was"):
        tree.append(HISTORY, b"two\n", cut_to=8)

    assert tree.read(HISTORY, limit=100) == b"one\n"


@pytest.mark.parametrize("length", [4, 5, 11])
def test_a_short_write_is_cut_back_and_stops_everything(tree: Tree, length: int) -> None:
    tree.append(HISTORY, b"one\n", cut_to=0)
    before = descriptors()

    with largest_file(length), pytest.raises(BackupPathUnwritable):
        tree.append(HISTORY, b"two two\n", cut_to=4)

    assert tree.read(HISTORY, limit=100) == b"one\n"
    assert descriptors() == before


@pytest.mark.parametrize("mask", [0, 0o022, 0o027, 0o077], ids=oct)
def test_files_have_mode_0640_and_folders_0750_under_any_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask), closing(Tree(tmp_path)) as tree, tree.locked_for_writing():
        tree.append(HISTORY, b"line\n", cut_to=0)
        tree.publish(staged(tree), BLOB)
        tree.replace(Place("checkpoint/s"), b"text", role="scan")
    found = tree.root.rglob("*")
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in found}

    assert modes == {(False, 0o640), (True, 0o750)}


def test_a_staged_file_gets_its_name_whole_and_leaves_nothing_behind(tree: Tree) -> None:
    path = staged(tree, b"blob" * 100_000)
    assert tree.names(STAGED) == [path.name]

    tree.publish(path, BLOB)

    assert tree.read(BLOB, limit=1 << 20) == b"blob" * 100_000
    assert tree.names(STAGED) == []


def test_a_file_whose_staging_ends_badly_is_gone(tree: Tree) -> None:
    before = descriptors()

    with pytest.raises(ReadError, match="the source"):
        stage_half(tree)

    assert tree.names(STAGED) == []
    assert descriptors() == before + 2  # the two folders, which stay open
    tree.sync()


def test_an_error_of_the_source_is_not_taken_for_one_of_the_disk(tree: Tree) -> None:
    with pytest.raises(FileNotFoundError), tree.stage("scan"):
        raise FileNotFoundError("of the mail store")


def test_a_disk_that_is_full_while_a_file_is_staged_leaves_nothing(tree: Tree) -> None:
    with largest_file(10), pytest.raises(BackupPathUnwritable), tree.stage("scan") as file:
        file.write(b"x" * 100)

    assert tree.names(STAGED) == []


def test_a_small_file_is_replaced_as_a_whole(tree: Tree) -> None:
    tree.replace(Place("format"), b"old, and long", role="create")
    tree.replace(Place("format"), b"new", role="create")

    assert tree.read(Place("format"), limit=100) == b"new"
    assert tree.names(Place(".staging/create")) == []


def test_a_replacement_that_fails_keeps_the_old_file_and_can_be_repeated(tree: Tree) -> None:
    tree.replace(Place("format"), b"old", role="create")

    with largest_file(1), pytest.raises(BackupPathUnwritable):
        tree.replace(Place("format"), b"new", role="create")
    assert tree.read(Place("format"), limit=100) == b"old"
    tree.replace(Place("format"), b"new", role="create")

    assert tree.read(Place("format"), limit=100) == b"new"


def test_a_touch_makes_a_file_young_and_finds_only_files_with_content(tree: Tree) -> None:
    tree.publish(staged(tree), BLOB)
    os.utime(tree.root / BLOB, (0, 0))
    (tree.root / "empty").touch()
    (tree.root / "link").symlink_to(BLOB)

    assert tree.touch(BLOB)
    assert (tree.root / BLOB).stat().st_mtime > 0
    assert not tree.touch(Place("empty"))
    assert not tree.touch(Place("link"))
    assert not tree.touch(Place("items/zz/missing"))


def test_free_bytes_are_those_of_the_file_system(tree: Tree) -> None:
    found = os.statvfs(tree.root)

    assert 0 < tree.room().bytes <= found.f_blocks * found.f_frsize


# --- descriptors


def test_long_use_keeps_a_bounded_number_of_folders_open_and_closes_them_all(tree: Tree) -> None:
    before = descriptors()
    used = Tree(tree.root)

    for bucket in range(KEPT_OPEN + 14):
        used.append(Place(f"items/{bucket}/x"), b"line\n", cut_to=0)
    used.sync()

    assert descriptors() <= before + KEPT_OPEN + 1
    used.close()
    assert descriptors() == before


def test_a_folder_used_all_the_time_stays_open(tree: Tree) -> None:
    tree.append(HISTORY, b"line\n", cut_to=0)
    opened = tree._folders.kept[HISTORY.parent]

    for bucket in range(KEPT_OPEN + 14):
        tree.append(Place(f"items/{bucket}/x"), b"line\n", cut_to=0)
        tree.read(HISTORY, limit=10)

    assert tree._folders.kept[HISTORY.parent] == opened
