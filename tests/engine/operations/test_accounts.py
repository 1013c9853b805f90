"""What pages ask about accounts: who there is, since when it is saved, what a moment holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backupng.engine.errors import BadRequest, BrokenItem, MailServerUnreachable
from backupng.engine.model import ItemKind
from backupng.engine.operations import accounts
from backupng.engine.operations.accounts import AccountLine
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import LAST, AccountName, AccountNameOrId, Moment
from tests.cast import ALICE, BOB, CAROL, DAVE, NOON, Office, message

ROME = ZoneInfo("Europe/Rome")
SECOND = timedelta(seconds=1)


@dataclass
class Down(Office):
    """The office whose mail server does not answer."""

    @property
    def source(self) -> Any:
        raise MailServerUnreachable("mail1 does not answer.")


@pytest.fixture
def down(mail: Office) -> Down:
    return Down(mail.folder, mail.sandbox, mail.now, mail.settings)


def lines(mail: Office) -> dict[str, AccountLine]:
    return {line.name: line for line in accounts.list_accounts(mail).lines}


def line(mail: Office, address: str) -> AccountLine:
    found = lines(mail)[address]
    return next(accounts.detailed(mail, [found]))


def test_before_the_first_scan_the_list_is_the_directory(mail: Office) -> None:
    found = accounts.list_accounts(mail)

    assert [each.name for each in found.lines] == [ALICE, BOB, CAROL, DAVE]
    assert not found.directory_error
    assert not found.backup_error
    assert {each.protected_since for each in found.lines} == {None}


def test_a_scanned_account_says_since_when_it_is_saved(mail: Office) -> None:
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    mail.later(hours=2)
    mail.client.deliver(ALICE, message("Two"), folder="/Inbox")
    mail.scan()

    found = line(mail, ALICE)

    assert found.protected_since == NOON + SECOND
    assert found.last_change == mail.now - SECOND
    assert found.items == accounts.item_count(mail, found.account_id)
    assert (found.status, found.cos_name, found.exists) == ("active", "default", True)


def test_an_account_that_no_scan_has_seen_has_nothing_saved(mail: Office) -> None:
    mail.scan()
    mail.client.create_account("new@example.com")

    found = line(mail, "new@example.com")

    assert (found.exists, found.protected_since, found.items) == (True, None, None)
    assert accounts.first_moment_of(mail, found.account_id) is None
    assert accounts.item_count(mail, found.account_id) == 0
    assert accounts.expected(mail, found.account_id, LAST).items == 0


def test_backup_off_by_class_of_service_is_not_deleted(mail: Office) -> None:
    mail.client.set_cos_notes("staff", "")
    mail.scan()
    mail.client.set_cos_notes("staff", "${ZxBackup_Disabled}")
    mail.scan()

    found = line(mail, CAROL)

    assert (found.exists, found.backup_disabled, found.cos_name) == (True, True, "staff")
    assert found.deleted_at is None
    assert found.protected_since == NOON + SECOND


def test_an_account_deleted_since_the_last_scan_is_deleted_at_an_unknown_time(
    mail: Office,
) -> None:
    mail.scan()
    mail.client.delete_account(BOB)

    found = line(mail, BOB)

    assert (found.exists, found.status, found.deleted_at) == (False, "deleted", None)


def test_a_scan_says_when_it_found_an_account_deleted(mail: Office) -> None:
    mail.scan()
    mail.client.delete_account(BOB)
    mail.later(days=1)
    mail.scan()

    assert line(mail, BOB).deleted_at == mail.now - SECOND


def test_without_the_directory_the_list_is_what_the_last_scan_saw(mail: Office, down: Down) -> None:
    mail.scan()
    mail.client.delete_account(BOB)
    mail.scan()
    mail.client.create_account("new@example.com")

    found = accounts.list_accounts(down)

    assert found.directory_error == "mail1 does not answer."
    assert {each.name: each.exists for each in found.lines} == {
        ALICE: True,
        BOB: False,
        DAVE: True,
    }
    assert found.lines[0].cos_name == "default"


def test_without_the_directory_backup_off_is_still_not_deleted(mail: Office, down: Down) -> None:
    mail.client.set_cos_notes("staff", "")
    mail.scan()
    mail.client.set_cos_notes("staff", "${ZxBackup_Disabled}")
    mail.scan()

    found = lines(down)[CAROL]

    assert (found.exists, found.backup_disabled, found.deleted_at) == (True, True, None)


def test_a_damaged_entry_is_named_and_hides_nobody(mail: Office) -> None:
    mail.scan()
    entry = mail.backup_path / "accounts" / mail.account_id(ALICE) / "account"
    entry.write_bytes(b"no line\n")

    found = lines(mail)

    assert set(found) == {ALICE, BOB, CAROL, DAVE}
    assert "is damaged" in found[ALICE].problem
    assert found[ALICE].protected_since is None
    with pytest.raises(BrokenItem):
        accounts.first_moment_of(mail, found[ALICE].account_id)


def test_a_damaged_mailbox_history_is_named_on_its_line(mail: Office) -> None:
    mail.scan()
    (mail.backup_path / "accounts" / mail.account_id(ALICE) / "mailbox").write_bytes(b"x\n")

    assert "is damaged" in line(mail, ALICE).problem


def test_a_backup_path_that_is_none_is_named_and_the_directory_is_listed(mail: Office) -> None:
    (mail.backup_path / "something").write_text("else")

    found = accounts.list_accounts(mail)

    assert "is no Backup Path" in found.backup_error
    assert len(found.lines) == 4


def test_an_account_is_found_by_its_id_alone(mail: Office) -> None:
    mail.scan()
    alice = mail.account_id(ALICE)

    assert accounts.find_account_line(mail, alice).items is not None
    for other in (ALICE, "alice", alice.upper(), "", "../" + alice, "x" * 5000, "\0"):
        with pytest.raises(BadRequest) as refusal:
            accounts.find_account_line(mail, other)
        assert refusal.value.code == "no_such_account"


def test_a_deleted_account_is_found_by_its_id(mail: Office) -> None:
    bob = mail.account_id(BOB)
    mail.scan()
    mail.client.delete_account(BOB)

    assert accounts.find_account_line(mail, bob).name == BOB


def test_the_first_moment_of_the_pages_is_that_of_the_restore(mail: Office) -> None:
    mail.scan()
    first = accounts.first_moment_of(mail, mail.account_id(ALICE))
    assert first is not None
    restore = RestoreOnNewAccount(
        source_account=AccountNameOrId(ALICE),
        destination_account=AccountName("copy"),
        date=Moment(at=first - SECOND),
    )

    with pytest.raises(BadRequest) as refusal:
        restore.check(mail)

    assert refusal.value.details["first"] == first.timestamp() * 1000


def test_expected_is_what_the_restore_plans(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Inbox/Work")
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox/Work")
    mail.client.tag(ALICE, item, "Urgent")
    mail.scan()
    then = Moment(at=mail.now)
    mail.later(hours=1)
    mail.client.deliver(ALICE, message("Later"), folder="/Inbox")
    mail.scan()
    alice = mail.account_id(ALICE)

    before, now = accounts.expected(mail, alice, then), accounts.expected(mail, alice, LAST)

    assert (before.items, before.folders, before.tags) == (1, 1, 1)
    assert before.size_bytes == len(message("Offer"))
    assert (now.items, now.kinds) == (2, {ItemKind.MESSAGE: 2})
    restored = mail.run(
        RestoreOnNewAccount(
            source_account=AccountNameOrId(ALICE),
            destination_account=AccountName("copy"),
            date=then,
        )
    )
    assert restored.counters["planned"] == before.items + before.folders + before.tags


def test_expected_refuses_the_future(mail: Office) -> None:
    mail.scan()

    with pytest.raises(BadRequest) as refusal:
        accounts.expected(mail, mail.account_id(ALICE), Moment(at=mail.now + SECOND))

    assert refusal.value.code == "date_in_future"


def test_changed_days_are_local_days_of_scans_that_found_a_change(mail: Office) -> None:
    mail.now = NOON.replace(day=31, hour=22, minute=30)
    mail.scan()
    mail.later(days=2)
    mail.scan()
    mail.later(days=1)
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    alice = mail.account_id(ALICE)

    march = accounts.changed_days(mail, alice, year=2026, month=3, zone=ROME)
    april = accounts.changed_days(mail, alice, year=2026, month=4, zone=ROME)

    # 22:30 UTC is half past midnight in Rome.
    assert march == frozenset()
    assert april == {date(2026, 4, 1), date(2026, 4, 4)}
    assert accounts.changed_days(mail, "nobody", year=2026, month=4, zone=ROME) == frozenset()
