"""The kernel of the wizards: drafts, steps in order, whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console import roles
from console.models import Draft, Preferences, QueuedOperation, Server
from tests.console.restoring import DATE, MODE, NOW, SOURCE, Page, Visitor, a_user

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


# Beginning


def test_looking_at_restore_begins_nothing(anna: Visitor) -> None:
    answer = anna.client.get(reverse("restore", args=[SOURCE]))
    assert answer.status_code == 200
    assert "Begin the restore" in answer.content.decode()
    assert not Draft.objects.exists()


def test_beginning_makes_a_draft_and_leads_to_the_first_step(anna: Visitor) -> None:
    answer = anna.begin()
    assert answer["Location"] == anna.url("mode")
    assert anna.row.owner.username == "anna"


def test_an_account_that_does_not_exist_is_not_found(anna: Visitor) -> None:
    answer = anna.client.post(reverse("restore", args=[str(uuid4())]))
    assert answer.status_code == 404


def test_an_account_without_any_backup_cannot_be_begun(server: Server, clock: Any) -> None:
    answer = Visitor(a_user()).client.post(reverse("restore", args=[SOURCE]))
    assert answer.status_code == 422
    assert "Nothing of this account is in the backup yet" in answer.content.decode()
    assert not Draft.objects.exists()


def test_two_runs_do_not_meet(anna: Visitor) -> None:
    other = Visitor(User.objects.get(username="anna"))
    anna.begin()
    other.begin()
    anna.send("mode", **MODE)
    other.send("mode", **(MODE | {"destination_account": "other"}))
    assert anna.row.words["mode"]["destination_account"] == "again@example.com"
    assert other.row.words["mode"]["destination_account"] == "other@example.com"


# Steps


def test_a_step_is_not_reached_before_the_ones_before_it(anna: Visitor) -> None:
    anna.begin()
    assert anna.see("date")["Location"] == anna.url("mode")
    assert anna.see("summary")["Location"] == anna.url("mode")
    anna.send("mode", **MODE)
    assert anna.see("summary")["Location"] == anna.url("date")


def test_a_summary_sent_without_its_steps_starts_nothing(anna: Visitor) -> None:
    anna.begin()
    answer = anna.send("summary", shown="")
    assert (answer.status_code, answer["Location"]) == (303, anna.url("mode"))
    assert not QueuedOperation.objects.exists()


def test_a_step_that_was_accepted_is_shown_as_it_was(anna: Visitor) -> None:
    anna.at_summary()
    mode, date = anna.see("mode").content.decode(), anna.see("date").content.decode()
    assert 'value="again@example.com"' in mode
    assert "checked" in mode.partition('name="hide_in_gal"')[2].partition(">")[0]
    assert 'value="28/09/2026"' in date


def test_going_back_and_sending_a_step_again_changes_that_step_alone(anna: Visitor) -> None:
    anna.at_summary()
    answer = anna.send("mode", mode="new", destination_account="third")
    assert answer["Location"] == anna.url("date")
    assert anna.row.words["date"]["day"] == "28/09/2026"
    assert "hide_in_gal" not in anna.row.words["mode"]


def test_looking_at_pages_changes_nothing(anna: Visitor) -> None:
    before = anna.at_summary().row.words
    for part in PARTS:
        anna.see(part, day="01/10/2026", destination_account="evil")
    assert anna.row.words == before
    assert not QueuedOperation.objects.exists()


def test_cancel_takes_the_draft_away_and_leads_to_the_account(anna: Visitor) -> None:
    anna.at_summary()
    answer = anna.send("summary", cancel="1")
    assert (answer.status_code, answer["Location"]) == (303, reverse("account", args=[SOURCE]))
    assert not Draft.objects.exists()
    assert anna.send("summary", shown="").status_code == 404


def test_a_page_of_the_wizard_is_well_made(anna: Visitor) -> None:
    anna.at_summary()
    for part in PARTS:
        Page(anna.see(part)).require_well_made(part)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("mode", {"destination_account": ""}),
        ("date", {"day": "x", "hour": "10", "minute": "99", "second": ""}),
        ("summary", {"notifications": "one two three"}),
    ],
)
def test_a_refused_page_links_each_error_to_its_field(
    anna: Visitor, part: str, words: dict[str, str]
) -> None:
    answer = anna.at_summary().send(part, **words)
    page = Page(answer)
    assert answer.status_code == 422
    assert page.headings.count("h1") == 1
    assert len(page.ids) == len(set(page.ids))
    assert page.described <= set(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert any(field.get("aria-invalid") == "true" for field in page.inputs)


# Whose run it is, and whether it goes on


@pytest.mark.parametrize("part", PARTS)
def test_a_run_of_somebody_else_is_not_found(anna: Visitor, part: str) -> None:
    anna.at_summary()
    thief = Visitor(a_user("eve", roles.ADMINISTRATOR))
    thief.draft = anna.draft
    assert thief.see(part).status_code == 404
    assert thief.send(part, cancel="1").status_code == 404
    assert thief.client.get(thief.url(part, "check")).status_code == 404
    assert Draft.objects.exists()


def test_a_step_that_the_wizard_does_not_have_is_not_found(anna: Visitor) -> None:
    anna.begin()
    assert anna.see("other").status_code == 404


@pytest.mark.parametrize("part", PARTS)
def test_an_expired_run_says_so_and_offers_to_begin_anew(
    anna: Visitor, part: str, clock: Any
) -> None:
    anna.at_summary()
    clock.shift(timedelta(hours=24, seconds=1))
    anna.client.force_login(User.objects.get(username="anna"))
    seen, sent = anna.see(part), anna.send(part, **MODE)
    assert (seen.status_code, sent.status_code) == (410, 410)
    assert reverse("restore", args=[SOURCE]) in seen.content.decode()
    assert anna.client.get(anna.url(part, "check")).status_code == 410
    assert not QueuedOperation.objects.exists()


@pytest.mark.parametrize("part", PARTS)
def test_a_right_that_is_lost_on_the_way_ends_the_run(anna: Visitor, part: str) -> None:
    anna.at_summary()
    User.objects.get(username="anna").groups.clear()
    assert anna.see(part).status_code == 403
    assert anna.send(part, **MODE).status_code == 403
    assert anna.client.get(anna.url(part, "check")).status_code == 403
    assert not QueuedOperation.objects.exists()


def test_a_viewer_cannot_begin(scanned: Server) -> None:
    answer = Visitor(a_user(role=roles.VIEWER)).client.post(reverse("restore", args=[SOURCE]))
    assert answer.status_code == 403


def test_parts_of_a_page_answer_401_without_a_login(anna: Visitor) -> None:
    anna.begin()
    assert Client().get(anna.url("date", "check")).status_code == 401


def test_a_server_that_cannot_be_asked_is_named_and_the_run_kept(
    anna: Visitor, scanned: Server
) -> None:
    anna.at_summary()
    Server.objects.update(identity=str(uuid4()))
    answer = anna.send("summary", shown="")
    assert answer.status_code == 503
    assert "mail1" in answer.content.decode()
    assert not QueuedOperation.objects.exists()
    Server.objects.update(identity=scanned.identity)
    assert anna.see("summary").status_code == 200


@pytest.mark.parametrize(
    ("part", "name", "query"),
    [
        ("date", "check", {"field": "minical", "month": "2026-09"}),
        ("date", "check", {"field": "moment", **DATE}),
    ],
)
def test_a_part_of_a_page_costs_few_queries(
    anna: Visitor, part: str, name: str, query: dict[str, str]
) -> None:
    anna.at_summary()
    Preferences.objects.create(user=User.objects.get(username="anna"), zone="Asia/Tokyo")
    with CaptureQueriesContext(connection) as asked:
        answer = anna.client.get(anna.url(part, name), query)
    assert answer.status_code == 200
    assert len(asked) <= 9, [query["sql"] for query in asked]
