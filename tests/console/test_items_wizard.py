"""Restore items, the wizard of the history page: what its step refuses, what its summary counts."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from console import again, connect
from console.models import QueuedOperation, Server, State
from tests.console.conftest import SCANNED
from tests.console.prototypes import Grow, Prototype, smart_scan
from tests.console.restoring import SOURCE, Page, a_user

KEPT, DELETED, UNNAMED = 256, 257, 258
ACCOUNT = "a1@example.com"


@pytest.fixture(scope="module")
def lost_one(scanned_prototype: Prototype, grow: Grow) -> Prototype:
    """Return a sandbox with three messages, of which one was deleted, as was a folder; its row."""

    def happened(server: Server) -> None:
        with (
            time_machine.travel(SCANNED + timedelta(hours=1), tick=False) as clock,
            connect.sandbox("mail1") as client,
        ):
            for head in ("Subject: Kept\r\n", "Subject: Deleted\r\n", ""):
                raw = f"{head}\r\nHello\r\n".encode()
                client.deliver(ACCOUNT, raw, folder="/Inbox")
            gone = client.create_folder(ACCOUNT, "/Gone")
            smart_scan(server)
            clock.shift(timedelta(hours=1))
            client.delete(ACCOUNT, DELETED)
            client.delete(ACCOUNT, gone)
            smart_scan(server)

    return grow(scanned_prototype, "lost_one", happened)


@pytest.fixture
def anna(lost_one: Prototype, settings: Settings, db: None) -> Client:
    """Return the browser of an operator."""
    lost_one.shown(settings)
    client = Client()
    client.force_login(a_user())
    return client


def begun(anna: Client, *items: int) -> str:
    """Tick items and begin; returns the address of the step."""
    words = {"keyword": "last", "day": "", "hour": "00", "minute": "00", "second": "00"}
    posted = {**words, "restore": "1", "item": list(items)}
    return str(anna.post(reverse("history", args=[SOURCE]), posted)["Location"])


def test_what_is_in_place_is_refused_by_the_step_and_not_at_the_end(anna: Client) -> None:
    step = begun(anna, KEPT)
    at_once = Page(anna.get(step)).text
    refused = anna.post(step, {"item_id": KEPT, "where": "original"})
    said = f"Item {KEPT} of {ACCOUNT} is still in place and unchanged."
    assert said in at_once
    assert (refused.status_code, said in Page(refused).text) == (422, True)


def test_a_copy_of_what_is_in_place_is_counted_with_its_bytes(anna: Client) -> None:
    step = begun(anna, KEPT)
    into = {"item_id": KEPT, "where": "folder", "restore_folder": "/Restored"}
    text = Page(anna.get(anna.post(step, into)["Location"])).text
    assert re.search(r"Expected 1 item \(24\sB\): Messages 1", text)


def test_what_of_several_is_in_place_is_counted_apart(anna: Client) -> None:
    step = begun(anna, KEPT, DELETED)
    into = {"item_id": f"{KEPT},{DELETED}", "where": "original"}
    text = Page(anna.get(anna.post(step, into)["Location"])).text
    assert "Messages 1; 1 is in the mailbox already: left alone" in text


def test_an_item_restore_asked_for_again_has_the_words_it_had(anna: Client) -> None:
    texts = {
        "account_name": ACCOUNT,
        "item_id": f"{KEPT},{DELETED},{UNNAMED}",
        "restore_folder": "/Restored",
        "date": "02/03/2026 13:00:00",
    }
    row = QueuedOperation.objects.create(
        server=Server.objects.get(),
        seq=1,
        command="doItemRestore",
        parameters=texts,
        state=State.FAILED,
    )
    step = again.begin_wizard(User.objects.get(), row)
    summary = Page(anna.get(step.replace("/items/", "/summary/"))).text
    line = f"{KEPT},{DELETED},{UNNAMED} restore_folder /Restored date '02/03/2026 13:00:00'"
    assert f"doItemRestore {ACCOUNT} {line}" in summary
    assert f"Account {ACCOUNT} Items 3 items: Kept; Deleted; Message {UNNAMED}" in summary


def test_the_step_offers_the_folders_that_are_there(anna: Client) -> None:
    offered = anna.get(begun(anna, DELETED)).content.decode()
    assert '<option value="/Inbox">' in offered
    assert '<option value="/Gone">' not in offered
