"""An export of a Backup Path: ended by a kill or a full disk at any call, and gone on with."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout, unfinished
from backupng.engine.backuppath.provisioning import Format, spell_format
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import (
    BackupPathUnwritable,
    BrokenItem,
    ItemError,
    LostBlob,
    NotABackupPath,
    OperationError,
)
from backupng.engine.model import EntryKind, ItemId, to_ms
from backupng.engine.restore.export import Export
from tests.engine.backuppath.calls import Countdown, is_killed, watched
from tests.engine.backuppath.conftest import in_memory
from tests.engine.backuppath.samples import (
    ACCOUNT,
    NOON,
    SCAN,
    SERVER,
    add_message,
    blob_file,
    deletion,
    entry,
    files,
    item_file,
    mailbox,
    message,
    new_path,
    write,
)
from tests.proofs.told import tell

__all__ = ["in_memory"]

_CLOCK = re.compile(rb',"clock":.*')
LATER = NOON + timedelta(hours=1)
FORM = Format(
    tree_id="a" * 36, server_id=SERVER, server_name="zimbra1", created=LATER, incomplete="all"
)


@pytest.fixture
def room(in_memory: Path) -> Path:
    """Return an empty folder."""
    return Path(tempfile.mkdtemp(dir=in_memory))


def content(root: Path) -> dict[str, bytes]:
    """Return the files of an export, without the reading of the clock at its end."""
    return {name: _CLOCK.sub(b"", data) for name, data in files(root).items()}


def ignore(done: int, total: int, *, phase: str, counts: Mapping[str, int] | None = None) -> None:
    """Be nobody who watches."""


def make(root: Path) -> BackupPath:
    """Make a tree of one account: two messages of one content, one that changed, one deleted."""
    path = new_path(root)
    with path.writer(SCAN) as writer:
        for item in (257, 258):
            add_message(writer, b"one content", item)
        digest = add_message(writer, b"another content", 259)
        writer.add_states(ACCOUNT, [message(259, 12, digest=digest, size=15, subject="Changed")])
        add_message(writer, b"a third", 260)
        writer.add_states(ACCOUNT, [deletion(260)])
        writer.add_entry(entry(cn=b"Alice"))
        writer.add_entry(entry(cn=b"Alice B."))
        writer.add_entry(entry(EntryKind.COS, "c"))
        writer.add_mailbox(mailbox(12))
        writer.commit()
    return path


def export(root: Path, target: Path, failures: list[Any] | None = None, **options: Any) -> Export:
    """Begin an export, or go on with it, up to its end."""
    target.mkdir(exist_ok=True)
    failures = [] if failures is None else failures
    with new_path(root) as source, _opened(target) as into:
        into.least_free_bytes = options.pop("least_free_bytes", 0)
        made = Export(
            source=source,
            target=into,
            wants=lambda _entry: True,
            fails=lambda *what: failures.append(what),
            tick=ignore,
            **options,
        )
        made.run(now=lambda: LATER + timedelta(minutes=5))
    return made


def _opened(target: Path) -> BackupPath:
    try:
        return BackupPath.open(target, is_unfinished=True)
    except NotABackupPath:
        unfinished.begin(target, FORM)
        return BackupPath.open(target, is_unfinished=True)


def test_an_export_has_one_state_of_each_living_thing_and_its_blobs(room: Path) -> None:
    make(room / "tree").close()

    counts = export(room / "tree", room / "export").counts

    with BackupPath.open(room / "export") as path:
        assert list(path.items(ACCOUNT)) == [257, 258, 259]
        (state,) = path.history(ACCOUNT, ItemId(259))
        assert (state.subject, state.mod, state.start) == (
            "Changed",
            12,
            NOON + timedelta(minutes=12),
        )
        (account,) = path.entry_history(EntryKind.ACCOUNT, ACCOUNT)
        assert (account.entry.first("cn"), account.start) == ("Alice B.", LATER)
        (found,) = path.mailbox_history(ACCOUNT)
        assert (found.start, found.mark, found.unread) == (LATER, "", ())
        assert path.entry_ids(EntryKind.COS) == ["c"]
        assert path.measure_blobs()[0] == 2
        ended = to_ms(LATER + timedelta(minutes=5))
        assert path.checkpoint()["smartscan"] == {"id": ended, "started": ended, "ended": ended}
    assert (counts["items"], counts["blobs_new"], counts["items_verified"]) == (3, 2, 3)
    assert counts["bytes_read"] == len(b"one content") + len(b"another content")


def test_blobs_lie_in_an_export_as_they_lay(room: Path) -> None:
    make(room / "tree").close()

    export(room / "tree", room / "export")

    blobs = [
        {name: data for name, data in files(room / each).items() if name.startswith("items/")}
        for each in ("tree", "export")
    ]
    assert blobs[1].items() < blobs[0].items()


def test_what_cannot_be_read_is_listed_and_not_copied(room: Path) -> None:
    path = make(room / "tree")
    digests = [path.history(ACCOUNT, ItemId(item))[-1].digest for item in (257, 259)]
    blob_file(path, digests[0] or _never()).write_bytes(b"something else")
    blob_file(path, digests[1] or _never()).unlink()
    write(path, message(261, 13))
    item_file(path, 261).write_bytes(b"damaged\n")
    path.close()
    failures: list[tuple[str, ItemId, ItemError]] = []

    export(room / "tree", room / "export", failures)

    assert {name for name, _, _ in failures} == {"alice@example.com"}
    assert {item: error.cause for _, item, error in failures} == {
        257: BrokenItem.cause,
        258: BrokenItem.cause,
        259: LostBlob.cause,
        261: BrokenItem.cause,
    }
    with BackupPath.open(room / "export") as found:
        assert list(found.items(ACCOUNT)) == []
        assert found.mailbox_history(ACCOUNT)[-1].unread == (257, 258, 259, 261)
        assert found.measure_blobs() == (0, 0)


def _never() -> Any:
    raise AssertionError("every message has a digest")


def test_an_export_is_no_backup_before_its_end(room: Path) -> None:
    make(room / "tree").close()
    with pytest.raises(BackupPathUnwritable):
        export(room / "tree", room / "export", least_free_bytes=1 << 60)

    with pytest.raises(NotABackupPath, match="has not come to its end") as refused:
        BackupPath.open(room / "export")

    assert refused.value.hint.endswith(f"doExport {room / 'export'} resume true")


def test_a_blob_that_goes_while_it_is_exported_is_noticed_at_the_end(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(room / "tree").close()
    real = Export._export_entries
    target = room / "export"

    def spoil(self: Export, *args: Any) -> None:
        real(self, *args)
        shutil.rmtree(target / layout.BLOBS, ignore_errors=True)

    monkeypatch.setattr(Export, "_export_entries", spoil)

    with pytest.raises(OperationError, match="What was copied is not whole"):
        export(room / "tree", target)

    with pytest.raises(NotABackupPath):
        BackupPath.open(target)


# --- ended at any call


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.proofs)])
def test_an_export_that_is_killed_anywhere_and_gone_on_with_is_the_same(
    room: Path, step: int
) -> None:
    make(room / "tree").close()
    export(room / "tree", room / "peace")
    wanted = content(room / "peace")
    number, lived = 1 - step, False

    while not lived:
        number += step
        target = room / str(number)
        target.mkdir()
        lived = not is_killed(number, partial(export, room / "tree", target))
        with suppress(NotABackupPath), BackupPath.open(target):
            assert content(target) == wanted, f"killed at call {number}"
        if not lived:
            export(room / "tree", target)
        assert content(target) == wanted, f"killed at call {number}"

    assert number > 40
    tell("P1", number // step, "kills of an Export")


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.proofs)])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_an_export_whose_disk_fails_anywhere_and_gone_on_with_is_the_same(
    room: Path, step: int, error: int
) -> None:
    make(room / "tree").close()
    export(room / "tree", room / "peace")
    wanted = content(room / "peace")
    number, failed = 1 - step, True

    while failed:
        number += step
        target = Path(tempfile.mkdtemp(dir=room))
        countdown = Countdown(number, error)
        with suppress(BackupPathUnwritable, ItemError), watched(countdown):
            export(room / "tree", target)
        failed = bool(countdown.failed)
        with suppress(NotABackupPath), BackupPath.open(target):
            assert content(target) == wanted, f"{countdown.failed} failed at call {number}"
        with suppress(NotABackupPath), BackupPath.open(target):
            continue
        export(room / "tree", target)
        assert content(target) == wanted, f"{countdown.failed} failed at call {number}"

    assert number > 40


def test_what_is_there_is_not_copied_again(room: Path) -> None:
    path = make(room / "tree")
    export(room / "tree", room / "export")
    target = room / "export"
    (target / layout.mailbox_file(ACCOUNT)).unlink()
    (target / layout.item_file(ACCOUNT, ItemId(258))).unlink()
    tree = _opened(target)
    tree.tree.replace(layout.FORMAT, spell_format(FORM), role="export")
    tree.close()
    path.close()

    counts = export(room / "tree", target).counts

    assert (counts["items"], counts["skipped"], counts["blobs_new"]) == (1, 2, 0)


def test_a_folder_of_items_that_cannot_be_read_costs_only_what_lies_there(room: Path) -> None:
    path = make(room / "tree")
    bucket = item_file(path, 258).parent
    path.close()
    shutil.rmtree(bucket)
    bucket.symlink_to("/etc")
    failures: list[tuple[str, ItemId, ItemError]] = []

    export(room / "tree", room / "export", failures)

    assert [(name, item) for name, item, _ in failures] == [("alice@example.com", 0)]
    with BackupPath.open(room / "export") as found:
        assert list(found.items(ACCOUNT)) == [257, 259]
