"""Undelete of what has an equal: twins, folders of one path, search folders, notes."""

from __future__ import annotations

import pytest

from backupng.engine.mailserver.sandbox import arrivals, edits
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.model import ItemKind, to_ms
from backupng.engine.restore.rename import ROOTS
from tests.cast import ALICE, DAVE, Office, message
from tests.engine.restore.injecting import EVENT, Killed, mortal
from tests.engine.restore.migrating import mount, mounted_in
from tests.engine.restore.restoring import COPY, assert_balanced, everything, subjects
from tests.engine.restore.test_item_restore import comment
from tests.engine.restore.test_new_account_more import at_server
from tests.engine.restore.test_undelete import TODAY, undelete, where


def test_two_equal_items_that_were_there_together_both_come_back_and_go_on_to(
    mail: Office,
) -> None:
    for _ in range(2):
        mail.client.deliver(ALICE, message("Twin"), folder="/Inbox")
    mail.scan()
    for _ in range(3):
        for item in mail.client.list(ALICE)["items"]:
            if item["subject"] == "Twin":
                mail.client.delete(ALICE, item["id"])
        mail.scan()
        mail.later(minutes=1)

        report = undelete(mail, target_original_folder=True)
        mail.scan()
        again = undelete(mail, target_original_folder=True)

        assert (report.counters["restored"], again.counters["restored"]) == (2, 0)


@pytest.mark.parametrize("original", [True, False])
def test_documents_of_one_name_and_meetings_of_one_uid_come_apart_and_only_once(
    mail: Office, *, original: bool
) -> None:
    follow_each_other(mail)

    report = undelete(mail, target_original_folder=original)
    mail.scan()
    again = [undelete(mail, target_original_folder=words).counters for words in (original, False)]

    assert (report.counters["restored"], report.counters["unrestored"]) == (5, 0)
    assert [(each["restored"], each["skipped"]) for each in again] == [(0, 5), (0, 5)]


def test_into_a_new_account_they_come_apart_too_and_beside_what_lives(mail: Office) -> None:
    follow_each_other(mail)
    mail.client.save_document(ALICE, b"four", name="plan.txt")
    mail.client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT)
    mail.scan()
    operation = everything()
    with pytest.raises(Killed):
        at_server(mail, mortal(mail, 36)).run(operation)
    mail.later(days=1)

    report = mail.run(operation)

    found = [i for i in mail.client.list(COPY)["items"] if i["type"] in ("document", "appointment")]
    assert sorted((i["folder"], i["name"] or i["subject"]) for i in found) == [
        ("/Briefcase", "plan.txt"),
        ("/Calendar", "Lunch"),
        (f"/{TODAY}/Briefcase", "plan (2).txt"),
        (f"/{TODAY}/Briefcase", "plan (3).txt"),
        (f"/{TODAY}/Briefcase", "plan.txt"),
        (f"/{TODAY}/Calendar", "Lunch 0"),
        (f"/{TODAY}/Calendar", "Lunch 1"),
    ]
    assert report.counters["skipped"] > 2
    assert_balanced(report)


def test_into_a_new_account_they_do_not_mix_with_what_an_undelete_brought(mail: Office) -> None:
    mail.client.create_folder(ALICE, f"/{TODAY}")
    item = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    mail.run(everything())

    assert subjects(mail, COPY)["Gone"]["folder"] == f"/{TODAY}_2/Inbox"


def test_into_a_new_account_a_comment_is_not_taken_for_an_equal_one_that_lives(
    mail: Office,
) -> None:
    document = mail.client.save_document(ALICE, b"x", name="plan.txt")
    gone, _ = comment(mail, document), comment(mail, document)
    mail.scan()
    mail.client.delete(ALICE, gone)
    mail.scan()

    report = mail.run(everything())

    assert (report.counters["restored"], report.counters["skipped"]) == (3, 0)


def test_what_cannot_be_read_is_told_once_though_it_is_looked_at_twice(mail: Office) -> None:
    bad = mail.client.deliver(ALICE, message("Bad"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{bad}")
    file.write_bytes(file.read_bytes().replace(b"Bad", b"Mad", 1))

    report = mail.run(everything())

    assert report.unrestored == {ALICE: [(bad, "broken item")]}
    assert_balanced(report)


def test_a_mountpoint_that_came_back_and_went_again_comes_once(mail: Office) -> None:
    mount(mail, ALICE, DAVE, "/Shared")
    for _ in range(2):
        mail.scan()
        (there,) = mounted_in(mail, ALICE)
        top = there.folder_id if there.folder_id != ROOTS[0] else there.item_id
        mail.client.delete(ALICE, top or 0)
        mail.scan()
        mail.later(minutes=1)

        report = undelete(mail)
        mail.scan()
        again = undelete(mail)

        counters = report.counters["restored"], report.counters["skipped"]
        assert (*counters, again.counters["restored"]) == (1, 0, 0)


def follow_each_other(mail: Office) -> None:
    """Let documents of one name and meetings of one UID come and go, one after the other."""
    for content in (b"one", b"two", b"three"):
        item = mail.client.save_document(ALICE, content, name="plan.txt")
        mail.scan()
        mail.client.delete(ALICE, item)
        mail.scan()
    for number in range(2):
        event = EVENT.replace(b"Lunch", b"Lunch %d" % number)
        item = mail.client.add_calendar_item(ALICE, event, kind=ItemKind.APPOINTMENT)
        mail.scan()
        mail.client.delete(ALICE, item)
        mail.scan()


def test_two_folders_of_one_path_come_as_one_with_the_items_of_both(mail: Office) -> None:
    for subject in ("first", "second"):
        work = mail.client.create_folder(ALICE, "/Work")
        deep = mail.client.create_folder(ALICE, "/Work/Deep")
        items = [
            mail.client.deliver(ALICE, message(subject), folder="/Work"),
            mail.client.deliver(ALICE, message(f"{subject} deep"), folder="/Work/Deep"),
        ]
        mail.scan()
        for item in (*items, deep, work):
            mail.client.delete(ALICE, item)
        mail.scan()
        mail.later(minutes=1)

    report = undelete(mail)

    assert where(mail) == {
        "first": f"/{TODAY}/Work",
        "second": f"/{TODAY}/Work",
        "first deep": f"/{TODAY}/Work/Deep",
        "second deep": f"/{TODAY}/Work/Deep",
    }
    assert (report.counters["restored"], report.counters["skipped"]) == (6, 0)
    assert any(note.startswith("2 deleted folders have the path of") for note in report.notes)
    assert_balanced(report)


def test_a_search_folder_of_another_query_is_not_taken_for_the_one_that_is_gone(
    mail: Office,
) -> None:
    old = search_folder(mail, "in:inbox")
    mail.scan()
    mail.client.delete(ALICE, old)
    mail.scan()
    mail.later(minutes=1)
    search_folder(mail, "is:unread")

    report = undelete(mail)

    found = [i for i in mail.client.list(ALICE)["items"] if i["type"] == "search"]
    assert {i["folder"] for i in found} == {"/", f"/{TODAY}"}
    assert report.counters["restored"] == 1


def search_folder(mail: Office, query: str) -> int:
    account = mail.sandbox.account(ALICE)
    with MailboxSeries(mail.sandbox, account, lambda: to_ms(mail.now)).change() as change:
        return arrivals.make_search(change, "Found", query)


def test_a_note_of_the_same_text_and_another_colour_is_another_one(mail: Office) -> None:
    old = note(mail, "Milk", color=1)
    mail.scan()
    mail.client.delete(ALICE, old)
    mail.scan()
    mail.later(minutes=1)
    note(mail, "Milk", color=2)
    mail.scan()

    report = undelete(mail, target_original_folder=True)
    again = undelete(mail, target_original_folder=True)

    assert (report.counters["restored"], again.counters["restored"]) == (1, 0)


def note(mail: Office, text: str, *, color: int) -> int:
    account = mail.sandbox.account(ALICE)
    series = MailboxSeries(mail.sandbox, account, lambda: to_ms(mail.now))
    with series.change() as change:
        item = arrivals.add_note(change, text, folder=2)
    with series.change() as change:
        edits.color(change, item, color)
    return item
