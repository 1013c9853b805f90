"""A scan beside a running Real-Time Scanner, and what makes a scan compare everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from backupng.engine.backuppath.store import Writer
from backupng.engine.model import ItemId, to_ms
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.redolog.events import Position
from backupng.engine.redolog.files import LogEnd, end_of
from backupng.engine.redolog.header import LATEST, SIZE, FileHeader
from backupng.engine.scan.account import AccountScan
from backupng.engine.scan.beside import SCANNER_ROLE, Beside
from backupng.engine.scan.counts import ScanCounts
from backupng.engine.scan.ending import AccountResult
from backupng.engine.scan.uncertainty import uncertain
from tests.cast import ALICE, BOB, Office, message

HEADER = FileHeader(
    is_open=True,
    size=SIZE,
    sequence=3,
    server_id="",
    first_op=0,
    last_op=0,
    version=LATEST,
    created=0,
)
EMPTIED = "the folder Inbox was emptied"


@dataclass
class Scanner:
    """Stands for a running scanner: it holds the role, writes states and says where it is."""

    mail: Office
    writer: Writer

    def says(
        self, *, behind: int = 0, open_ops: tuple[tuple[int, int], ...] = (), **more: Any
    ) -> None:
        """Say that all is written but the last bytes of the log, and what is open."""
        self.says_at(self.end, behind=behind, open_ops=open_ops, **more)

    @property
    def end(self) -> LogEnd:
        """Where the log ends now."""
        end = end_of(self.mail.source.redo_log)
        assert end is not None
        return end

    def says_at(
        self,
        end: LogEnd,
        *,
        behind: int = 0,
        open_ops: tuple[tuple[int, int], ...] = (),
        **more: Any,
    ) -> None:
        """Say that all is written up to a place."""
        position = Position(
            server_id="",
            sequence=end.sequence,
            inode=1,
            offset=end.offset - behind,
            open_ops=open_ops,
            created=end.created,
        )
        self.writer.set_scanner({"log": position.as_json(), **more})

    def writes(self, address: str, item: int, *, row: bool = False) -> None:
        """Write an item's present state, as the record of its change tells it."""
        account = self.mail.account_id(address)
        source = self.mail.source
        mailbox = source.mailbox(account)
        ((_, state),) = source.states(mailbox, [ItemId(item)])
        told = replace(state, source="redolog", start=self.mail.now, side_rows={})
        self.writer.add_states(account, [told if row else replace(told, row={})])
        self.writer.commit()


@contextmanager
def running_scanner(mail: Office) -> Iterator[Scanner]:
    current = mail.source.redo_log.current
    if not current.exists():
        current.parent.mkdir(exist_ok=True)
        current.write_bytes(HEADER.encode())
    with mail.path.writer(SCANNER_ROLE) as writer:
        yield Scanner(mail, writer)


@dataclass
class Outcome:
    """What one Account Scan did and logged."""

    result: AccountResult
    counts: ScanCounts = field(default_factory=ScanCounts)
    lines: list[str] = field(default_factory=list)


def scan(
    mail: Office,
    address: str = ALICE,
    *,
    waiting: Callable[[], None] = lambda: None,
    patience_s: float = 5.0,
    longest_commit_s: float = 5.0,
    deep: bool = False,
) -> Outcome:
    """Scan one account; `waiting` is called while it waits for the scanner."""
    mail.later(seconds=1)
    lines: list[str] = []
    counts = ScanCounts()
    with mail.path as path, path.writer("scan") as writer:
        beside = Beside(
            mail.source,
            path,
            log=lines.append,
            patience_s=patience_s,
            longest_commit_s=longest_commit_s,
        )
        found = AccountScan(
            mail.source, path, writer, mail.now, lambda _done, _total: waiting(), beside
        )
        result = found.run(mail.sandbox.account(address), counts, deep=deep)
    mail.later(seconds=1)
    return Outcome(result, counts, lines)


def test_what_the_scanner_writes_while_the_scan_waits_is_not_written_twice(mail: Office) -> None:
    mail.scan()
    with running_scanner(mail) as scanner:
        scanner.says(behind=1)
        item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")

        def catch_up() -> None:
            scanner.writes(ALICE, item, row=True)
            scanner.says()

        outcome = scan(mail, waiting=catch_up)

    (state,) = mail.history(ALICE, item)
    assert state.source == "redolog"
    assert outcome.counts.items_new == 0


def test_what_the_scanner_has_missed_is_written_by_the_scan(mail: Office) -> None:
    mail.scan()
    gone = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    scan(mail)
    with running_scanner(mail) as scanner:
        item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
        mail.client.delete(ALICE, gone)
        scanner.says()

        outcome = scan(mail)

    assert outcome.counts.items_new == outcome.counts.items_deleted == 1
    assert mail.history(ALICE, item)[-1].source.startswith("scan:")
    assert mail.history(ALICE, gone)[-1].deleted


def test_an_item_that_came_after_the_snapshot_is_not_taken_for_deleted(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.scan()
    mail.client.deliver(ALICE, message("Next"), folder="/Inbox")
    late: list[ItemId] = []
    with running_scanner(mail) as scanner:
        scanner.says(behind=1)

        def catch_up() -> None:
            if not late:
                late.append(mail.client.deliver(ALICE, message("Late"), folder="/Inbox"))
                scanner.writes(ALICE, late[0])
            scanner.says()

        outcome = scan(mail, waiting=catch_up)

    assert [state.deleted for state in mail.history(ALICE, late[0])] == [False]
    assert outcome.counts.items_deleted == 0


def test_the_newest_item_deleted_unseen_by_the_scanner_is_marked_deleted(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Newest"), folder="/Inbox")
    mail.scan()
    with running_scanner(mail) as scanner:
        mail.client.delete(ALICE, item)
        mail.set_column(ALICE, 2, mod_metadata=1)
        scanner.says()

        scan(mail)

    assert mail.history(ALICE, item)[-1].deleted


def test_a_deletion_that_the_scanner_will_settle_is_left_to_it(mail: Office) -> None:
    doomed = mail.client.deliver(ALICE, message("Doomed"), folder="/Inbox")
    missed = mail.client.deliver(ALICE, message("Missed"), folder="/Inbox")
    # What has a lower number than anything that is left is surely gone, and so is not asked for.
    mail.client.deliver(ALICE, message("Newer"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, doomed)
    mail.client.delete(ALICE, missed)
    with running_scanner(mail) as scanner:
        pending = {mail.account_id(ALICE): {"ahead": [], "doomed": {str(doomed): [99, 1]}}}
        scanner.says(pending=pending)

        scan(mail)

    assert not mail.history(ALICE, doomed)[-1].deleted
    assert mail.history(ALICE, missed)[-1].deleted


def test_what_changes_after_the_snapshot_is_left_to_the_scanner(mail: Office) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    with running_scanner(mail) as scanner:
        scanner.says(behind=1)

        def catch_up() -> None:
            mail.client.flag(ALICE, item, ["+flagged"])
            scanner.says()

        scan(mail, waiting=catch_up)

    assert mail.history(ALICE, item) == ()


def test_what_goes_after_the_snapshot_is_not_taken_for_lost_by_a_check(mail: Office) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    with running_scanner(mail) as scanner:
        scanner.says(behind=1)

        def catch_up() -> None:
            if mail.source.living(mail.source.mailbox(mail.account_id(ALICE)), [item]):
                mail.client.delete(ALICE, item)
            scanner.says()

        scan(mail, waiting=catch_up)

    assert mail.history(ALICE, item) == ()
    assert not mail.run(DoCoherencyCheck(backup_path=mail.backup_path)).losses


def test_a_scanner_that_does_not_move_is_not_waited_for_twice(mail: Office) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    with running_scanner(mail) as scanner:
        scanner.says(behind=1)

        outcome = scan(mail, patience_s=0.0)

    assert mail.history(ALICE, item)
    assert len(outcome.lines) == 1
    assert "has not moved on" in outcome.lines[0]


def test_a_scanner_still_in_an_earlier_life_of_the_log_is_waited_for(mail: Office) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    with running_scanner(mail) as scanner:
        scanner.says_at(replace(scanner.end, created=scanner.end.created - 1, sequence=57))

        def catch_up() -> None:
            scanner.writes(ALICE, item, row=True)
            scanner.says()

        outcome = scan(mail, waiting=catch_up)

    (state,) = mail.history(ALICE, item)
    assert state.source == "redolog"
    assert outcome.counts.items_new == 0


def test_an_operation_that_was_open_at_the_snapshot_is_waited_for(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    with running_scanner(mail) as scanner:
        place = (scanner.end.sequence, scanner.end.offset - 60)
        scanner.says(open_ops=(place,))

        def catch_up() -> None:
            pending = {mail.account_id(ALICE): {"ahead": [], "doomed": {str(item): [99, 1]}}}
            scanner.says(pending=pending)

        scan(mail, waiting=catch_up)

    assert not mail.history(ALICE, item)[-1].deleted


def test_an_operation_that_a_crash_left_open_is_not_waited_for_long(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    with running_scanner(mail) as scanner:
        scanner.says(open_ops=((scanner.end.sequence, SIZE),))

        outcome = scan(mail, longest_commit_s=0.0)

    assert mail.history(ALICE, item)[-1].deleted
    assert outcome.lines == []


def test_only_a_living_writer_counts_as_running(mail: Office) -> None:
    mail.scan()
    with running_scanner(mail):
        while_it_runs = mail.path.is_writing(SCANNER_ROLE)

    assert while_it_runs
    assert not mail.path.is_writing(SCANNER_ROLE)


def test_a_state_of_the_scanner_without_row_gets_the_row_and_keeps_its_time(mail: Office) -> None:
    mail.scan()
    mail.later(seconds=5)
    item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    with running_scanner(mail) as scanner:
        scanner.writes(ALICE, item)

    outcome = scan(mail)

    told, seen = mail.history(ALICE, item)
    assert (told.row, bool(seen.row)) == ({}, True)
    assert (seen.mod, seen.start) == (told.mod, told.start)
    assert outcome.counts.items_new == outcome.counts.items_updated == 0


@pytest.mark.parametrize("whom", ["one", "*"])
def test_an_uncertain_account_is_compared_until_a_scan_has_settled_it(
    mail: Office, whom: str
) -> None:
    mail.scan()
    account = mail.account_id(ALICE)
    marked = {account if whom == "one" else whom: {"since": to_ms(mail.now), "reason": EMPTIED}}
    with running_scanner(mail) as scanner:
        scanner.says(uncertain=marked)
        since, before = mail.now, uncertain(mail.path, account)
        mail.scan()

    assert before is not None
    assert (before.since, before.reason) == (since, EMPTIED)
    assert uncertain(mail.path, account) is None
    scans = [len(mail.path.mailbox_history(mail.account_id(each))) for each in (ALICE, BOB)]
    assert scans == ([2, 1] if whom == "one" else [2, 2])
