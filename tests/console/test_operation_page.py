"""The page of an operation: how it stands, its result, what was lost, its log."""

from __future__ import annotations

import csv
import io
import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from backupng.engine.operations.importing import PHASE_2, READING
from console import hosting, roles
from console.models import AuditEntry, Delivery, Notification, QueuedOperation, Server, State
from tests.console.queued import (
    COUNTERS,
    RESTORE,
    add,
    bare_server,
    live_address,
    login,
    lossy,
    report,
    running,
    words,
)

ENTRY = "2026-11-25T20:40:01.123Z INFO <b>one</b> \x1b[31m\u202e\n"
WARNING = "2026-11-25T20:40:02.000Z WARNING two\n"


@pytest.fixture
def server(data: Path, db: None) -> Server:
    """Return a server that only has a row: these pages open none."""
    return bare_server()


@pytest.fixture
def admin(client: Client, server: Server) -> User:
    """Return an administrator of it, who is logged in."""
    return login(client, roles.ADMINISTRATOR)


# One operation


@pytest.mark.usefixtures("admin")
def test_an_unknown_operation_is_not_found(client: Client) -> None:
    assert client.get(reverse("operation", args=[uuid.uuid4()])).status_code == 404


def ended(command: str, **parts: Any) -> dict[str, Any]:
    """Return the fields of an operation that ended with that report."""
    return {"command": command, "outcome": report(**parts)}


def importing(phase: str) -> dict[str, Any]:
    """Return the fields of an import that is somewhere in that phase."""
    return {
        "command": "doExternalRestore",
        "parameters": {"source_path": "/mnt/old"},
        "progress": {"phase": phase, "done": 8, "total": 13},
    }


BROKEN = {"a1@example.com": [[257, "dangling id"]]}
SENTENCES: list[tuple[State, dict[str, Any], str]] = [
    (State.QUEUED, {}, "It waits as number 1 in the queue of mail1: the server has no worker"),
    (State.STARTED, {}, "Scanning mail1: it has just begun. You can close this page."),
    (State.SUCCESSFUL, {"outcome": report()}, "Done in 5 min 0 s: the backup has everything"),
    (
        State.FAILED,
        {"outcome": {"error": {"code": "x", "message": "No disk.", "hint": "Add one."}}},
        "Failed: No disk. Add one.",
    ),
    (State.STOPPED, {"stop_requested_by": "anna"}, "Stopped by anna after 5 min 0 s."),
    (State.REMOVED, {"stop_requested_by": "anna"}, "Removed from the queue by anna before it ran"),
    (
        State.INTERRUPTED,
        {
            "command": "doRestoreOnNewAccount",
            "parameters": RESTORE,
            "progress": {"phase": "restoring items", "done": 3, "total": 9},
            "outcome": {"error": {"code": "interrupted", "message": "It was cut off."}},
        },
        "Interrupted: It was cut off. Until then: 3 of 9 items. The new account is incomplete",
    ),
    (State.SUCCESSFUL, lossy(), "but 3 items were not restored. They are listed below."),
    (
        State.STARTED,
        {"command": "doExternalRestore", "parameters": {"source_path": "/mnt/old"}},
        "Importing /mnt/old into mail1: it has just begun.",
    ),
    (State.STARTED, importing(READING), "Importing /mnt/old into mail1: 8 of 13 accounts"),
    (State.STARTED, importing(PHASE_2), "Importing /mnt/old into mail1: 8 of 13 items"),
    (
        State.SUCCESSFUL,
        ended("doExternalRestore", counters=COUNTERS, warnings=["The domain x has no name."]),
        "15 240 items were restored; what else was wanted and is not here is told below.",
    ),
    (
        State.SUCCESSFUL,
        ended("doExternalRestore", counters={"planned": 0}),
        "Done in 5 min 0 s, without items: all that was asked for is in place.",
    ),
    (
        State.SUCCESSFUL,
        ended("doFixShares", counters={"repaired": 2}),
        "Done in 5 min 0 s: 2 shares were mended, none is broken now.",
    ),
    (
        State.SUCCESSFUL,
        ended("doCheckShares", losses=True, unreadable=BROKEN, unrestored={}),
        "but 1 share is broken. They are listed below.",
    ),
    (
        State.SUCCESSFUL,
        ended("doFixShares", losses=True, unreadable=BROKEN, unrestored={}),
        "Shares that are broken Download all as CSV dangling id 1 It names an account",
    ),
]


@pytest.mark.parametrize(("state", "fields", "sentence"), SENTENCES)
@pytest.mark.usefixtures("admin")
def test_the_page_begins_with_what_is_true_now(
    client: Client, state: State, fields: dict[str, Any], sentence: str
) -> None:
    row = add(state, **fields)
    started = row.started_at
    if started and row.ended_at:
        QueuedOperation.objects.filter(pk=row.pk).update(ended_at=started + timedelta(minutes=5))
    assert sentence in words(client.get(reverse("operation", args=[row.pk])))


@pytest.mark.usefixtures("admin")
def test_a_running_operation_tells_its_numbers_and_the_time_left(client: Client) -> None:
    page = words(client.get(reverse("operation", args=[running().pk])))
    assert (
        "Restoring a1@example.com as of 25/11/2026 10:15:10 UTC into new@example.com: "
        "9 412 of 15 233 items, about 2 min 21 s left. You can close this page."
    ) in page
    assert "Restored Items 9 400 Skipped Items 2 Unrestored Items 10 Rate 41.0 items/s" in page


@pytest.mark.usefixtures("admin")
def test_a_count_that_the_bar_shows_is_not_shown_twice_and_bytes_are_sizes(client: Client) -> None:
    row = running()
    counts = {"items": 9412, "bytes_read": 5_517_837}
    QueuedOperation.objects.filter(pk=row.pk).update(progress=row.progress | {"counts": counts})
    page = words(client.get(reverse("operation", args=[row.pk])))
    assert "Items 9 412 of 15 233 (61 %) Bytes read 5.5 MB Rate" in page


@pytest.mark.usefixtures("admin")
def test_of_many_notes_the_first_are_shown_and_the_others_can_be_opened(client: Client) -> None:
    notes = [f"Item {number} is item {number + 100} in /Inbox." for number in range(20)]
    row = add(command="doItemRestore", outcome=report(notes=notes))
    page = client.get(reverse("operation", args=[row.pk])).content.decode()
    shown, _, folded = page.partition('<details id="more-notes">')
    assert [note in shown for note in notes] == [True] * 8 + [False] * 12
    assert all(note in folded for note in notes[8:])


@pytest.mark.parametrize(
    ("started_ago_s", "done"), [(4, 9412), (300, 200)], ids=["too early", "too little"]
)
@pytest.mark.usefixtures("admin")
def test_the_time_left_is_not_guessed(client: Client, started_ago_s: int, done: int) -> None:
    row = running(started_at=timezone.now() - timedelta(seconds=started_ago_s))
    QueuedOperation.objects.filter(pk=row.pk).update(progress=row.progress | {"done": done})
    assert " left" not in words(client.get(reverse("operation", args=[row.pk])))


@pytest.mark.usefixtures("admin")
def test_an_operation_that_is_silent_is_not_responding(client: Client) -> None:
    silent = timezone.now() - timedelta(seconds=61)
    row = running(progress_at=silent)
    address = reverse("operation", args=[row.pk])
    assert f"Not responding since {silent:%d/%m/%Y %H:%M:%S} UTC" in words(client.get(address))
    QueuedOperation.objects.filter(pk=row.pk).update(progress_at=timezone.now())
    assert "Not responding" not in words(client.get(address))


@pytest.mark.usefixtures("admin")
def test_the_page_stays_after_the_end_until_its_mail_is_out(client: Client) -> None:
    row = running()
    now = timezone.now()
    QueuedOperation.objects.filter(pk=row.pk).update(state=State.FAILED, ended_at=now, outcome={})
    told = Notification.objects.create(operation=row, event="ended", level="error", subject="x")
    mail = Delivery.objects.create(notification=told, address="a@example.com")
    address = live_address(client.get(reverse("operation", args=[row.pk])), "operation-progress")
    assert address is not None
    assert client.get(address).status_code == 204
    Delivery.objects.filter(pk=mail.pk).update(state=Delivery.State.SENT, sent_at=now)
    final = client.get(address)
    assert "✓ sent" in words(final)
    assert live_address(final, "operation-progress") is None


@pytest.mark.usefixtures("admin")
def test_progress_is_drawn_when_it_has_changed_and_ends_with_the_operation(client: Client) -> None:
    row = running()
    address = live_address(client.get(reverse("operation", args=[row.pk])), "operation-progress")
    assert address is not None
    assert client.get(address).status_code == 204
    QueuedOperation.objects.filter(pk=row.pk).update(
        state=State.FAILED, ended_at=timezone.now(), outcome={}
    )
    final = client.get(address)
    assert live_address(final, "operation-progress") is None
    assert "✕ Failed" in words(final)


@pytest.mark.usefixtures("admin")
def test_a_screen_reader_is_told_of_quarters_and_not_of_every_number(client: Client) -> None:
    row = running()
    address = live_address(client.get(reverse("operation", args=[row.pk])), "operation-progress")
    assert address is not None
    rows = QueuedOperation.objects.filter(pk=row.pk)
    rows.update(progress=row.progress | {"done": 9500}, progress_at=timezone.now())
    moved = client.get(address)
    rows.update(progress=row.progress | {"done": 12000}, progress_at=timezone.now())
    quarter = client.get(address)
    assert (moved.status_code, b"hx-swap-oob" in moved.content) == (200, False)
    assert "Running, 78 %" in words(quarter)


@pytest.mark.usefixtures("admin")
def test_the_result_shows_that_the_numbers_add_up(client: Client) -> None:
    page = words(client.get(reverse("operation", args=[add(**lossy()).pk])))
    assert "planned 15 368 = restored 15 240 + skipped 125 + unrestored 3" in page
    assert "do not add up" not in page


@pytest.mark.usefixtures("admin")
def test_the_result_shows_that_the_numbers_do_not_add_up(client: Client) -> None:
    outcome = report(counters=COUNTERS | {"restored": 15000})
    row = add(command="doRestoreOnNewAccount", parameters=RESTORE, outcome=outcome)
    page = words(client.get(reverse("operation", args=[row.pk])))
    assert "unrestored 3: the numbers do not add up" in page


@pytest.mark.usefixtures("admin")
def test_the_page_tells_who_was_mailed_and_who_not_yet(client: Client) -> None:
    row = add()
    told = Notification.objects.create(
        level="information", group="scans", operation=row, event="ended", subject="It ended"
    )
    Delivery.objects.create(
        notification=told, address="a@example.com", state="sent", sent_at=timezone.now()
    )
    Delivery.objects.create(notification=told, address="b@example.com", last_error="refused")
    page = words(client.get(reverse("operation", args=[row.pk])))
    assert "It ended a@example.com ✓ sent" in page
    assert re.search(r"b@example.com … waiting, as of [\d/: ]+ UTC : refused", page)


@pytest.mark.usefixtures("admin")
def test_the_page_tells_the_command_that_asks_for_the_same(client: Client) -> None:
    page = client.get(reverse("operation", args=[add(**lossy()).pk])).content.decode()
    assert '<pre class="text" id="command">backupng --host mail1 backup doRestoreOn' in page
    assert '<button type="button" class="btn" hidden data-copy="#command">' in page


@pytest.mark.parametrize("name", ["operation-progress", "operation-log", "operation-unrestored"])
@pytest.mark.usefixtures("admin")
def test_a_live_part_of_an_operation_is_cheap(
    client: Client,
    name: str,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    row = add(**lossy())
    client.get(reverse(name, args=[row.pk]))
    with django_assert_max_num_queries(8):
        assert client.get(reverse(name, args=[row.pk])).status_code == 200


# What was lost


@pytest.mark.usefixtures("admin")
def test_losses_are_grouped_by_cause_with_what_to_do(client: Client) -> None:
    page = words(client.get(reverse("operation-unrestored", args=[add(**lossy()).pk])))
    assert "invalid item 1" in page
    assert "zimbra_lmtp_validate_messages" in page
    assert "item: 856,13339" in page


@pytest.mark.usefixtures("admin")
def test_losses_are_not_fetched_before_they_are_known(client: Client) -> None:
    row = running()
    address = live_address(client.get(reverse("operation", args=[row.pk])), "operation-unrestored")
    assert address is not None
    assert client.get(address).status_code == 204
    QueuedOperation.objects.filter(pk=row.pk).update(
        state=State.SUCCESSFUL, ended_at=timezone.now()
    )
    assert live_address(client.get(address), "operation-unrestored") is None


@pytest.mark.usefixtures("admin")
def test_the_table_of_losses_has_no_formula(client: Client) -> None:
    row = add(**lossy())
    answer = client.get(reverse("operation-unrestored-csv", args=[row.pk]))
    table = list(csv.reader(io.StringIO(answer.content.decode())))
    assert answer["Content-Disposition"] == (
        f'attachment; filename="unrestored-{str(row.pk)[:8]}.csv"'
    )
    assert table == [
        ["account", "item", "list", "cause"],
        ["'=cmd()@example.com", "5", "unrestored", "read error"],
        ["anna@example.com", "856", "unrestored", "broken item"],
        ["anna@example.com", "13339", "unrestored", "invalid item"],
    ]


@pytest.mark.usefixtures("admin")
def test_who_takes_log_or_losses_away_is_in_the_audit_log(client: Client) -> None:
    row = add(**lossy())
    write_log(row, ENTRY)
    client.get(reverse("operation-log-file", args=[row.pk]))
    client.get(reverse("operation-unrestored-csv", args=[row.pk]))
    found = AuditEntry.objects.exclude(action="login").order_by("pk")
    assert list(found.values_list("action", "subject")) == [
        ("download log", str(row.pk)),
        ("download unrestored items", str(row.pk)),
    ]


# The log


def write_log(row: QueuedOperation, text: str) -> None:
    path = hosting.log_file(row.pk)
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.usefixtures("admin")
def test_the_log_is_text_and_shows_what_cannot_be_seen(client: Client) -> None:
    row = add()
    write_log(row, ENTRY)
    page = client.get(reverse("operation", args=[row.pk])).content.decode()
    assert r"&lt;b&gt;one&lt;/b&gt; \x1b[31m\u202e" in page
    assert ">20:40:01.123</time> INFO" in page


@pytest.mark.usefixtures("admin")
def test_the_log_can_be_held_down_to_warnings(client: Client) -> None:
    row = add()
    write_log(row, ENTRY + WARNING)
    page = words(client.get(f"{reverse('operation', args=[row.pk])}?level=WARNING"))
    assert ("WARNING two" in page, "INFO" in page) == (True, False)


@pytest.mark.usefixtures("admin")
def test_the_log_grows_while_the_operation_runs_and_ends_with_it(client: Client) -> None:
    row = running()
    write_log(row, ENTRY)
    address = live_address(client.get(reverse("operation", args=[row.pk])), "operation-log")
    assert address is not None
    assert client.get(address).status_code == 204
    write_log(row, WARNING)
    grown = client.get(address)
    assert "WARNING two" in words(grown)
    following = live_address(grown, "operation-log")
    assert following is not None
    QueuedOperation.objects.filter(pk=row.pk).update(state=State.STOPPED, ended_at=timezone.now())
    assert live_address(client.get(following), "operation-log") is None


@pytest.mark.usefixtures("admin")
def test_of_a_long_log_the_last_200_lines_are_shown_and_all_can_be_had(client: Client) -> None:
    row = add()
    entries = [f"2026-11-25T20:40:01.123Z INFO entry {number}\n" for number in range(30_000)]
    write_log(row, "".join(entries))
    page = words(client.get(reverse("operation", args=[row.pk])))
    assert ("entry 29800 " in page, "entry 29799 " in page) == (True, False)
    assert "The last 200 entries" in page
    file = client.get(reverse("operation-log-file", args=[row.pk]))
    assert file.content.decode() == "".join(entries)
    assert file["Content-Type"] == "text/plain; charset=utf-8"
    assert file["Content-Disposition"] == f'attachment; filename="operation-{row.pk}.log"'


@pytest.mark.usefixtures("admin")
def test_a_log_that_is_not_there_is_no_file(client: Client) -> None:
    row = add()
    assert "Nothing was logged" in words(client.get(reverse("operation", args=[row.pk])))
    assert client.get(reverse("operation-log-file", args=[row.pk])).status_code == 404
