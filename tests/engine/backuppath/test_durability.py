"""What becomes durable when, who holds which lock, and what a failed sync leaves."""

from __future__ import annotations

import errno
import os
import platform
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backupng.engine.backuppath import disk
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import LOCK, Place
from backupng.engine.errors import BackupPathBusy, BackupPathUnwritable
from tests.engine.backuppath.calls import Countdown, Ledger, inode, watched
from tests.processes import descriptors

HISTORY = Place("accounts/a/items/57/257")
BLOB = Place("items/y,/y,HY")
STAGED = Place(".staging/scan")


def staged(tree: Tree, data: bytes = b"blob") -> Place:
    with tree.stage("scan") as file:
        file.write(data)
    return file.path


# --- syncing


def small_group(tree: Tree) -> None:
    tree.append(HISTORY, b"line\n", cut_to=0)


def large_group(tree: Tree) -> None:
    for item in range(65):
        tree.append(HISTORY.parent / str(item), b"line\n", cut_to=0)


def test_a_small_group_is_synced_file_by_file_with_all_its_new_folders(tree: Tree) -> None:
    ledger = Ledger()

    with watched(ledger.before, ledger.after):
        small_group(tree)
        tree.sync()

    below = [tree.root / HISTORY, *(tree.root / HISTORY).parents]
    assert {inode(path) for path in below[: below.index(tree.root) + 1]} <= set(ledger.synced)
    assert (ledger.files, ledger.folders, ledger.whole) == (set(), set(), 0)


def test_a_large_group_is_synced_as_a_whole_file_system(tree: Tree) -> None:
    if not disk.can_sync_whole(tree._root_fd):
        pytest.skip(f"syncfs tells of no errors below {tree.root}")
    ledger = Ledger()

    with watched(ledger.before, ledger.after):
        large_group(tree)
        tree.sync()

    assert (ledger.synced, ledger.whole) == ([], 1)


def test_a_large_group_is_synced_file_by_file_where_syncfs_tells_of_no_errors(tree: Tree) -> None:
    tree._whole_sync = False
    ledger = Ledger()

    with watched(ledger.before, ledger.after):
        large_group(tree)
        tree.sync()

    assert (ledger.files, ledger.folders, ledger.whole) == (set(), set(), 0)


@pytest.mark.parametrize("group", [small_group, large_group])
def test_a_sync_that_fails_stops_everything(tree: Tree, group: Callable[[Tree], None]) -> None:
    group(tree)

    with watched(Countdown(1)), pytest.raises(BackupPathUnwritable, match="input/output error"):
        tree.sync()

    tree.sync()


def test_syncfs_itself_is_asked_and_believed(tree: Tree) -> None:
    disk.sync_whole(tree._root_fd)

    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.sync_whole(-1)


@pytest.mark.parametrize("release", ["5.7.19", "4.18.0-553.el8_10.x86_64", "3.10", "unknown"])
def test_a_kernel_before_5_8_syncs_file_by_file(
    tree: Tree, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "release", lambda: release)

    assert not disk.can_sync_whole(tree._root_fd)


@pytest.mark.parametrize("release", ["5.8.0", "6.1-rc3", "6.18.44-fc-v669", "10.0"])
def test_a_later_kernel_syncs_as_a_whole_on_a_file_system_that_reports(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "release", lambda: release)
    memory = os.open("/dev/shm", os.O_RDONLY)  # noqa: S108  # a tmpfs, only looked at
    other = os.open("/proc", os.O_RDONLY)

    assert disk.can_sync_whole(memory)
    assert not disk.can_sync_whole(other)
    os.close(memory)
    os.close(other)


def test_no_file_gets_its_name_before_its_content_is_durable(tree: Tree) -> None:
    ledger = Ledger()

    with watched(ledger.before, ledger.after):
        tree.publish(staged(tree), BLOB)

    files, _ = ledger.at_rename[BLOB.name]
    assert inode(tree.root / BLOB) not in files


def test_what_was_appended_since_the_last_sync_can_be_cut_back(tree: Tree) -> None:
    other = HISTORY.parent / "57"
    tree.append(HISTORY, b"one\n", cut_to=0)
    tree.sync()
    tree.append(HISTORY, b"two\n", cut_to=4)
    tree.append(other, b"one\n", cut_to=0)

    tree.undo()

    assert tree.read(HISTORY, limit=100) == b"one\n"
    assert tree.read(other, limit=100) == b""
    tree.sync()


def test_what_another_writer_has_built_upon_is_not_cut_back(tree: Tree) -> None:
    other = Tree(tree.root)
    tree.append(HISTORY, b"one\n", cut_to=0)
    other.append(HISTORY, b"two\n", cut_to=4)

    tree.undo()

    assert tree.read(HISTORY, limit=100) == b"one\ntwo\n"
    other.close()


# --- locks


def test_the_lock_of_a_folder_has_one_holder_at_a_time(tree: Tree) -> None:
    other, order = Tree(tree.root), list[str]()
    waiting = threading.Event()

    def note(name: str, _: object) -> None:
        if name == "flock":
            waiting.set()

    def second() -> None:
        with watched(note), other.locked(HISTORY.parent):
            order.append("second")

    with tree.locked(HISTORY.parent):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join(60)

    assert order == ["first", "second"]
    other.close()


def test_many_writers_share_the_trees_lock_and_none_gets_it_during_a_repair(tree: Tree) -> None:
    other = Tree(tree.root)
    before = descriptors()

    with tree.locked_for_writing(), other.locked_for_writing():
        pass
    with (
        tree.locked_alone(),
        pytest.raises(BackupPathBusy, match=f"{tree.root} is being repaired"),
        other.locked_for_writing(),
    ):
        pass

    assert descriptors() == before
    other.close()


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("format"), os.mkdir], ids=["link", "folder"]
)
def test_a_lock_that_is_no_file_is_refused(tree: Tree, make: Callable[[Path], None]) -> None:
    make(tree.root / LOCK)

    with pytest.raises(BackupPathUnwritable, match=r"\.lock"), tree.locked_for_writing():
        pass


def test_a_lock_that_the_file_system_has_none_of_is_refused(tree: Tree) -> None:
    before = descriptors()

    with (
        watched(Countdown(1, errno.ENOLCK, only="flock")),
        pytest.raises(BackupPathUnwritable, match="no locks available"),
        tree.locked_for_writing(),
    ):
        pass

    assert descriptors() == before


def test_what_a_killed_writer_left_staged_goes_and_other_roles_keep_theirs(tree: Tree) -> None:
    left = staged(tree)
    with tree.stage("scanner") as file:
        pass

    with tree.staging("scan"):
        assert tree.names(left.parent) == []

    assert tree.names(file.path.parent) == [file.path.name]


def test_what_a_living_writer_of_the_same_role_has_staged_stays(tree: Tree) -> None:
    other = Tree(tree.root)

    with tree.staging("scan"):
        path = staged(tree)
        with other.staging("scan"):
            staged(other)
        tree.publish(path, BLOB)
        assert len(tree.names(STAGED)) == 1

    assert tree.names(STAGED) == []
    assert tree.read(BLOB, limit=10) == b"blob"
    other.close()
