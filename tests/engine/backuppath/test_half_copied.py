"""States without their blob: pending in a copy that lacks its newest part, broken anywhere else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.gate import Past
from backupng.engine.backuppath.pending import Frontier, Settled, settled_history
from backupng.engine.backuppath.recovery import Recovery
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.uncertain import EVERY_ACCOUNT, REASON_SCANNER, make_uncertain
from backupng.engine.errors import ReadError
from backupng.engine.model import ItemId, to_ms
from tests.engine.backuppath.samples import (
    ACCOUNT,
    NOON,
    SCAN,
    SERVER,
    blob_file,
    mailbox,
    message,
)

ITEM = ItemId(257)
NOON_MS = to_ms(NOON)
LOG = {"server_id": SERVER, "sequence": 7, "inode": 1, "offset": 500, "open_ops": [[6, 90]]}


def write(path: BackupPath, *sources: str, name_bytes: int = 0) -> None:
    """Write a history with a state of each source, each with a blob of its own that gets lost."""
    with path.writer(SCAN) as writer:
        for number, source in enumerate(sources, start=1):
            digest, _, _ = writer.add_blob([source.encode()])
            name = str(number) * name_bytes
            state = message(257, number, source=source, digest=digest, name=name)
            writer.add_states(ACCOUNT, [state])
        writer.commit()
        writer.set_checkpoint({"smartscan": {"started": NOON_MS, "ended": NOON_MS + 9}})
        writer.set_scanner({"log": LOG})


def lose(path: BackupPath, number: int) -> None:
    """Delete the blob of a state."""
    digest = path.history(ACCOUNT, ITEM)[number - 1].digest
    assert digest is not None
    blob_file(path, digest).unlink()


def settled(path: BackupPath) -> Settled:
    return settled_history(path, Frontier.of(path, ACCOUNT), ACCOUNT, ITEM)


@pytest.mark.parametrize(
    ("source", "is_pending"),
    [
        ("log:7:500", True),
        ("log:7:499", False),
        ("log:8:0", True),
        ("log:6:90", True),
        ("log:6:91", False),
        (f"scan:{NOON_MS + 1}", True),
        (f"scan:{NOON_MS}", False),
        ("log:1772452800000", False),
        ("log:8:x", False),
        ("", False),
    ],
)
def test_a_state_without_its_blob_is_pending_only_behind_the_checkpoints(
    path: BackupPath,
    source: str,
    is_pending: bool,  # noqa: FBT001 - of a table
) -> None:
    write(path, "log:1:1", source)
    lose(path, 2)

    found = settled(path)

    assert (len(found.states), found.pending) == ((1, 1) if is_pending else (2, 0))


def test_a_state_with_its_blob_is_never_pending(path: BackupPath) -> None:
    write(path, "log:1:1", "log:9:9")
    assert settled(path) == Settled(path.history(ACCOUNT, ITEM))


def test_only_what_lacks_its_blob_is_left_out(path: BackupPath) -> None:
    write(path, "log:1:1", "log:8:1", "log:8:2")
    lose(path, 2)
    assert [state.source for state in settled(path).states] == ["log:1:1", "log:8:2"]


def test_what_a_later_scan_of_the_account_has_passed_is_not_pending(path: BackupPath) -> None:
    write(path, f"scan:{NOON_MS + 1000}")
    lose(path, 1)
    before = settled(path)
    with path.writer(SCAN) as writer:
        writer.add_mailbox(replace(mailbox(), start=NOON + timedelta(seconds=1)))
        writer.commit()

    after = settled(path)

    assert (before.pending, after.pending, len(after.states)) == (1, 0, 1)


@pytest.mark.parametrize("name", [SERVER, f"{SERVER}.scanner"])
def test_with_a_damaged_checkpoint_nothing_is_left_out(path: BackupPath, name: str) -> None:
    write(path, "log:8:1" if name != SERVER else f"scan:{NOON_MS + 1}")
    lose(path, 1)
    (path.tree.root / "checkpoint" / name).write_bytes(b"{}")
    assert settled(path).pending == 0


def test_with_a_scanner_checkpoint_that_a_recovery_wrote_anew_nothing_is_left_out(
    path: BackupPath,
) -> None:
    write(path, "log:8:1")
    lose(path, 1)
    before = settled(path)
    (path.tree.root / layout.scanner_file(SERVER)).write_bytes(b"{}")

    Recovery(path, Past.POWER_LOSS, now=NOON)._set_aside_broken_checkpoints()

    assert path.scanner()["uncertain"].keys() == {EVERY_ACCOUNT}
    assert (before.pending, settled(path).pending) == (1, 0)


def test_a_scanner_that_never_said_how_far_it_came_may_have_written_anything(
    path: BackupPath,
) -> None:
    write(path, "log:8:1")
    lose(path, 1)
    (path.tree.root / layout.scanner_file(SERVER)).unlink()

    make_uncertain(path, {EVERY_ACCOUNT}, since=NOON, reason=REASON_SCANNER, role=SCAN)

    assert settled(path).pending == 1


def test_a_state_whose_bulk_is_missing_is_pending_too(path: BackupPath) -> None:
    write(path, "log:1:1", "log:8:1", name_bytes=1 << 20)
    lost = _bulk_of_last(path)

    (path.tree.root / layout.BLOBS / lost[:2] / lost).unlink()

    assert [state.source for state in settled(path).states] == ["log:1:1"]
    assert settled(path).pending == 1


def test_a_state_whose_bulk_is_lost_is_broken(path: BackupPath) -> None:
    write(path, "log:1:1", "log:1:2", name_bytes=1 << 20)
    lost = _bulk_of_last(path)

    (path.tree.root / layout.BLOBS / lost[:2] / lost).unlink()

    with pytest.raises(ReadError, match="missing"):
        settled(path)


def _bulk_of_last(path: BackupPath) -> str:
    text = (path.tree.root / layout.item_file(ACCOUNT, ITEM)).read_text("utf-8")
    return text.splitlines()[-1].partition('"more":"')[2][:44]
