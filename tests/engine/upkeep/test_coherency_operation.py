"""doCoherencyCheck on an office: what it reports, what it moves, and what the next scan mends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.errors import BadRequest
from backupng.engine.operations.base import Report
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.smart_scan import SmartScan
from backupng.engine.operations.words import AccountNames
from tests.cast import ALICE, BOB, DAVE, NOON, Office, message


def run(mail: Office, **parameters: Any) -> Report:
    mail.later(seconds=1)
    return mail.run(DoCoherencyCheck(backup_path=mail.backup_path, **parameters))


def history_of(mail: Office, address: str, item: int) -> Path:
    (found,) = mail.backup_path.glob(f"accounts/{mail.account_id(address)}/items/*/{item}")
    return found


def blob_of(mail: Office, address: str, item: int) -> Path:
    digest = mail.history(address, item)[-1].digest
    return Path(mail.backup_path, "items", digest[:2], digest)


def spoil(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"m", b"n", 1))


def test_a_whole_backup_agrees_with_the_mail_server(mail: Office) -> None:
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()

    report = run(mail, checkZimbra=True)

    assert not report.losses
    assert report.warnings == []
    assert report.counters["differences"] == 0
    assert report.counters["accounts"] == 3
    assert report.counters["blobs"] == 1


def test_what_changed_since_the_last_scan_is_a_difference(mail: Office) -> None:
    old = mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    gone = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    new = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    mail.client.flag(ALICE, old, ["+flagged"])
    mail.client.delete(ALICE, gone)
    mail.client.delete_account(BOB)

    report = run(mail, checkZimbra=True)

    assert {
        (old, "older in the backup"),
        (gone, "deleted on the mail server, alive in the backup"),
        (new, "not in the backup"),
    } <= set(report.unreadable[ALICE])
    assert report.unreadable[BOB] == [(0, "alive in the backup, not on the mail server")]
    assert report.losses


def test_findings_are_listed_by_account_and_nothing_is_moved_unasked(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    blob_of(mail, ALICE, item).unlink()
    spoil(history_of(mail, DAVE, 256))

    report = run(mail)

    assert report.unreadable == {ALICE: [(item, "missing blob")], DAVE: [(256, "broken metadata")]}
    assert report.counters["missing_blobs"] == report.counters["broken_metadata"] == 1
    assert "Nothing was moved: fixBackup is false." in report.notes
    assert not (mail.backup_path / "quarantine").exists()


def test_after_a_repair_the_next_smartscan_saves_all_of_it_anew(mail: Office) -> None:
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    wrong = mail.client.deliver(ALICE, message("Wrong"), folder="/Inbox")
    broken = mail.client.deliver(ALICE, message("Broken"), folder="/Inbox")
    mail.scan()
    blob_of(mail, ALICE, lost).unlink()
    blob_of(mail, ALICE, wrong).write_bytes(b"something else")
    history_of(mail, ALICE, broken).write_bytes(b"nothing\n")

    report = run(mail, fixBackup=True)
    mail.scan()

    # The blob of a history that says nothing any more is an orphan now.
    assert report.counters["moved"] == 3
    after = run(mail, checkZimbra=True)
    assert (after.losses, after.counters["differences"]) == (False, 0)
    assert mail.history(ALICE, broken)[-1].subject == "Broken"


def test_after_the_repair_of_a_mailbox_history_later_changes_are_saved(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    mailbox = mail.backup_path / "accounts" / mail.account_id(ALICE) / "mailbox"
    spoil(mailbox)

    run(mail, fixBackup=True)
    mail.scan()
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()

    assert mail.history(ALICE, item)[-1].flags == "f"
    assert not run(mail, checkZimbra=True).losses


def test_a_deep_scan_saves_a_lost_blob_again_and_another_one_does_not(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    blob = blob_of(mail, ALICE, item)
    blob.unlink()

    mail.scan()
    assert not blob.exists()
    mail.scan(deep=True)

    assert blob.exists()
    assert len(mail.history(ALICE, item)) == 1


@pytest.mark.parametrize("place", ["items/{}", ""])
def test_what_lies_behind_a_link_keeps_its_blobs_and_is_saved_anew(
    mail: Office, tmp_path: Path, place: str
) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    blob = blob_of(mail, ALICE, item)
    account = mail.backup_path / "accounts" / mail.account_id(ALICE)
    folder = account / place.format(history_of(mail, ALICE, item).parent.name)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")

    report = run(mail, fixBackup=True)
    kept = blob.exists()
    mail.scan()

    assert kept
    assert (report.counters["wrong_types"], report.counters["moved"]) == (1, 1)
    assert report.unreadable.keys() <= {ALICE, mail.account_id(ALICE)}
    assert mail.history(ALICE, item)[-1].subject == "One"
    assert run(mail).counters["orphans"] == 0


def test_a_repair_that_compares_has_the_next_scan_save_what_is_missing(mail: Office) -> None:
    gone = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    kept = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    mail.client.flag(ALICE, kept, ["+flagged"])
    mail.scan()
    mail.client.flag(ALICE, kept, ["+unread"])
    mail.scan()
    history_of(mail, ALICE, gone).unlink()
    older = history_of(mail, ALICE, kept)
    older.write_bytes(older.read_bytes().splitlines(keepends=True)[0])

    run(mail, fixBackup=True, checkZimbra=True)
    mail.scan()

    assert blob_of(mail, ALICE, gone).exists()
    after = run(mail, checkZimbra=True)
    assert (after.losses, after.counters["differences"]) == (False, 0)


def test_orphans_are_a_warning_and_no_loss(mail: Office) -> None:
    mail.scan()
    with mail.owned_path().writer("scan") as writer:
        writer.add_blob([b"nobody names me"])
        writer.commit()

    report = run(mail)

    assert (report.losses, report.counters["orphans"]) == (False, 1)
    assert "1 blob is referred to by no metadata: items/" in report.warnings[0]


def test_only_the_named_accounts_are_looked_at(mail: Office) -> None:
    mail.scan()
    spoil(history_of(mail, DAVE, 256))

    assert not run(mail, accounts=AccountNames((ALICE,))).losses
    assert run(mail, accounts=AccountNames((DAVE, mail.account_id(BOB)))).losses


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"accounts": AccountNames(("nobody@example.com",))}, "no_such_account"),
        ({"fixDoubleGzip": "maybe"}, "bad_value"),
        ({"backup_path": Path("/nowhere")}, "path_missing"),
    ],
)
def test_what_cannot_be_is_refused(mail: Office, parameters: dict[str, Any], code: str) -> None:
    mail.scan()
    wanted = {"backup_path": mail.backup_path, **parameters}

    with pytest.raises(BadRequest) as caught:
        DoCoherencyCheck(**wanted).check(mail)

    assert caught.value.code == code


def test_the_backup_of_another_server_can_be_checked_but_not_compared(
    mail: Office, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    BackupPath.open_or_create(other, Owner(server_id="x", server_name="mail2"), now=NOON).close()

    assert not mail.run(DoCoherencyCheck(backup_path=other)).losses
    with pytest.raises(BadRequest, match="mail2"):
        DoCoherencyCheck(backup_path=other, checkZimbra=True).check(mail)


def test_a_scan_that_meets_damage_says_so(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    spoil(history_of(mail, ALICE, item))
    mail.client.flag(ALICE, item, ["+flagged"])

    report = mail.run(SmartScan())

    assert report.suspected == {ALICE: [item]}


def test_a_path_that_holds_nothing_is_said_to(mail: Office, tmp_path: Path) -> None:
    mail.scan()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "format").write_bytes((mail.backup_path / "format").read_bytes())

    report = mail.run(DoCoherencyCheck(backup_path=tmp_path / "copy"))

    (warning,) = report.warnings
    assert f"There is nothing in {tmp_path / 'copy'}" in warning


def test_what_is_not_the_backup_paths_is_named_in_the_log(mail: Office) -> None:
    mail.scan()
    (mail.backup_path / "accounts" / "old").mkdir()

    report = run(mail)

    assert report.counters["accounts"] == 3
    assert any("accounts/old is not the Backup Path's" in line for line in mail.log_lines)


def test_what_was_cut_short_is_saved_anew_by_the_scan_after_a_repair(mail: Office) -> None:
    cut, emptied = (
        mail.client.deliver(ALICE, message(name), folder="/Inbox") for name in ("Cut", "Emptied")
    )
    mail.scan()
    whole = {item: history_of(mail, ALICE, item).read_bytes() for item in (cut, emptied)}
    for item, kept in ((cut, -10), (emptied, 0)):
        history_of(mail, ALICE, item).write_bytes(whole[item][:kept])
        os.utime(history_of(mail, ALICE, item), (0, 0))

    found = run(mail, fixBackup=True)
    mail.scan()

    broken = "broken metadata"
    assert found.unreadable == {ALICE: [(cut, broken), (emptied, broken)]}
    assert [mail.history(ALICE, item)[-1].subject for item in (cut, emptied)] == ["Cut", "Emptied"]
    assert not run(mail).losses


def test_a_deep_scan_saves_anew_what_was_cut_short(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Cut"), folder="/Inbox")
    mail.scan()
    history = history_of(mail, ALICE, item)
    history.write_bytes(history.read_bytes()[:-10])
    os.utime(history, (0, 0))
    assert run(mail).losses

    mail.scan(deep=True)

    assert mail.history(ALICE, item)[-1].subject == "Cut"
    assert not run(mail).losses
