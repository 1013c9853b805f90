"""Who is uncertain: how a scanner begins, what it notes, and what a scan settles."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import ItemId, to_ms
from backupng.engine.redolog.header import SIZE, FileHeader
from backupng.engine.scan.beside import SCANNER_ROLE
from backupng.engine.scan.uncertainty import Uncertainty, uncertain
from tests.cast import ALICE, NOON, Office, message
from tests.engine.backuppath.boots import lose_power
from tests.engine.scan.scanners import Scanner


def torn(mail: Office, item: ItemId) -> None:
    """Lose the power, with nothing but NULs left of an item's history."""
    file = mail.backup_path / layout.item_file(mail.account_id(ALICE), item)
    file.write_bytes(bytes(file.stat().st_size))
    lose_power(mail.backup_path)


def test_a_scanner_that_is_the_first_after_a_power_loss_keeps_what_the_recovery_marked(
    mail: Office, follower: Scanner
) -> None:
    item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    follower.catch_up()
    mail.later(seconds=1)
    mail.scan()
    torn(mail, item)

    follower.catch_up()
    with mail.path as path:
        noted = set(path.scanner()["uncertain"])
    mail.later(seconds=1)
    mail.scan()

    assert noted == {mail.account_id(ALICE)}
    assert [state.subject for state in mail.history(ALICE, item)] == ["Lunch"]


def test_a_scanner_with_a_damaged_checkpoint_recovers_after_a_power_loss(
    mail: Office, follower: Scanner
) -> None:
    mail.scan()
    (scanner,) = (mail.backup_path / "checkpoint").glob("*.scanner")
    scanner.write_bytes(b"damaged")
    lose_power(mail.backup_path)

    follower.catch_up()

    with mail.path as path:
        assert set(path.scanner()["uncertain"]) == {"*"}


def begun_anew(mail: Office) -> dict[str, Any]:
    """Start a scanner that has no position, after the log began anew; return who is uncertain."""
    log = mail.sandbox.redo_log.current
    header = FileHeader.decode(log.read_bytes()[:SIZE], name="redo.log")
    log.write_bytes(replace(header, created=to_ms(mail.now)).encode())
    Scanner(mail.source, mail.backup_path, clock=lambda: mail.now).catch_up()
    with mail.path as path:
        uncertain: dict[str, Any] = path.scanner()["uncertain"]
    return uncertain


def test_a_scanner_without_a_position_tells_that_a_log_after_the_last_scan_has_a_gap_before(
    mail: Office,
) -> None:
    mail.scan()
    mail.later(seconds=1)
    assert set(begun_anew(mail)) == {"*"}


def test_a_scanner_without_a_position_in_a_log_from_before_the_last_scan_lacks_nothing(
    mail: Office,
) -> None:
    mail.later(seconds=1)
    mail.scan()
    mail.now -= timedelta(seconds=1)
    assert begun_anew(mail) == {}


def test_an_item_that_its_history_refuses_makes_its_account_uncertain(
    mail: Office, follower: Scanner
) -> None:
    item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    follower.catch_up()
    account = mail.account_id(ALICE)
    file = mail.backup_path / layout.item_file(account, item)
    file.write_bytes(b"damaged\n" + file.read_bytes())
    mail.later(seconds=1)

    mail.client.flag(ALICE, item, ["-unread"])
    follower.catch_up()

    with mail.path as path:
        noted = path.scanner()["uncertain"]
    assert f"item {item} cannot be saved" in noted[account]["reason"]


def test_only_a_scan_that_began_later_settles_what_is_uncertain(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    mail.scan()
    account = mail.account_id(ALICE)
    with mail.path as path:
        began = path.mailbox_history(account)[-1].start
        found = []
        for since in (began - timedelta(milliseconds=1), began):
            doubts = Uncertainty(path, {})
            doubts.add(account, since, "a test")
            doubts.prune()
            found.append(len(doubts))
            with path.writer(SCANNER_ROLE) as writer:
                writer.set_scanner({"uncertain": doubts.as_json()})
            found.append(int(uncertain(path, account) is not None))

    assert found == [0, 0, 1, 1]


def test_it_is_uncertain_no_more_once_a_scan_has_begun_later(
    mail: Office, follower: Scanner
) -> None:
    with BackupPath.open(mail.backup_path) as path, path.writer("scanner") as writer:
        note = {"since": int(NOON.timestamp() * 1000), "reason": "a test"}
        writer.set_scanner({**path.scanner(), "uncertain": {mail.account_id(ALICE): note}})
    with follower.running() as again:
        assert again.standing.uncertain == 1
    mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    mail.scan()
    with follower.running() as again:
        while again.turn(0):
            pass
        assert again.standing.uncertain == 0
