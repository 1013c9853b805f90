"""A Backup Path as a whole: made, opened, refused, read."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.blobs import BlobCodec
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.provisioning import spell_format
from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.errors import (
    BackupError,
    BackupPathBroken,
    BackupPathBusy,
    BadRequest,
    NotABackupPath,
    UnsupportedFormat,
)
from backupng.engine.model import EntryKind, spell_digest
from tests.engine.backuppath.calls import watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    ITEM,
    NOON,
    SCAN,
    SERVER,
    blob_file,
    files,
    fill,
    item_file,
    message,
    mods,
    new_path,
    write,
)
from tests.engine.backuppath.test_provisioning import said
from tests.processes import descriptors

OTHER = "11111111-0000-4000-8000-000000000001"


# --- making and opening


def test_a_tree_is_made_in_an_empty_folder_and_opened_again(tmp_path: Path) -> None:
    before = descriptors()

    with new_path(tmp_path / "tree") as made, new_path(tmp_path / "tree") as opened:
        assert made.form == opened.form
        assert (made.form.server_id, made.form.server_name, made.form.created) == (
            SERVER,
            "zimbra1",
            NOON,
        )

    assert list(files(tmp_path / "tree")) == ["format"]
    assert descriptors() == before


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()

    with pytest.raises(NotABackupPath, match="holds no file `format`"):
        new_path(tmp_path)

    assert [each.name for each in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as caught:
        BackupPath.open(tmp_path / "missing")

    assert caught.value.code == "path_missing"
    assert list(tmp_path.iterdir()) == []


def test_the_tree_of_another_server_is_refused(tmp_path: Path) -> None:
    new_path(tmp_path).close()
    before = descriptors()

    with pytest.raises(BackupPathBusy, match="is the Backup Path of the server zimbra1"):
        BackupPath.open_or_create(tmp_path, Owner(server_id=OTHER, server_name="b"), now=NOON)

    assert descriptors() == before


def test_of_two_servers_that_make_a_tree_in_one_folder_the_second_is_refused(
    tmp_path: Path,
) -> None:
    waiting, outcome = threading.Event(), list[str]()

    def note(name: str, args: tuple[Any, ...]) -> None:
        if name == "flock":
            waiting.set()

    def second() -> None:
        with watched(note):
            try:
                BackupPath.open_or_create(
                    tmp_path, Owner(server_id=OTHER, server_name="b"), now=NOON
                )
            except BackupError as error:
                outcome.append(str(error))

    first = Tree(tmp_path)
    with first.locked_alone():
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        with new_path(tmp_path.parent / "model") as model:
            first.replace(layout.FORMAT, spell_format(model.form), role="create")
    thread.join(60)
    first.close()

    assert outcome == [f"{tmp_path} is the Backup Path of the server zimbra1."]
    with BackupPath.open(tmp_path) as path:
        assert path.form.server_id == SERVER


FORMATS: dict[str, tuple[bytes, type[BackupError]]] = {
    "empty": (b"", BackupPathBroken),
    "cut": (said()[:-5], BackupPathBroken),
    "another major": (said("2.0"), UnsupportedFormat),
    "an unknown feature": (said("1.1", features="a:incompat"), UnsupportedFormat),
    "too long": (b"backupng 1.0\n" + bytes(1 << 20), BadRequest),
}


@pytest.mark.parametrize(("data", "error"), FORMATS.values(), ids=FORMATS)
def test_a_format_that_is_not_ours_closes_the_tree_again(
    tmp_path: Path, data: bytes, error: type[BackupError]
) -> None:
    (tmp_path / "format").write_bytes(data)
    before = descriptors()

    with pytest.raises(error, match=str(tmp_path / "format")):
        BackupPath.open(tmp_path)

    assert descriptors() == before


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_a_format_that_is_no_file_ends_the_operation(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "format")

    with pytest.raises(BadRequest, match="format cannot be read") as caught:
        BackupPath.open(tmp_path)

    assert caught.value.code == "path_not_readable"


def test_a_tree_with_a_feature_for_readers_only_is_read_and_not_written(tmp_path: Path) -> None:
    (tmp_path / "format").write_bytes(said("1.1", features="colours:ro-compat"))

    with BackupPath.open(tmp_path) as path:
        assert path.accounts() == []
        with pytest.raises(UnsupportedFormat, match="can only read"), path.writer(SCAN):
            pass

    assert [each.name for each in tmp_path.iterdir()] == ["format"]


def test_a_tree_replaced_since_it_was_opened_is_not_written(path: BackupPath) -> None:
    (path.tree.root / "format").write_bytes(said())

    with pytest.raises(BackupPathBusy, match="migrated or replaced"), path.writer(SCAN):
        pass


def test_a_tree_replaced_by_its_own_copy_is_not_in_place_any_more(path: BackupPath) -> None:
    path.require_in_place()
    root = path.tree.root
    shutil.copytree(root, root.with_name("copy"))

    root.rename(root.with_name("old"))

    with pytest.raises(NotABackupPath, match="was moved or replaced"):
        path.require_in_place()
    root.with_name("copy").rename(root)
    with pytest.raises(NotABackupPath, match="was moved or replaced"):
        path.require_in_place()


def test_a_tree_under_repair_is_not_written(path: BackupPath) -> None:
    other = Tree(path.tree.root)

    with (
        other.locked_alone(),
        pytest.raises(BackupPathBusy, match="being repaired"),
        path.writer(SCAN),
    ):
        pass

    other.close()


# --- reading


def test_what_is_not_there_is_empty(path: BackupPath) -> None:
    assert (path.accounts(), path.entry_ids(EntryKind.COS), [*path.items(ACCOUNT)]) == ([], [], [])
    assert (path.history(ACCOUNT, ITEM), path.mailbox_history(ACCOUNT)) == ((), ())
    assert path.last_state(ACCOUNT, ITEM) is None
    assert (path.measure_blobs()[0], path.checkpoint()) == (0, {})
    assert path.find_blob(spell_digest(bytes(32))) is None


def test_accounts_items_and_entries_are_listed_and_foreign_names_left_alone(
    path: BackupPath,
) -> None:
    fill(path)
    account = path.tree.root / layout.account_folder(ACCOUNT)
    for name in ("accounts/a.txt", "accounts/.x", "items/README", "items/lost+found/x", "server/x"):
        (path.tree.root / name).parent.mkdir(exist_ok=True)
        (path.tree.root / name).touch()
    for name in ("items/README", "items/5", "items/57/x", "items/57/258", "items/57/0257"):
        (account / name).touch()
    (path.tree.root / b"accounts/\xff".decode("utf-8", "surrogateescape")).mkdir()

    assert path.accounts() == path.entry_ids(EntryKind.ACCOUNT) == [ACCOUNT]
    assert path.entry_ids(EntryKind.COS) == ["c"]
    assert list(path.items(ACCOUNT)) == [257, 258]
    assert path.measure_blobs()[0] == 2


def test_the_last_state_and_the_place_of_a_blob_are_found(path: BackupPath) -> None:
    digest, zipped = fill(path)

    last = path.last_state(ACCOUNT, ITEM)
    found, other = path.find_blob(digest), path.find_blob(zipped)

    assert last is not None
    assert last.deleted
    assert found is not None
    assert (found.path, found.codec) == (blob_file(path, digest), BlobCodec.ZSTD)
    assert other is not None
    assert other.codec is BlobCodec.GZIP


def test_a_reader_looks_again_when_a_torn_tail_was_cut_under_its_eyes(path: BackupPath) -> None:
    write(path, message(mod=11))
    whole = item_file(path).read_bytes()
    item_file(path).write_bytes(whole + b'{"n":2 and the end of another line\n')
    real, opened = os.open, 0

    def second_time(name: Any, flags: int, *rest: Any, **named: Any) -> int:
        nonlocal opened
        if name == "257":
            opened += 1
            item_file(path).write_bytes(whole) if opened == 2 else None
        return real(name, flags, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", second_time)
        assert mods(path) == [11]

    assert opened == 2


def test_reading_leaves_no_file_open(path: BackupPath) -> None:
    digest, _ = fill(path)
    before = descriptors()

    path.history(ACCOUNT, ITEM)
    path.find_blob(digest)
    path.checkpoint()
    list(path.blob(digest))
    never_begun, left = path.blob(digest), path.blob(digest)
    next(left)
    del never_begun, left

    assert descriptors() <= before + 8  # folders, which stay open until the end
