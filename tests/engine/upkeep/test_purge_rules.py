"""Purge, rule by rule: what was written since it was read, locks, syncs, and the clock."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import ground, layout, metadata, sharing
from backupng.engine.backuppath.removal import Remover
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import NotABackupPath, OperationError
from backupng.engine.model import Digest, EntryKind, ItemId
from tests.engine.backuppath.calls import Ledger, inode, watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    PLAIN,
    SCAN,
    blob_file,
    deletion,
    entry,
    item_file,
    message,
    mods,
)
from tests.engine.upkeep.purging import DAY, LONG_AGO, age, delete, has, items, keep, old, run

Calls = list[tuple[str, str]]
AT = LONG_AGO + 40 * DAY


def once_read(act: Callable[[], object]) -> dict[str, Any]:
    """Return what has a purge do something when it has read all metadata and removed nothing."""
    left = [act]

    def tick(_done: int, _total: int, *, phase: str, counts: Mapping[str, int]) -> None:
        if phase == "looking at the blobs" and left:
            left.pop()()

    return {"tick": tick}


def recorded(calls: Calls) -> Callable[..., None]:
    """Return what notes each call, with the name that it is about."""

    def after(name: str, args: tuple[Any, ...], _named: object, _result: object) -> None:
        calls.append((name, _about(args[0]) if args else ""))

    return after


def _about(named: object) -> str:
    """Return the last part of a path, or of the one that a descriptor is open at."""
    path = os.readlink(f"/proc/self/fd/{named}") if isinstance(named, int) else str(named)
    return path.removesuffix("/").rpartition("/")[2]


def is_lockable(folder: Path, how: int) -> bool:
    """Say whether somebody else could lock a folder now."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


# --- written since it was read


def test_an_item_that_comes_back_after_it_was_read_keeps_all_it_ever_had(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)
    back = once_read(lambda: _save(path, PLAIN[1]))

    result = run(path, **back)

    assert mods(path) == [11, 12, 20]
    assert (result.items_purged, has(path, digest)) == (0, True)


def test_an_account_that_comes_back_after_it_was_read_keeps_all_it_ever_had(
    path: BackupPath,
) -> None:
    digest = keep(path, PLAIN[0])
    _delete_account(path)
    age(path.tree.root)
    back = once_read(lambda: _enter(path))

    result = run(path, **back)

    deleted = [each.deleted for each in path.entry_history(EntryKind.ACCOUNT, ACCOUNT)]
    assert deleted == [True, False]
    assert (result.accounts, items(path), has(path, digest)) == ({}, [257], True)


def test_an_account_that_somebody_locked_to_write_within_a_day_stays(path: BackupPath) -> None:
    _delete_account(path)
    age(path.tree.root)
    moment = (AT - timedelta(hours=23)).timestamp()
    os.utime(path.tree.root / layout.account_folder(ACCOUNT), (moment, moment))

    assert run(path).accounts == {}
    assert path.accounts() == [ACCOUNT]


def test_a_history_with_a_torn_tail_stays_for_somebody_may_be_writing(path: BackupPath) -> None:
    keep(path, PLAIN[0])
    delete(path)
    with item_file(path).open("ab") as file:
        file.write(b'{"n":3,"mod":13')
    age(path.tree.root)

    assert (run(path).items_purged, items(path)) == (0, [257])


def test_an_account_with_a_torn_tail_stays_for_somebody_may_be_writing(path: BackupPath) -> None:
    _delete_account(path)
    with (path.tree.root / layout.account_file(ACCOUNT)).open("ab") as file:
        file.write(b'{"n":2,"t":1')
    age(path.tree.root)

    assert run(path).accounts == {}
    assert path.accounts() == [ACCOUNT]


def test_a_deletion_counts_from_no_earlier_than_the_lines_before_it(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        states = [old(message(257, 11), LONG_AGO + 35 * DAY), old(deletion(257, 12))]
        writer.add_states(ACCOUNT, states)
        writer.commit()
    age(path.tree.root)

    assert (run(path).items_purged, items(path)) == (0, [257])


def test_a_digest_counts_however_its_history_spells_it(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0], 257)
    keep(path, PLAIN[0], 258)
    delete(path, 257)
    file = layout.item_file(ACCOUNT, ItemId(258))
    seed = layout.chain_seed(file)
    (body,) = metadata.read_lines(item_file(path, 258).read_bytes(), seed).bodies
    spelled = f"\\u{ord(digest[0]):04x}{digest[1:]}"
    line, _ = metadata.seal(
        metadata.first_digits(seed), body.replace(digest.encode(), spelled.encode())
    )
    item_file(path, 258).write_bytes(line)
    age(path.tree.root)

    result = run(path)

    assert (result.items_purged, result.flaws, has(path, digest)) == (1, 0, True)


# --- locks


def test_a_blob_is_moved_while_nobody_else_can_look_at_it(path: BackupPath) -> None:
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)
    folder, found = blob_file(path, digest).parent, list[bool]()

    def before(name: str, args: tuple[Any, ...]) -> None:
        if name == "rename" and args[0] == digest:
            found.append(is_lockable(folder, fcntl.LOCK_SH))

    with watched(before):
        run(path)

    assert found == [False]


def test_an_account_that_is_moved_away_while_its_lock_is_waited_for_is_seen_to_be_gone(
    path: BackupPath,
) -> None:
    keep(path, PLAIN[0])
    folder = layout.account_folder(ACCOUNT)
    file = path.tree.root / folder

    def before(name: str, args: tuple[Any, ...]) -> None:
        if name == "flock" and _about(args[0]) == file.name:
            file.rename(file.with_name("moved"))
            file.mkdir()

    with Remover(path.tree.root) as remover, watched(before), remover.account(folder) as found:
        assert found is None


def test_a_tree_that_is_replaced_while_it_is_read_is_not_purged(path: BackupPath) -> None:
    digest, root = _expired(path), path.tree.root
    shutil.copytree(root, root.with_name("copy"))

    def replaced() -> None:
        root.rename(root.with_name("old"))
        root.with_name("copy").rename(root)

    with pytest.raises(NotABackupPath, match="was moved or replaced"):
        run(path, **once_read(replaced))

    with BackupPath.open(root) as other:
        assert (items(path), items(other), has(other, digest)) == ([257], [257], True)


def test_a_blob_that_goes_while_its_lock_is_waited_for_is_seen_to_be_gone(
    path: BackupPath,
) -> None:
    file = blob_file(path, keep(path, PLAIN[0]))
    folder = os.open(file.parent, os.O_RDONLY)

    def before(name: str, args: tuple[Any, ...]) -> None:
        if name == "flock" and args[1] == fcntl.LOCK_SH:
            # A purge held it until now.
            file.unlink()

    with watched(before):
        assert not sharing.refreshed(folder, file.name)
    os.close(folder)


def test_a_blob_is_published_while_no_purge_can_move_it(path: BackupPath) -> None:
    found: list[bool] = []

    def before(name: str, args: tuple[Any, ...]) -> None:
        if name == "rename" and layout.is_digest(str(args[1])):
            folder = path.tree.root / layout.BLOBS / str(args[1])[:2]
            found.append(is_lockable(folder, fcntl.LOCK_EX))

    with watched(before):
        keep(path, PLAIN[0])

    assert found == [False]


# --- syncs


def test_metadata_are_gone_for_certain_before_any_blob_goes_and_all_before_it_is_told(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "can_sync_whole", lambda _descriptor: True)
    digest, calls = _expired(path), Calls()

    with watched(after=recorded(calls)):
        run(path)

    history, blob = calls.index(("unlink", "257")), calls.index(("rename", digest))
    told = next(at for at in range(blob + 1, len(calls)) if calls[at][0] == "rename")
    assert "syncfs" in [name for name, _ in calls[history:blob]]
    assert "syncfs" in [name for name, _ in calls[blob:told]]


def test_where_the_whole_cannot_be_synced_every_folder_is_the_trash_included(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "can_sync_whole", lambda _descriptor: False)
    digest, calls, ledger = _expired(path), Calls(), Ledger()
    note = recorded(calls)

    def after(*call: Any) -> None:
        note(*call)
        ledger.after(*call)

    with watched(after=after):
        run(path)

    history, blob = calls.index(("unlink", "257")), calls.index(("rename", digest))
    assert ("fsync", "57") in calls[history:blob]
    assert ("fsync", digest[:2]) in calls[blob:]
    (trash,) = (path.tree.root / layout.TRASH).iterdir()
    made = {inode(each) for each in (path.tree.root, trash.parent, trash, trash / "items")}
    assert not made & ledger.folders


# --- the clock


def test_a_clock_that_is_set_back_meanwhile_ends_a_purge(path: BackupPath) -> None:
    _expired(path)
    shown = iter([AT])

    with pytest.raises(OperationError, match="set back while the purge ran") as ended:
        run(path, now=lambda: next(shown, AT - timedelta(minutes=2)))

    assert ended.value.code == "clock"


def _expired(path: BackupPath) -> Digest:
    """Write an item that has expired; return its blob."""
    digest = keep(path, PLAIN[0])
    delete(path)
    age(path.tree.root)
    return digest


def _save(path: BackupPath, plain: bytes) -> None:
    with BackupPath.open(path.tree.root) as other, other.writer("scanner") as writer:
        digest, length, _ = writer.add_blob([plain])
        writer.add_states(ACCOUNT, [message(257, 20, digest=digest, size=length)])
        writer.commit()


def _enter(path: BackupPath) -> None:
    with BackupPath.open(path.tree.root) as other, other.writer("scanner") as writer:
        writer.add_entry(entry())
        writer.commit()


def _delete_account(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        writer.add_entry(replace(entry(), start=LONG_AGO, deleted=True))
        writer.commit()
