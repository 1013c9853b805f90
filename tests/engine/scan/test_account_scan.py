"""Account Scans: asked for by hand, and before the restore of an uncertain account."""

from __future__ import annotations

import shlex

import pytest

from backupng.engine.errors import BadRequest
from backupng.engine.model import BACKUP_DISABLED, to_ms
from backupng.engine.operations.account_scan import DoAccountScan
from backupng.engine.operations.base import Report
from backupng.engine.operations.do_item_restore import DoItemRestore
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.words import FIRST, LAST, AccountName, AccountNameOrId, ItemIds
from tests.cast import ALICE, BOB, CAROL, Office, message
from tests.engine.restore.restoring import COPY, restore, subjects


def scan_account(mail: Office, name: str, *, deep: bool = False) -> Report:
    mail.later(seconds=1)
    return mail.run(DoAccountScan(account=AccountNameOrId(name), deep=deep))


def doubt(mail: Office, address: str) -> None:
    """Have the scanner mark an account uncertain."""
    marked = {mail.account_id(address): {"since": to_ms(mail.now), "reason": "emptied"}}
    with mail.path.writer("scanner") as writer:
        writer.set_scanner({"uncertain": marked})


def test_one_account_is_scanned_and_no_other(mail: Office) -> None:
    mail.scan()
    mine = mail.client.deliver(ALICE, message("Mine"), folder="/Inbox")
    other = mail.client.deliver(BOB, message("Other"), folder="/Inbox")

    report = scan_account(mail, "alice")

    assert (report.counters["accounts_scanned"], report.counters["items_new"]) == (1, 1)
    assert mail.history(ALICE, mine)
    assert not mail.history(BOB, other)
    (note,) = report.notes
    assert f"id {mail.account_id(ALICE)}, mailbox id 1;" in note


def test_an_account_new_to_the_backup_is_saved_with_its_entry(mail: Office) -> None:
    mail.scan()
    mail.client.create_account("erin@example.com")

    report = scan_account(mail, "erin@example.com")

    assert report.counters["entries_changed"] == 1
    assert mail.account_id("erin@example.com") in mail.path.accounts()


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [(CAROL, "cos_disabled", "staff enable"), ("nobody", "no_such_account", "getAvailable")],
)
def test_an_account_that_is_not_backed_up_is_refused_with_a_hint(
    mail: Office, name: str, code: str, word: str
) -> None:
    mail.scan()

    with pytest.raises(BadRequest) as refused:
        scan_account(mail, name)

    assert refused.value.code == code
    assert word in refused.value.hint


def test_the_command_in_the_hint_can_be_typed_as_it_is(mail: Office) -> None:
    mail.client.set_cos(BOB, "staff & co")
    mail.client.set_cos_notes("staff & co", BACKUP_DISABLED)

    with pytest.raises(BadRequest) as refused:
        scan_account(mail, BOB)

    command = refused.value.hint.partition(": ")[2]
    assert shlex.split(command)[2:] == ["doEnableDisableCOS", "staff & co", "enable"]


def test_what_cannot_be_read_is_listed(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    next((mail.sandbox.folder / "store").rglob("*.msg")).unlink()

    report = scan_account(mail, ALICE)

    assert report.unreadable == {ALICE: [(item, "read error")]}


def test_an_uncertain_account_is_scanned_before_it_is_restored(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.scan()
    mail.client.deliver(ALICE, message("Missed"), folder="/Inbox")
    doubt(mail, ALICE)
    mail.later(seconds=1)

    report = restore(mail)

    assert set(subjects(mail, COPY)) == {"Old", "Missed"}
    assert any("an Account Scan ran before the restore" in note for note in report.notes)
    assert any("comes before the restore" in line for line in mail.log_lines)


def test_an_uncertain_account_is_scanned_before_what_was_deleted_comes_back(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    doubt(mail, ALICE)
    mail.later(seconds=1)

    report = mail.run(DoUndelete(account=AccountName(ALICE), start_date=FIRST, end_date=LAST))

    assert set(subjects(mail, ALICE)) == {"Gone"}
    assert any("an Account Scan ran before the restore" in note for note in report.notes)


def test_an_uncertain_account_is_scanned_before_an_item_is_copied(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Mail"), folder="/Inbox")
    mail.scan()
    mail.client.flag(ALICE, item, ["+flagged"])
    doubt(mail, ALICE)
    mail.later(seconds=1)

    mail.run(
        DoItemRestore(
            account_name=AccountNameOrId(ALICE), item_id=ItemIds((item,)), restore_folder="/Back"
        )
    )

    found = [each for each in mail.client.list(ALICE)["items"] if each["folder"] == "/Back"]
    assert [(each["subject"], each["flags"]) for each in found] == [("Mail", "f")]


def test_an_uncertain_account_that_is_gone_is_restored_with_a_warning(mail: Office) -> None:
    mail.client.deliver(BOB, message("Old"), folder="/Inbox")
    mail.scan()
    doubt(mail, BOB)
    mail.client.delete_account(BOB)
    mail.later(seconds=1)

    report = restore(mail, BOB)

    assert set(subjects(mail, COPY)) == {"Old"}
    assert any("No Account Scan could run" in warning for warning in report.warnings)
