"""The first writer after an unclean boot: what it cuts, what it leaves, what it lets others know.

Most of it is proved by drawn power losses (`test_powerlosses.py`); here stands each rule by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.histories import bulk_of, intact_lines
from backupng.engine.backuppath.pending import Frontier, settled_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BrokenItem
from backupng.engine.model import Digest, to_ms
from backupng.engine.scan.uncertainty import uncertain
from tests.cast import ALICE, Office
from tests.engine.backuppath.boots import begun, lose_power
from tests.engine.backuppath.samples import (
    ACCOUNT,
    ITEM,
    NOON,
    SCAN,
    blob_file,
    item_file,
    mailbox,
    message,
    mods,
)

FAR = datetime(2100, 1, 1, tzinfo=UTC)
NEWER = f"scan:{to_ms(NOON) + 1}"
"""The source of what a scan wrote after the last one that ended."""


def fill(path: BackupPath, *, ended: datetime = NOON) -> list[Digest]:
    """Write an item with two states, the second of them newer than the checkpoint; lose power."""
    with path.writer(SCAN) as writer:
        digests = [writer.add_blob([plain])[0] for plain in (b"first", b"second")]
        writer.add_states(ACCOUNT, [message(257, 11, digest=digests[0], source="scan:1")])
        writer.add_states(ACCOUNT, [message(257, 12, digest=digests[1], source=NEWER)])
        writer.add_mailbox(mailbox())
        writer.commit()
        writer.set_checkpoint({"smartscan": {"started": to_ms(NOON), "ended": to_ms(ended)}})
    lose_power(path.tree.root)
    return digests


def spoil(file: Path, data: bytes) -> bytes:
    """Append to a history what no writer did; return what it was."""
    before = file.read_bytes()
    file.write_bytes(before + data)
    return before


def quarantine(path: BackupPath) -> list[Path]:
    return [each for each in (path.tree.root / "quarantine").rglob("*") if each.is_file()]


def test_a_tail_of_nuls_is_cut_and_the_next_scan_looks_at_the_account(path: BackupPath) -> None:
    fill(path)
    before = spoil(item_file(path), bytes(200))

    recovered = begun(path.tree.root, "after")

    assert recovered is not None
    assert "1 histories were cut back" in str(recovered)
    assert item_file(path).read_bytes() == before
    assert path.scanner()["uncertain"][ACCOUNT]["since"] == to_ms(NOON)
    assert quarantine(path) == []


def test_whole_lines_that_are_cut_are_kept_in_quarantine(path: BackupPath) -> None:
    fill(path)
    lines = item_file(path).read_bytes().splitlines(keepends=True)
    item_file(path).write_bytes(lines[0] + bytes(len(lines[1])) + b"\n" + lines[1])

    begun(path.tree.root, "after")

    assert mods(path) == [11]
    assert [each.name for each in quarantine(path)] == ["257"]
    assert lines[1] in quarantine(path)[0].read_bytes()


def test_a_state_newer_than_the_checkpoint_without_its_blob_is_cut(path: BackupPath) -> None:
    _, second = fill(path)
    blob_file(path, second).unlink()

    begun(path.tree.root, "after")

    assert mods(path) == [11]


def test_an_older_state_without_its_blob_is_left_for_a_check_to_find(path: BackupPath) -> None:
    first, _ = fill(path)
    blob_file(path, first).unlink()

    begun(path.tree.root, "after")

    assert mods(path) == [11, 12]


def test_a_damaged_blob_goes_to_quarantine_and_all_accounts_are_looked_at(
    path: BackupPath,
) -> None:
    _, second = fill(path)
    blob_file(path, second).write_bytes(bytes(30))

    begun(path.tree.root, "after")

    assert mods(path) == [11]
    assert sorted(each.name for each in quarantine(path)) == ["257", second]
    assert set(path.scanner()["uncertain"]) == {ACCOUNT, "*"}


def test_what_is_older_than_the_checkpoint_is_not_looked_at(path: BackupPath) -> None:
    fill(path, ended=FAR)
    spoil(item_file(path), bytes(200) + b"\n")

    recovered = begun(path.tree.root, "after", now=FAR)

    assert recovered is not None
    assert (recovered.histories, recovered.blobs) == (0, 0)
    with pytest.raises(BrokenItem, match="line 3 fails its checksum"):
        path.history(ACCOUNT, ITEM)


def test_after_the_clock_went_back_all_is_looked_at(path: BackupPath) -> None:
    fill(path, ended=FAR)
    spoil(item_file(path), bytes(200) + b"\n")

    begun(path.tree.root, "after", now=NOON)

    assert mods(path) == [11, 12]


def test_a_clean_stop_and_a_kill_within_the_same_boot_need_no_recovery(path: BackupPath) -> None:
    fill(path)
    first = begun(path.tree.root, "after")

    assert first is not None
    assert begun(path.tree.root, "after") is None
    assert begun(path.tree.root, "another") is None


def test_damage_in_a_copied_tree_is_never_cut(path: BackupPath) -> None:
    fill(path)
    spoil(item_file(path), bytes(200) + b"\n")
    (path.tree.root / ".lock").unlink()

    begun(path.tree.root, "after")

    with pytest.raises(BrokenItem):
        path.history(ACCOUNT, ITEM)


def test_what_the_disk_does_not_give_is_left_alone_and_the_rest_is_put_right(
    path: BackupPath,
) -> None:
    fill(path)
    spoil(item_file(path), bytes(200))
    item_file(path, 157).mkdir()

    recovered = begun(path.tree.root, "after")

    assert recovered is not None
    assert [each.name for each in recovered.unreadable] == ["157"]
    assert mods(path) == [11, 12]
    assert item_file(path, 157).is_dir()


def test_a_damaged_checkpoint_goes_to_quarantine(path: BackupPath) -> None:
    fill(path)
    checkpoint = path.tree.root / "checkpoint" / path.form.server_id
    checkpoint.write_bytes(bytes(40))

    begun(path.tree.root, "after")

    assert path.checkpoint() == {}
    assert [each.name for each in quarantine(path)] == [path.form.server_id]


def test_a_damaged_scanner_checkpoint_leaves_every_account_uncertain(path: BackupPath) -> None:
    fill(path)
    scanner = path.tree.root / "checkpoint" / f"{path.form.server_id}.scanner"
    scanner.write_bytes(b"damaged")

    begun(path.tree.root, "after")

    assert set(path.scanner()["uncertain"]) == {"*"}
    assert [each.read_bytes() for each in quarantine(path)] == [b"damaged"]


def test_who_is_uncertain_after_a_recovery_is_so_whatever_its_clock_shows(
    path: BackupPath,
) -> None:
    fill(path)
    spoil(item_file(path), bytes(200))

    begun(path.tree.root, "after", now=NOON - timedelta(days=300))

    doubt = uncertain(path, ACCOUNT)
    assert doubt is not None
    assert doubt.since == NOON


def test_what_was_changed_up_to_an_hour_before_the_checkpoint_is_looked_at(
    path: BackupPath,
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=50)
    fill(path, ended=soon)
    spoil(item_file(path), bytes(200))

    recovered = begun(path.tree.root, "after", now=soon)

    assert recovered is not None
    assert len(recovered.cut) == 1


def fill_with_bulk(path: BackupPath, *sources: str) -> list[Path]:
    """Write long states of an item; lose power; return the blobs of their bulk."""
    with path.writer(SCAN) as writer:
        for mod, source in enumerate(sources, 11):
            state = message(257, mod, name=f"{mod} " * 400_000, source=source)
            writer.add_states(ACCOUNT, [state])
        writer.commit()
        writer.set_checkpoint({"smartscan": {"started": to_ms(NOON), "ended": to_ms(NOON)}})
    lose_power(path.tree.root)
    bodies = intact_lines(path.tree, layout.item_file(ACCOUNT, ITEM)).bodies
    return [blob_file(path, each) for each in map(bulk_of, bodies) if each]


def test_a_state_whose_bulk_never_got_its_name_is_cut(path: BackupPath) -> None:
    _, second = fill_with_bulk(path, "scan:1", NEWER)
    second.unlink()

    begun(path.tree.root, "after")

    assert mods(path) == [11]


def test_a_state_whose_revision_never_got_its_name_is_cut(path: BackupPath) -> None:
    lost = Digest("A" * 43 + "=")
    revision = {"revision": ({"version": 1, "blob_digest": lost},)}
    with path.writer(SCAN) as writer:
        writer.add_states(ACCOUNT, [message(257, 11, source="scan:1", side_rows=revision)])
        writer.add_states(ACCOUNT, [message(257, 12, source=NEWER, side_rows=revision)])
        writer.commit()
        writer.set_checkpoint({"smartscan": {"started": to_ms(NOON), "ended": to_ms(NOON)}})
    settled = settled_history(path, Frontier.of(path, ACCOUNT), ACCOUNT, ITEM)
    lose_power(path.tree.root)

    begun(path.tree.root, "after")

    assert mods(path) == [11]
    assert [state.mod for state in settled.states] == [11]


def test_a_smartscan_after_a_recovery_brings_back_what_it_would_have_passed_over(
    mail: Office,
) -> None:
    item = mail.client.deliver(ALICE, b"Subject: one\r\n\r\nfirst", folder="/Inbox")
    mail.scan()
    root, account = mail.backup_path, mail.account_id(ALICE)
    with BackupPath.open(root) as path:
        file = path.tree.root / f"accounts/{account}/items/{item % 100:02}/{item}"
        lost = file.read_bytes()
    lose_power(root)
    file.write_bytes(bytes(len(lost)))

    mail.scan()

    assert [state.subject for state in mail.history(ALICE, item)] == ["one"]
    assert any("was not closed cleanly" in line for line in mail.log_lines)
