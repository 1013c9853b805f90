"""A mail server put back from an older copy: it gives ids and numbers again, and nothing is missed.

A virtual machine set back, a database restored: what was lost is in the backup, under the ids and
numbers of what comes next.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backupng.engine.model import AccountId
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.scan.comparison import adds_up
from tests.cast import ALICE, Office, message
from tests.engine.scan.scanners import Scanner
from tests.engine.scan.test_beside import running_scanner, scan
from tests.engine.scan.test_era import BASE, living


def copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def database(mail: Office) -> Path:
    return mail.sandbox.folder / "mail.sqlite3"


def deliver(mail: Office, what: str, count: int) -> None:
    for number in range(count):
        mail.client.deliver(ALICE, message(f"{what} {number}"), folder="/Inbox")


def put_back(mail: Office, *, lost: int, after: int) -> set[str]:
    """Lose what came since a copy, save it, put the copy back; return what is there in the end."""
    deliver(mail, "Kept", 2)
    copy(database(mail), mail.folder / "copy")
    deliver(mail, "Lost", lost)
    mail.scan()
    copy(mail.folder / "copy", database(mail))
    deliver(mail, "New", after)
    return {f"Kept {n}" for n in range(2)} | {f"New {n}" for n in range(after)}


def alice(mail: Office) -> AccountId:
    return mail.account_id(ALICE)


@pytest.mark.parametrize(
    ("lost", "after"), [(5, 3), (5, 5), (5, 9)], ids=["fewer", "as many", "more"]
)
def test_what_comes_after_a_copy_was_put_back_is_saved(mail: Office, lost: int, after: int) -> None:
    there = put_back(mail, lost=lost, after=after)

    mail.scan()

    assert set(living(mail).values()) == there
    assert mail.path.mailbox_history(alice(mail))[-1].base == BASE


def test_what_comes_after_the_loss_was_seen_is_saved(mail: Office) -> None:
    there = put_back(mail, lost=5, after=0)
    # For this scan it looks as if they had been deleted.
    mail.scan()
    deliver(mail, "New", 3)

    mail.scan()

    assert set(living(mail).values()) == there | {"New 0", "New 1", "New 2"}


def test_what_has_the_id_and_number_of_what_the_scanner_saved_is_saved(mail: Office) -> None:
    mail.scan()
    copy(database(mail), mail.folder / "copy")
    with running_scanner(mail) as scanner:
        lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
        scanner.writes(ALICE, lost, row=True)
    copy(mail.folder / "copy", database(mail))
    new = mail.client.deliver(ALICE, message("New"), folder="/Inbox")

    mail.scan()

    assert (new, living(mail)) == (lost, {new: "New"})


def test_what_only_the_scanner_has_seen_and_was_lost_is_gone(mail: Office) -> None:
    mail.scan()
    kept = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    copy(database(mail), mail.folder / "copy")
    with running_scanner(mail) as scanner:
        lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
        for item in (kept, lost):
            scanner.writes(ALICE, item, row=True)
    copy(mail.folder / "copy", database(mail))

    mail.scan()

    assert living(mail) == {kept: "Kept"}


def test_after_a_whole_server_was_put_back_the_next_scan_saves_all_and_the_scanner_goes_on(
    mail: Office,
) -> None:
    mail.scan()
    live = Scanner(mail.source, mail.backup_path, clock=lambda: mail.now)
    live.catch_up()
    log, kept_log = mail.sandbox.folder / "redolog", mail.folder / "redolog"
    copy(database(mail), mail.folder / "copy")
    shutil.copytree(log, kept_log)
    deliver(mail, "Lost", 3)
    live.catch_up()
    copy(mail.folder / "copy", database(mail))
    shutil.rmtree(log)
    shutil.copytree(kept_log, log)
    deliver(mail, "New", 2)
    live.catch_up()

    mail.scan()
    deliver(mail, "Next", 1)
    live.catch_up()

    assert len(live.gaps) == 1
    assert set(living(mail).values()) == {"New 0", "New 1", "Next 0"}


def test_what_was_lost_is_still_in_the_histories(mail: Office) -> None:
    put_back(mail, lost=2, after=2)

    mail.scan()

    told = {state.subject for item in living(mail) for state in mail.history(ALICE, item)}
    assert {"Lost 0", "Lost 1", "New 0", "New 1"} <= told


def test_an_era_begins_once_for_a_copy_put_back(mail: Office) -> None:
    put_back(mail, lost=3, after=3)
    mail.scan()

    again, deep = mail.scan(), mail.scan(deep=True)

    for counters in (again, deep):
        assert counters["items_new"] == counters["items_updated"] == counters["items_deleted"] == 0
    assert mail.path.mailbox_history(alice(mail))[-1].base == BASE


def test_a_second_copy_put_back_begins_another_era(mail: Office) -> None:
    put_back(mail, lost=3, after=3)
    mail.scan()
    copy(mail.folder / "copy", database(mail))
    deliver(mail, "Newest", 3)

    mail.scan()

    assert {"Newest 0", "Newest 1", "Newest 2"} <= set(living(mail).values())
    assert mail.path.mailbox_history(alice(mail))[-1].base == 2 * BASE


def test_a_change_that_was_lost_is_taken_back(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    copy(database(mail), mail.folder / "copy")
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()
    copy(mail.folder / "copy", database(mail))
    mail.client.deliver(ALICE, message("New"), folder="/Inbox")

    mail.scan()

    assert [state.flags for state in mail.history(ALICE, item)] == ["f", ""]


def test_what_has_the_number_of_the_deletion_of_what_was_lost_is_saved(mail: Office) -> None:
    put_back(mail, lost=1, after=0)
    mail.scan()
    item = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    mail.client.flag(ALICE, item, ["+flagged"])
    number = mail.source.heads(mail.source.mailbox(alice(mail)))[item]
    deletion = mail.history(ALICE, item)[-1]

    mail.scan()

    assert (deletion.deleted, deletion.mod) == (True, number)
    assert living(mail)[item] == "New"


def test_a_deep_scan_sees_another_change_under_the_same_number(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    copy(database(mail), mail.folder / "copy")
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()
    copy(mail.folder / "copy", database(mail))
    mail.client.flag(ALICE, item, ["+replied"])

    mail.scan(deep=True)

    assert mail.history(ALICE, item)[-1].flags == "r"


def test_a_check_against_the_mail_server_tells_of_a_copy_put_back(mail: Office) -> None:
    put_back(mail, lost=3, after=3)

    report = mail.run(DoCoherencyCheck(backup_path=mail.backup_path, checkZimbra=True))

    assert report.counters["differences"] == 1


def test_what_the_scanner_has_written_since_the_snapshot_is_no_copy_put_back(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    mail.scan()
    with running_scanner(mail) as scanner:
        scanner.says(behind=1)

        def catch_up() -> None:
            mail.client.flag(ALICE, item, ["+flagged"])
            scanner.writes(ALICE, item, row=True)
            scanner.says()

        scan(mail, deep=True, waiting=catch_up)

    assert mail.path.mailbox_history(alice(mail))[-1].base == 0
    assert mail.history(ALICE, item)[-1].flags == "f"


def test_an_account_that_only_changed_is_not_compared_as_a_whole(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [mail.client.deliver(ALICE, message(f"No {n}"), folder="/Inbox") for n in range(4)]
    newest = mail.client.deliver(ALICE, message("Newest"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, newest)
    # Its deletion has a number of the scan's own making, above all there are.
    mail.scan()
    mail.client.flag(ALICE, items[0], ["+flagged"])
    mail.client.delete(ALICE, items[1])
    deliver(mail, "New", 2)
    found = []

    def watched(*what: object) -> bool:
        found.append(adds_up(*what))  # type: ignore[arg-type]
        return bool(found[-1])

    monkeypatch.setattr("backupng.engine.scan.comparison.adds_up", watched)

    mail.scan()

    # First without the names of all histories, then with what they tell is gone.
    assert found == [False, True]


def test_what_the_scanner_wrote_since_the_last_scan_adds_up(
    mail: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    mail.scan()
    mail.client.flag(ALICE, item, ["+flagged"])
    new = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    found = []

    def watched(*what: object) -> bool:
        found.append(adds_up(*what))  # type: ignore[arg-type]
        return bool(found[-1])

    monkeypatch.setattr("backupng.engine.scan.comparison.adds_up", watched)
    with running_scanner(mail) as scanner:
        scanner.writes(ALICE, item, row=True)
        scanner.writes(ALICE, new, row=True)
        scanner.says()

        scan(mail)

    assert set(found) == {True}
