"""The note in `.lock`: who wrote last, who may write now."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupPathBusy, BackupPathUnwritable, BadRequest
from tests.engine.backuppath.boots import booted, lose_power, note
from tests.engine.backuppath.calls import Countdown, Ledger, inode, watched
from tests.engine.backuppath.mounts import loop_disk
from tests.engine.backuppath.samples import (
    ACCOUNT,
    NOON,
    OWNER,
    SCAN,
    item_file,
    message,
    mods,
    new_path,
    write,
)
from tests.services import require

HERE, THERE = replace(OWNER, host="here"), replace(OWNER, host="there")


def writers(path: BackupPath) -> str:
    return (path.tree.root / ".lock").read_text("ascii").split()[7]


def write_as(root: Path, *, host: str) -> BackupPath:
    with BackupPath.open_or_create(root, replace(OWNER, host=host), now=NOON) as path:
        write(path, message())
    return path


def test_writers_are_counted_while_they_live(path: BackupPath) -> None:
    with path.writer(SCAN):
        first = writers(path)
        with new_path(path.tree.root) as other, other.writer("scanner"):
            second = writers(path)

    assert (first, second, writers(path)) == ("1", "2", "0")


def test_a_writer_that_could_not_write_is_counted_until_the_next_one_has_synced(
    path: BackupPath,
) -> None:
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message()])
        with pytest.raises(BackupPathUnwritable), watched(Countdown(1, only="fdatasync")):
            writer.commit()
    unsettled = writers(path)

    with new_path(path.tree.root) as next_one:
        write(next_one, message())

    assert (unsettled, writers(path)) == ("1", "0")


@contextmanager
def killed_beside(path: BackupPath, *, lives: bool) -> Iterator[None]:
    """Have a writer killed before its last sync, while another one lives or not."""
    with ExitStack() as stack:
        if lives:
            other = stack.enter_context(new_path(path.tree.root))
            stack.enter_context(other.writer("scanner"))
        child = os.fork()
        if child == 0:
            with path.writer(SCAN):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        yield


@pytest.mark.parametrize("lives", [False, True], ids=["alone", "beside"])
def test_what_a_killed_writer_left_is_synced_before_anybody_relies_on_it(
    path: BackupPath,
    lives: bool,  # noqa: FBT001 - of a table
) -> None:
    ledger = Ledger()
    with killed_beside(path, lives=lives), new_path(path.tree.root) as next_one:
        with watched(after=ledger.after), next_one.writer("export"):
            synced = ledger.whole
        counted = writers(path)

    assert synced == 1
    assert counted == ("2" if lives else "0")


def test_nothing_is_synced_as_a_whole_beside_writers_that_all_live(path: BackupPath) -> None:
    ledger = Ledger()
    with (
        path.writer("scanner"),
        new_path(path.tree.root) as other,
        watched(after=ledger.after),
        other.writer(SCAN),
    ):
        assert ledger.whole == 0


def test_where_syncfs_tells_of_no_errors_each_file_is_synced(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, message())
    monkeypatch.setattr(platform, "release", lambda: "5.7.19")
    ledger = Ledger()

    with (
        killed_beside(path, lives=False),
        watched(after=ledger.after),
        new_path(path.tree.root) as next_one,
        next_one.writer(SCAN),
    ):
        synced = set(ledger.synced)

    assert {inode(item_file(path)), inode(item_file(path).parent)} <= synced


@pytest.mark.parametrize("said", [b"garbage\n", b""], ids=["damaged", "empty"])
def test_nobody_goes_on_unrecovered_beside_a_writer_that_the_note_does_not_tell_of(
    path: BackupPath, said: bytes
) -> None:
    with path.writer("scanner"), new_path(path.tree.root) as other:
        (path.tree.root / ".lock").write_bytes(said)
        with pytest.raises(BackupPathBusy, match="not closed cleanly"), other.writer(SCAN):
            pass

    write(path, message())
    assert path.recovered is not None


def test_after_a_power_loss_nobody_goes_on_unrecovered_beside_a_writer(path: BackupPath) -> None:
    with path.writer("scanner"), new_path(path.tree.root) as other:
        lose_power(path.tree.root)
        with pytest.raises(BackupPathBusy, match="not closed cleanly"), other.writer(SCAN):
            pass


def test_the_tree_of_another_host_is_refused_until_somebody_confirms(path: BackupPath) -> None:
    root = path.tree.root
    write_as(root, host="there")
    note(root, boot="theirs")

    with pytest.raises(BackupPathBusy, match="another host, there") as refused:
        write_as(root, host="here")
    with pytest.raises(BackupPathBusy):
        BackupPath.check_writable(root, HERE)
    path.confirm_host()
    write_as(root, host="here")

    assert "setProperty ZxBackup_DestPath" in refused.value.hint
    assert mods(path) == [11]


def test_the_same_host_after_its_next_boot_is_not_refused(path: BackupPath) -> None:
    write_as(path.tree.root, host="here")

    with booted("next"):
        write_as(path.tree.root, host="here")

    assert writers(path) == "0"


def test_a_copied_tree_is_nobodys(path: BackupPath) -> None:
    write_as(path.tree.root, host="there")
    note(path.tree.root, boot="theirs", writers=3)
    copy = shutil.copytree(path.tree.root, path.tree.root.with_name(f"{path.tree.root.name}-copy"))

    BackupPath.check_writable(copy, HERE)
    copied = write_as(copy, host="here")

    assert copied.recovered is not None
    assert writers(copied) == "0"


@pytest.mark.parametrize(
    "said", [b"", b"garbage\n", bytes(160), b"host a boot b inode 1 writers x\n"]
)
def test_a_note_that_cannot_be_read_leads_to_a_recovery(path: BackupPath, said: bytes) -> None:
    (path.tree.root / ".lock").write_bytes(said)

    write(path, message())

    assert path.recovered is not None
    assert writers(path) == "0"


def test_a_lock_that_is_replaced_beneath_a_living_writer_harms_nobody(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(257, 11)])
        (path.tree.root / ".lock").unlink()
        with new_path(path.tree.root) as other:
            write(other, message(258, 11))
        writer.commit()

    assert (mods(path, 257), mods(path, 258)) == ([11], [11])


def test_who_asks_whether_a_writer_lives_is_not_taken_for_one(path: BackupPath) -> None:
    with path.writer("scanner"):
        assert path.is_writing("scanner")
        assert not path.is_writing("scan")
    left = path.tree.root / ".pulses" / "scanner-killed"
    left.touch()

    with left.open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)

        assert not path.is_writing("scanner")


@pytest.fixture(params=["ext4 with casefold", "names by hand"])
def insensitive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return a place where names that differ in their case are one, or two links of one."""
    if request.param == "names by hand":
        yield tmp_path
        return
    with loop_disk("ext4", tmp_path, "-O", "casefold", "-E", "encoding=utf8") as disk:
        subprocess.run([require("chattr", "e2fsprogs"), "+F", disk.place], check=True)
        yield disk.place


def twin(file: Path) -> None:
    """Have a file found by its name in capital letters, too."""
    file.touch()
    with suppress(FileExistsError):
        os.link(file, file.with_name(file.name.upper()))


def test_where_capital_letters_are_small_ones_no_tree_is_made_or_written_to(
    insensitive: Path,
) -> None:
    root, tree = insensitive / "new", insensitive / "tree"
    for folder in (root, tree):
        folder.mkdir()
    write_as(tree, host="here")
    twin(tree / "format")
    twin(root / ".case-probe")

    for folder in (root, tree):
        with pytest.raises(BadRequest, match="does not tell capital from small") as refused:
            BackupPath.check_writable(folder, HERE)
        assert refused.value.code == "path_case_insensitive"
    assert not (root / "format").exists()
