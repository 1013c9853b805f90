"""Accounts that came and went between two scans: only the Real-Time Scanner saw them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import AccountId
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.do_purge import DoPurge
from tests.cast import Office, message, office
from tests.engine.scan.scanners import Scanner

SHORT = "short@example.com"


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as found:
        found.scan()
        yield found


def live_shortly(mail: Office, *, scanned: bool = False, asked: bool = True) -> AccountId:
    """Let an account come, get mail and go; `scanned`: a SmartScan sees it, `asked`: the scanner
    asks the directory while it is there.
    """
    scanner = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    scanner.catch_up()
    mail.later(minutes=1)
    mail.client.create_account(SHORT)
    account = AccountId(mail.account_id(SHORT))
    mail.client.deliver(SHORT, message("One"), folder="/Inbox")
    if asked:
        scanner.catch_up()
    if scanned:
        mail.later(minutes=1)
        mail.scan()
    mail.later(minutes=1)
    mail.client.delete_account(SHORT)
    scanner.catch_up()
    for _ in range(2):
        mail.later(minutes=1)
        mail.scan()
    with BackupPath.open(mail.backup_path) as path:
        assert next(path.items(account), None) is not None
    return account


def damage(mail: Office) -> tuple[int, list[str]]:
    """Return how many broken histories a check finds, and of which a purge warns."""
    check = mail.run(DoCoherencyCheck(backup_path=mail.backup_path))
    purge = mail.run(DoPurge())
    told = [each for each in purge.warnings if "/mailbox is damaged" in each]
    return check.counters["broken_metadata"], told


@pytest.mark.parametrize("asked", [True, False])
def test_an_account_that_no_scan_ever_read_lacks_nothing(mail: Office, *, asked: bool) -> None:
    live_shortly(mail, asked=asked)

    assert damage(mail) == (0, [])


def test_one_that_a_scan_has_read_does_lack_its_mailbox(mail: Office) -> None:
    account = live_shortly(mail, scanned=True)
    (mail.backup_path / str(layout.mailbox_file(account))).unlink()

    broken, told = damage(mail)

    assert (broken, len(told)) == (1, 1)


def test_one_that_lost_it_before_it_went_lacks_it_still(mail: Office) -> None:
    scanner = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    mail.client.create_account(SHORT)
    account = mail.account_id(SHORT)
    scanner.catch_up()
    mail.later(minutes=1)
    mail.scan()
    (mail.backup_path / str(layout.mailbox_file(AccountId(account)))).unlink()
    mail.client.delete_account(SHORT)
    scanner.catch_up()
    mail.later(minutes=1)
    mail.scan()

    assert damage(mail)[0] == 1
