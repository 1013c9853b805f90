"""Groups that cannot be kept as they are: the disk refuses, a reader would, they are too long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout, values
from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.errors import (
    BackupPathUnwritable,
    BrokenItem,
    DamagedBackup,
    InvalidItem,
    ItemError,
    ReadError,
)
from backupng.engine.model import AccountId, Digest, EntryKind
from tests.engine.backuppath.calls import Countdown, watched
from tests.engine.backuppath.samples import (
    ACCOUNT,
    ITEM,
    NOON,
    SCAN,
    add_message,
    entry,
    files,
    is_kept,
    item_file,
    mailbox,
    message,
    mods,
    new_path,
    write,
)

LIST = "0d2b9a1e-0000-4000-8000-000000000001"


# --- the disk refuses


def spoilt_group(writer: Writer) -> None:
    add_message(writer, b"second", 257, 12)
    add_message(writer, b"first", 258, 12)
    writer.add_entry(entry())
    writer.add_mailbox(mailbox(12))


@pytest.mark.parametrize("whole", [False, True], ids=["one by one", "syncfs"])
def test_a_commit_whose_disk_fails_at_any_call_counts_nothing_and_the_next_is_right(
    in_memory: Path, *, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backupng.engine.backuppath.fsio._ONE_BY_ONE", 0 if whole else 64)
    failed: list[str] = []

    while not failed or failed[-1]:
        with new_path(in_memory / f"{whole}{len(failed)}") as path:
            failed.append(_failing_at(path, len(failed) + 1))

    assert len(failed) > 15
    assert {"write", "rename", "open", "utime"} <= set(failed)
    assert ("syncfs" if whole else "fdatasync") in failed


def _failing_at(path: BackupPath, number: int) -> str:
    """Fail the call of that number within add and commit; return its name, nothing at the end."""
    with path.writer(SCAN) as writer:
        add_message(writer, b"first", 257, 11)
        writer.commit()
        before = files(path.tree.root)
        countdown = Countdown(number)
        try:
            with watched(countdown):
                spoilt_group(writer)
                assert writer.commit() == 2
        except BackupPathUnwritable:
            assert countdown.failed
            assert _but_blobs(path, before) == _but_blobs(path, files(path.tree.root))
            spoilt_group(writer)
            assert writer.commit() == 2
        assert writer.refused == []
    assert mods(path) == [11, 12]
    assert mods(path, 258) == [12]
    assert [
        len(path.entry_history(EntryKind.ACCOUNT, ACCOUNT)),
        len(path.mailbox_history(ACCOUNT)),
    ] == [1, 1]
    assert all(is_kept(path, state) for state in path.history(ACCOUNT, ITEM))
    assert path.tree.names(layout.STAGING / SCAN) == []
    return countdown.failed


def _but_blobs(path: BackupPath, found: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out blobs, which nobody refers to yet, and histories without a line."""
    return {name: data for name, data in found.items() if data and not name.startswith("items/")}


def test_a_failed_sync_is_not_believed_by_the_next_commit(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(mod=11)])
        with watched(Countdown(1, only="fdatasync")), pytest.raises(BackupPathUnwritable):
            writer.commit()
        assert mods(path) == []

        writer.add_states(ACCOUNT, [message(mod=11)])
        assert writer.commit() == 1

    assert mods(path) == [11]


def test_blobs_of_a_commit_that_fails_do_not_stay_staged(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        add_message(writer, b"plain")
        with watched(Countdown(1, only="fdatasync")), pytest.raises(BackupPathUnwritable):
            writer.commit()
        assert path.tree.names(layout.STAGING / SCAN) == []

        add_message(writer, b"plain")
        assert writer.commit() == 1


def test_a_blob_that_cannot_be_staged_is_forgotten(path: BackupPath) -> None:
    def plain() -> Iterator[bytes]:
        yield b"half"
        raise ReadError("the volume is gone")

    with path.writer(SCAN) as writer:
        with pytest.raises(ReadError, match="the volume is gone"):
            writer.add_blob(plain())
        assert path.tree.names(layout.STAGING / SCAN) == []
        assert writer.commit() == 0


def test_a_disk_that_is_full_at_any_page_loses_nothing(small_disk: Path) -> None:
    failures = [_with_free_pages(small_disk / str(pages), pages) for pages in range(1, 80, 2)]

    assert {"no_space"} == set(failures) - {""}
    assert failures[-1] == ""


def _with_free_pages(root: Path, pages: int) -> str:
    """Commit on a disk with so many pages left; free it, commit again; return the first's error."""
    error = ""
    with new_path(root) as path:
        write(path, message(mod=11))
        filler = root.parent / "filler"
        filler.write_bytes(
            bytes(max(0, path.tree.room().bytes - pages * os.sysconf("SC_PAGE_SIZE")))
        )
        try:
            _fill(path)
        except BackupPathUnwritable as caught:
            error = caught.code
        filler.unlink()
        assert mods(path)[0] == 11
        _fill(path)
        assert mods(path) == [11, 12]
        assert [mods(path, item) for item in range(258, 268)] == [[12]] * 10
        assert is_kept(path, path.history(ACCOUNT, ITEM)[-1])
    for each in sorted(root.rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()
    return error


def _fill(path: BackupPath) -> None:
    with path.writer(SCAN) as writer:
        for item in range(257, 268):
            add_message(writer, f"{item}".encode() * 2000, item, 12)
        writer.commit()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB of its own; only root can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],  # noqa: S607
            capture_output=True,
            check=False,
        ).returncode
    )
    if not mounted:
        pytest.skip("a small tmpfs cannot be mounted: that needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607


# --- what a reader would not take


@pytest.mark.parametrize(
    "bad",
    [
        {"row": {"a": float("nan")}},
        {"row": {"a": b"bytes"}},
        {"row": {"a": 2**63}},
        {"row": {"a": None}},
        {"row": {"a": [1]}},
        {"digest": Digest("../../etc/passwd")},
        {"size": 2**64},
        {"side_rows": {"revision": ({"version": True},)}},
    ],
)
def test_a_state_that_no_reader_would_take_is_refused_and_the_others_are_kept(
    path: BackupPath, bad: dict[str, Any]
) -> None:
    with path.writer(SCAN) as writer:
        states = [message(mod=11), message(mod=12, **bad), message(mod=13), message(258, 12)]
        writer.add_states(ACCOUNT, states)
        assert writer.commit() == 3
        refused = [(account, item, type(error)) for account, item, error in writer.refused]
        writer.refused.clear()

    assert refused == [(ACCOUNT, ITEM, BrokenItem)]
    assert (mods(path), mods(path, 258)) == ([11, 13], [12])


def _odd_history(path: BackupPath, item: int = 257) -> Path:
    file = item_file(path, item)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def damaged(path: BackupPath) -> type[ItemError]:
    write(path, message(mod=11))
    item_file(path).write_bytes(item_file(path).read_bytes().replace(b"Ordine", b"0rdine"))
    return DamagedBackup


def fifo(path: BackupPath) -> type[ItemError]:
    os.mkfifo(_odd_history(path))
    return ReadError


def linked(path: BackupPath) -> type[ItemError]:
    _odd_history(path).symlink_to("/etc/passwd")
    return ReadError


@pytest.mark.parametrize("spoil", [damaged, fifo, linked])
def test_a_history_that_cannot_be_read_is_refused_and_left_alone(
    path: BackupPath, spoil: Callable[[BackupPath], type[ItemError]]
) -> None:
    kind = spoil(path)
    before = files(path.tree.root).get(str(item_file(path).relative_to(path.tree.root)))

    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(257, 12), message(258, 12)])
        assert writer.commit() == 1
        refused = [
            (item, type(error), str(item_file(path)) in str(error))
            for _, item, error in writer.refused
        ]
        writer.refused.clear()

    assert refused == [(ITEM, kind, True)]
    assert mods(path, 258) == [12]
    assert files(path.tree.root).get(str(item_file(path).relative_to(path.tree.root))) == before


def test_a_damaged_entry_or_mailbox_is_refused_and_the_rest_of_the_group_is_kept(
    path: BackupPath,
) -> None:
    cos = path.tree.root / layout.entry_file(EntryKind.COS, "c")
    cos.parent.mkdir(parents=True)
    cos.write_bytes(b"{} #00000000\n")
    spoilt = path.tree.root / layout.mailbox_file(AccountId("a"))
    spoilt.parent.mkdir(parents=True)
    spoilt.write_bytes(b"{} #00000000\n")

    with path.writer(SCAN) as writer:
        writer.add_entry(entry(EntryKind.COS, "c"))
        writer.add_entry(entry(EntryKind.COS, "d"))
        of_a = replace(mailbox(), mailbox=replace(mailbox().mailbox, account_id=AccountId("a")))
        writer.add_mailbox(of_a)
        writer.add_mailbox(mailbox())
        writer.commit()
        refused = [(account, item) for account, item, _ in writer.refused]
        writer.refused.clear()

    assert refused == [("c", 0), ("a", 0)]
    assert len(path.entry_history(EntryKind.COS, "d")) == 1
    assert len(path.mailbox_history(ACCOUNT)) == 1


def test_what_nobody_took_note_of_ends_the_writer_with_its_error(path: BackupPath) -> None:
    damaged(path)

    with pytest.raises(BrokenItem, match=str(item_file(path))):
        write(path, message(mod=12))


# --- what is too long


def test_a_state_over_a_mebibyte_goes_through_a_blob_of_its_own(path: BackupPath) -> None:
    big = message(mod=11, row={"metadata": "é" * (1 << 20)}, tags=("Urgente",), name="x" * 2000)
    bigger = message(mod=13, row={"metadata": "ø" * (1 << 20)}, side_rows={"revision": ({"a": 1},)})

    assert write(path, big, message(mod=12)) == 2
    assert write(path, big, bigger) == 1

    assert path.history(ACCOUNT, ITEM) == (big, message(mod=12), bigger)
    assert item_file(path).stat().st_size < 3000
    assert path.measure_blobs()[0] == 2


def test_a_directory_entry_over_a_mebibyte_goes_through_a_blob_too(path: BackupPath) -> None:
    members = tuple(f"member{number}@example.com".encode() for number in range(60_000))
    people = entry(EntryKind.LIST, LIST)
    people = replace(people, entry=replace(people.entry, attributes={"zimbraMailForward": members}))
    huge = mailbox(11, zwc="x" * (2 << 20))

    with path.writer(SCAN) as writer:
        writer.add_entry(people)
        writer.add_mailbox(huge)
        writer.commit()

    assert path.entry_history(EntryKind.LIST, LIST) == (people,)
    assert path.mailbox_history(ACCOUNT) == (huge,)


def test_a_history_that_would_pass_its_limit_is_refused_and_stays_readable(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, message(mod=11))
    monkeypatch.setattr(values, "LONGEST_FILE", item_file(path).stat().st_size + 100)

    with pytest.raises(InvalidItem, match=f"{item_file(path)} has reached its largest length"):
        write(path, message(mod=12))

    assert mods(path) == [11]


def test_bulk_counts_for_the_length_of_its_history(
    path: BackupPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "LONGEST_BODY", 10_000)
    monkeypatch.setattr(values, "LONGEST_FILE", 50_000)
    states = [message(mod=mod, row={"metadata": f"{mod}" * 10_000}) for mod in (11, 12, 13)]

    with pytest.raises(BrokenItem, match="larger than the format allows"):
        write(path, *states)

    assert mods(path) == [11, 12]


def test_lone_surrogates_come_back_as_they_were(path: BackupPath) -> None:
    state = message(subject="\ud83d alone \udc00", row={"metadata": "\udfff"})

    write(path, state)

    assert path.history(ACCOUNT, ITEM) == (state,)
    assert b"\\ud83d alone" in item_file(path).read_bytes()


def test_a_clock_that_ran_backwards_does_not_reorder_a_history(path: BackupPath) -> None:
    write(path, message(mod=12), message(mod=13, start=NOON), message(mod=14))

    starts = [state.start for state in path.history(ACCOUNT, ITEM)]

    assert starts == [message(mod=12).start, message(mod=12).start, message(mod=14).start]
