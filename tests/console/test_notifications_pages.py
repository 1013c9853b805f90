"""The Notifications page and the page of one."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from console import notify, roles
from console.models import Delivery, Notification, Setting, State
from tests.console import rows
from tests.console.rows import asked, ends

LIST = "/notifications/"
HOSTILE = "<script>alert(1)</script>\"'&{{ x }}{% x %}"


@pytest.fixture
def user(db: None) -> User:
    """Return a user who may see and do all."""
    roles.keep()
    found = User.objects.create_user("anna", "anna@example.com")
    found.groups.set(Group.objects.filter(name=roles.ADMINISTRATOR))
    return found


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def told(subject: str = "Something", **changes: Any) -> Notification:
    """Return the record of an alarm."""
    found = {"level": "information", "group": "alerts", "subject": subject, "text": "It happened."}
    return Notification.objects.create(**{**found, **changes})


def page(client: Client, where: str = LIST) -> str:
    response = client.get(where)
    assert response.status_code == 200
    text = response.content.decode()
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert text.count("<h1>") == 1
    return text


def subjects(text: str) -> list[str]:
    links = re.findall(r'<a[^>]*href="/notifications/[0-9a-f-]{36}/">(.*?)</a>', text)
    return [html.unescape(found) for found in links]


def renewal(text: str) -> str:
    """Return the address that the list renews itself from."""
    found = re.findall(r'hx-get="([^"]*notifications/list[^"]*)"', text)
    return html.unescape(found[0])


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


# The list


def test_the_newest_comes_first_with_level_server_and_subject(browser: Client) -> None:
    now = timezone.now()
    told("older", created_at=now - timedelta(hours=1))
    told("newer", level="critical", server_name="mail1")
    text = page(browser)
    assert subjects(text) == ["newer", "older"]
    heads = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', text)
    assert heads == ["Date", "Level", "Server", "Subject"]
    assert "‼ Critical mail1 newer" in words(text)


def test_unread_ones_are_bold_and_said_to_be_unread(browser: Client) -> None:
    told("read", read_at=timezone.now())
    told("unread")
    text = page(browser)
    assert re.findall(r'<a class="strong"[^>]*>(.*?)</a>', text) == ["unread"]
    assert words(text).count("(unread)") == 1
    assert "1 notification is unread." in words(text)


def test_the_operation_queue_is_one_click_away(browser: Client) -> None:
    assert '<a class="btn" href="/operations/">Operation Queue</a>' in page(browser)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?level=warning", ["b"]),
        ("?unread=1", ["c", "b"]),
        ("?q=SPACE", ["c"]),
        ("?q=mail2", ["b"]),
        ("?level=warning&unread=1&q=mail2", ["b"]),
        ("?level=loud", ["c", "b", "a"]),
    ],
)
def test_filters_narrow_the_list(browser: Client, query: str, found: list[str]) -> None:
    told("a", read_at=timezone.now())
    told("b", level="warning", server_name="mail2")
    told("c", text="No space left.")
    assert subjects(page(browser, LIST + query)) == found


def test_a_filter_without_a_match_says_how_to_see_all(browser: Client) -> None:
    told("a")
    assert "No notification fits these filters. Show all" in words(page(browser, f"{LIST}?q=zzz"))


def test_a_page_has_50_and_keeps_the_filters(browser: Client) -> None:
    for number in range(51):
        told(f"n{number:02}")
    first = page(browser, f"{LIST}?q=n")
    assert len(subjects(first)) == 50
    assert '<a rel="next" href="/notifications/?q=n&amp;page=2">Older</a>' in first
    assert subjects(page(browser, f"{LIST}?q=n&page=2")) == ["n00"]


def test_the_empty_page_names_the_recipients(browser: Client) -> None:
    assert (
        "Nothing yet. Every operation and every alarm appears here and is mailed to "
        "anna@example.com. Recipients"
    ) in words(page(browser))


def test_the_empty_page_says_if_there_are_no_recipients(browser: Client) -> None:
    Setting.objects.create(server=None, name="notificationRecipients", value="")
    assert "no recipients are set" in words(page(browser))


def test_trouble_with_the_mail_comes_before_all_else(browser: Client) -> None:
    for address in ("a@x.org", "b@x.org"):
        Delivery.objects.create(
            notification=told(), address=address, attempts=1, last_error="refused <b>"
        )
    text = page(browser)
    assert "2 mails wait since " in words(text)
    assert "refused &lt;b&gt;" in text
    assert text.index('id="mail-trouble"') < text.index('class="verdict"')


def test_mails_that_were_given_up_are_remembered_for_a_week(browser: Client) -> None:
    Delivery.objects.create(
        notification=told(), address="a@x.org", state="undelivered", last_error="550 no"
    )
    assert "1 mail of the last 7 days could not be delivered within 24 hours: 550 no" in words(
        page(browser)
    )
    assert notify.trouble(timezone.now() + timedelta(days=8)) is None


def test_a_mail_that_only_waits_its_turn_is_no_trouble(browser: Client) -> None:
    Delivery.objects.create(notification=told(), address="a@x.org")
    assert "mail-trouble" not in page(browser)


def test_the_list_renews_itself_only_when_it_changed(browser: Client) -> None:
    told("a")
    address = html.unescape(
        re.findall(r'hx-get="([^"]*notifications/list[^"]*)"', page(browser))[0]
    )
    assert browser.get(address).status_code == 204
    told("b")
    renewed = browser.get(address)
    assert renewed.status_code == 200
    assert subjects(renewed.content.decode()) == ["b", "a"]


def test_reading_elsewhere_renews_the_list(browser: Client) -> None:
    found = told("a")
    address = html.unescape(
        re.findall(r'hx-get="([^"]*notifications/list[^"]*)"', page(browser))[0]
    )
    browser.post(f"{LIST}{found.pk}/")
    assert browser.get(address).status_code == 200


def test_the_list_is_cheap_to_ask_for(
    browser: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(60):
        told(f"n{number}")
    page(browser)
    with django_assert_max_num_queries(8):
        browser.get(f"{LIST}list/")


# One


def restored() -> Notification:
    row = asked(parameters=rows.PARAMETERS | {"notifications": ""})
    ends(row, State.SUCCESSFUL, report=rows.RESTORED)
    notify.ended(row)
    return Notification.objects.get()


def test_one_shows_its_text_word_for_word(browser: Client) -> None:
    found = restored()
    text = page(browser, f"{LIST}{found.pk}/")
    shown = re.findall(r'<pre[^>]*id="notification-text">(.*?)</pre>', text, re.DOTALL)
    assert html.unescape(shown[0]) == found.text


def test_one_leads_to_its_operation_and_to_its_items(browser: Client) -> None:
    text = page(browser, f"{LIST}{restored().pk}/")
    assert f'href="/operations/{rows.ID}/">Operation</a>' in text
    assert ">item: 1255,1369</code>" in text
    assert 'hidden data-copy="#search-1"' in text


def test_one_shows_what_became_of_its_mails(browser: Client) -> None:
    found = told()
    deliveries = (
        ("a@x.org", "sent", ""),
        ("b@x.org", "waiting", "450 later"),
        ("c@x.org", "undelivered", "550 no"),
    )
    for address, state, error in deliveries:
        Delivery.objects.create(
            notification=found, address=address, state=state, last_error=error, attempts=2
        )
    said = words(page(browser, f"{LIST}{found.pk}/"))
    assert "a@x.org ✓ sent" in said
    assert "b@x.org … waiting next attempt" in said
    assert "c@x.org ✕ undelivered – 2 550 no" in said


def test_one_that_went_to_nobody_says_so(browser: Client) -> None:
    assert "This was mailed to nobody" in words(page(browser, f"{LIST}{told().pk}/"))


def test_an_unknown_one_is_not_found(browser: Client) -> None:
    assert browser.get(f"{LIST}{uuid4()}/").status_code == 404


@pytest.mark.parametrize("where", [lambda _: LIST, lambda found: f"{LIST}{found.pk}/"])
def test_no_text_becomes_part_of_a_page(
    browser: Client, where: Callable[[Notification], str]
) -> None:
    found = told(HOSTILE, text=HOSTILE, server_name=HOSTILE, read_by=HOSTILE)
    Delivery.objects.create(notification=found, address=HOSTILE, last_error=HOSTILE)
    text = page(browser, f"{where(found)}?q={HOSTILE}")
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


# Read and unread


def test_looking_changes_nothing(browser: Client) -> None:
    found = told()
    page(browser)
    page(browser, f"{LIST}{found.pk}/")
    found.refresh_from_db()
    assert found.read_at is None


def test_a_button_marks_one_as_read_and_says_who_did(browser: Client) -> None:
    found, other = told(), told()
    response = browser.post(f"{LIST}{found.pk}/")
    assert response["Location"] == f"{LIST}{found.pk}/"
    found.refresh_from_db()
    other.refresh_from_db()
    assert (found.read_by, other.read_at) == ("anna", None)
    text = page(browser, f"{LIST}{found.pk}/")
    assert "read by anna" in words(text)
    assert "Mark as read" not in text


def test_the_first_reader_stays_the_reader(browser: Client) -> None:
    found = told(read_at=timezone.now(), read_by="bert")
    browser.post(f"{LIST}{found.pk}/")
    found.refresh_from_db()
    assert found.read_by == "bert"


def test_all_are_marked_but_those_that_came_after_the_page(browser: Client) -> None:
    before = told()
    shown_at = re.findall(r'name="shown_at" value="([^"]*)"', page(browser))[0]
    after = told(created_at=timezone.now() + timedelta(seconds=1))
    response = browser.post(f"{LIST}read/", {"shown_at": shown_at}, follow=True)
    assert "1 notification is marked as read." in words(response.content.decode())
    before.refresh_from_db()
    after.refresh_from_db()
    assert before.read_by == "anna"
    assert after.read_at is None


@pytest.mark.parametrize("shown_at", ["", "yesterday", "2024-13-45T99:00", "2024-11-12T10:00:00"])
def test_a_moment_that_is_none_means_now(browser: Client, shown_at: str) -> None:
    told()
    browser.post(f"{LIST}read/", {"shown_at": shown_at})
    assert not Notification.objects.filter(read_at=None).exists()


def test_nothing_is_marked_by_a_link(browser: Client) -> None:
    told()
    assert browser.get(f"{LIST}read/").status_code == 405
    assert Notification.objects.filter(read_at=None).exists()


@pytest.mark.parametrize("where", ["", "list/", f"{rows.ID}/"])
def test_who_may_see_nothing_is_refused(client: Client, db: None, where: str) -> None:
    client.force_login(User.objects.create_user("nobody"))
    assert client.get(LIST + where).status_code == 403
