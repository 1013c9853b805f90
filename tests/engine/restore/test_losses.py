"""Restore on New Account from a damaged backup: every loss is counted, listed, explained."""

from __future__ import annotations

from tests.cast import ALICE, BOB, Office, message
from tests.engine.restore.restoring import COPY, assert_balanced, restore, subjects


def test_an_item_whose_blob_is_missing_is_unrestored_with_its_cause(mail: Office) -> None:
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Good"), folder="/Inbox")
    mail.scan()
    digest = mail.history(ALICE, lost)[0].digest
    (mail.backup_path / "items" / digest[:2] / digest).unlink()

    report = restore(mail)

    assert report.unrestored == {ALICE: [(lost, "missing blob")]}
    assert report.losses
    assert_balanced(report)
    assert set(subjects(mail, COPY)) == {"Good"}


def test_an_item_whose_blob_is_damaged_is_never_restored_with_wrong_content(mail: Office) -> None:
    bad = mail.client.deliver(ALICE, message("Bad"), folder="/Inbox")
    mail.scan()
    digest = mail.history(ALICE, bad)[0].digest
    file = mail.backup_path / "items" / digest[:2] / digest
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    report = restore(mail)

    assert report.unrestored == {ALICE: [(bad, "broken item")]}
    assert_balanced(report)
    assert not subjects(mail, COPY)


def test_an_item_whose_history_is_damaged_is_unrestored(mail: Office) -> None:
    bad = mail.client.deliver(ALICE, message("Bad"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{bad}")
    file.write_bytes(file.read_bytes().replace(b"Bad", b"Mad", 1))

    report = restore(mail)

    assert report.unrestored == {ALICE: [(bad, "broken item")]}
    assert_balanced(report)


def test_an_item_that_the_scan_could_not_save_is_unrestored_and_not_forgotten(
    mail: Office,
) -> None:
    mail.scan()
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    (file,) = (mail.sandbox.folder / "store").rglob("*.msg")
    file.unlink()
    mail.scan()

    report = restore(mail)

    assert report.unrestored == {ALICE: [(lost, "read error")]}
    assert_balanced(report)
    assert any(f"item {lost}" in line for line in mail.log_lines)


def test_an_older_state_that_stands_for_an_unreadable_one_is_a_loss(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.scan()
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.set_column(ALICE, item, metadata="d1:x")
    mail.scan()

    report = restore(mail)

    assert report.losses
    assert [each for each, _ in report.unreadable[ALICE]] == [item]
    assert subjects(mail, COPY)["Old"]["flags"] == ""


def test_an_item_whose_history_is_empty_is_unrestored(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Cut"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{item}")
    file.write_bytes(b"")

    report = restore(mail)

    assert report.unrestored == {ALICE: [(item, "broken item")]}
    assert_balanced(report)


def test_a_damaged_account_does_not_keep_another_from_being_restored(mail: Office) -> None:
    mail.scan()
    file = mail.backup_path / "accounts" / mail.account_id(BOB) / "account"
    file.write_bytes(file.read_bytes().replace(b"bob", b"Bob", 1))

    assert not restore(mail).losses


def test_what_the_server_refuses_is_an_invalid_item(mail: Office) -> None:
    item = mail.client.create_folder(ALICE, "/Fine")
    mail.set_column(ALICE, item, name="not:fine")
    mail.scan()

    report = restore(mail)

    assert report.unrestored == {ALICE: [(item, "invalid item")]}
    assert_balanced(report)


def test_items_of_a_folder_nobody_knows_any_more_get_one(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Lost")
    mail.client.deliver(ALICE, message("Orphan"), folder="/Lost")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{folder}")
    file.unlink()

    restore(mail)

    assert subjects(mail, COPY)["Orphan"]["folder"] == f"/unknown_{folder}"


def test_what_differs_after_writing_is_unrestored(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Same"), folder="/Inbox")
    item = mail.client.deliver(ALICE, message("Other"), folder="/Inbox")
    moved = mail.client.deliver(ALICE, message("Moved"), folder="/Inbox")
    mail.scan()
    table = mail.sandbox.database.table("mboxgroup5", "mail_item")
    mail.sandbox.database.ensure_group(5)
    # A server that loses the flag of what it accepts, or files it elsewhere, as its filters might.
    statement = "CREATE TRIGGER lossy AFTER INSERT ON TABLE_ BEGIN UPDATE TABLE_ SET"
    statement += " unread = iif(subject = 'Other', 0, unread),"
    statement += " folder_id = iif(subject = 'Moved', 5, folder_id)"
    statement += " WHERE mailbox_id = NEW.mailbox_id AND id = NEW.id; END"
    mail.sandbox.database.run(statement.replace("TABLE_", table))

    report = restore(mail)

    differs = "differs after writing"
    assert report.unrestored == {ALICE: [(item, differs), (moved, differs)]}
    assert_balanced(report)


def test_a_history_that_is_gone_since_the_last_scan_is_unrestored(mail: Office) -> None:
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Good"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{lost}")
    file.unlink()

    report = restore(mail)

    assert report.unrestored == {ALICE: [(lost, "broken item")]}
    assert f"the history of 1 item (item {lost}) that the last scan saw is missing" in " ".join(
        mail.log_lines
    )
    assert_balanced(report)


def test_a_folder_that_cannot_be_read_is_told_once_for_all_that_may_lie_in_it(mail: Office) -> None:
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{lost}")
    file.parent.rename(file.parent.with_name("elsewhere"))
    file.parent.symlink_to(file.parent)

    assert restore(mail).unrestored == {ALICE: [(0, "read error")]}
