"""The Operation Queue page, and what can be done to an operation."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from console import queue, roles
from console.models import AuditEntry, QueuedOperation, Server, State
from tests.console.queued import (
    add,
    bare_server,
    live_address,
    login,
    lossy,
    report,
    running,
    words,
)


@pytest.fixture
def server(data: Path, db: None) -> Server:
    """Return a server that only has a row: these pages open none."""
    return bare_server()


@pytest.fixture
def admin(client: Client, server: Server) -> User:
    """Return an administrator of it, who is logged in."""
    return login(client, roles.ADMINISTRATOR)


# The queue


@pytest.mark.usefixtures("admin")
def test_an_empty_queue_says_what_finished_last(client: Client) -> None:
    add()
    page = client.get(reverse("operations"))
    assert "No operation is running or queued." in words(page)
    assert "Last finished: ✓ Successful SmartScan" in words(page)


@pytest.mark.usefixtures("admin", "server")
def test_a_queue_without_any_past_says_how_to_begin(client: Client) -> None:
    assert "Begin with Run SmartScan" in words(client.get(reverse("operations")))


@pytest.mark.usefixtures("admin")
def test_a_queued_operation_tells_its_place_and_what_it_waits_for(client: Client) -> None:
    running = add(State.STARTED)
    add(State.QUEUED)
    page = client.get(reverse("operations"))
    assert "1 operation is running, 1 is queued." in words(page)
    assert f"2nd, starts when SmartScan {str(running.pk)[:4]}… ends" in words(page)
    assert "<title>Queue (1 running)" in page.content.decode()


@pytest.mark.usefixtures("admin")
def test_a_queue_without_a_worker_says_how_to_start_one(client: Client) -> None:
    add(State.QUEUED)
    page = words(client.get(reverse("operations")))
    assert "1st, the server has no worker: start one with backupng run" in page


@pytest.mark.usefixtures("admin")
def test_of_a_server_of_another_host_nobody_says_that_it_has_no_worker(
    client: Client, server: Server
) -> None:
    Server.objects.filter(pk=server.pk).update(identity=str(uuid.uuid4()))
    add(State.QUEUED)
    assert "has no worker" not in words(client.get(reverse("operations")))


@pytest.mark.usefixtures("admin")
def test_a_paused_queue_says_so(client: Client, server: Server) -> None:
    queue.pause(server, paused=True)
    add(State.QUEUED)
    assert "the queue of mail1 is paused" in words(client.get(reverse("operations")))


@pytest.mark.usefixtures("admin")
def test_the_end_of_a_long_queue_is_counted(client: Client) -> None:
    for _ in range(202):
        add(State.QUEUED)
    page = words(client.get(reverse("operations")))
    assert "202 operations are queued" in page
    assert "2 more wait behind these." in page


@pytest.mark.usefixtures("admin")
def test_the_queue_is_drawn_again_only_when_it_has_changed(client: Client) -> None:
    row = add(State.STARTED)
    address = live_address(client.get(reverse("operations")), "operation-queue")
    assert address is not None
    assert client.get(address).status_code == 204
    QueuedOperation.objects.filter(pk=row.pk).update(progress={"done": 1, "total": 4, "rev": 1})
    changed = client.get(address)
    assert "1 / 4" in words(changed)
    assert live_address(changed, "operation-queue") != address


@pytest.mark.usefixtures("admin")
def test_a_queue_at_rest_is_asked_less_often(client: Client) -> None:
    idle = client.get(reverse("operation-queue")).content.decode()
    add(State.STARTED)
    busy = client.get(reverse("operation-queue")).content.decode()
    assert ("every 15s" in idle, "every 3s" in busy) == (True, True)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["failed", "clean", "lossy"]),
        ("state=failed", ["failed"]),
        ("state=successful", ["clean"]),
        ("state=losses", ["lossy"]),
        ("command=doRestoreOnNewAccount", ["lossy"]),
        ("command=doSmartScan&state=failed&days=30", ["failed"]),
        ("days=30", ["failed", "clean"]),
        ("server=mail1&days=1", ["failed", "clean"]),
        ("server=mail9", []),
        ("state=nonsense&days=-4", ["failed", "clean", "lossy"]),
    ],
)
@pytest.mark.usefixtures("admin")
def test_what_is_done_can_be_filtered(client: Client, query: str, shown: list[str]) -> None:
    rows = {
        "lossy": add(**lossy(ended_at=timezone.now() - timedelta(days=40))),
        "clean": add(outcome=report()),
        "failed": add(State.FAILED),
    }
    page = client.get(f"{reverse('operations-done')}?{query}").content.decode()
    found = [name for name in ("failed", "clean", "lossy") if str(rows[name].pk) in page]
    assert found == shown
    assert bool(shown) != ("fits these filters" in page)


@pytest.mark.usefixtures("admin")
def test_what_is_done_comes_in_pages_that_keep_the_filters(client: Client) -> None:
    for _ in range(51):
        add(State.FAILED)
    page = client.get(f"{reverse('operations')}?state=failed")
    assert "1 to 50 of 51" in words(page)
    assert "?state=failed&amp;page=2#done" in page.content.decode()
    assert "51 to 51 of 51" in words(client.get(f"{reverse('operations')}?state=failed&page=2"))


@pytest.mark.usefixtures("admin")
def test_what_is_done_is_drawn_again_only_when_something_ended(client: Client) -> None:
    add()
    address = live_address(client.get(reverse("operations")), "operations-done")
    assert address is not None
    assert client.get(address).status_code == 204
    add(State.FAILED)
    assert "Failed" in words(client.get(address))


@pytest.mark.parametrize("name", ["operation-queue", "operations-done"])
@pytest.mark.usefixtures("admin")
def test_a_live_part_of_the_queue_is_cheap(
    client: Client,
    name: str,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for state in (State.STARTED, State.QUEUED, State.QUEUED, *[State.FAILED] * 20):
        add(state)
    client.get(reverse(name))
    with django_assert_max_num_queries(8):
        assert client.get(reverse(name)).status_code == 200


# Stopping


def test_stopping_asks_first_and_the_safe_answer_has_the_focus(client: Client, admin: User) -> None:
    row = running()
    page = client.get(reverse("operation-stop", args=[row.pk]))
    assert "Stop this operation? What is already restored stays." in words(page)
    assert re.search(r"<a [^>]*autofocus>Keep running</a>", page.content.decode())
    row.refresh_from_db()
    assert row.stop_requested_at is None


def test_stopping_asks_the_operation_to_end_and_says_who_did(client: Client, admin: User) -> None:
    row = running()
    page = client.post(reverse("operation-stop", args=[row.pk]), follow=True)
    row.refresh_from_db()
    assert (row.shown_state, row.stop_requested_by) == ("Stopping", "administrator")
    assert "It was asked to stop" in words(page)
    assert "Stopping: administrator asked for it at" in words(page)
    entry = AuditEntry.objects.get(action="stop operation")
    assert (entry.user, entry.subject) == ("administrator", str(row.pk))


def test_cancelling_takes_an_operation_out_of_the_queue(client: Client, admin: User) -> None:
    row = add(State.QUEUED)
    assert client.post(reverse("operation-stop", args=[row.pk])).status_code == 303
    row.refresh_from_db()
    assert row.state == State.REMOVED


def test_an_operation_that_has_ended_is_left_alone(client: Client, admin: User) -> None:
    row = add()
    page = client.post(reverse("operation-stop", args=[row.pk]), follow=True)
    assert "It had ended before it could be stopped." in words(page)


@pytest.mark.usefixtures("server")
def test_an_operator_stops_what_is_his_own_and_nothing_else(client: Client) -> None:
    operator = login(client, roles.OPERATOR)
    own, foreign = running(requester=operator), add(State.QUEUED)
    page = client.get(reverse("operations")).content.decode()
    assert reverse("operation-stop", args=[own.pk]) in page
    assert reverse("operation-stop", args=[foreign.pk]) not in page
    assert client.post(reverse("operation-stop", args=[foreign.pk])).status_code == 403
    assert client.post(reverse("operation-stop", args=[own.pk])).status_code == 303
    foreign.refresh_from_db()
    assert foreign.state == State.QUEUED


@pytest.mark.usefixtures("server")
def test_a_viewer_sees_everything_and_may_do_nothing(client: Client) -> None:
    login(client, roles.VIEWER)
    row = add(**lossy())
    page = client.get(reverse("operation", args=[row.pk]))
    assert "planned 15 368" in words(page)
    assert reverse("operation-retry", args=[row.pk]) not in page.content.decode()
    assert client.post(reverse("operation-retry", args=[row.pk])).status_code == 403
    assert client.post(reverse("operation-stop", args=[row.pk])).status_code == 403
