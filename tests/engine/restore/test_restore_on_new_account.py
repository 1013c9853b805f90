"""Restore on New Account on the sandbox: which moment, what comes, what is refused or lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from backupng.engine.errors import BackupError
from backupng.engine.model import AccountId, EntryKind, ItemId
from backupng.engine.operations.words import Moment
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.commandline import comparable
from tests.engine.restore.restoring import COPY, at, restore, subjects


def test_a_seeded_mailbox_comes_back_equal(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Inbox/Büro/2026")
    item = mail.client.deliver(ALICE, message("Re: Lunch"), folder="/Inbox/Büro/2026")
    mail.client.tag(ALICE, item, "Dringend")
    mail.client.flag(ALICE, item, ["+flagged", "-unread"])
    mail.client.save_document(ALICE, b"x" * 9000, name="plan.txt")
    mail.scan()

    report = restore(mail)

    assert comparable(mail.client.list(COPY)) == comparable(mail.client.list(ALICE))
    counters = report.counters
    assert counters["planned"] == counters["restored"] == 5
    assert not report.losses


def test_a_moment_brings_back_what_was_there_then(mail: Office) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()
    then = mail.now
    mail.later(hours=1)
    mail.client.create_folder(ALICE, "/Later")
    mail.client.move(ALICE, item, "/Later")
    mail.client.deliver(ALICE, message("After"), folder="/Inbox")
    mail.scan()

    restore(mail, date=at(then))

    restored = subjects(mail, COPY)
    assert set(restored) == {"Offer"}
    assert restored["Offer"]["folder"] == "/Inbox"
    assert "/Later" not in {item["folder"] for item in mail.client.list(COPY)["items"]}


def test_an_item_deleted_since_comes_back_and_one_deleted_before_does_not(mail: Office) -> None:
    early = mail.client.deliver(ALICE, message("Early"), folder="/Inbox")
    late = mail.client.deliver(ALICE, message("Late"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, early)
    mail.scan()
    then = mail.now
    mail.later(hours=1)
    mail.client.delete(ALICE, late)
    mail.scan()

    restore(mail, date=at(then))

    assert set(subjects(mail, COPY)) == {"Late"}


def test_a_moment_means_the_end_of_its_second(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=1, milliseconds=700)
    mail.now = mail.now.replace(microsecond=700_000)
    mail.client.deliver(ALICE, message("In that second"), folder="/Inbox")
    second = at(mail.now)
    mail.later(minutes=1)
    mail.scan()

    restore(mail, date=second)

    assert set(subjects(mail, COPY)) == {"In that second"}


def test_the_new_account_has_the_preferences_and_not_the_rights_of_the_old(mail: Office) -> None:
    alice = mail.sandbox.account(ALICE)
    mail.sandbox.directory.modify(
        alice,
        {
            "zimbraPrefLocale": (b"it",),
            "zimbraMailQuota": (b"1000000",),
            "zimbraIsAdminAccount": (b"TRUE",),
            "userPassword": (b"{SSHA}secret",),
            "zimbraMailAlias": (b"ally@example.com",),
        },
    )
    mail.scan()

    restore(mail, "ally@example.com", hide=True)

    copy = mail.sandbox.account(COPY)
    assert copy.first("zimbraPrefLocale") == "it"
    assert copy.first("zimbraMailQuota") == "1000000"
    assert copy.first("zimbraHideInGal") == "TRUE"
    assert copy.entry_id != alice.entry_id
    assert not copy.attributes.keys() & {
        "zimbraIsAdminAccount",
        "userPassword",
        "zimbraMailAlias",
    }


def test_preferences_are_those_of_the_moment(mail: Office) -> None:
    mail.scan()
    then = mail.now
    mail.later(hours=1)
    mail.sandbox.directory.modify(mail.sandbox.account(ALICE), {"zimbraPrefLocale": (b"it",)})
    mail.scan()

    report = restore(mail, date=at(then))

    assert "zimbraPrefLocale" not in mail.sandbox.account(COPY).attributes
    assert any("settings" in note for note in report.notes)


def test_a_quota_does_not_keep_restored_mail_out(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Big", body="x" * 5000), folder="/Inbox")
    mail.sandbox.directory.modify(mail.sandbox.account(ALICE), {"zimbraMailQuota": (b"100",)})
    mail.scan()

    report = restore(mail)

    assert not report.losses
    assert set(subjects(mail, COPY)) == {"Big"}


def test_a_class_of_service_that_is_gone_is_replaced_and_said(mail: Office) -> None:
    mail.client.set_cos(ALICE, "gold")
    mail.scan()
    gold = mail.sandbox.directory.find(EntryKind.COS, "gold")
    assert gold is not None
    mail.sandbox.directory.remove(gold)

    report = restore(mail)

    assert "zimbraCOSId" not in mail.sandbox.account(COPY).attributes
    assert any("class of service" in note for note in report.warnings)


def test_shares_are_counted_and_not_carried(mail: Office) -> None:
    mail.scan()

    report = restore(mail, DAVE)

    assert report.counters["grants_not_carried"] == 1
    shared = next(i for i in mail.client.list(COPY)["items"] if i["name"] == "Shared")
    assert shared["folder"] == "/"
    assert not report.losses


def test_a_deleted_account_can_be_restored(mail: Office) -> None:
    mail.client.deliver(BOB, message("Farewell"), folder="/Inbox")
    mail.scan()
    mail.client.delete_account(BOB)
    mail.scan()

    restore(mail, BOB, BOB)

    assert set(subjects(mail, BOB)) == {"Farewell"}


def test_two_deleted_accounts_of_one_name_are_told_apart_by_id(mail: Office) -> None:
    first = mail.account_id(BOB)
    mail.scan()
    mail.client.delete_account(BOB)
    mail.scan()
    mail.client.create_account(BOB)
    mail.scan()
    mail.client.delete_account(BOB)
    mail.scan()

    with pytest.raises(BackupError, match="Several accounts") as refused:
        restore(mail, BOB)
    restore(mail, first)

    assert refused.value.code == "ambiguous_account"
    told, _ = refused.value.details["accounts"]
    assert (told["id"], told["server"]) == (first, "mail1")
    assert told["created"] < told["deleted"]
    said = f"{first} (created 02/03/2026 12:00:01 UTC, deleted 02/03/2026 12:00:03 UTC"
    assert said in str(refused.value)


def test_a_name_means_the_account_that_bore_it_at_the_moment(mail: Office) -> None:
    mail.client.deliver(BOB, message("From the old one"), folder="/Inbox")
    mail.scan()
    then = at(mail.now)
    mail.later(hours=1)
    mail.client.delete_account(BOB)
    mail.scan()
    mail.client.create_account(BOB)
    mail.scan()

    restore(mail, BOB, date=then)
    restore(mail, BOB, "new@example.com")

    assert set(subjects(mail, COPY)) == {"From the old one"}
    assert not subjects(mail, "new@example.com")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"source": "nobody@example.com"}, "no_such_account"),
        ({"to": DAVE}, "already_exists"),
        ({"to": "x@elsewhere.example"}, "no_such_domain"),
        ({"to": "a b@example.com"}, "bad_value"),
        ({"date": at(datetime(2020, 1, 1, tzinfo=UTC))}, "before_first_backup"),
        ({"date": at(datetime(2126, 1, 1, tzinfo=UTC))}, "date_in_future"),
        ({"date": Moment(keyword="first")}, "bad_value"),
    ],
    ids=str,
)
def test_a_refused_restore_changes_nothing(mail: Office, words: dict[str, Any], code: str) -> None:
    mail.scan()
    before = [entry.name for entry in mail.sandbox.directory.entries(EntryKind.ACCOUNT)]

    with pytest.raises(BackupError) as refused:
        restore(mail, **words)

    assert refused.value.code == code
    assert refused.value.hint
    after = [entry.name for entry in mail.sandbox.directory.entries(EntryKind.ACCOUNT)]
    assert after == before


def test_a_bare_name_means_the_domain_of_the_source(mail: Office) -> None:
    mail.scan()

    restore(mail, "alice", "newalice")

    assert mail.sandbox.account("newalice@example.com").name == "newalice@example.com"


def test_nothing_can_be_restored_before_a_first_scan_has_ended(mail: Office) -> None:
    with mail.owned_path(), pytest.raises(BackupError) as refused:
        restore(mail)

    assert refused.value.code == "not_initialized"


def test_the_source_is_not_touched(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Mine"), folder="/Inbox")
    mail.scan()
    heads = heads_of(mail, ALICE)

    restore(mail)

    assert heads_of(mail, ALICE) == heads


def heads_of(mail: Office, address: str) -> dict[ItemId, int]:
    source = mail.sandbox.source()
    mailbox = source.mailbox(AccountId(mail.sandbox.account(address).entry_id))
    assert mailbox is not None
    return dict(source.heads(mailbox))
