"""What a Real-Time Scanner saved before it was switched off, seen by the scans after it."""

from __future__ import annotations

from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.scan.ending import end
from tests.cast import ALICE, Office, message
from tests.engine.scan.scanners import Scanner


@pytest.fixture
def saved(mail: Office) -> int:
    """Let a scanner save an item, and stop; returns its id."""
    mail.scan()
    scanner = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    scanner.catch_up()
    mail.later(minutes=1)
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    scanner.catch_up()
    mail.later(minutes=1)
    return item


@pytest.mark.parametrize("more", [0, 1])
def test_what_only_the_scanner_saved_and_is_gone_is_marked_deleted(
    mail: Office, saved: int, more: int
) -> None:
    mail.client.delete(ALICE, saved)
    for _ in range(more):
        mail.client.deliver(ALICE, message("Two"), folder="/Inbox")
    counters = mail.scan()
    assert mail.history(ALICE, saved)[-1].deleted
    assert (counters["items_deleted"], counters["accounts_updated"]) == (1, 1)


def test_what_the_scanner_saved_while_a_scan_ran_and_is_gone_is_marked_deleted(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    scanner.catch_up()
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    late = list[int]()

    def end_late(*words: Any) -> Any:
        if not late:
            late.append(mail.client.deliver(ALICE, message("Two"), folder="/Inbox"))
            scanner.catch_up()
        return end(*words)

    monkeypatch.setattr("backupng.engine.scan.hands.end", end_late)
    mail.scan()
    mail.client.delete(ALICE, late[0])
    mail.later(minutes=1)
    mail.scan()
    assert mail.history(ALICE, late[0])[-1].deleted


def test_an_account_is_looked_at_once_after_the_scanner_and_then_at_rest(
    mail: Office, saved: int
) -> None:
    mail.client.delete(ALICE, saved)
    mail.scan()
    mail.later(minutes=1)
    scans = mail.backup_path / layout.mailbox_file(mail.account_id(ALICE))
    before = scans.read_bytes()
    mail.scan()
    assert scans.read_bytes() == before
