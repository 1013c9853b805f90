"""Ticking on the history page: a page, a whole folder, what is found, and how many at most."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth.views import redirect_to_login
from django.http import QueryDict
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from console import connect, looking
from console.looking import Look
from console.models import Draft, Server
from console.views import history
from tests.console.conftest import SCANNED
from tests.console.prototypes import Grow, Prototype, smart_scan
from tests.console.restoring import SOURCE, Page, a_user

FIELDS = {"day": "", "hour": "00", "minute": "00", "second": "00", "keyword": "last"}


@pytest.fixture(scope="module")
def filled(scanned_prototype: Prototype, grow: Grow) -> Prototype:
    """Return a sandbox with five messages in an Inbox, three of them invoices, and its row."""

    def happened(server: Server) -> None:
        with time_machine.travel(SCANNED + timedelta(hours=1), tick=False):
            with connect.sandbox("mail1") as client:
                for subject in ("Invoice 1", "Lunch", "Invoice 2", "Report", "Invoice 3"):
                    raw = f"Subject: {subject}\r\n\r\nHello\r\n".encode()
                    client.deliver("a1@example.com", raw, folder="/Inbox")
            smart_scan(server)

    return grow(scanned_prototype, "filled", happened)


@pytest.fixture
def anna(
    filled: Prototype, settings: Settings, db: None, monkeypatch: pytest.MonkeyPatch
) -> Client:
    """Return the browser of an operator whose pages have two items each."""
    filled.shown(settings)
    monkeypatch.setattr(history, "_PER_PAGE", 2)
    client = Client()
    client.force_login(a_user())
    return client


def address(query: str = "") -> str:
    return reverse("history", args=[SOURCE]) + query


def carried(there: str) -> list[int]:
    """Return what an address has ticked."""
    return list(Look.of(QueryDict(there.partition("?")[2])).ticked)


def head(answer: HttpResponseBase) -> bytes:
    """Return the head of an answer, its cookies included."""
    return answer.serialize_headers() + answer.cookies.output().encode()


def ticked(page: Page) -> int:
    return sum("checked" in each for each in page.inputs if each.get("name") == "item")


def test_a_page_is_ticked_and_what_was_ticked_before_stays(anna: Client) -> None:
    first = anna.post(address(), FIELDS | {"tick": "page"})["Location"]
    second = anna.post(f"{first}&page=2", FIELDS | {"tick": "page", "item": []})["Location"]

    shown = Page(anna.get(second))

    assert (len(carried(second)), ticked(shown)) == (4, 2)
    assert "2 more items are ticked that are not shown here." in shown.text
    untick = anna.post(second, FIELDS | {"untick": "1"})
    assert "item=" not in untick["Location"]


def test_a_whole_folder_is_ticked_over_all_its_pages(anna: Client) -> None:
    led = anna.post(address(), FIELDS | {"tick": "all"})["Location"]
    assert len(carried(led)) == 5


def test_all_that_is_found_is_ticked(anna: Client) -> None:
    look = {"q": "invoice", "where": "account"}
    led = anna.post(address("?q=invoice"), FIELDS | look | {"tick": "all"})["Location"]
    assert led.startswith(address("?q=invoice"))
    assert len(carried(led)) == 3


def test_no_more_of_a_folder_are_ticked_than_an_address_can_carry(
    anna: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "MOST_TICKED", 3)
    answer = anna.post(address(), FIELDS | {"tick": "all"})
    page = Page(answer)
    assert (answer.status_code, ticked(page)) == (422, 0)
    assert "That is more than can be ticked at a time: 3 items, fewer where" in page.text


def far_apart(number: int) -> list[int]:
    """Return ids, each of as many digits as any can have, and none beside another."""
    return [2147483647 - 2 * n for n in range(number)][::-1]


@pytest.mark.parametrize("ids", [far_apart(272), [*range(10000, 10500)], [*range(1, 1001, 2)]])
def test_an_address_with_all_ticks_is_short_enough_for_every_server_on_its_way(
    anna: Client, ids: list[int]
) -> None:
    search = {"q": "😀" * 200, "where": "folder", "field": "recipients", "kind": "appointment"}
    posted = FIELDS | {"item": ids, "page": "2147483647", "deleted": "1"}
    look = address("?at=2026-03-02T13:00:00Z&folder=2147483647")

    plain = anna.post(address(), posted)
    longest = anna.post(look, posted | search)["Location"]

    assert carried(longest) == ids
    # Proxies hold the head of an answer to 4 KiB, gunicorn and they the line of a request to 8 KiB.
    of_gunicorn = "Server: gunicorn\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nConnection: close\r\n"
    assert len(head(plain)) < 4096 - len(of_gunicorn)
    anew = redirect_to_login(longest, "/login/").url
    assert max(len(longest), len(anew)) < 8190 - len("POST  HTTP/1.1\r\n")
    begun = anna.post(longest, FIELDS | {"restore": "1"})["Location"]
    assert Draft.objects.get().words["items"]["item_id"] == ",".join(map(str, ids))
    assert len(begun) < 100


@pytest.mark.parametrize("ids", [far_apart(273), [*range(1, 502)]])
def test_ticks_that_no_address_can_carry_are_refused_and_not_cut(
    anna: Client, ids: list[int]
) -> None:
    answer = anna.post(address(), FIELDS | {"item": ids})
    assert answer.status_code == 422
    assert "That is more than can be ticked at a time: 500 items" in Page(answer).text


def test_the_pages_of_a_folder_lead_to_its_ends(anna: Client) -> None:
    first, end = Page(anna.get(address())), Page(anna.get(address("?page=3")))
    assert "1 to 2 of 5 Next page Last page" in first.text
    assert "5 to 5 of 5 First page Previous page" in end.text
    assert "Last page" not in end.text
