"""What is said of a moment: how exactly the backup knows a mailbox then."""

from __future__ import annotations

from datetime import timedelta

from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import LAST, AccountName, AccountNameOrId, Moment
from tests.cast import ALICE, Office, message


def told(mail: Office, moment: Moment) -> str:
    """Restore a mailbox and return the first sentence of the report: warnings come first."""
    name = f"copy{mail.now:%H%M%S%f}@example.com"
    operation = RestoreOnNewAccount(
        source_account=AccountNameOrId(ALICE), destination_account=AccountName(name), date=moment
    )
    report = mail.run(operation)
    # Who asks for the last state there is gets what was asked for.
    assert not (report.warnings and moment is LAST)
    return [*report.warnings, *report.notes][0]


def test_after_the_last_scan_a_restore_says_what_it_cannot_know(mail: Office) -> None:
    mail.scan()
    scanned = mail.now - timedelta(seconds=1)
    mail.later(minutes=5)
    for moment in (LAST, Moment(at=mail.now)):
        assert told(mail, moment) == (
            f"The mailbox is as the scan of {scanned:%d/%m/%Y %H:%M:%S} UTC saw it: "
            "what changed after that is not in the backup."
        )
        mail.later(seconds=1)


def test_between_two_scans_a_restore_says_which_one_tells(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    between = Moment(at=mail.now)
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.later(minutes=5)
    mail.scan()
    later = mail.now - timedelta(seconds=1)
    assert told(mail, between) == (
        "No scan ran at that moment: items that changed more than once are as the scan of "
        f"{later:%d/%m/%Y %H:%M:%S} UTC saw them, and deletions count from that scan on."
    )


def test_of_a_mailbox_that_a_later_scan_found_unchanged_nothing_is_said(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    between = Moment(at=mail.now)
    mail.later(minutes=5)
    mail.scan()
    assert told(mail, between).startswith("Account settings are those read at")
