"""The time in which nobody saw a mailbox change, and the moments beside it."""

from __future__ import annotations

from datetime import datetime, timedelta

from backupng.engine.operations.gaps import Gap, gap_at
from tests.cast import ALICE, Office, message
from tests.engine.operations.test_moments import follow


def gap(mail: Office, moment: datetime) -> Gap | None:
    """Return the gap of alice's mailbox at a moment; the catalog has read all there is."""
    account, mail.catalog_file = mail.account_id(ALICE), mail.folder / "catalog"
    mail.catalog.ask(account, lambda _connection, _number: None)
    return gap_at(mail, account, moment)


def test_without_the_scanner_all_between_two_scans_is_a_gap(mail: Office) -> None:
    mail.scan()
    first = mail.now - timedelta(seconds=1)
    mail.later(minutes=5)
    between = mail.now
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.later(minutes=5)
    mail.scan()
    second = mail.now - timedelta(seconds=1)

    assert gap(mail, between) == Gap(last=first, next=second)
    assert [gap(mail, moment) for moment in (first, second)] == [None, None]
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
