"""Accounts that end together: the line that says all is saved comes after all that it speaks of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backupng.engine.backuppath.layout import item_file
from backupng.engine.model import ItemId
from backupng.engine.scan.account import AccountScan
from backupng.engine.scan.beside import Beside
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.ending import Gathered, end
from tests.cast import ALICE, BOB, Office, message


@contextmanager
def scanning(mail: Office) -> Iterator[AccountScan]:
    with mail.path as path, path.writer("scan") as writer:
        beside = Beside(mail.source, path, log=lambda _line: None)
        yield AccountScan(mail.source, path, writer, mail.now, lambda _done, _all: None, beside)


def gather(scan: AccountScan, mail: Office, *addresses: str) -> list[Gathered]:
    return [scan.gather(mail.sandbox.account(each), ScanCounts()) for each in addresses]


def test_an_account_that_did_not_end_is_scanned_again(mail: Office) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("Nearly"), folder="/Inbox")

    with scanning(mail) as scan:
        gather(scan, mail, ALICE, BOB)

    assert not mail.history(ALICE, item)
    assert mail.scan()["items_new"] == 1
    assert mail.history(ALICE, item)


def test_no_line_of_a_mailbox_is_written_before_its_items_are_durable(mail: Office) -> None:
    mail.scan()
    items = {
        each: mail.client.deliver(each, message("x"), folder="/Inbox") for each in (ALICE, BOB)
    }
    told: list[tuple[int, int]] = []

    with scanning(mail) as scan:
        scan.writer.listener = lambda batches: told.append(
            (sum(len(b.items) for b in batches), sum(len(b.mailboxes) for b in batches))
        )
        end(scan.writer, gather(scan, mail, ALICE, BOB))

    (first, second) = told
    assert (first[0] > 0, first[1], second) == (True, 0, (0, 2))
    assert all(mail.history(each, item) for each, item in items.items())


def test_what_is_refused_is_counted_for_its_account_and_read_again(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("First"), folder="/Inbox")
    mail.scan()
    mail.client.deliver(BOB, message("Other"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Second"), folder="/Inbox")
    file = mail.backup_path / item_file(mail.account_id(ALICE), ItemId(item))
    file.write_bytes(file.read_bytes().replace(b"First", b"Worst"))
    mail.set_column(ALICE, item, mod_metadata=10_000)

    with scanning(mail) as scan:
        alice, bob = end(scan.writer, gather(scan, mail, ALICE, BOB))
        noted = scan.path.mailbox_history(mail.account_id(ALICE))[-1].unread

    assert [failed for failed, _ in alice.failures] == [item]
    assert not bob.failures
    assert noted == (item,)
