"""The time in which nobody saw a mailbox change, and the moments beside it."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta

from backupng.engine.backuppath import layout
from backupng.engine.operations.gaps import Gap, gap_at, known_for_page
from backupng.engine.operations.moments import known_by
from backupng.engine.restore.select import end_of_second
from tests.cast import ALICE, Office, message
from tests.engine.operations.test_moments import follow


def gap(mail: Office, moment: datetime) -> Gap | None:
    """Return the gap of alice's mailbox at a moment; the catalog has read all there is."""
    account, mail.catalog_file = mail.account_id(ALICE), mail.folder / "catalog"
    mail.catalog.ask(account, lambda _connection, _number: None)
    return gap_at(mail, account, moment)


def test_without_the_scanner_all_between_two_scans_is_a_gap(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    mail.client.deliver(ALICE, message("Earlier"), folder="/Inbox")
    mail.scan()
    first = mail.now - timedelta(seconds=1)
    before_all = first - timedelta(hours=1)
    mail.later(minutes=5)
    between = mail.now
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.later(minutes=5)
    mail.scan()
    second = mail.now - timedelta(seconds=1)

    assert gap(mail, between) == Gap(last=first, next=second)
    assert [gap(mail, moment) for moment in (before_all, first, second)] == [None] * 3
    assert gap(mail, mail.now) is None


def test_what_the_scanner_missed_is_a_gap(mail: Office) -> None:
    mail.scan()
    first = mail.now - timedelta(seconds=1)
    mail.later(minutes=5)
    follow(mail, mail.client.deliver(ALICE, message("One"), folder="/Inbox"))
    mail.later(minutes=5)
    missed = mail.now
    mail.client.deliver(ALICE, message("Two"), folder="/Inbox")
    mail.later(minutes=5)
    mail.scan()
    second = mail.now - timedelta(seconds=1)

    found = gap(mail, missed - timedelta(seconds=1))

    assert found == Gap(last=first, next=second)


def test_what_the_scanner_has_seen_is_no_gap(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    between = mail.now
    mail.later(minutes=5)
    follow(mail, mail.client.deliver(ALICE, message("One"), folder="/Inbox"))
    mail.later(minutes=5)
    mail.scan()

    assert gap(mail, between) is None


def test_of_an_item_the_first_change_after_a_moment_counts(mail: Office) -> None:
    mail.scan()
    first = mail.now - timedelta(seconds=1)
    mail.later(minutes=5)
    before_both = mail.now
    mail.later(minutes=5)
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    follow(mail, item)
    mail.later(minutes=5)
    between = mail.now
    mail.later(minutes=5)
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.later(minutes=5)
    mail.scan()
    second = mail.now - timedelta(seconds=1)

    assert [state.is_by_scan for state in mail.history(ALICE, item)] == [False, True]
    assert gap(mail, before_both) is None
    assert gap(mail, between) == Gap(last=first, next=second)


def test_however_much_changed_no_history_is_read_for_it(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    follow(mail)
    moment = mail.now
    mail.later(minutes=5)
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.later(minutes=5)
    mail.scan()
    account, before = mail.account_id(ALICE), end_of_second(moment)
    mail.catalog_file = mail.folder / "new"
    read_up = known_for_page(mail, account, before, zone="UTC")
    found, told = gap(mail, moment), known_by(mail.path, account, before, zone="UTC")

    for bucket in (mail.backup_path / layout.account_folder(account) / "items").iterdir():
        shutil.rmtree(bucket)

    assert found
    assert told.startswith("No scan ran at that moment")
    assert gap_at(mail, account, moment) == found
    assert known_for_page(mail, account, before, zone="UTC") == read_up == told
