"""What a catalog takes a stamp for, and what it does not."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.model import ItemId
from tests.engine.backuppath.calls import watched
from tests.engine.backuppath.samples import ACCOUNT, SCAN, add_message, item_file, message, write


def test_after_a_power_cut_an_account_that_begins_anew_has_no_ghosts(
    path: BackupPath, catalog: Catalog, file: Path
) -> None:
    with path.writer(SCAN) as writer:
        digest = add_message(writer, b"gone")
        writer.commit()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE account SET stamp = 0")
    connection.close()
    shutil.rmtree(path.tree.root / layout.account_folder(ACCOUNT))

    with BackupPath.open(path.tree.root) as later:
        later.listener = catalog.take
        write(later, message(999, 11))

    living = [line.item for line in catalog.living(ACCOUNT)]
    assert (living, catalog.count_references(digest)) == ([999], 0)


def test_a_writer_at_work_is_waited_for_before_an_account_is_read(
    path: BackupPath, file: Path
) -> None:
    write(path, message(257, 11))
    before = item_file(path).read_bytes()
    write(path, message(257, 12))
    whole = item_file(path).read_bytes()
    item_file(path).write_bytes(before)
    folder = path.tree.root / layout.account_folder(ACCOUNT)
    found, waits = list[int](), threading.Event()

    def read() -> None:
        with BackupPath.open(path.tree.root) as other, Catalog(other, file) as catalog:
            found.extend(line.mod for line in catalog.history(ACCOUNT, ItemId(257)))

    reader = threading.Thread(target=read)

    def watch(name: str, args: tuple[Any, ...]) -> None:
        is_reader = name == "flock" and threading.current_thread() is reader
        if is_reader and os.readlink(f"/proc/self/fd/{args[0]}") == str(folder):
            waits.set()

    # The stamp is given, and what it stands for is not there yet.
    with watched(watch), path.tree.locked(layout.account_folder(ACCOUNT)):
        reader.start()
        assert waits.wait(60)
        item_file(path).write_bytes(whole)
    reader.join()

    assert found == [11, 12]


def test_where_no_stamp_can_be_given_nothing_that_is_told_is_taken_for_all(
    path: BackupPath, catalog: Catalog
) -> None:
    write(path, message(257, 11))

    def refuse(name: str, _args: tuple[Any, ...]) -> None:
        if name == "utime":
            raise PermissionError

    with watched(refuse):
        path.listener = None
        write(path, message(257, 12))
        path.listener = catalog.take
        write(path, message(257, 13))

    assert [line.mod for line in catalog.history(ACCOUNT, ItemId(257))] == [11, 12, 13]
