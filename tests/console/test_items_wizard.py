"""Restore items, the wizard of the history page: what its step refuses, what its summary counts."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker, Settings

from backupng.engine.operations.smart_scan import SmartScan
from console import connect
from console.models import Server
from tests.console.conftest import SCANNED
from tests.console.restoring import SOURCE, Page, a_user, grown

KEPT, DELETED = 256, 257
ACCOUNT = "a1@example.com"


@pytest.fixture(scope="module")
def lost_one(
    scanned_prototype: tuple[Path, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> tuple[Path, dict[str, Any]]:
    """Return a sandbox with two messages, of which one was deleted, and its row."""

    def happened() -> None:
        with (
            time_machine.travel(SCANNED + timedelta(hours=1), tick=False),
            connect.sandbox("mail1") as client,
            connect.context(Server.objects.get()) as ctx,
        ):
            for subject in ("Kept", "Deleted"):
                raw = f"Subject: {subject}\r\n\r\nHello\r\n".encode()
                client.deliver(ACCOUNT, raw, folder="/Inbox")
            SmartScan().run(ctx)
            client.delete(ACCOUNT, DELETED)
            SmartScan().run(ctx)

    folder = tmp_path_factory.mktemp("lost_one")
    return grown(scanned_prototype, folder, django_db_blocker, history=happened)


@pytest.fixture
def anna(lost_one: tuple[Path, dict[str, Any]], settings: Settings, db: None) -> Client:
    """Return the browser of an operator."""
    settings.DATA_DIR = lost_one[0]
    Server.objects.create(**lost_one[1])
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
