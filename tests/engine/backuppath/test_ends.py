"""What a writer remembers of the histories it comes back to, and when it must not rely on that."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from backupng.engine.backuppath import metadata
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import BackupPathUnwritable, BrokenItem
from backupng.engine.model import ItemId
from tests.engine.backuppath.calls import Countdown, Ledger, inode, watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    ITEM,
    SCAN,
    item_file,
    message,
    mods,
    write,
)


@contextmanager
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Note which histories are read."""
    found: list[Any] = []
    read_lines = metadata.read_lines

    def noted(data: bytes, seed: str) -> metadata.Lines:
        found.append(seed)
        return read_lines(data, seed)

    with monkeypatch.context() as patch:
        patch.setattr(metadata, "read_lines", noted)
        yield found


def add(writer: Writer, mod: int, **values: Any) -> int:
    writer.add_states(ACCOUNT, [message(ITEM, mod, **values)])
    return writer.commit()


def test_a_history_that_nobody_else_touched_is_read_once(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, message(ITEM, 11))

    with path.writer(SCAN) as writer, reads(monkeypatch) as found:
        assert writer.last_state(ACCOUNT, ITEM) == message(ITEM, 11)
        add(writer, 12)
        assert writer.last_state(ACCOUNT, ITEM) == message(ITEM, 12)
        add(writer, 13)

    assert len(found) == 1
    assert mods(path) == [11, 12, 13]


def test_what_another_writer_has_added_is_read_before_anything_is_added_to_it(
    path: BackupPath,
) -> None:
    with path.writer("scanner") as writer:
        add(writer, 11)
        write(path, message(ITEM, 12))

        seen = writer.last_state(ACCOUNT, ITEM)
        news = [add(writer, 12), add(writer, 13)]

    assert seen == message(ITEM, 12)
    assert news == [0, 1]
    assert mods(path) == [11, 12, 13]


def test_damage_done_meanwhile_is_found(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        add(writer, 11)
        file = item_file(path)
        file.write_bytes(file.read_bytes().replace(b'"mod":11', b'"mod":91'))

        with pytest.raises(BrokenItem):
            writer.last_state(ACCOUNT, ITEM)
        assert add(writer, 12) == 0

        writer.refused.clear()


def test_after_a_group_that_failed_nothing_is_remembered_of_it(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        add(writer, 11)
        with watched(Countdown(1, only="fdatasync")), pytest.raises(BackupPathUnwritable):
            add(writer, 12)

        assert writer.last_state(ACCOUNT, ITEM) == message(ITEM, 11)
        assert add(writer, 12) == 1

    assert mods(path) == [11, 12]


def test_after_a_group_that_failed_a_history_that_cannot_be_cut_back_is_read_anew(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(name: str, _args: tuple[Any, ...]) -> None:
        if name in ("fdatasync", "ftruncate"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with path.writer(SCAN) as writer:
        add(writer, 11)
        with watched(failing), pytest.raises(BackupPathUnwritable):
            add(writer, 12)
        with reads(monkeypatch) as found:
            writer.last_state(ACCOUNT, ITEM)

    # What the kernel kept of it, the disk may not have: only a reader would see that.
    assert len(found) == 1


def test_the_folder_of_a_history_is_synced_once_and_again_when_the_file_is_another(
    path: BackupPath,
) -> None:
    write(path, message(ITEM, 11))
    folder = inode(item_file(path).parent)

    with path.writer(SCAN) as writer:
        synced = [_synced(writer, mod).count(folder) for mod in (12, 13)]
        copy = item_file(path).with_name("copy")
        copy.write_bytes(item_file(path).read_bytes())
        os.replace(copy, item_file(path))
        synced.append(_synced(writer, 14).count(folder))

    assert synced == [1, 0, 1]
    assert mods(path) == [11, 12, 13, 14]


def _synced(writer: Writer, mod: int) -> list[tuple[int, int]]:
    ledger = Ledger()
    with watched(ledger.before, ledger.after):
        add(writer, mod)
    assert (ledger.files, ledger.folders) == (set(), set())
    return ledger.synced


def test_what_another_writer_has_put_into_a_folder_that_this_one_made_is_found(
    path: BackupPath,
) -> None:
    neighbour = ItemId(ITEM + 100)
    with path.writer("scanner") as writer:
        add(writer, 11)
        write(path, message(neighbour, 12))

        writer.add_states(ACCOUNT, [message(neighbour, mod) for mod in (12, 13)])
        news = writer.commit()

    assert news == 1
    assert [state.mod for state in path.history(ACCOUNT, neighbour)] == [12, 13]
