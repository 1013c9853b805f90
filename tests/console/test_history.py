"""The history page of an account, the page of an item, and the short wizard that begins there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from console import connect, queue, roles
from console.models import Draft, QueuedOperation, Server
from console.views import history
from tests.console.conftest import SCANNED
from tests.console.prototypes import Grow, Prototype, smart_scan
from tests.console.restoring import SOURCE, Page, a_user

A1 = "a1@example.com"
HOUR = timedelta(hours=1)
CAME, WENT = SCANNED + HOUR, SCANNED + 2 * HOUR
"""When three messages came, and when one was moved and one deleted."""
NOW = SCANNED + 5 * HOUR
KEPT, MOVED, DELETED = 256, 257, 258
FIELDS = {"day": "", "hour": "00", "minute": "00", "second": "00", "keyword": "last"}
REFUSED = [
    ({"day": "31/02/2026", "kept": "31/02/2026"}, "is no day"),
    ({"day": "02/03/2027", "kept": "02/03/2027"}, "This moment lies in the future"),
    (
        {"day": "01/03/2026", "kept": "01/03/2026"},
        "The backup of this account begins at 02/03/2026 12:00:00 UTC.",
    ),
    (
        {"day": "02/03/2026", "hour": "13", "minute": "61", "kept": "61"},
        "Minute: a number from 0 to 59.",
    ),
    ({"number": "x", "kept": "x"}, "“x” is no item id"),
    ({"since": "1/13/2026", "kept": "1/13/2026"}, "is no day"),
    (
        {"since": "02/03/2026", "till": "01/03/2026", "kept": "01/03/2026"},
        "This day lies before the first one.",
    ),
]
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def played_prototype(scanned_prototype: Prototype, grow: Grow) -> Prototype:
    """Return a data folder with a sandbox whose mailbox has a history of two hours."""

    def happened(server: Server) -> None:
        with time_machine.travel(CAME, tick=False), connect.sandbox("mail1") as client:
            for subject in (HOSTILE, "Report", "Lunch"):
                raw = f"From: Mary <mary@example.org>\nSubject: {subject}\n\nHello\n".encode()
                client.deliver(A1, raw, folder="/Inbox")
            smart_scan(server)
        with time_machine.travel(WENT, tick=False), connect.sandbox("mail1") as client:
            client.move(A1, MOVED, "/Trash")
            client.delete(A1, DELETED)
            smart_scan(server)

    return grow(scanned_prototype, "played", happened)


@pytest.fixture
def clock() -> Iterator[Any]:
    """Let it be NOW until a test moves on."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def played(played_prototype: Prototype, settings: Settings, db: None, clock: Any) -> Server:
    """Return that sandbox, which is only looked at."""
    return played_prototype.shown(settings)


@pytest.fixture
def copied(played_prototype: Prototype, data: Path, db: None, clock: Any) -> Server:
    """Return a copy of that sandbox."""
    return played_prototype.copied(data)


@pytest.fixture
def anna(played: Server) -> Client:
    """Return the browser of an operator."""
    client = Client()
    client.force_login(a_user())
    return client


@pytest.fixture
def bruno(copied: Server) -> Client:
    """Return the browser of an operator whose work changes something."""
    client = Client()
    client.force_login(a_user())
    return client


def address(name: str = "history", *more: object) -> str:
    return reverse(name, args=[SOURCE, *more])


def at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def see(client: Client, **query: Any) -> Page:
    answer = client.get(address(), query)
    assert answer.status_code == 200, answer.content.decode()
    return Page(answer)


def subjects(client: Client, **query: Any) -> list[str]:
    """Return the titles of the list, in its order."""
    text = client.get(address(), query).content.decode()
    rows = re.findall(r'<td class="subject">(.*?)</td>', text, re.S)
    links = [re.findall(r"<a [^>]*>(.*?)</a>", row, re.S)[0] for row in rows]
    return [re.sub(r"<[^>]*>", "", link) for link in links]


# At a moment


def test_the_newest_state_is_shown_first(anna: Client) -> None:
    page = see(anna)
    assert "The newest state in the backup: 2 items." in page.text
    assert subjects(anna) == ["&lt;script&gt;alert(1)&lt;/script&gt;"]
    assert "Inbox 1" in page.text
    assert "Trash 1" in page.text
    assert page.forbidden == []


def test_at_a_moment_a_folder_holds_what_it_held(anna: Client) -> None:
    page = see(anna, at=at(CAME))
    assert "The mailbox as it was at 02/03/2026 13:00:00 UTC : 3 items." in page.text
    assert len(subjects(anna, at=at(CAME))) == 3
    assert "deleted later 02/03/2026 14:00:00 UTC" in page.text
    assert "Mary" in page.text


def test_a_moved_item_says_from_where(anna: Client) -> None:
    assert "moved from /Inbox at 02/03/2026 14:00:00 UTC" in see(anna, folder="3").text


def test_deleted_items_are_shown_on_demand(anna: Client) -> None:
    assert "Lunch" not in see(anna).text
    assert "Lunch" in see(anna, deleted="1").text


def test_before_the_first_moment_the_page_leads_there(anna: Client) -> None:
    page = see(anna, at="2020-01-01T00:00:00Z")
    assert "Backup of this account starts 02/03/2026 12:00:00 UTC ." in page.text
    answer = anna.post(address(), FIELDS | {"to": at(SCANNED)})
    assert see(anna, at=at(SCANNED)).text.count("Backup of this account starts") == 0
    assert answer["Location"] == f"{address()}?at=2026-03-02T12%3A00%3A00Z"


def test_an_empty_folder_leads_to_when_it_was_not(bruno: Client) -> None:
    with connect.sandbox("mail1") as client:
        client.delete(A1, MOVED)
    smart_scan(Server.objects.get())
    page = see(bruno, folder="3")
    assert "The folder /Trash is empty. Its last item left it at" in page.text
    [link] = [each for each in page.links if "folder=3" in each and "at=2026-03-02T16" in each]
    assert "Report" in Page(bruno.get(address() + link)).text


def test_a_folder_in_which_nothing_ever_was_says_so(anna: Client) -> None:
    assert "No item was ever in it before." in see(anna, folder="5").text
    assert "This folder was not there at that moment." in see(anna, folder="9999").text


def test_without_any_backup_the_page_says_what_to_do(server: Server, clock: Any) -> None:
    client = Client()
    client.force_login(a_user())
    assert "Nothing of this account is in the backup yet." in see(client).text


def test_a_catalog_that_is_not_there_is_read_piece_by_piece(
    bruno: Client, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(data / "catalog", ignore_errors=True)
    monkeypatch.setattr(history, "_READING_S", 0)
    page = see(bruno)
    part = bruno.get(address("history-reading"))
    assert "The index of this account is being read from the backup:" in page.text
    assert "not complete" in part.content.decode()
    monkeypatch.undo()
    assert bruno.get(address("history-reading"))["HX-Refresh"] == "true"
    assert "is being read" not in see(bruno).text


# What is typed and pressed


def test_a_typed_moment_is_part_of_the_address(anna: Client) -> None:
    typed = {"day": "02/03/2026", "hour": "13", "minute": "30", "second": "5", "keyword": ""}
    answer = anna.post(address() + "?folder=3", typed)
    assert (answer.status_code, answer["Location"]) == (
        303,
        f"{address()}?at=2026-03-02T13%3A30%3A05Z&folder=3",
    )


def test_what_cannot_be_is_refused_and_kept(anna: Client) -> None:
    answers = [(words, typed, anna.post(address(), FIELDS | typed)) for typed, words in REFUSED]
    pages = [(words, typed, Page(answer)) for words, typed, answer in answers]
    values = [({str(each.get("value")) for each in page.inputs}, typed) for _, typed, page in pages]
    assert {answer.status_code for *_, answer in answers} == {422}
    assert [words for words, _, page in pages if words not in page.text] == []
    assert [typed for found, typed in values if typed["kept"] not in found] == []


def test_the_buttons_go_from_change_to_change(anna: Client) -> None:
    text = anna.get(address()).content.decode()
    [to] = re.findall(r'name="to" value="([^"]*)">Earlier change', text)
    answer = anna.post(address(), FIELDS | {"to": to})
    later = anna.get(answer["Location"]).content.decode()
    assert to == at(WENT)
    assert re.findall(r'name="to" value="([^"]*)" disabled>Later change', later) == [""]
    assert re.findall(r'name="to" value="([^"]*)">Earlier change', later) == [at(CAME)]


def test_what_is_ticked_stays_so_when_the_moment_changes(anna: Client) -> None:
    ticked = FIELDS | {"item": [str(KEPT)], "shown": [str(KEPT), str(MOVED)]}
    answer = anna.post(f"{address()}?item={MOVED}.999", ticked | {"to": at(CAME)})
    page = Page(anna.get(answer["Location"]))
    assert answer["Location"].endswith(f"&item={KEPT}.999")
    boxes = {each["value"]: "checked" in each for each in page.inputs if each.get("name") == "item"}
    assert boxes == {str(KEPT): True, str(MOVED): False, str(DELETED): False}
    assert "1 more item is ticked that is not shown here." in page.text
    assert anna.post(answer["Location"], ticked | {"untick": "1"})["Location"].count("item") == 0


def test_a_search_finds_what_is_gone_and_says_when_it_was_there(anna: Client) -> None:
    page = see(anna, q="lunch")
    assert "Lunch" in page.text
    assert "from 02/03/2026 13:00:00 UTC to 02/03/2026 14:00:00 UTC" in page.text
    assert subjects(anna, number=str(MOVED)) == ["Report"]
    assert subjects(anna, q="mary", field="recipients") == []
    assert "Nothing in the backup of this account is like that" in see(anna, kind="task").text


def test_a_search_keeps_to_the_folder_if_it_is_told_to(anna: Client) -> None:
    query = {"q": "report", "where": "folder"}
    assert subjects(anna, **query, folder="3") == ["Report"]
    assert subjects(anna, **query, folder="5") == []


def test_the_strip_counts_the_changes_of_each_day(anna: Client) -> None:
    text = see(anna).text
    assert "Changes and deletions of each day, March 2026" in text
    assert re.search(r"02/03/2026: \d+ changes, 1 deletions", text)


def test_a_folder_of_many_items_has_pages(anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_PER_PAGE", 2)
    first, second = see(anna, at=at(CAME)), see(anna, at=at(CAME), page="2")
    assert ("1 to 2 of 3" in first.text, "3 to 3 of 3" in second.text) == (True, True)
    answer = anna.post(f"{address()}?at={at(CAME)}", typed_at_came() | {"page": "2"})
    assert "page=2" in answer["Location"]


def typed_at_came() -> dict[str, str]:
    return {"day": "02/03/2026", "hour": "13", "minute": "00", "second": "00"}


NOWHERE = (
    *("at=yesterday", "at=2026-03-02T13:00:00", "folder=x", "page=-1", "item=1e9", "folder=²"),
    *("item=1-2147483647", "item=1-300.400-700", "item=3..5", "at=0001-01-01T00:00:00Z"),
)


def test_an_address_that_means_nothing_is_no_page(anna: Client) -> None:
    assert {anna.get(f"{address()}?{query}").status_code for query in NOWHERE} == {404}
    assert anna.get(reverse("history", args=["nobody"])).status_code == 404


# One item


def test_an_item_shows_its_states_and_the_command(anna: Client) -> None:
    page = Page(anna.get(address("item", MOVED)))
    assert "2 states since 02/03/2026 13:00:00 UTC" in page.text
    assert "moved" in page.text
    assert f"backupng --host mail1 backup getItem a1@example.com {MOVED} date all" in page.text
    assert "In the Backup Path" not in page.text
    assert anna.get(address("item", 10**12)).status_code == 404


def test_an_administrator_sees_where_an_item_lies(played: Server) -> None:
    client = Client()
    client.force_login(a_user("root", roles.ADMINISTRATOR))
    assert "zstd -dc" in Page(client.get(address("item", KEPT))).text


# Restore items


def test_nothing_ticked_is_nothing_to_restore(anna: Client) -> None:
    answer = anna.post(address(), FIELDS | {"restore": "1"})
    assert answer.status_code == 422
    assert "Tick what is to be restored" in Page(answer).text
    assert not Draft.objects.exists()


def test_ticked_items_go_into_their_folders_again(bruno: Client, copied: Server) -> None:
    answer = bruno.post(address(), FIELDS | {"restore": "1", "item": str(DELETED)})
    step = Page(bruno.get(answer["Location"]))
    typed = {"item_id": str(DELETED), "where": "original", "restore_folder": "/left from before"}
    accepted = bruno.post(answer["Location"], typed)
    summary = bruno.get(accepted["Location"])
    shown = summary.context["summary"].digest
    bruno.post(accepted["Location"], {"shown": shown, "notifications": "b@example.com"})
    queue.drain(copied)
    row = QueuedOperation.objects.get()
    assert "1 Destination 2 Operation Summary" in step.text
    assert "Lunch" in step.text
    assert "Into the original folders, made anew if they are gone" in Page(summary).text
    assert (row.command, row.state, row.counters["restored"]) == ("doItemRestore", "successful", 1)


def test_another_folder_has_to_be_named(anna: Client) -> None:
    step = anna.post(f"{address()}?at={at(CAME)}", {"restore": "1", "item": MOVED})["Location"]
    sent = {"item_id": str(MOVED), "date": at(CAME), "where": "folder"}
    folders = ("", "/Inbox/../x", "/Restored")
    refused, odd, accepted = (anna.post(step, sent | {"restore_folder": each}) for each in folders)
    summary = Page(anna.get(accepted["Location"]))
    assert (refused.status_code, odd.status_code) == (422, 422)
    assert "Name the folder." in Page(refused).text
    assert "id_restore_folder_error" in Page(odd).ids
    assert "As of 02/03/2026 13:00:00 UTC" in summary.text
    assert "Into /Restored" in summary.text
    assert "restore_folder /Restored date '02/03/2026 13:00:00'" in summary.text
    assert "Report /Inbox" in Page(anna.get(step)).text


def test_words_that_no_page_sends_are_refused(anna: Client) -> None:
    step = anna.post(address(), FIELDS | {"restore": "1", "item": str(DELETED)})["Location"]
    sound = {"where": "original", "item_id": str(DELETED)}
    ids = ({"item_id": text} for text in ("x", "²", "9" * 30))
    odd = (*ids, {"date": "yesterday"}, {"where": "there"})
    assert {anna.post(step, sound | words).status_code for words in odd} == {422}
    assert anna.post(step, sound).status_code == 303


def test_who_may_not_restore_is_offered_nothing_and_refused(anna: Client) -> None:
    user = a_user("viewer", roles.VIEWER)
    user.user_permissions.add(Permission.objects.get(codename="browse_accounts"))
    client = Client()
    client.force_login(user)
    assert "Restore items" not in see(client).text
    refused = client.post(address(), FIELDS | {"restore": "1", "item": str(KEPT)})
    assert refused.status_code == 403


def test_into_a_deleted_account_no_item_comes_back(bruno: Client) -> None:
    with connect.sandbox("mail1") as client:
        client.delete_account(A1)
    page = see(bruno)
    assert "Restore items" not in page.text
    assert "The mail server no longer has this account" in page.text


def test_the_wheel_leads_to_the_history_and_back(anna: Client) -> None:
    account = Page(anna.get(address("account")))
    assert address() in account.links
    assert address("account") in see(anna).links
