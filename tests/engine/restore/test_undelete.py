"""Undelete on the sandbox: chosen by the time of deletion, into a folder or where it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from backupng.engine.errors import BackupError
from backupng.engine.mailserver.sandbox import edits
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.zimbra.grants import target_of
from backupng.engine.model import ItemKind, to_ms
from backupng.engine.operations.base import Report
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.words import FIRST, LAST, AccountName, Moment
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.engine.restore.injecting import EVENT
from tests.engine.restore.migrating import mount, mounted_in
from tests.engine.restore.restoring import assert_balanced, at, subjects

TODAY = "undelete_02_03_26"


def undelete(
    mail: Office, start: Moment = FIRST, end: Moment = LAST, *, account: str = ALICE, **words: Any
) -> Report:
    words = {"start_date": start, "end_date": end, **words}
    return mail.run(DoUndelete(account=AccountName(account), **words))


def where(mail: Office) -> dict[str, str]:
    """Return the folder of each message, by its subject."""
    return {subject: item["folder"] for subject, item in subjects(mail, ALICE).items()}


def test_what_was_deleted_comes_into_a_folder_with_the_tree_it_lay_in(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Work/2026")
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Work/2026")
    mail.client.flag(ALICE, item, ["+deleted", "+flagged", "-unread"])
    mail.client.deliver(ALICE, message("Stays"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    report = undelete(mail)

    offer = subjects(mail, ALICE)["Offer"]
    assert (offer["folder"], offer["flags"], offer["unread"]) == (f"/{TODAY}/Work/2026", "f", False)
    assert where(mail)["Stays"] == "/Inbox"
    assert report.counters["restored"] == report.counters["found_deleted"] == 1
    assert_balanced(report)


def test_the_period_is_closed_and_means_the_deletion(mail: Office) -> None:
    moments = {}
    items = {
        each: mail.client.deliver(ALICE, message(each), folder="/Inbox")
        for each in ("before", "first", "last", "after")
    }
    mail.scan()
    for each, item in items.items():
        mail.later(minutes=1)
        mail.client.delete(ALICE, item)
        mail.scan()
        history = mail.history(ALICE, item)
        moments[each] = at(history[-1].start)

    undelete(mail, moments["first"], moments["last"])

    assert where(mail).keys() == {"first", "last"}


def test_mail_of_an_emptied_trash_comes_from_where_it_lay_before(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Work")
    mail.client.create_folder(ALICE, "/Work/Deep")
    moved = mail.client.deliver(ALICE, message("Moved"), folder="/Inbox")
    mail.client.deliver(ALICE, message("In folder"), folder="/Work/Deep")
    mail.client.deliver(ALICE, message("Only here"), folder="/Trash")
    mail.scan()
    mail.client.move(ALICE, moved, "/Trash")
    folder = next(i["id"] for i in mail.client.list(ALICE)["items"] if i["name"] == "Work")
    mail.client.move(ALICE, folder, "/Trash")
    mail.scan()
    mail.client.empty_folder(ALICE, "/Trash")
    mail.scan()

    report = undelete(mail, target_original_folder=True)

    assert where(mail) == {"Moved": "/Inbox", "In folder": "/Work/Deep", "Only here": "/Trash"}
    assert all(TODAY in item["tags"] for item in subjects(mail, ALICE).values())
    assert report.counters["restored"] == 5
    assert_balanced(report)


def test_a_folder_renamed_since_appears_under_its_old_name(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Old")
    account = mail.sandbox.account(ALICE)
    item = mail.client.deliver(ALICE, message("Mail"), folder="/Old")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()
    mail.later(minutes=1)
    with MailboxSeries(mail.sandbox, account, lambda: to_ms(mail.now)).change() as change:
        edits.rename(change, folder, "New")
    mail.scan()

    undelete(mail, target_original_folder=True)

    assert where(mail)["Mail"] == "/Old"


def test_a_folder_nobody_knows_any_more_is_unknown(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Lost")
    item = mail.client.deliver(ALICE, message("Orphan"), folder="/Lost")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{folder}")
    file.unlink()

    report = undelete(mail)

    assert where(mail)["Orphan"] == f"/{TODAY}/unknown_{folder}"
    assert report.counters["unknown_folders"] == 1


def test_what_is_back_already_is_not_doubled(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Once"), folder="/Inbox")
    twin = mail.client.deliver(ALICE, message("Once"), folder="/Inbox")
    folder = mail.client.create_folder(ALICE, "/Empty")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.client.delete(ALICE, folder)
    mail.scan()

    first = undelete(mail)
    mail.scan()
    again = undelete(mail)

    # Its twin was there all the time: it is not what was deleted.
    assert (first.counters["restored"], again.counters["restored"]) == (2, 0)
    assert again.counters["skipped"] == 2
    listed = [i for i in mail.client.list(ALICE)["items"] if i["subject"] == "Once"]
    assert {i["folder"] for i in listed if i["id"] != twin} == {f"/{TODAY}/Inbox"}
    assert len(listed) == 2


def test_a_second_run_on_one_day_makes_a_second_folder(mail: Office) -> None:
    for each in ("one", "two"):
        item = mail.client.deliver(ALICE, message(each), folder="/Inbox")
        mail.scan()
        mail.client.delete(ALICE, item)
        mail.scan()
        mail.later(minutes=1)
        undelete(mail)

    assert where(mail) == {"one": f"/{TODAY}/Inbox", "two": f"/{TODAY}_2/Inbox"}


@pytest.mark.parametrize("original", [True, False])
def test_nothing_deleted_is_a_success_and_makes_no_folder_and_no_tag(
    office_of_module: Office, *, original: bool
) -> None:
    report = undelete(office_of_module, target_original_folder=original)

    assert report.counters["planned"] == 0
    assert "Nothing was deleted in that period: there is nothing to bring back." in report.notes
    listed = office_of_module.client.list(ALICE)
    assert not any(item["name"] == TODAY for item in listed["items"])
    assert TODAY not in str(listed["tags"])


def test_a_moment_after_the_last_scan_is_warned_of_and_the_word_last_is_not(
    office_of_module: Office,
) -> None:
    last = undelete(office_of_module, dryrun=True)
    dated = undelete(office_of_module, end=at(office_of_module.now), dryrun=True)

    (said,) = dated.warnings
    assert said.endswith("what changed after that is not in the backup.")
    assert said in last.notes
    assert not last.warnings


def test_a_period_that_the_backup_has_not_seen_is_told_as_that(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("one"), folder="/Inbox")
    mail.scan()
    mail.later(minutes=5)
    start = at(mail.now)
    mail.client.delete(ALICE, item)
    mail.later(minutes=5)

    unseen = undelete(mail, start, at(mail.now))
    mail.scan()
    seen = undelete(mail, start)

    (said,) = unseen.warnings
    assert said.startswith("That period is not in the backup yet, which ends at 02/03/2026 ")
    assert "SmartScan" in said
    assert not unseen.notes
    assert (seen.counters["restored"], seen.warnings) == (1, [])


def test_what_lives_again_in_the_backup_and_is_gone_by_now_comes_all_the_same(
    mail: Office,
) -> None:
    item = mail.client.deliver(ALICE, message("Twice gone"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()
    # As after a rollback of the server, and a deletion that no scan has seen yet.
    living, deletion = mail.history(ALICE, item)
    back = replace(living, mod=deletion.mod + 1, start=mail.now)
    with mail.path as path, path.writer("scan") as writer:
        writer.add_states(mail.account_id(ALICE), [back])
        writer.commit()

    report = undelete(mail)

    assert where(mail) == {"Twice gone": f"/{TODAY}/Inbox"}
    assert (report.counters["restored"], report.counters["skipped"]) == (1, 0)


def test_every_kind_comes_back(mail: Office) -> None:
    client = mail.client
    ids = [
        client.add_contact(ALICE, b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann Lee\r\nEND:VCARD"),
        client.save_document(ALICE, b"one", name="plan.txt"),
        client.create_folder(ALICE, "/Empty"),
    ]
    client.save_document(ALICE, b"two", name="plan.txt")
    mail.scan()
    before = {(i["type"], i["name"], i["digest"]) for i in client.list(ALICE)["items"]}
    for item in ids:
        client.delete(ALICE, item)
    mail.scan()

    report = undelete(mail, target_original_folder=True)

    assert {(i["type"], i["name"], i["digest"]) for i in client.list(ALICE)["items"]} == before
    assert report.counters["restored"] == 3
    assert_balanced(report)


def test_documents_of_one_name_that_were_deleted_one_after_the_other_all_come_back(
    mail: Office,
) -> None:
    for content in (b"one", b"two", b"three"):
        item = mail.client.save_document(ALICE, content, name="plan.txt")
        mail.scan()
        mail.client.delete(ALICE, item)
        mail.scan()

    report = undelete(mail)

    found = {i["name"] for i in mail.client.list(ALICE)["items"] if i["type"] == "document"}
    assert found == {"plan.txt", "plan (2).txt", "plan (3).txt"}
    assert not report.losses


def test_a_dry_run_tells_the_plan_and_changes_nothing(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Mail"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()
    before = mail.client.list(ALICE)

    report = undelete(mail, dryrun=True)

    assert mail.client.list(ALICE) == before
    assert report.counters["planned"] == report.counters["items"] == 1
    assert any(note.startswith(f"/{TODAY}/Inbox: 1 item") for note in report.notes)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"account": "nobody@example.com"}, "no_such_account"),
        ({"account": BOB}, "no_such_account"),
        ({"start": LAST}, "bad_value"),
        ({"end": at(datetime(2126, 1, 1, tzinfo=UTC))}, "date_in_future"),
        ({"end": at(datetime(2020, 1, 1, tzinfo=UTC))}, "before_first_backup"),
        (
            {
                "start": at(datetime(2026, 3, 2, 12, 0, 1, tzinfo=UTC)),
                "end": at(datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)),
            },
            "bad_period",
        ),
    ],
    ids=str,
)
def test_a_refused_undelete_says_why(office_of_module: Office, words: Any, code: str) -> None:
    with pytest.raises(BackupError) as refused:
        undelete(office_of_module, **words)

    assert refused.value.code == code
    assert refused.value.hint


@pytest.mark.parametrize("original", [True, False])
def test_a_deleted_mountpoint_comes_back_and_leads_where_it_did(
    mail: Office, *, original: bool
) -> None:
    mount(mail, ALICE, DAVE, "/Shared")
    (before,) = mounted_in(mail, ALICE)
    mail.scan()
    mail.client.delete(ALICE, before.item_id)
    mail.scan()

    report = undelete(mail, target_original_folder=original)
    again = undelete(mail, target_original_folder=original)

    (after,) = mounted_in(mail, ALICE)
    assert target_of(after) == target_of(before)
    assert (report.counters["restored"], report.counters["unrestored"]) == (1, 0)
    assert (again.counters["restored"], again.counters["skipped"]) == (0, 1)
    assert_balanced(report)


def test_a_word_that_begins_no_period_is_refused_by_the_name_of_its_parameter(
    office_of_module: Office,
) -> None:
    with pytest.raises(BackupError) as refused:
        undelete(office_of_module, LAST)

    assert "start_date: 'last'" in str(refused.value)
    assert refused.value.hint.startswith("Expected: ")


@pytest.mark.parametrize("original", [True, False])
def test_what_came_back_and_is_deleted_again_comes_once(mail: Office, *, original: bool) -> None:
    for each in ("one", "two"):
        mail.client.deliver(ALICE, message(each), folder="/Inbox")
    mail.client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT)
    mail.client.save_document(ALICE, b"x", name="plan.txt")
    mail.scan()
    for _ in range(3):
        delete_all(mail)
        mail.scan()

        report = undelete(mail, target_original_folder=original)
        mail.scan()
        again = undelete(mail, target_original_folder=original)

        assert report.counters["restored"] == 4
        assert again.counters["restored"] == 0
        found = [i for i in mail.client.list(ALICE)["items"] if i["type"] in KINDS]
        top = "" if original else found[0]["folder"].rpartition("/")[0]
        assert sorted(i["folder"] for i in found) == [
            f"{top}/{each}" for each in ("Briefcase", "Calendar", "Inbox", "Inbox")
        ]
        assert top.count("undelete") == (not original)
        assert_balanced(report)


KINDS = {"message", "appointment", "document"}


def delete_all(mail: Office) -> None:
    """Delete every item, and with it the folder in which an Undelete has put it."""
    for item in mail.client.list(ALICE)["items"]:
        if item["type"] in KINDS:
            mail.client.delete(ALICE, item["id"])
    for item in mail.client.list(ALICE)["items"]:
        if item["type"] == "folder" and item["folder"] == "/" and item["name"].startswith("undel"):
            mail.client.delete(ALICE, item["id"])


def test_the_same_in_two_folders_comes_back_in_both(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Work")
    for folder in ("/Inbox", "/Work"):
        item = mail.client.deliver(ALICE, message("Mail"), folder=folder)
        mail.scan()
        mail.client.delete(ALICE, item)
    mail.scan()

    undelete(mail, target_original_folder=True)

    found = mail.client.list(ALICE)["items"]
    assert {i["folder"] for i in found if i["subject"] == "Mail"} == {"/Inbox", "/Work"}


def test_a_name_of_deleted_accounts_alone_says_how_their_content_comes_back(mail: Office) -> None:
    for _ in range(2):
        mail.client.create_account("twice@example.com")
        mail.scan()
        mail.client.delete_account("twice@example.com")
        mail.scan()

    with pytest.raises(BackupError) as refused:
        undelete(mail, account="twice@example.com")

    assert refused.value.code == "ambiguous_account"
    assert "doRestoreOnNewAccount" in refused.value.hint
