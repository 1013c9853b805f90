"""What a Real-Time Scanner saved before it was switched off, seen by the scans after it."""

from __future__ import annotations

import pytest

from backupng.engine.backuppath import layout
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
    mail.scan()
    assert mail.history(ALICE, saved)[-1].deleted


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
