"""Groups: in the right order, durable when acknowledged, exactly once, all or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.blobs import BlobCodec, Packer
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import BackupPathUnwritable
from backupng.engine.model import Digest, EntryKind, ItemId, ItemState
from tests.engine.backuppath.calls import Countdown, Ledger, inode, watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    ITEM,
    SCAN,
    add_message,
    blob_file,
    deletion,
    entry,
    files,
    is_kept,
    item_file,
    mailbox,
    message,
    mods,
    write,
)
from tests.services import require

ROOT = Path(__file__).resolve().parents[3]


# --- what is kept


@pytest.mark.parametrize("clock", [None, (2**31, 2**31)], ids=["running", "set back"])
def test_what_a_scan_ended_with_has_the_stamp_of_its_account_until_something_comes(
    path: BackupPath, clock: tuple[int, int] | None
) -> None:
    def is_last() -> bool:
        return path.stamp(ACCOUNT) == path.tree.stamp(layout.mailbox_file(ACCOUNT))

    with path.writer(SCAN) as writer, path.writer("scanner") as other:
        for number in (12, 13, 14):
            writer.add_states(ACCOUNT, [message(257, number)])
            writer.commit()
            assert not is_last()
            os.utime(path.tree.root / layout.account_folder(ACCOUNT), clock)
            writer.follow(ACCOUNT)
            writer.add_states(ACCOUNT, [message(259, number)])
            writer.commit()
            if number == 13:
                other.add_states(ACCOUNT, [message(260, number)])
                other.commit()
            writer.add_mailbox(mailbox(number))
            writer.commit()
            assert is_last() is (number != 13)
            other.add_entry(entry(cn=b"%d" % number))
            other.commit()
            assert is_last() is (number != 13)


def test_what_was_committed_is_read_back(path: BackupPath) -> None:
    states = [message(257, 11), message(257, 12, name="Größe"), message(258, 12, tags=("a",))]

    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, states)
        writer.add_entry(entry(cn=b"Alice"))
        writer.add_mailbox(mailbox(12, zwc="d1:v2:10e"))
        assert writer.commit() == 3

    assert path.history(ACCOUNT, ITEM) == tuple(states[:2])
    assert path.history(ACCOUNT, ItemId(258)) == (states[2],)
    assert path.entry_history(EntryKind.ACCOUNT, ACCOUNT) == (entry(cn=b"Alice"),)
    assert path.mailbox_history(ACCOUNT) == (mailbox(12, zwc="d1:v2:10e"),)


@pytest.mark.parametrize("codec", list(BlobCodec))
def test_a_blob_is_kept_once_and_read_back(path: BackupPath, codec: BlobCodec) -> None:
    with path.writer(SCAN, packer=Packer(codec)) as writer:
        first = writer.add_blob([b"plain ", b"bytes"])
        again = writer.add_blob([b"plain bytes"])
        writer.commit()
        later = writer.add_blob([b"plain bytes"])
        writer.commit()

    assert first[:2] == again[:2] == later[:2] == (first[0], 11)
    assert (first[2] > 0, again[2], later[2]) == (True, 0, 0)
    assert first[2] == blob_file(path, first[0]).stat().st_size
    assert b"".join(path.blob(first[0])) == b"plain bytes"
    assert path.measure_blobs()[0] == 1


def test_an_empty_group_changes_nothing(path: BackupPath) -> None:
    write(path, message())

    with path.writer(SCAN) as writer, watched(Countdown(1)):
        assert writer.commit() == 0


def test_what_is_never_committed_never_was_there(path: BackupPath) -> None:
    before = files(path.tree.root)

    with path.writer(SCAN) as writer:
        digest = add_message(writer, b"plain")
        assert writer.has_blob(digest)
        assert files(path.tree.root) == before

    assert files(path.tree.root) == before
    assert path.tree.names(layout.STAGING / SCAN) == []
    assert write(path, message()) == 1


def test_words_of_a_subject_are_found_with_grep(path: BackupPath) -> None:
    write(path, message(subject="Größe der Bestellung"))

    arguments = [require("grep", "grep"), "-rl", "Größe der Best", str(path.tree.root)]
    found = subprocess.run(arguments, capture_output=True, check=True)

    assert found.stdout.decode().splitlines() == [str(item_file(path))]


# --- exactly once


def test_the_same_states_committed_twice_change_no_byte(path: BackupPath) -> None:
    states = [message(257, 11), message(257, 12), deletion(257, 13), message(258, 12)]
    assert write(path, *states) == 4
    before = files(path.tree.root)

    assert write(path, *states) == 0
    assert write(path, *states[1:]) == 0

    assert files(path.tree.root) == before


@pytest.mark.parametrize(
    ("last", "state", "is_news"),
    [
        (message(mod=11), message(mod=12), True),
        (message(mod=11), message(mod=10), False),
        (message(mod=11), message(mod=11, subject="other"), False),
        (message(mod=11, row={}), message(mod=11), True),
        (message(mod=11, row={}), message(mod=11, row={}), False),
        (message(mod=11), deletion(mod=11), False),
        (message(mod=11), deletion(mod=12), True),
        (deletion(mod=11), deletion(mod=12), False),
        (deletion(mod=11), message(mod=11), False),
        (deletion(mod=11), message(mod=12), True),
    ],
)
def test_a_state_is_news_by_its_change_number(
    path: BackupPath, last: ItemState, state: ItemState, *, is_news: bool
) -> None:
    write(path, last)

    assert write(path, state) == is_news
    assert path.history(ACCOUNT, ITEM) == ((last, state) if is_news else (last,))


def test_the_rule_holds_within_one_group_too(path: BackupPath) -> None:
    bare = message(mod=11, row={})

    news = write(path, bare, message(mod=11), message(mod=11), deletion(mod=12), deletion(mod=13))

    assert news == 3
    assert mods(path) == [11, 11, 12]


def test_a_killed_writers_torn_tail_is_cut_by_the_next(path: BackupPath) -> None:
    write(path, message(mod=11))
    with item_file(path).open("ab") as file:
        file.write(b'{"n":2,"mod":12,"t":17')
    assert mods(path) == [11]

    write(path, message(mod=12))

    assert mods(path) == [11, 12]


def test_two_processes_that_append_to_one_account_keep_every_history_whole(
    path: BackupPath,
) -> None:
    arguments = [sys.executable, "-m", "tests.engine.backuppath.appender", str(path.tree.root)]

    both = [
        subprocess.Popen([*arguments, role, "25", "257", "258"], cwd=ROOT)
        for role in (SCAN, "realtime")
    ]

    assert [process.wait(60) for process in both] == [0, 0]
    assert mods(path, 257) == mods(path, 258) == list(range(1, 26))
    assert {state.digest for state in path.history(ACCOUNT, ITEM) if is_kept(path, state)} == {
        state.digest for state in path.history(ACCOUNT, ITEM)
    }


# --- order of writes (FORMAT.md §6)


def small(writer: Writer) -> list[Digest]:
    return [add_message(writer, b"plain")]


def large(writer: Writer) -> list[Digest]:
    return [add_message(writer, f"plain {item}".encode(), item) for item in range(257, 330)]


Group = Callable[[Writer], list[Digest]]


@pytest.mark.parametrize("whole", [False, True], ids=["one by one", "syncfs"])
@pytest.mark.parametrize("group", [small, large])
def test_blobs_are_durable_before_their_names_and_all_before_the_checkpoint(
    path: BackupPath, group: Group, *, whole: bool
) -> None:
    path.tree._whole_sync = whole
    ledger = Ledger()

    with watched(ledger.before, ledger.after), path.writer(SCAN) as writer:
        digests = group(writer)
        writer.commit()
        assert (ledger.files, ledger.folders & _of_the_tree(path)) == (set(), set())
        writer.set_checkpoint({"smartscan": {"id": 1}})
        assert inode(path.tree.root / layout.CHECKPOINT) not in ledger.folders

    unsynced = [ledger.at_rename[digest][0] for digest in digests]
    assert [
        inode(blob_file(path, d)) in each for d, each in zip(digests, unsynced, strict=True)
    ] == ([False] * len(digests))
    files_then, folders_then = ledger.at_rename[path.form.server_id]
    assert (files_then, folders_then & _of_the_tree(path)) == (set(), set())
    assert bool(ledger.whole) == (whole and group is large)


def test_a_large_group_costs_two_syncs_of_the_whole_file_system(path: BackupPath) -> None:
    path.tree._whole_sync = True
    ledger = Ledger()

    with path.writer(SCAN) as writer, watched(ledger.before, ledger.after):
        large(writer)
        writer.commit()

    assert (ledger.whole, ledger.synced) == (2, [])


def _of_the_tree(path: BackupPath) -> set[tuple[int, int]]:
    """Return all folders but the working ones and the root that holds those."""
    return {inode(each) for top in ("accounts", "items", "server") for each in _below(path, top)}


def _below(path: BackupPath, top: str) -> list[Path]:
    folder = path.tree.root / top
    return [each for each in (folder, *folder.rglob("*")) if each.is_dir()]


def test_no_line_is_written_before_its_blob_has_its_name(path: BackupPath) -> None:
    seen: list[bool] = []

    def before(name: str, args: tuple[Any, ...]) -> None:
        if name == "write" and b'"digest"' in args[1]:
            seen.extend(map(Path.exists, (blob_file(path, each) for each in digests)))

    with path.writer(SCAN) as writer:
        digests = [add_message(writer, b"one", 257), add_message(writer, b"two", 258)]
        with watched(before):
            writer.commit()

    assert seen == [True, True] * 2


def test_all_lines_of_one_history_are_one_write(path: BackupPath) -> None:
    writes: list[bytes] = []

    def before(name: str, args: tuple[Any, ...]) -> None:
        if name == "write":
            writes.append(args[1])

    with watched(before), path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(257, 11), message(257, 12)])
        writer.add_entry(entry())
        writer.add_entry(replace(entry(), deleted=True))
        writer.commit()

    assert [data.count(b"\n") for data in writes] == [2, 2]


def test_a_line_and_a_blob_that_another_left_unsynced_are_synced_by_who_relies_on_them(
    path: BackupPath,
) -> None:
    with path.writer(SCAN) as writer:
        digest = add_message(writer, b"plain")
        writer.commit()
    ledger = Ledger()

    with watched(ledger.before, ledger.after), path.writer("realtime") as other:
        assert add_message(other, b"plain") == digest
        assert other.commit() == 0

    relied_on = [item_file(path), item_file(path).parent, blob_file(path, digest).parent]
    assert set(map(inode, relied_on)) <= set(ledger.synced)


# --- checkpoints


def test_a_large_checkpoint_of_the_scanner_is_read_again(path: BackupPath) -> None:
    said = {"pending": {ACCOUNT: {"ahead": list(range(10**6, 10**6 + 200_000)), "doomed": {}}}}

    with path.writer("scanner") as writer:
        writer.set_scanner(said)

    assert path.scanner() == said


def test_a_checkpoint_too_large_to_be_read_is_not_written(path: BackupPath) -> None:
    with path.writer("scanner") as writer:
        writer.set_scanner({"at": 1})
        with pytest.raises(BackupPathUnwritable, match="longer than the"):
            writer.set_scanner({"at": 2, "text": "x" * (16 << 20)})
        with pytest.raises(BackupPathUnwritable, match="longer than the"):
            writer.set_checkpoint({"text": "x" * (64 << 10)})

    assert (path.scanner()["at"], path.checkpoint()) == (1, {})
