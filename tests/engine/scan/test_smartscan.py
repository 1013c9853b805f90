"""SmartScan on the sandbox: what is new, changed, gone, unreadable, left out, and when it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.pending import Frontier
from backupng.engine.errors import OperationError
from backupng.engine.model import EntryKind, ItemId, to_ms
from backupng.engine.operations.smart_scan import SmartScan
from tests.cast import ALICE, BOB, CAROL, DAVE, NOON, Office, message

SECOND = timedelta(seconds=1)


def blob_files(mail: Office) -> list[Path]:
    return sorted((mail.sandbox.folder / "store").rglob("*.msg"))


def test_a_first_scan_saves_every_account_but_those_left_out(mail: Office) -> None:
    counters = mail.scan()

    with mail.path as path:
        saved = set(path.accounts())
    assert saved == {mail.account_id(address) for address in (ALICE, BOB, DAVE)}
    assert counters["accounts_new"] == counters["accounts_scanned"] == 3
    assert counters["accounts_skipped_by_cos"] == 1


def test_a_new_item_is_saved_with_its_blob(mail: Office) -> None:
    mail.scan()
    item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")

    counters = mail.scan()

    (state,) = mail.history(ALICE, item)
    assert (counters["items_new"], counters["blobs_new"]) == (1, 1)
    assert (state.subject, state.unread, state.folder_id) == ("Lunch", True, 2)
    with mail.path as path:
        assert b"".join(path.blob(state.digest)) == message("Lunch")


def test_only_changed_accounts_and_items_are_written(mail: Office) -> None:
    first = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    second = mail.client.deliver(ALICE, message("Two"), folder="/Inbox")
    mail.scan()
    mail.client.flag(ALICE, second, ["+flagged", "-unread"])

    counters = mail.scan()

    assert (counters["items_updated"], counters["accounts_updated"]) == (1, 1)
    assert len(mail.history(ALICE, first)) == 1
    assert [state.flags for state in mail.history(ALICE, second)] == ["", "f"]


def test_what_a_scan_finds_once_the_clock_was_set_back_is_newer_than_the_scan_before(
    mail: Office,
) -> None:
    mail.scan()
    with mail.path as path:
        before = Frontier.of(path, mail.account_id(ALICE))
    mail.later(seconds=-7200)
    item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")

    mail.scan()

    (state,) = mail.history(ALICE, item)
    with mail.path as path:
        after = Frontier.of(path, mail.account_id(ALICE))
    assert (before.is_newer(state.source), after.is_newer(state.source)) == (True, False)


def test_a_scan_of_an_unchanged_server_writes_nothing(mail: Office) -> None:
    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    before = {
        file: file.read_bytes()
        for file in mail.backup_path.rglob("*")
        if file.is_file() and file.parent.name != "checkpoint"
    }

    mail.scan()

    assert {file: file.read_bytes() for file in before} == before


def test_what_is_gone_is_marked_deleted_at_the_scan_that_missed_it(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.later(hours=1)

    counters = mail.scan()

    alive, deleted = mail.history(ALICE, item)
    assert counters["items_deleted"] == 1
    assert deleted.deleted
    assert deleted.mod > alive.mod
    assert deleted.start == mail.now - SECOND
    assert deleted.source == f"scan:{to_ms(deleted.start)}"


def test_a_deletion_is_marked_once(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    counters = mail.scan(deep=True)

    assert counters["items_deleted"] == 0
    assert len(mail.history(ALICE, item)) == 2


def test_of_an_account_new_to_us_nothing_is_promised_before_the_scan(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.later(days=3)

    mail.scan()

    assert mail.history(ALICE, item)[0].start == mail.now - SECOND


def test_a_later_scan_believes_the_date_of_a_change_that_is_newer_than_what_it_knew(
    mail: Office,
) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    mail.later(minutes=7)
    changed = mail.now
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.later(hours=2)

    mail.scan()

    assert mail.history(ALICE, item)[1].start == changed


def test_a_change_dated_before_the_last_state_gets_the_time_of_the_scan(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.set_column(ALICE, item, change_date=to_ms(NOON) // 1000 - 3600)

    mail.scan()

    assert mail.history(ALICE, item)[1].start == mail.now - SECOND


def test_a_missing_blob_is_counted_listed_and_tried_again(mail: Office) -> None:
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    (file,) = blob_files(mail)
    kept = file.read_bytes()
    file.unlink()
    good = mail.client.deliver(ALICE, message("Good"), folder="/Inbox")

    mail.later(seconds=1)
    report = mail.run(SmartScan())

    assert report.losses
    assert report.counters["read_errors"] == 1
    assert report.unreadable == {ALICE: [(lost, "read error")]}
    assert mail.history(ALICE, good)
    assert not mail.history(ALICE, lost)
    file.write_bytes(kept)
    assert mail.scan()["read_errors"] == 0
    assert mail.history(ALICE, lost)


def test_a_blob_of_another_digest_is_a_broken_item(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("True"), folder="/Inbox")
    (file,) = blob_files(mail)
    file.write_bytes(file.read_bytes().replace(b"True", b"Fake"))

    report = mail.run(SmartScan())

    assert report.unreadable == {ALICE: [(item, "broken item")]}
    assert not mail.history(ALICE, item)


@pytest.mark.parametrize(
    "values",
    [
        {"type": 99},
        {"flags": "many"},
        {"mod_metadata": 10_000, "date": -5},
        {"metadata": "d1:x"},
        {"blob_digest": None},
        {"size": "1,5"},
        {"folder_id": -3},
    ],
    ids=lambda values: ",".join(values),
)
def test_a_row_with_impossible_values_is_listed_and_the_scan_goes_on(
    mail: Office, values: dict[str, Any]
) -> None:
    bad = mail.client.deliver(ALICE, message("Bad"), folder="/Inbox")
    good = mail.client.deliver(ALICE, message("Good"), folder="/Inbox")
    mail.set_column(ALICE, bad, **values)

    report = mail.run(SmartScan())

    assert report.unreadable == {ALICE: [(bad, "broken item")]}
    assert mail.history(ALICE, good)


def test_a_damaged_history_is_listed_and_left_as_it_is(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{item}")
    damaged = file.read_bytes().replace(b"One", b"Two", 1)
    file.write_bytes(damaged)
    mail.client.flag(ALICE, item, ["+flagged"])

    report = mail.run(SmartScan())

    assert report.unreadable == {ALICE: [(item, "broken item")]}
    assert file.read_bytes() == damaged


def test_a_damaged_mailbox_history_is_listed_and_the_items_are_saved_all_the_same(
    mail: Office,
) -> None:
    mail.scan()
    file = mail.backup_path / "accounts" / mail.account_id(ALICE) / "mailbox"
    file.write_bytes(file.read_bytes().replace(b'"mark"', b'"bark"', 1))
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")

    report = mail.run(SmartScan())

    assert report.unreadable == {ALICE: [(0, "broken item")]}
    assert mail.history(ALICE, item)


def test_a_damaged_entry_is_listed_and_the_others_are_saved(mail: Office) -> None:
    mail.scan()
    alice = mail.account_id(ALICE)
    file = mail.backup_path / "accounts" / alice / "account"
    file.write_bytes(file.read_bytes().replace(b"alice", b"Alice", 1))
    mail.sandbox.directory.modify(mail.sandbox.account(BOB), {"zimbraPrefLocale": (b"it",)})

    report = mail.run(SmartScan())

    assert report.unreadable == {alice: [(0, "broken item")]}
    with mail.path as path:
        bob = path.entry_history(EntryKind.ACCOUNT, mail.account_id(BOB))
    assert bob[-1].entry.first("zimbraPrefLocale") == "it"


def test_what_the_backup_path_refused_is_tried_again_by_the_next_scan(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{item}")
    good = file.read_bytes()
    file.write_bytes(good.replace(b"One", b"Two", 1))
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()
    file.write_bytes(good)

    assert mail.scan()["items_updated"] == 1
    assert mail.history(ALICE, item)[-1].flags == "f"


def test_an_account_that_is_gone_counts_as_deleted(mail: Office) -> None:
    mail.scan()
    bob = mail.account_id(BOB)
    mail.client.delete_account(BOB)

    counters = mail.scan()

    with mail.path as path:
        alive, deleted = path.entry_history(EntryKind.ACCOUNT, bob)
    assert counters["accounts_deleted"] == 1
    assert (alive.deleted, deleted.deleted, deleted.reason) == (False, True, "")
    assert deleted.entry.name == BOB


def test_an_account_whose_class_of_service_is_switched_off_counts_as_deleted_until_it_is_on_again(
    mail: Office,
) -> None:
    mail.scan()
    mail.client.set_cos(DAVE, "staff")
    mail.scan()
    mail.client.set_cos_notes("staff", "all fine")
    mail.scan()

    with mail.path as path:
        states = path.entry_history(EntryKind.ACCOUNT, mail.account_id(DAVE))
        carol = path.entry_history(EntryKind.ACCOUNT, mail.account_id(CAROL))
    assert [state.deleted for state in states] == [False, True, False]
    assert "class of service" in states[1].reason
    assert [state.deleted for state in carol] == [False]


def test_who_drops_out_of_the_backup_is_named_once(mail: Office) -> None:
    mail.scan()
    mail.client.set_cos(DAVE, "staff")
    mail.later(seconds=1)
    assert mail.run(SmartScan()).warnings == [
        f"No longer saved, by their class of service: {DAVE}."
    ]
    mail.later(seconds=1)
    assert mail.run(SmartScan()).warnings == []


def test_a_domain_can_name_the_class_of_service_that_is_switched_off(mail: Office) -> None:
    domain = mail.sandbox.directory.find(EntryKind.DOMAIN, "example.com")
    staff = mail.sandbox.directory.find(EntryKind.COS, "staff")
    assert domain is not None
    assert staff is not None
    mail.sandbox.directory.modify(domain, {"zimbraDomainDefaultCOSId": (staff.entry_id.encode(),)})

    counters = mail.scan()

    assert counters["accounts_skipped_by_cos"] == 4


def test_a_login_changes_no_account(mail: Office) -> None:
    mail.scan()
    alice = mail.sandbox.account(ALICE)
    mail.sandbox.directory.modify(alice, {"zimbraLastLogonTimestamp": (b"20260302120000Z",)})
    assert mail.scan()["entries_changed"] == 0
    mail.sandbox.directory.modify(alice, {"zimbraPrefLocale": (b"it",)})
    assert mail.scan()["entries_changed"] == 1


def test_distribution_lists_are_kept_and_their_changes_and_end_too(mail: Office) -> None:
    mail.sandbox.add_list("team@example.com", "11111111-2222-4333-8444-555555555555", [ALICE])
    mail.scan()
    team = mail.sandbox.directory.find(EntryKind.LIST, "team@example.com")
    assert team is not None
    members = (ALICE.encode(), BOB.encode())
    mail.sandbox.directory.modify(team, {"zimbraMailForwardingAddress": members})
    mail.scan()
    mail.sandbox.directory.remove(team)
    mail.scan()

    with mail.path as path:
        states = path.entry_history(EntryKind.LIST, team.entry_id)
    assert [state.entry.values("zimbraMailForwardingAddress") for state in states] == [
        (ALICE,),
        (ALICE, BOB),
        (ALICE, BOB),
    ]
    assert [state.deleted for state in states] == [False, False, True]


def test_lists_can_be_left_out(mail: Office) -> None:
    mail.sandbox.add_list("team@example.com", "11111111-2222-4333-8444-555555555555", [ALICE])
    mail.settings = replace(mail.settings, skip_lists=True)

    assert mail.scan()["lists"] == 0


def test_tags_and_folders_have_histories_like_any_item(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Inbox/Work")
    item = mail.client.deliver(ALICE, message("One"), folder="/Inbox/Work")
    mail.client.tag(ALICE, item, "Urgent")

    mail.scan()

    (tagged,) = mail.history(ALICE, item)
    (made,) = mail.history(ALICE, folder)
    tags = [
        history[-1].name
        for each in range(256, 300)
        if (history := mail.history(ALICE, ItemId(each))) and history[-1].kind == "tag"
    ]
    assert (tagged.tags, made.name, tags) == (("Urgent",), "Work", ["Urgent"])


def test_more_unreadable_items_than_allowed_fail_the_scan(mail: Office) -> None:
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    blob_files(mail)[0].unlink()
    mail.later(seconds=1)
    allowed = mail.run(SmartScan(read_error_threshold=1))
    mail.log_lines.clear()

    with pytest.raises(OperationError, match="1 items could not be read, more than the 0 allowed"):
        mail.run(SmartScan(read_error_threshold=0))

    assert allowed.counters["read_errors"] == 1
    assert any(f"item {lost}" in line for line in mail.log_lines)
