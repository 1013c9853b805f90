"""Item Restore on the sandbox: any item, any state, back to its owner."""

from __future__ import annotations

import re
from typing import Any

import pytest

from backupng.engine.errors import BackupError
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.zimbra.grants import target_of
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.model import ItemKind, ItemState, to_ms
from backupng.engine.operations.base import Report
from backupng.engine.operations.do_item_restore import DoItemRestore, folder_names
from backupng.engine.operations.words import LAST, AccountNameOrId, ItemIds, Moment
from tests.cast import ALICE, BOB, DAVE, NOON, Office, message
from tests.engine.restore.injecting import EVENT
from tests.engine.restore.migrating import mount, mounted_in
from tests.engine.restore.restoring import assert_balanced, at, subjects


def item_restore(mail: Office, *items: int, account: str = ALICE, **words: Any) -> Report:
    return mail.run(
        DoItemRestore(account_name=AccountNameOrId(account), item_id=ItemIds(items), **words)
    )


def test_mail_of_an_emptied_trash_comes_back_to_its_folder_made_again(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Work")
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Work")
    mail.scan()
    mail.client.move(ALICE, item, "/Trash")
    mail.scan()
    mail.client.empty_folder(ALICE, "/Trash")
    mail.client.delete(ALICE, folder)
    mail.scan()

    report = item_restore(mail, item)

    offer = subjects(mail, ALICE)["Offer"]
    assert offer["folder"] == "/Work"
    assert report.counters["new_id"] == offer["id"] != item
    assert f"Item {item} is item {offer['id']} in /Work." in report.notes
    assert not report.warnings
    assert_balanced(report)


def test_mail_that_lies_in_the_trash_is_copied_to_where_it_lay_before_and_once(
    mail: Office,
) -> None:
    item = mail.client.deliver(ALICE, message("Thrown"), folder="/Inbox")
    only = mail.client.deliver(ALICE, message("Only there"), folder="/Trash")
    mail.scan()
    mail.client.move(ALICE, item, "/Trash")
    mail.scan()

    report = item_restore(mail, item, only)
    mail.scan()
    again = item_restore(mail, item)

    assert folders_of(mail, "Thrown") == ["/Inbox", "/Trash"]
    assert (report.counters["restored"], again.counters["restored"]) == (1, 0)
    assert "1 item is still in place and unchanged: left alone." in report.notes


def test_several_items_go_to_a_folder_that_is_made(mail: Office) -> None:
    items = [mail.client.deliver(ALICE, message(each), folder="/Inbox") for each in ("a", "b")]
    mail.scan()
    mail.client.delete(ALICE, items[0])
    mail.scan()

    report = item_restore(mail, *items, restore_folder="/Inbox/Back/Here")

    found = [i for i in mail.client.list(ALICE)["items"] if i["folder"] == "/Inbox/Back/Here"]
    assert {i["subject"] for i in found} == {"a", "b"}
    assert report.counters["restored"] == 2


def test_what_is_still_in_place_among_others_is_told_and_left_alone(mail: Office) -> None:
    items = [mail.client.deliver(ALICE, message(each), folder="/Inbox") for each in ("a", "b")]
    mail.scan()
    mail.client.delete(ALICE, items[0])
    mail.scan()

    report = item_restore(mail, *items)

    assert "1 item is still in place and unchanged: left alone." in report.notes


def test_an_item_nobody_knows_is_refused_with_the_command_that_finds_some(
    office_of_module: Office,
) -> None:
    with pytest.raises(BackupError) as refused:
        item_restore(office_of_module, 99999)

    assert f"backupng backup doItemSearch {ALICE} " in refused.value.hint


def test_an_earlier_state_of_a_living_item_comes_back_beside_it(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Mail"), folder="/Inbox")
    mail.scan()
    then = mail.now
    mail.later(hours=1)
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()

    report = item_restore(mail, item, date=at(then))

    found = [i for i in mail.client.list(ALICE)["items"] if i["subject"] == "Mail"]
    assert sorted(i["flags"] for i in found) == ["", "f"]
    assert [warning[:28] for warning in report.warnings] == ["No scan ran at that moment: "]


def test_a_folder_a_contact_and_an_appointment_come_back(mail: Office) -> None:
    client = mail.client
    folder = client.create_folder(ALICE, "/Inbox/Deep")
    contact = client.add_contact(ALICE, b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann\r\nEND:VCARD")
    event = client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT)
    mail.scan()
    for each in (contact, folder, event):
        client.delete(ALICE, each)
    mail.scan()

    report = item_restore(mail, folder, contact, event)

    listed = {(i["type"], i["folder"], i["name"]) for i in client.list(ALICE)["items"]}
    assert ("folder", "/Inbox", "Deep") in listed
    assert ("contact", "/Contacts", None) in listed
    assert ("appointment", "/Calendar", None) in listed
    assert report.counters["restored"] == 3


def test_asked_again_it_is_there_already(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Once"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    item_restore(mail, item)
    again = item_restore(mail, item)

    assert (again.counters["restored"], again.counters["skipped"]) == (0, 1)
    assert len(subjects(mail, ALICE)) == 1


def test_a_damaged_item_is_told_as_lost(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Bad"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{item}")
    file.write_bytes(file.read_bytes().replace(b"Bad", b"Mad", 1))

    report = item_restore(mail, item)

    assert report.unrestored == {ALICE: [(item, "broken item")]}
    assert_balanced(report)


def test_an_older_state_that_stands_for_an_unreadable_one_is_a_loss(mail: Office) -> None:
    items = [mail.client.deliver(ALICE, message(each), folder="/Inbox") for each in ("a", "b")]
    mail.scan()
    for item in items:
        mail.set_column(ALICE, item, metadata="d1:x", mod_metadata=900 + item)
    mail.scan()

    report = item_restore(mail, items[0], restore_folder="/Back")

    assert [item for item, _ in report.unreadable[ALICE]] == items[:1]
    assert (report.counters["restored"], report.unrestored) == (1, {})
    assert_balanced(report)


def test_what_is_in_place_and_unchanged_is_refused_with_a_way_out(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Here"), folder="/Inbox")
    mail.scan()

    with pytest.raises(BackupError) as refused:
        item_restore(mail, item)

    assert refused.value.code == "already_exists"
    assert "restore_folder" in refused.value.hint


@pytest.mark.parametrize(
    ("account", "item", "date", "code"),
    [
        *[(ALICE, 99999, LAST, "no_such_item"), (BOB, 2, LAST, "no_such_account")],
        *[("x@y.z", 2, LAST, "no_such_account"), (ALICE, 2, at(NOON), "before_first_backup")],
    ],
)
def test_a_refused_item_restore_says_why(
    office_of_module: Office, account: str, item: int, date: Moment, code: str
) -> None:
    with pytest.raises(BackupError) as refused:
        item_restore(office_of_module, item, account=account, date=date)

    assert refused.value.code == code
    assert refused.value.hint


LONG = EVENT.replace(b"SUMMARY:Lunch\r\n", b"SUMMARY:Lunch\r\nDESCRIPTION:" + b"x" * 9000 + b"\r\n")
"""What it says is too long for the metadata: it has a blob."""


def appointments(mail: Office) -> dict[str, dict[str, Any]]:
    listed = mail.client.list(ALICE)["items"]
    return {item["flags"]: item for item in listed if item["type"] == "appointment"}


@pytest.mark.parametrize("event", [EVENT, LONG])
def test_an_earlier_state_of_a_living_appointment_gets_a_uid_of_its_own(
    mail: Office, event: bytes
) -> None:
    item = mail.client.add_calendar_item(ALICE, event, kind=ItemKind.APPOINTMENT)
    mail.scan()
    then = mail.now
    mail.later(hours=1)
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()

    report = item_restore(mail, item, date=at(then))
    again = item_restore(mail, item, date=at(then))

    assert (report.counters["restored"], report.counters["unrestored"]) == (1, 0)
    assert (again.counters["restored"], again.counters["skipped"]) == (0, 1)
    found = appointments(mail)
    assert set(found) == {"", "f"}
    with mail.destination.open(mail.sandbox.account(ALICE)) as writer:
        there = writer.read_back([each["id"] for each in found.values()])
    old, new = there[item], there[found[""]["id"]]
    assert uids(mail, old) == {"u1"}
    assert len(uids(mail, new)) == 1
    assert uids(mail, new) != {"u1"}
    assert new.subject == "Lunch"


def uids(mail: Office, state: ItemState) -> set[str]:
    """Return all UIDs that an appointment names: its rows, its metadata, its blob."""
    values: dict[str, Any] = dict(decode_column(state.row["metadata"]))
    found = {state.side_rows["appointment"][0]["uid"], values["u"], values["inv0"]["u"]}
    if state.digest is not None:
        blob = mail.client.blob(ALICE, state.item_id)
        found |= {uid.decode() for uid in re.findall(rb"\r\nUID:(.*)\r\n", blob)}
        assert b"\r\nUID:" in blob
    return found


def test_a_deleted_mountpoint_comes_back_beside_another_of_its_name(mail: Office) -> None:
    mail.client.create_folder(DAVE, "/Other")
    mount(mail, ALICE, DAVE, "/Shared")
    (before,) = mounted_in(mail, ALICE)
    mail.scan()
    mail.client.delete(ALICE, before.item_id)
    mount(mail, ALICE, DAVE, "/Other")
    mail.scan()

    in_place = item_restore(mail, before.item_id)
    report = item_restore(mail, before.item_id, restore_folder="/Back")

    assert (in_place.counters["restored"], report.counters["restored"]) == (1, 1)
    targets = [target_of(each) for each in mounted_in(mail, ALICE)]
    assert (len(targets), targets.count(target_of(before))) == (3, 2)


def folders_of(mail: Office, subject: str) -> list[str]:
    found = mail.client.list(ALICE)["items"]
    return sorted(each["folder"] for each in found if each["subject"] == subject)


def test_what_came_back_elsewhere_is_not_in_the_folder_that_is_asked_for(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Mail"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    for folder in ("/A", "/B", ""):
        report = item_restore(mail, item, restore_folder=folder)
        mail.scan()
        again = item_restore(mail, item, restore_folder=folder)

        assert (report.counters["restored"], again.counters["restored"]) == (1, 0)
    assert folders_of(mail, "Mail") == ["/A", "/B", "/Inbox"]


@pytest.mark.parametrize("kind", [ItemKind.MESSAGE, ItemKind.APPOINTMENT])
def test_copies_of_what_lives_go_into_several_folders_once_each(
    mail: Office, kind: ItemKind
) -> None:
    if kind is ItemKind.MESSAGE:
        item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    else:
        item = mail.client.add_calendar_item(ALICE, EVENT, kind=kind)
    mail.scan()

    for folder in ("/A", "/B"):
        report = item_restore(mail, item, restore_folder=folder)
        mail.scan()
        again = item_restore(mail, item, restore_folder=folder)

        assert (report.counters["restored"], again.counters["restored"]) == (1, 0)
    assert folders_of(mail, "Lunch")[:2] == ["/A", "/B"]
    assert len(folders_of(mail, "Lunch")) == 3


def test_a_slash_is_the_top_of_the_mailbox(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Inbox/Deep")
    mail.scan()
    mail.client.delete(ALICE, folder)
    mail.scan()

    report = item_restore(mail, folder, restore_folder="//")

    found = [i["folder"] for i in mail.client.list(ALICE)["items"] if i["name"] == "Deep"]
    assert found == ["/"]
    assert report.counters["restored"] == 1


@pytest.mark.parametrize(
    "folder", ['/In:box/"q"', "/Inbox/../x", "/a/./b", "/ /x", "/" + "x" * 256]
)
def test_a_folder_that_no_mailbox_can_have_is_refused_before_the_start(
    office_of_module: Office, folder: str
) -> None:
    operation = DoItemRestore(
        account_name=AccountNameOrId(ALICE), item_id=ItemIds((2,)), restore_folder=folder
    )

    with pytest.raises(BackupError) as refused:
        operation.check(office_of_module)

    assert (refused.value.code, refused.value.details["parameter"]) == (
        "bad_value",
        "restore_folder",
    )


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("", None),
        ("/", ()),
        ("/Inbox//Old /", ("Inbox", "Old")),
        ("x" * 255, ("x" * 255,)),
        ("😀" * 127, ("😀" * 127,)),
    ],
)
def test_the_names_in_a_path_have_255_characters_at_most(
    path: str, names: tuple[str, ...] | None
) -> None:
    assert folder_names(path) == names


@pytest.mark.parametrize("path", ["x" * 256, "😀" * 128, "/a/ /b", "..", "/Inbox/."])
def test_a_name_that_no_folder_has_is_refused(path: str) -> None:
    with pytest.raises(BackupError, match="cannot be the name of a folder"):
        folder_names(path)


def test_the_same_words_on_another_document_are_not_the_comment_that_is_gone(mail: Office) -> None:
    first, second = (mail.client.save_document(ALICE, b"x", name=each) for each in ("a", "b"))
    comments = [comment(mail, first)]
    mail.scan()
    mail.client.delete(ALICE, comments[0])
    mail.scan()
    mail.later(minutes=1)
    comments.append(comment(mail, second))
    mail.scan()

    report = item_restore(mail, comments[0])
    again = item_restore(mail, comments[0])

    assert (report.counters["restored"], again.counters["restored"]) == (1, 0)


def comment(mail: Office, document: int) -> int:
    account = mail.sandbox.account(ALICE)
    with MailboxSeries(mail.sandbox, account, lambda: to_ms(mail.now)).change() as change:
        return arrivals.add_comment(change, "Fine", document=document, creator_id=account.entry_id)


def test_what_is_there_keeps_the_look_that_its_owner_gave_it(mail: Office) -> None:
    item = mail.client.save_document(ALICE, b"x", name="plan.txt")
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()
    new = item_restore(mail, item).counters["new_id"]
    mail.client.flag(ALICE, new, ["-flagged"])

    again = item_restore(mail, item)

    assert (again.counters["restored"], again.counters["skipped"]) == (0, 1)
    assert {i["flags"] for i in mail.client.list(ALICE)["items"] if i["id"] == new} == {""}
