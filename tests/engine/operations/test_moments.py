"""What is said of a moment: how exactly the backup knows a mailbox then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from backupng.engine.backuppath.store import Writer
from backupng.engine.model import ItemId, to_ms
from backupng.engine.operations.moments import known_by
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import LAST, AccountName, AccountNameOrId, Moment
from backupng.engine.redolog.follow import Follower
from backupng.engine.restore.select import ALL_TIME
from backupng.engine.scan.beside import SCANNER_ROLE
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


def follow(mail: Office, *items: int) -> None:
    """Let the Real-Time Scanner have followed until now, and have seen these items of alice."""
    account = mail.account_id(ALICE)
    source = mail.source
    with mail.path.writer(SCANNER_ROLE) as writer:
        for _, state in source.states(source.mailbox(account), [ItemId(item) for item in items]):
            writer.add_states(account, [replace(state, source="redolog", start=mail.now)])
        writer.commit()
        says_it_is_at_the_end(mail, writer)


def says_it_is_at_the_end(mail: Office, writer: Writer) -> None:
    follower = Follower(mail.source.redo_log, position=None)
    while follower.read(1000):
        pass
    writer.set_scanner({"log": follower.position.as_json(), "at": to_ms(mail.now)})
    follower.close()


@pytest.mark.parametrize("is_seen", [True, False])
def test_what_the_scanner_has_seen_needs_no_scan_to_tell(mail: Office, is_seen: bool) -> None:  # noqa: FBT001 - a parameter of the test
    mail.scan()
    mail.later(minutes=5)
    between = Moment(at=mail.now)
    mail.later(minutes=5)
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    follow(mail, *([item] if is_seen else []))
    mail.scan()

    assert ("No scan ran" in told(mail, between)) != is_seen


def test_after_the_scanner_ended_a_restore_says_until_when_it_followed(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    follow(mail)
    at = mail.now
    mail.later(minutes=5)

    assert told(mail, LAST) == (
        f"The mailbox is as the Real-Time Scanner saw it at {at:%d/%m/%Y %H:%M:%S} UTC: "
        "what changed after that is not in the backup."
    )
    with mail.path.writer(SCANNER_ROLE) as writer:
        says_it_is_at_the_end(mail, writer)
        mail.later(seconds=1)
        assert told(mail, LAST).startswith("Account settings are those read at")


def test_of_a_scanner_that_lags_only_what_it_has_saved_is_certain(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    follow(mail)
    mail.later(minutes=5)
    unread = mail.now
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.later(hours=5)

    with mail.path as path, path.writer(SCANNER_ROLE) as writer:
        writer.set_scanner({**path.scanner(), "at": to_ms(mail.now)})
        told_now = known_by(
            path, mail.account_id(ALICE), ALL_TIME, zone="UTC", log=mail.source.redo_log
        )

    assert told_now == (
        f"The mailbox is as the Real-Time Scanner saw it at {unread:%d/%m/%Y %H:%M:%S} UTC: "
        "what changed after that is not in the backup."
    )


def test_a_restore_of_the_last_state_waits_for_a_scanner_that_lags(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.scan()
    follow(mail)
    mail.later(minutes=5)
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.later(hours=5)
    phases: list[str] = []

    with mail.path.writer(SCANNER_ROLE) as writer:

        def catch_up(*_: int, phase: str, **__: object) -> None:
            phases.append(phase)
            says_it_is_at_the_end(mail, writer)

        monkeypatch.setattr(mail, "tick", catch_up)
        first = told(mail, LAST)

    assert phases[0] == "waiting for the Real-Time Scanner"
    assert first.startswith("Account settings are those read at")
