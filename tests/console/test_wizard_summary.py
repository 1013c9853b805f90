"""The summary of a wizard: what it says, and the one operation that Finish starts."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.template.loader import render_to_string
from django.urls import reverse

from backupng.engine.model import BACKUP_DISABLED
from backupng.engine.operations.smart_scan import SmartScan
from console import browse, connect, queue, summary, wizard, wizards
from console.models import AuditEntry, QueuedOperation, Server, Setting
from tests.console.restoring import MODE, NOW, SOURCE, Page, Visitor, a_user

PARTS = ("mode", "date", "summary")


@pytest.fixture
def clock() -> Iterator[Any]:
    """Let it be NOW until a test moves on."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def anna(scanned: Server, clock: Any) -> Visitor:
    """Return an operator who has opened nothing yet."""
    return Visitor(a_user())


def test_finish_starts_what_was_chosen_and_leads_to_its_page(anna: Visitor) -> None:
    answer = anna.at_summary().finish(notifications="x@example.com y@example.com")
    row = QueuedOperation.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, reverse("operation", args=[row.pk]))
    assert row.parameters == {
        "source_account": "a1@example.com",
        "destination_account": "again@example.com",
        "date": "28/09/2026 10:15:10",
        "hide_in_gal": "true",
        "notifications": "x@example.com,y@example.com",
    }
    assert (row.origin, row.requester_name, row.requester_address) == (
        "console",
        "anna",
        "anna@example.com",
    )
    assert row.dedupe == anna.draft
    assert anna.row.operation == row


@pytest.mark.parametrize("part", PARTS)
def test_whatever_is_done_after_finish_leads_to_the_operation(anna: Visitor, part: str) -> None:
    there = anna.at_summary().finish()["Location"]
    answers = (
        anna.see(part),
        anna.send(part, **MODE),
        anna.send(part, cancel="1"),
        anna.send(part, shown="x"),
    )
    assert [answer["Location"] for answer in answers] == [there] * 4
    assert QueuedOperation.objects.count() == 1


def test_two_clicks_at_once_start_one_operation(
    transactional_db: None, anna: Visitor, data: Path
) -> None:
    anna.at_summary()
    shown = anna.see("summary").context["summary"].digest
    clicks = [Visitor(User.objects.get(username="anna")) for _ in range(2)]
    ready = threading.Barrier(2)
    places: list[str] = []
    found: list[QueuedOperation] = []

    def click(visitor: Visitor) -> None:
        visitor.draft = anna.draft
        ready.wait()
        places.append(visitor.send("summary", shown=shown)["Location"])
        connection.close()

    def look() -> None:
        found.extend(QueuedOperation.objects.all())
        connection.close()

    with sqlite3.connect(data / "shared.sqlite3") as file:
        connection.connection.backup(file)
    # New threads get a database that knows how to wait; the one in memory only refuses.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict, "NAME", str(data / "shared.sqlite3"))
        in_threads(*(partial(click, visitor) for visitor in clicks))
        in_threads(look)
    [row] = found
    assert places == [reverse("operation", args=[row.pk])] * 2


def test_a_click_that_was_overtaken_gets_the_operation_of_the_other(anna: Visitor) -> None:
    anna.at_summary()
    slow = wizard.Run(wizards.RESTORE, anna.row)
    assert slow.first_invalid(before="summary") is None
    operation = slow.operation()
    anna.finish()
    assert summary.finish(slow, operation) == QueuedOperation.objects.get()


def test_a_click_that_finds_the_account_made_by_the_other_gets_its_operation(
    anna: Visitor,
) -> None:
    anna.at_summary()
    slow = wizard.Run(wizards.RESTORE, anna.row)
    assert slow.first_invalid(before="summary") is None
    operation = slow.operation()
    anna.finish()
    with connect.sandbox("mail1") as sandbox:
        sandbox.create_account("again@example.com")
    assert summary.finish(slow, operation) == QueuedOperation.objects.get()


@pytest.mark.parametrize(
    "query",
    [
        'FROM "console_setting"',  # while the steps are checked
        'ORDER BY "console_queuedoperation"."seq" ASC',  # while the summary is made
    ],
)
def test_a_click_that_is_overtaken_on_its_way_is_led_to_the_operation(
    anna: Visitor, query: str
) -> None:
    anna.at_summary()
    shown = anna.see("summary").context["summary"].digest
    waiting = [anna]

    def overtake(execute: Any, sql: str, *rest: Any) -> Any:
        if query in sql and waiting:
            waiting.pop().finish()
        return execute(sql, *rest)

    with connection.execute_wrapper(overtake):
        answer = anna.send("summary", shown=shown)
    row = QueuedOperation.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, reverse("operation", args=[row.pk]))


def in_threads(*acts: Callable[[], None]) -> None:
    """Let each act happen in a thread of its own, at once."""
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_summary_that_another_tab_has_changed_is_shown_again(anna: Visitor) -> None:
    anna.at_summary()
    shown = anna.see("summary").context["summary"].digest
    anna.send("mode", **(MODE | {"destination_account": "other"}))
    answer = anna.send("summary", shown=shown, notifications="x@example.com")
    page = Page(answer)
    assert answer.status_code == 422
    assert "not what was shown before" in page.text
    assert "other@example.com" in page.text
    assert "x@example.com" in page.text
    assert not QueuedOperation.objects.exists()


def test_a_summary_is_shown_again_when_something_is_to_be_known_that_it_did_not_say(
    anna: Visitor,
) -> None:
    anna.at_summary().finish()
    begun = anna.at_summary(destination_account="third").see("summary")
    queue.stop(QueuedOperation.objects.get(), by="anna")
    without_other = anna.send("summary", shown=begun.context["summary"].digest)
    with connect.sandbox("mail1") as sandbox:
        sandbox.set_cos_notes("default", BACKUP_DISABLED)
    off = anna.send("summary", shown=without_other.context["summary"].digest)
    assert (without_other.status_code, off.status_code) == (422, 422)
    assert "Backup is off for the class of service default" in Page(off).text
    assert QueuedOperation.objects.count() == 1


def test_the_summary_shown_again_can_be_finished(anna: Visitor) -> None:
    again = anna.at_summary().send("summary", shown="old")
    anna.send("summary", shown=again.context["summary"].digest)
    assert QueuedOperation.objects.count() == 1


def test_an_operation_on_the_same_account_is_named(anna: Visitor) -> None:
    anna.at_summary().finish()
    other = QueuedOperation.objects.get()
    another = next(
        line for line in browse.accounts(other.server).lines if line.account_id != SOURCE
    )
    elsewhere = Visitor(User.objects.get(), another.account_id).at_summary(
        destination_account="third"
    )
    assert not elsewhere.see("summary").context["summary"].others
    same = {"parameters": other.parameters, "state": other.state}
    second = Server.objects.create(name="mail2", kind="sandbox")
    QueuedOperation.objects.create(server=second, command=other.command, seq=8, **same)
    QueuedOperation.objects.create(server=other.server, command="doUndelete", seq=9, **same)
    answer = anna.at_summary(destination_account="third").see("summary")
    assert answer.context["summary"].others == [other]
    assert reverse("operation", args=[other.pk]) in Page(answer).links


@pytest.mark.parametrize("typed", ["x@example.com, y@example.com", "x@example.com\ny@example.com"])
def test_addresses_may_be_separated_by_comma_or_new_line_and_count_once(
    anna: Visitor, typed: str
) -> None:
    typed = f"{typed} x@example.com"
    anna.at_summary().finish(notifications=typed)
    row = QueuedOperation.objects.get()
    assert row.parameters["notifications"] == "x@example.com,y@example.com"


NO_ADDRESSES = (
    *("nobody", "a@b@c d", "<x@example.com>", "x@example.com\0", f"{'x' * 250}@example.com"),
)


def test_an_address_that_is_none_is_refused_and_kept(anna: Visitor) -> None:
    anna.at_summary()
    for typed in NO_ADDRESSES:
        answer = anna.finish(notifications=f"x@example.com {typed}")
        assert (typed, answer.status_code) == (typed, 422)
        assert "x@example.com" in Page(answer).text
    assert not QueuedOperation.objects.exists()


def test_the_summary_says_who_is_told_in_any_case(anna: Visitor) -> None:
    page = Page(anna.at_summary().see("summary"))
    assert "Told of start and end in any case: anna@example.com." in page.text


def test_the_summary_promises_nothing_to_recipients_that_a_level_keeps_quiet(
    anna: Visitor,
) -> None:
    anna.at_summary()
    for name, value in (("notificationRecipients", "a@x.example"), ("notificationLevel", "error")):
        Setting.objects.create(name=name, value=value)
    told = "Told of start and end in any case: "
    assert f"{told}anna@example.com." in Page(anna.see("summary")).text
    Setting.objects.filter(name="notificationLevel").delete()
    assert f"{told}a@x.example, anna@example.com." in Page(anna.see("summary")).text


def test_what_a_user_starts_and_what_is_refused_are_in_the_audit_log(anna: Visitor) -> None:
    anna.at_summary().finish()
    entry = AuditEntry.objects.get(action="doRestoreOnNewAccount")
    assert (entry.user, entry.subject, entry.result) == ("anna", "a1@example.com", "done")


def test_a_large_mailbox_is_counted_apart(anna: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wizards, "LARGE_ITEMS", 0)
    anna.at_summary()
    page, counted = Page(anna.see("summary")), Page(anna.see("summary", count="1"))
    part = anna.client.get(anna.url("summary", "check"), {"field": "expected"})
    assert "?count=1" in page.links
    assert "items" in counted.text.partition("Expected")[2].partition("folders")[0]
    assert "folders" in part.content.decode()


def test_one_and_several_have_words_of_their_own() -> None:
    each = browse.Expected(items=1, size_bytes=3, folders=1, tags=2)
    said = render_to_string("console/_expected_items.html", {"expected": each})
    other = render_to_string(
        "console/_expected_items.html", {"expected": replace(each, items=2, folders=2, tags=1)}
    )
    assert re.sub(r"\s", " ", said).strip() == "1 item (3 B), 1 folder, 2 tags"
    assert re.sub(r"\s", " ", other).strip() == "2 items (3 B), 2 folders, 1 tag"


def test_an_operation_can_be_asked_for_again(anna: Visitor, scanned: Server) -> None:
    anna.at_summary(day="25/10/2026").finish(notifications="x@example.com")
    row = QueuedOperation.objects.get()
    queue.stop(row, by="anna")
    draft = wizard.start(
        wizards.RESTORE,
        owner=User.objects.get(username="anna"),
        server=scanned,
        account_id=SOURCE,
        words=wizards.RESTORE.modes[0].words_of(row),
    )
    anna.draft = str(draft.pk)
    typed = anna.see("summary").context["form"]["notifications"].value()
    anna.finish(notifications=typed)
    again = QueuedOperation.objects.exclude(pk=row.pk).get()
    assert again.parameters == row.parameters


def test_addresses_that_were_typed_outlive_a_way_back(anna: Visitor) -> None:
    anna.at_summary()
    typed = "x@example.com, not yet an addr"
    answer = anna.send("summary", notifications=f"{typed}\0", previous="1")
    back = anna.see("summary").context["form"]["notifications"].value()
    assert (answer.status_code, answer["Location"]) == (303, anna.url("date"))
    assert back == typed
    assert not QueuedOperation.objects.exists()


def test_what_no_wizard_asks_for_has_none(scanned: Server) -> None:
    assert wizards.for_command(SmartScan.command) is None
    assert wizards.for_command("doRestoreOnNewAccount") == (
        wizards.RESTORE,
        wizards.RESTORE.modes[0],
    )
