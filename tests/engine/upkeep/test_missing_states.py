"""What the last scan saw and is gone without a trace: a check names it, a purge spares blobs."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.model import ItemId, ItemState
from backupng.engine.operations.account_scan import DoAccountScan
from backupng.engine.operations.base import Report
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_purge import DoPurge
from backupng.engine.operations.words import AccountNameOrId
from tests.cast import ALICE, Office, message


def run(mail: Office, **parameters: Any) -> Report:
    mail.later(seconds=1)
    return mail.run(DoCoherencyCheck(backup_path=mail.backup_path, **parameters))


def history_of(mail: Office, item: int) -> Path:
    (found,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{item}")
    return found


def deliver(mail: Office, *subjects: str) -> list[ItemId]:
    return [mail.client.deliver(ALICE, message(each), folder="/Inbox") for each in subjects]


def cut_last_line(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))


def age(mail: Office) -> None:
    """Let all files look as if they had been written long ago."""
    then_ns = int((mail.now - timedelta(days=40)).timestamp() * 1_000_000_000)
    for file in mail.backup_path.rglob("*"):
        os.utime(file, ns=(then_ns, then_ns))


def test_histories_that_are_gone_are_found_and_an_account_scan_saves_them_again(
    mail: Office,
) -> None:
    first, second, third = deliver(mail, "One", "Two", "Three")
    mail.scan()
    for item in (first, third):
        history_of(mail, item).unlink()

    report = run(mail)

    assert report.unreadable == {ALICE: [(0, "missing states")]}
    assert report.counters["missing_states"] == 1
    assert (
        f"{ALICE}: the histories of 2 items that the last scan saw are missing." in report.warnings
    )
    assert not report.counters["orphans"]
    mail.later(seconds=1)
    mail.run(DoAccountScan(account=AccountNameOrId(ALICE), deep=True))
    assert [mail.history(ALICE, each)[-1].subject for each in (first, second, third)] == [
        *("One", "Two", "Three")
    ]
    assert not run(mail, checkZimbra=True).losses


def test_of_a_single_one_the_sums_tell_which(mail: Office) -> None:
    gone, second = deliver(mail, "One", "Two")
    mail.scan()
    mail.client.delete(ALICE, gone)
    mail.scan()
    history_of(mail, second).unlink()

    assert run(mail).unreadable == {ALICE: [(second, "missing states")]}


@pytest.mark.parametrize("how", ["no regular file", "broken metadata"])
def test_what_is_told_of_by_itself_is_not_missing_too(mail: Office, how: str) -> None:
    item, _ = deliver(mail, "One", "Two")
    mail.scan()
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.later(hours=1)
    mail.scan()
    file = history_of(mail, item)
    if how == "no regular file":
        file.rename(file.with_name("elsewhere"))
        file.symlink_to("elsewhere")
    else:
        file.write_bytes(file.read_bytes().replace(b'"One"', b'"Six"', 2))

    assert run(mail).unreadable == {ALICE: [(item, how)]}


def test_lines_that_are_gone_from_an_end_are_found_and_a_repair_has_them_saved_again(
    mail: Office,
) -> None:
    (item,) = deliver(mail, "One")
    mail.scan()
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.later(hours=1)
    mail.scan()
    cut_last_line(history_of(mail, item))

    report = run(mail, fixBackup=True)
    mail.later(hours=1)
    mail.scan()

    assert report.unreadable == {ALICE: [(0, "missing states")]}
    assert mail.history(ALICE, item)[-1].flags == "f"
    assert not run(mail, checkZimbra=True).losses


def test_what_came_went_and_changed_since_is_not_missing(mail: Office) -> None:
    one, two, three, four = deliver(mail, "One", "Two", "Three", "Four")
    mail.scan()
    mail.client.delete(ALICE, one)
    mail.client.flag(ALICE, two, ["+flagged"])
    mail.later(hours=1)
    mail.scan()
    mail.client.delete(ALICE, four)
    mail.later(hours=1)
    mail.scan()
    assert not run(mail).losses

    deliver(mail, "Five")
    mail.client.delete(ALICE, three)
    mail.later(hours=1)
    with mail.path.writer("scan") as writer:
        # As the scanner writes what it reads: behind the last scan.
        state = mail.history(ALICE, two)[-1]
        last = mail.path.mailbox_history(mail.account_id(ALICE))[-1]
        writer.add_states(mail.account_id(ALICE), [_deleted(state, last.mod + 1, mail)])
        writer.commit()

    assert not run(mail).losses


def test_a_purge_removes_no_blob_while_histories_are_missing(mail: Office) -> None:
    first, second, *_ = deliver(mail, "One", "Two", "Three")
    mail.scan()
    mail.client.delete(ALICE, second)
    mail.later(hours=1)
    mail.scan()
    digest = mail.history(ALICE, first)[-1].digest
    history_of(mail, first).unlink()
    mail.later(days=60)
    age(mail)

    report = mail.run(DoPurge(confirm=True))

    assert Path(mail.backup_path, "items", digest[:2], digest).exists()
    assert report.counters["blobs_removed"] == 0
    assert any("that the last scan saw is missing" in each for each in report.warnings)


def test_a_deletion_that_no_scan_has_seen_stays_until_one_has(mail: Office) -> None:
    first, *_ = deliver(mail, "One", "Two")
    mail.scan()
    mail.later(hours=1)
    account = mail.account_id(ALICE)
    last = mail.path.mailbox_history(account)[-1]
    with mail.path.writer("scan") as writer:
        state = mail.history(ALICE, first)[-1]
        writer.add_states(account, [_deleted(state, last.mod + 1, mail)])
        writer.commit()
    mail.later(days=60)
    age(mail)

    mail.run(DoPurge(confirm=True))

    assert mail.history(ALICE, first)[-1].deleted
    assert not run(mail).losses


def _deleted(state: ItemState, mod: int, mail: Office) -> ItemState:
    return ItemState(item_id=state.item_id, kind=state.kind, mod=mod, start=mail.now, deleted=True)
