"""Restore from the wheel in its second mode, Undelete: the slot, what it counts, what it starts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.words import AccountName, Moment
from console import connect, queue
from console.models import QueuedOperation, Server
from tests.console.prototypes import Grow, Prototype, smart_scan
from tests.console.restoring import MODE, NOW, Page, Visitor, a_user

A1 = "a1@example.com"
DELETED = datetime(2026, 9, 28, 10, 15, 10, 400_000, tzinfo=UTC)
FIRST = {"start-keyword": "first", "start-day": "", "start-hour": "00"}
LAST = {"end-keyword": "last", "end-day": "", "end-hour": "00"}


def widget(prefix: str, day: str, time: str) -> dict[str, str]:
    """Return the fields of one end of the slot."""
    names = ("day", "hour", "minute", "second")
    texts = (day, *time.split(":"))
    return {f"{prefix}-{name}": text for name, text in zip(names, texts, strict=True)}


def act(moment: datetime, *subjects: str, deleted: tuple[int, ...] = ()) -> list[int]:
    """Let something happen in the mailbox at a moment, and a SmartScan see it."""
    with time_machine.travel(moment, tick=False):
        with connect.sandbox("mail1") as client:
            made = [
                int(
                    client.deliver(
                        A1, f"Subject: {each}\r\n\r\nHello\r\n".encode(), folder="/Inbox"
                    )
                )
                for each in subjects
            ]
            for item in deleted:
                client.delete(A1, item)
        smart_scan(Server.objects.get())
    return made


@pytest.fixture(scope="module")
def emptied(scanned_prototype: Prototype, grow: Grow) -> Prototype:
    """Return a sandbox from a mailbox of which two messages were deleted, and its row."""

    def happened(_server: Server) -> None:
        items = act(datetime(2026, 9, 1, 8, 0, tzinfo=UTC), "One", "Two <b>", "Three")
        act(DELETED, deleted=(items[0], items[1]))

    return grow(scanned_prototype, "emptied", happened)


@pytest.fixture
def server_here(emptied: Prototype, data: Path, db: None) -> Server:
    """Return a copy of it, with a row of its own."""
    return emptied.copied(data)


@pytest.fixture
def anna(server_here: Server) -> Iterator[Visitor]:
    """Return an operator at the slot of that mailbox."""
    with time_machine.travel(NOW, tick=False):
        visitor = Visitor(a_user())
        visitor.begin()
        assert visitor.send("mode", mode="undelete")["Location"] == visitor.url("slot")
        yield visitor


def test_the_steps_are_those_of_the_manual(anna: Visitor) -> None:
    slot = Page(anna.see("slot"))
    assert "1 Mode (done) 2 Slot 3 Operation Summary" in slot.text
    assert "Cancel Previous Next" in slot.text
    for words in ("Deleted from", "Deleted until", "First", "Last"):
        assert words in slot.text
    assert anna.send("slot", **FIRST, **LAST)["Location"] == anna.url("summary")
    assert "Cancel Previous Finish" in Page(anna.see("summary")).text


def test_the_slot_is_everything_at_first_and_tells_what_will_be(anna: Visitor) -> None:
    text = Page(anna.see("slot")).text
    assert "2 items were deleted in this period" in text
    assert "; the summary counts what of it comes back." in text
    assert "Two <b>" in text  # in the list, as text
    assert "/undelete_25_11_26" in text
    assert "The IMAP flag \\Deleted is removed" in text


def test_a_moment_that_nobody_saw_is_told_with_the_ones_beside_it(anna: Visitor) -> None:
    anna.send("mode", **MODE)
    asked = {"day": "15/09/2026", "hour": "10", "minute": "00", "second": "00"}

    preset = {each["name"]: each.get("value") for each in Page(anna.see("date")).inputs}
    part = Page(anna.client.get(anna.url("date", "check"), asked | {"field": "moment"}))
    before, after = (link for link in part.links if "day=" in link)
    taken = [Page(anna.client.get(link)) for link in (before, after)]

    assert preset["day"] == "28/09/2026"
    assert "is known only from the scan of 28/09/2026 10:15:10 UTC on" in part.text
    assert "known exactly at: 01/09/2026 08:00:00 UTC 28/09/2026 10:15:10 UTC" in part.text
    assert ["01/09/2026 08:00:00 UTC" in each.text for each in taken] == [True, False]
    assert ["known exactly" in each.text for each in taken] == [False, False]
    assert anna.send("date", **asked).status_code == 303


COUNTS = (
    ("28/09/2026 10:15:10", "28/09/2026 10:15:10", "2 items were deleted in this period"),
    ("28/09/2026 10:15:11", "25/11/2026 20:00:00", "0 items were deleted in this period"),
    ("01/09/2026 00:00:00", "28/09/2026 10:15:09", "0 items were deleted in this period"),
    ("28/09/2026 10:15:10", "", "Choose start and end"),
)


def test_the_count_follows_what_is_typed(anna: Visitor) -> None:
    for start, end, said in COUNTS:
        query = {"field": "deleted", **widget("start", *start.split())}
        query |= widget("end", *(end.split() or ("", "00:00:00")))
        part = anna.client.get(anna.url("slot", "check"), query)
        assert said in Page(part).text
        assert "<html" not in part.content.decode()


NO_SLOTS = (
    (widget("start", "29/09/2026", "00:00:00") | widget("end", "28/09/2026", "00:00:00"),
     "The period ends before it starts.", "id_end-day"),
    (widget("start", "", "01:00:00"), "Choose a day", "id_start-day"),
    (widget("end", "26/11/2026", "00:00:00"), "lies in the future", "id_end-day"),
    (widget("end", "01/03/2026", "00:00:00"), "begins at 02/03/2026", "id_end-day"),
    (widget("end", "28/09/2026", "00:61:00"), "Minute: a number from 0", "id_end-minute"),
    ({"start-keyword": "last"}, "Select a valid choice", "id_start-keyword"),
)  # fmt: skip


def test_a_slot_that_is_none_is_refused_on_its_field_and_kept(anna: Visitor) -> None:
    for changes, message, field in NO_SLOTS:
        answer = anna.send("slot", **(FIRST | LAST | changes))
        page = Page(answer)
        assert (message, answer.status_code) == (message, 422)
        assert message in page.text
        assert f"#{field}" in page.links, message
        assert len(page.ids) == len(set(page.ids)), message
        assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
        assert page.described <= set(page.ids), message
        assert "slot" not in anna.row.words, message


@pytest.mark.parametrize("part", ["deleted", "start-minical", "end-moment"])
def test_a_part_of_the_slot_costs_few_queries(anna: Visitor, part: str) -> None:
    query = {"field": part, **widget("start", "28/09/2026", "10:15:10"), **LAST}
    with CaptureQueriesContext(connection) as asked:
        answer = anna.client.get(anna.url("slot", "check"), query)
    assert answer.status_code == 200
    assert len(asked) <= 8, [query["sql"] for query in asked]


def test_start_and_end_may_be_the_same_second(anna: Visitor) -> None:
    second = ("28/09/2026", "10:15:10")
    answer = anna.send("slot", **widget("start", *second), **widget("end", *second))
    assert answer["Location"] == anna.url("summary")


def test_a_slot_may_start_before_the_backup_does(anna: Visitor) -> None:
    answer = anna.send("slot", **widget("start", "01/01/2020", "00:00:00"), **LAST)
    assert answer["Location"] == anna.url("summary")
    assert "Expected 2 items" in Page(anna.see("summary")).text


def test_a_picked_day_of_one_end_leaves_the_other_as_it_is(anna: Visitor) -> None:
    shown = widget("start", "01/09/2026", "08:30:00") | LAST
    page = Page(anna.see("slot", **shown, **{"end-pick": "30/09/2026"}))
    values = {each["name"]: each.get("value") for each in page.inputs}
    assert (values["start-day"], values["start-minute"]) == ("01/09/2026", "30")
    assert (values["end-day"], values["end-minute"]) == ("30/09/2026", "59")  # the whole day
    assert "Chosen: Last" not in page.text


def test_today_picked_as_the_end_lasts_until_now(anna: Visitor) -> None:
    page = Page(anna.see("slot", **LAST, **{"end-pick": "25/11/2026"}))
    values = {each["name"]: each.get("value") for each in page.inputs}
    assert (values["end-day"], values["end-minute"]) == ("25/11/2026", "00")
    assert "2 items were deleted in this period" in page.text


def test_first_is_taken_by_its_button(anna: Visitor) -> None:
    shown = widget("start", "01/09/2026", "08:30:00") | LAST
    part = anna.client.get(
        anna.url("slot", "check"), {**shown, "field": "start-when", "start-take": "first"}
    )
    page = Page(part)
    assert "Chosen: First, the beginning of the backup (02/03/2026 12:00:00 UTC)." in page.text
    assert {each["name"]: each.get("value") or "" for each in page.inputs}["start-day"] == ""


def test_the_month_of_one_end_is_turned_alone(anna: Visitor) -> None:
    query = {"field": "end-minical", "end-month": "2026-09"}
    part = anna.client.get(anna.url("slot", "check"), query).content.decode()
    assert 'id="end-minical"' in part
    assert "September 2026" in part
    assert 'id="end-day-2026-09-28" class="changed"' in part


def test_without_script_a_turned_month_keeps_both_ends(anna: Visitor) -> None:
    page = Page(anna.see("slot", **widget("start", "28/09/2026", "10:15:10"), **LAST))
    [link] = [each for each in page.links if "start-month=2026-08" in each]
    turned = Page(anna.client.get(link))
    values = {each["name"]: each.get("value") for each in turned.inputs}
    assert (values["start-day"], values["start-minute"]) == ("28/09/2026", "15")
    assert "Chosen: Last" in turned.text


def test_the_moment_that_is_suggested_for_one_end_keeps_the_other(anna: Visitor) -> None:
    typed = widget("start", "01/01/2020", "10:15:10") | widget("end", "01/03/2026", "00:00:00")
    page = Page(anna.send("slot", **typed))
    [link] = [each for each in page.links if "end-second=00" in each and "month=" not in each]
    values = {each["name"]: each.get("value") for each in Page(anna.client.get(link)).inputs}
    assert (values["start-day"], values["end-day"]) == ("01/01/2020", "02/03/2026")


@pytest.mark.parametrize("part", ["slot", "summary"])
def test_a_page_is_well_made(anna: Visitor, part: str) -> None:
    anna.send("slot", **FIRST, **LAST)
    page = Page(anna.see(part))
    assert page.headings.count("h1") == 1
    assert len(page.ids) == len(set(page.ids))
    assert page.forbidden == []
    assert {field["id"] for field in page.inputs} <= page.labelled


def test_the_summary_says_every_choice_in_words(anna: Visitor) -> None:
    anna.send("slot", **widget("start", "28/09/2026", "10:15:10"), **LAST)
    text = Page(anna.see("summary")).text
    for words in (
        "Mode Undelete",
        "Account a1@example.com",
        "Deleted from 28/09/2026 10:15:10 UTC",
        "Deleted until Last: the newest state in the backup",
        "Expected 2 items",
        ": Messages 2; everything comes to the new folder /undelete_25_11_26",
        "the same deleted in two folders comes back in both",
        "The IMAP flag \\Deleted is removed",
        "doUndelete a1@example.com '28/09/2026 10:15:10' last",
    ):
        assert words in text
    assert "Hide in GAL" not in text


def test_an_end_at_which_nobody_saw_the_mailbox_is_warned_of_as_the_operation_will(
    anna: Visitor,
) -> None:
    anna.send("slot", **FIRST, **widget("end", "28/09/2026", "10:15:09"))
    remarks = anna.see("summary").context["summary"].remarks
    assert [said[:26] for said in remarks.warnings] == ["No scan ran at that moment"]


def test_finish_brings_back_what_was_deleted(anna: Visitor, server_here: Server) -> None:
    anna.send("slot", **FIRST, **LAST)
    anna.finish()
    row = QueuedOperation.objects.get()
    assert row.parameters == {"account": A1, "start_date": "first", "end_date": "last"}
    queue.drain(server_here)
    with connect.sandbox("mail1") as client:
        items = client.list(A1)["items"]
    messages = [each for each in items if each["type"] == "message"]
    back = {each["subject"] for each in messages if each["folder"].startswith("/undelete_")}
    assert (len(messages), back) == (3, {"One", "Two <b>"})


def test_after_an_undelete_the_summary_counts_what_still_comes_and_promises_no_folder(
    anna: Visitor, server_here: Server
) -> None:
    first, last = Moment(keyword="first"), Moment(keyword="last")
    everything = DoUndelete(account=AccountName(A1), start_date=first, end_date=last)
    with connect.context(server_here) as ctx:
        everything.run(ctx)

    step = Page(anna.see("slot")).text
    anna.send("slot", **FIRST, **LAST)
    summary = Page(anna.see("summary")).text

    assert "What comes back is in one new folder of the mailbox, /undelete_25_11_26_2, with" in step
    assert "if nothing does, no folder is made." in step
    assert "Expected no items; 2 are in the mailbox already: left alone" in summary
    assert "undelete_" not in summary


def test_another_undelete_of_the_account_is_named(anna: Visitor) -> None:
    anna.send("slot", **FIRST, **LAST)
    anna.finish()
    anna.begin()
    anna.send("mode", mode="undelete")
    anna.send("slot", **FIRST, **LAST)
    assert "The same is asked for already" in Page(anna.see("summary")).text


def test_a_change_of_mind_about_the_mode_leads_to_its_own_steps(anna: Visitor) -> None:
    anna.send("slot", **FIRST, **LAST)
    assert anna.see("date")["Location"] == anna.url("mode")
    assert anna.client.get(anna.url("date", "check")).status_code == 404
    assert anna.send("mode", **MODE)["Location"] == anna.url("date")
    assert anna.see("slot")["Location"] == anna.url("mode")
    anna.send("mode", mode="undelete")
    assert anna.see("summary").status_code == 200


def test_a_name_that_was_typed_first_does_not_hinder_an_undelete(anna: Visitor) -> None:
    answer = anna.send("mode", mode="undelete", destination_account="a2@example.com")
    assert answer["Location"] == anna.url("slot")


def test_an_account_that_was_deleted_meanwhile_gets_no_undelete(anna: Visitor) -> None:
    with connect.sandbox("mail1") as client:
        client.delete_account(A1)
    answer: Any = anna.send("mode", mode="undelete")
    assert answer.status_code == 422
    assert "choose Restore on New Account" in Page(answer).text


def test_an_undelete_can_be_asked_for_again_in_its_wizard(
    anna: Visitor, server_here: Server
) -> None:
    Server.objects.update(zone="Europe/Rome")
    anna.send("slot", **widget("start", "28/09/2026", "10:15:10"), **LAST)
    anna.finish()
    row = QueuedOperation.objects.get()
    queue.stop(row, by="anna")
    address = anna.client.post(f"/operations/{row.pk}/retry/")["Location"]
    anna.draft = address.split("/")[2]
    assert 'value="28/09/2026"' in anna.see("slot").content.decode()
    anna.finish()
    again = QueuedOperation.objects.exclude(pk=row.pk).get()
    assert (again.parameters, again.resumes) == (row.parameters, row)
