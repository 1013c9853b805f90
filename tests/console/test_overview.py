"""The dashboard: an honest first sentence, cheap, and live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console import overview, queue
from console.models import Level, Notification, QueuedOperation, Server, State
from console.overview import Fault
from tests.console import rows

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
PAGE_QUERIES, PART_QUERIES = 12, 8


@pytest.fixture(autouse=True)
def _noon():
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture
def client(db: None, client: Client) -> Client:
    """Return the browser of an administrator; the next page has to keep no session."""
    user = User.objects.create_user("anna")
    user.groups.add(Group.objects.get(name="Administrator"))
    client.force_login(user)
    client.get("/preferences/")
    return client


@pytest.fixture
def mail1(db: None, data: Path) -> Server:
    """Return a server whose Backup Path is there."""
    return server("mail1", data)


def server(name: str, data: Path) -> Server:
    (data / "backup" / name).mkdir(parents=True)
    return Server.objects.create(name=name, kind="sandbox", backup_path=f"backup/{name}")


def ended(
    server: Server, state: State = State.SUCCESSFUL, *, hours_ago: float = 2, **report: Any
) -> QueuedOperation:
    """Add a SmartScan that ended an hour after it had started."""
    start = NOON - timedelta(hours=hours_ago)
    row = rows.scan(
        server=server,
        id=None,
        seq=QueuedOperation.objects.count() + 1,
        created_at=start,
        started_at=start,
    )
    row.pk = QueuedOperation().pk
    rows.ended(row, state, report=rows.SCANNED | report)
    row.ended_at = start + timedelta(hours=1)
    row.save()
    return row


def queued(server: Server, **changes: Any) -> QueuedOperation:
    return QueuedOperation.objects.create(
        server=server, seq=QueuedOperation.objects.count() + 1, command="doSmartScan", **changes
    )


def fault(server: Server) -> Fault | None:
    return overview.protection(server, now=NOON).fault


def verdict(client: Client) -> str:
    """Return the first sentence of the dashboard, without its tags."""
    text = client.get("/").content.decode().partition('class="verdict"')[2]
    text = text.partition(">")[2].partition("</p>")[0]
    for part in ("<time", "</time"):
        text = "".join(
            piece.partition(">")[2] if at else piece for at, piece in enumerate(text.split(part))
        )
    return " ".join(text.split())


# What a server suffers from


def test_a_server_that_was_scanned_well_has_no_fault(mail1: Server) -> None:
    ended(mail1)
    assert fault(mail1) is None


def test_a_server_that_was_never_scanned_is_not_saved(mail1: Server) -> None:
    assert fault(mail1) is Fault.NEVER
    queued(mail1)
    assert fault(mail1) is Fault.NEVER


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED, State.INTERRUPTED])
def test_a_scan_that_ended_badly_saves_nothing(mail1: Server, state: State) -> None:
    ended(mail1, state)
    assert fault(mail1) is Fault.NEVER


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED, State.INTERRUPTED])
def test_a_bad_scan_after_a_good_one_is_told(mail1: Server, state: State) -> None:
    good = ended(mail1, hours_ago=20)
    ended(mail1, state)
    found = overview.protection(mail1, now=NOON)
    assert found.fault is Fault.UNSUCCESSFUL
    assert found.as_of == good.started_at


def test_a_scan_that_was_taken_out_of_the_queue_counts_for_nothing(mail1: Server) -> None:
    ended(mail1, hours_ago=5)
    queued(mail1, state=State.REMOVED, ended_at=NOON)
    assert fault(mail1) is None


def test_the_queue_keeps_what_lists_show_beside_the_outcome(mail1: Server) -> None:
    row = queued(mail1, state=State.STARTED, token=uuid4())
    queue.finish(row, {"state": "successful", "error": None, "report": rows.RESTORED})
    row.refresh_from_db()
    assert row.losses
    assert row.counters == rows.RESTORED["counters"]


def test_losses_are_told(mail1: Server) -> None:
    ended(mail1, losses=True, counters=rows.SCANNED["counters"] | {"read_errors": 3})
    found = overview.protection(mail1, now=NOON)
    assert (found.fault, found.unread) == (Fault.LOSSES, 3)


@pytest.mark.parametrize(("hours", "expected"), [(26, None), (26.1, Fault.OLD)])
def test_a_scan_counts_as_old_after_26_hours(
    mail1: Server, hours: float, expected: Fault | None
) -> None:
    ended(mail1, hours_ago=hours)
    assert fault(mail1) is expected


def test_a_missing_backup_path_is_the_sharpest(mail1: Server) -> None:
    ended(mail1)
    mail1.path.rmdir()
    assert fault(mail1) is Fault.PATH_MISSING


def test_a_restore_is_no_scan(mail1: Server) -> None:
    queued(mail1).delete()
    rows.asked(rows.restored(server=mail1))
    assert fault(mail1) is Fault.NEVER


def test_of_another_hosts_disk_nothing_is_claimed(mail1: Server) -> None:
    ended(mail1)
    Server.objects.update(identity="another host", backup_path="/nowhere")
    found = overview.protection(Server.objects.get(), now=NOON)
    assert (found.fault, found.disk) == (None, None)


# The first sentence


def test_without_a_server_the_dashboard_says_how_to_begin(client: Client) -> None:
    assert verdict(client) == "Nothing is saved yet: there is no server."
    assert "backupng sandbox createServer" in client.get("/").content.decode()


def test_all_accounts_are_saved_as_of_the_oldest_last_scan(
    client: Client, mail1: Server, data: Path
) -> None:
    ended(mail1, hours_ago=2)
    ended(server("mail2", data), hours_ago=4)
    assert verdict(client) == "490 accounts on 2 servers are saved as of 25/11/2026 08:00:00 UTC."


def test_the_sharpest_fault_comes_first_and_the_others_are_counted(
    client: Client, mail1: Server, data: Path
) -> None:
    ended(mail1, hours_ago=30)
    server("mail2", data)
    assert verdict(client) == (
        "mail2 is not saved: no SmartScan of it has ever ended successfully."
        " 1 more server needs a look."
    )


def test_what_was_lost_is_in_the_sentence(client: Client, mail1: Server) -> None:
    ended(mail1, losses=True, counters=rows.SCANNED["counters"] | {"read_errors": 1})
    assert verdict(client) == (
        "mail1 is saved as of 25/11/2026 10:00:00 UTC, but 1 item could not be read."
    )


# The rest of the page


def test_every_number_of_the_table_leads_to_what_it_counts(client: Client, mail1: Server) -> None:
    ended(mail1)
    ended(mail1, losses=True)
    ended(mail1, State.FAILED)
    ended(mail1, State.FAILED, hours_ago=24 * 31)
    table = overview.matrix(now=NOON)
    assert [(title, [cell.number for cell in cells]) for title, cells in table] == [
        ("SmartScan", [1, 1, 1, 0, 0])
    ]
    address = reverse("operations") + "?command=doSmartScan&amp;state=losses&amp;days=30"
    assert address in client.get("/").content.decode()


def test_dry_runs_are_counted_apart_from_what_they_foretell(client: Client, mail1: Server) -> None:
    for command, texts in (
        ("doPurge", {}),
        ("doFixOrphans", {}),
        ("doUndelete", {"dryrun": "true"}),
        ("doPurge", {"dryrun": "true"}),
    ):
        look = ended(mail1)
        look.command, look.parameters = command, texts
        look.save()

    table = overview.matrix(now=NOON)

    titles = [title for title, _ in table]
    assert titles == [
        *("Removal of Orphans (dry run)", "Purge", "Purge (dry run)", "Undelete (dry run)"),
    ]
    for cells in (table[1][1], table[2][1]):
        found = client.get(f"{reverse('operations')}?{cells[0].query}").context["page"]
        assert [row.command for row in found] == ["doPurge"]
    assert list(found) == [look]


def test_errors_nobody_has_read_ask_for_attention(client: Client, mail1: Server) -> None:
    ended(mail1)
    for level in Level:
        Notification.objects.create(level=level, subject=f"The {level}", text="x")
    text = client.get("/").content.decode()
    assert "The critical" in text
    assert "The error" in text
    assert "The warning" not in text


def test_what_lost_something_of_late_asks_for_attention(client: Client, mail1: Server) -> None:
    lossy = ended(mail1, losses=True, hours_ago=40)
    old = ended(mail1, losses=True, hours_ago=24 * 32)
    for hours in range(10, 2, -1):
        ended(mail1, hours_ago=hours)
    listed = client.get("/").content.decode().partition("Needs attention")[2]
    assert str(lossy.pk) in listed
    assert str(old.pk) not in listed


def test_what_runs_stands_before_what_waits(client: Client, mail1: Server) -> None:
    waiting = queued(mail1)
    running = queued(mail1, state=State.STARTED, started_at=NOON, progress={"done": 3, "total": 12})
    text = client.get("/").content.decode()
    assert 0 < text.index(f"line-{running.pk}") < text.index(f"line-{waiting.pk}")
    assert 'max="12" value="3"' in text


def test_the_five_that_ended_last_are_shown(client: Client, mail1: Server) -> None:
    made = [ended(mail1, hours_ago=hours) for hours in range(10, 2, -1)]
    text = client.get("/").content.decode()
    assert [f"line-{row.pk}" in text for row in made] == [False] * 3 + [True] * 5


# Cheap and live


def fill(mail1: Server, data: Path) -> None:
    others = [server(f"mail{number}", data) for number in range(2, 6)]
    for each in [mail1, *others]:
        ended(each, losses=True)
        ended(each, State.FAILED)
        queued(each)
    Notification.objects.create(level=Level.ERROR, subject="x", text="x")


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as found:
        assert client.get(path).status_code == 200
    return len(found)


def test_the_page_asks_the_database_little_however_many_servers(
    client: Client, mail1: Server, data: Path
) -> None:
    fill(mail1, data)
    assert queries(client, "/") <= PAGE_QUERIES
    assert queries(client, "/-/cards/") <= PART_QUERIES
    assert queries(client, "/-/queue-badge/") <= PART_QUERIES


def shown_version(text: str) -> str:
    return text.partition("?version=")[2].partition('"')[0]


def test_the_part_on_the_page_is_the_part_at_its_own_address(
    client: Client, mail1: Server, data: Path
) -> None:
    fill(mail1, data)
    version = shown_version(client.get("/").content.decode())
    answer = client.get(f"/-/cards/?version={version}")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_change_brings_the_part_anew(client: Client, mail1: Server) -> None:
    version = shown_version(client.get("/").content.decode())
    queued(mail1)
    answer = client.get(f"/-/cards/?version={version}")
    assert answer.status_code == 200
    assert shown_version(answer.content.decode()) not in ("", version)


def test_the_badge_counts_what_runs_and_what_waits(client: Client, mail1: Server) -> None:
    queued(mail1)
    queued(mail1, state=State.STARTED)
    answer = client.get("/-/queue-badge/")
    assert "1 running · 1 queued" in answer.content.decode()
    assert client.get("/-/queue-badge/?text=1 running · 1 queued").status_code == 204
