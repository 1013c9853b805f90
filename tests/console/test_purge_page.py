"""Run Purge: the numbers of a dry run, the answer of a person, the mail, the timetable."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from backupng.engine.operations.do_purge import REASONS, DoPurge
from console import connect, notify, properties, queue, roles, scheduling
from console.cli import backup
from console.letter import text
from console.models import AuditEntry, QueuedOperation, Server, State
from tests.console.queued import add, bare_server, login

PAGE, LOOK = "/servers/mail1/purge/", "/servers/mail1/purge/preview/"
COUNTERS = {
    "limit_items_days": 30,
    "limit_accounts_days": 30,
    "items_examined": 88120,
    "items_purged": 9204,
    "metadata_removed": 9204,
    "accounts_purged": 2,
    "blobs_removed": 7711,
    "blobs_still_named": 1493,
    "bytes_freed": 100_000_000,
    "bytes_in_trash": 3_000_000_000,
    "customizations_removed": 4,
}
SATURDAY = datetime(2026, 11, 28, 4, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(settings: Any, tmp_path: Any) -> Server:
    """Return a server that only has a row."""
    settings.DATA_DIR = tmp_path
    return bare_server()


@pytest.fixture
def unexamined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a Purge be started without a look at the server, of which there is only the row."""
    monkeypatch.setattr(DoPurge, "check", lambda *_: None)
    monkeypatch.setattr(connect, "context", nullcontext)


def looked(*warnings: str, counters: dict[str, int] = COUNTERS) -> QueuedOperation:
    """Return a dry run that has ended a minute ago."""
    report = {"counters": counters, "warnings": list(warnings), "notes": [], "losses": False}
    return add(
        command="doPurge",
        parameters={"dryrun": "true"},
        outcome={"report": report},
        ended_at=timezone.now() - timedelta(minutes=1),
    )


def page(client: Client, path: str = PAGE) -> str:
    return unescape(client.get(path).content.decode())


def sent(client: Client) -> dict[str, str]:
    """Return what the last form of the page sends."""
    form = page(client).rpartition("<form")[2]
    return dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', form))


def test_without_fresh_numbers_nothing_can_be_started(server: Server, client: Client) -> None:
    login(client, "Administrator")
    old = looked()
    QueuedOperation.objects.update(ended_at=timezone.now() - timedelta(hours=2))

    assert ">Run Purge</button>" not in page(client)
    assert ">Go on</a>" not in page(client)
    assert client.post(PAGE, {"look": str(old.pk)}).status_code == 409
    assert QueuedOperation.objects.count() == 1


def test_numbers_from_before_another_purge_do_not_count(server: Server, client: Client) -> None:
    login(client, "Administrator")
    look = looked()
    add(command="doPurge", parameters={}, ended_at=timezone.now())

    assert client.post(PAGE, {"look": str(look.pk)}).status_code == 409


@pytest.mark.usefixtures("unexamined")
def test_the_page_shows_what_would_go_and_starts_that(server: Server, client: Client) -> None:
    login(client, "Administrator")
    looked()

    assert "9 204" in page(client).replace("\u202f", " ").replace("\u2009", " ")
    answer = client.post(PAGE, sent(client))

    row = QueuedOperation.objects.get(state=State.QUEUED)
    assert (row.command, row.parameters) == ("doPurge", {})
    assert answer["Location"] == f"/operations/{row.pk}/"
    assert AuditEntry.objects.filter(action="doPurge", detail=str(row.pk)).exists()


@pytest.mark.usefixtures("unexamined")
def test_what_a_brake_holds_back_needs_the_name_of_the_server(
    server: Server, client: Client
) -> None:
    login(client, "Administrator")
    looked("It waits for a person: more than 10% of them.", counters=COUNTERS | {REASONS: 1})
    form = sent(client)

    refused = client.post(PAGE, form | {"typed": "mail2"})
    assert refused.status_code == 422
    assert "Type mail1 if this is what you want." in unescape(refused.content.decode())
    client.post(PAGE, form | {"typed": "mail1"})

    row = QueuedOperation.objects.get(state=State.QUEUED)
    assert row.parameters == {"confirm": "true"}


@pytest.mark.usefixtures("unexamined")
def test_a_warning_that_holds_nothing_back_is_told_and_asks_for_nothing(
    server: Server, client: Client
) -> None:
    login(client, "Administrator")
    looked("No blob would be removed: 2 files cannot be read.")

    shown = page(client)
    client.post(PAGE, sent(client))

    assert "No blob would be removed: 2 files cannot be read." in shown
    assert 'name="typed"' not in shown
    assert QueuedOperation.objects.get(state=State.QUEUED).parameters == {}


@pytest.mark.usefixtures("unexamined")
def test_an_operator_looks_and_does_not_purge(server: Server, client: Client) -> None:
    login(client, "Operator")

    assert client.post(LOOK, {"form": str(UUID(int=1))})["Location"] == LOOK
    row = QueuedOperation.objects.get()
    assert row.parameters == {"dryrun": "true"}
    roles.check_requester(row)
    assert "The dry run waits in the queue." in page(client, LOOK)
    assert client.post(LOOK, {"form": str(UUID(int=2))}).status_code == 303
    assert QueuedOperation.objects.count() == 1

    look = looked()
    assert ">Run Purge</button>" not in page(client, LOOK)
    assert client.post(PAGE, {"look": str(look.pk)}).status_code == 403


def test_infinite_retention_is_said_and_nothing_is_asked(server: Server, client: Client) -> None:
    login(client, "Administrator")
    connect.set_property(server, properties.RETENTION, "0")

    assert "The retention is infinite: a Purge has nothing to do." in page(client)
    assert "<form" not in page(client).partition("<h1>")[2].partition("</main>")[0]


# --- mail


def test_the_mail_of_a_purge_has_its_numbers_and_what_was_freed(server: Server) -> None:
    row = looked()
    row.parameters = {}

    letter = text.compose(row, notification=UUID(int=1), event=text.ENDED)

    assert letter.subject == (
        "[Backup NG] mail1: Purge – completed, 100.0 MB freed, 3.0 GB moved to .trash"
    )
    assert (
        "- stats -\n"
        "limit            items 30 days, accounts 30 days\n"
        "items            examined 88120   purged 9204\n"
        "metadata         removed 9204\n"
        "accounts         purged 2\n"
        "blobs            removed 7711   kept, still in use 1493\n"
        "freed            100.0 MB\n"
        "moved to .trash  3.0 GB\n"
        "customizations   removed 4 archives\n"
    ) in letter.text


def test_a_dry_run_is_told_from_a_purge(server: Server, client: Client) -> None:
    login(client, "Viewer")
    row = looked()

    letter = text.compose(row, notification=UUID(int=1), event=text.ENDED)
    shown = page(client, f"/operations/{row.pk}/")

    assert letter.subject == (
        "[Backup NG] mail1: Purge (dry run)"
        " – 100.0 MB would be freed, 3.0 GB would be moved to .trash"
    )
    assert "examined 88120   would be purged 9204" in letter.text
    assert "<h1>Purge (dry run)</h1>" in shown
    assert "Blobs that would be removed" in shown
    assert "Purge (dry run)" in page(client, "/operations/")
    assert backup.ended(row)["name"] == "Purge (dry run)"


def test_the_command_line_tells_the_limit_first_and_sizes_to_be_read(server: Server) -> None:
    row = looked()
    row.parameters = {}

    lines = backup.ended_text(row).splitlines()

    assert [line.split()[0] for line in lines[3:5]] == ["limit", "limit"]
    assert any(line.endswith("100000000 (100.0 MB)") for line in lines)


def test_a_purge_is_repeated_on_its_own_page_alone(server: Server, client: Client) -> None:
    login(client, "Administrator")
    confirmed = add(command="doPurge", parameters={"confirm": "true"}, ended_at=timezone.now())
    elsewhere = add(command="doPurge", parameters={"backup_path": "/mnt/copy"})

    shown = page(client, f"/operations/{confirmed.pk}/")
    answers = [client.post(f"/operations/{row.pk}/retry/") for row in (confirmed, elsewhere)]

    assert f'href="{PAGE}">Run again</a>' in shown
    assert "Restore again" not in shown
    assert "Run again" not in page(client, f"/operations/{elsewhere.pk}/")
    assert answers[0]["Location"] == PAGE
    assert answers[1].status_code == 403
    assert not QueuedOperation.objects.filter(state=State.QUEUED).exists()


def test_the_mail_of_a_purge_without_a_limit_is_one_sentence(server: Server) -> None:
    row = looked(counters={})
    row.parameters = {}
    row.outcome["report"]["notes"] = ["The retention is infinite: there is nothing to do."]

    letter = text.compose(row, notification=UUID(int=1), event=text.ENDED)

    assert letter.text.startswith("The retention is infinite: there is nothing to do.\n")
    assert "- stats -" not in letter.text


def test_a_dry_run_is_mailed_only_to_who_was_named(server: Server) -> None:
    row = looked("It waits for a person.")
    row.requester_address = "admin@example.com"
    assert notify.recipients(row, "information") == ()
    assert text.compose(row, notification=UUID(int=1), event=text.ENDED).level == "information"

    row.parameters["notifications"] = "ops@example.com"
    assert notify.recipients(row, "information") == ("ops@example.com",)


# --- the timetable


def standing(moment: datetime) -> Callable[[], datetime]:
    """Return a clock that stands still."""
    return lambda: moment


def test_a_purge_runs_each_saturday_behind_the_smartscan(server: Server) -> None:
    for moment in (SATURDAY - timedelta(days=1), SATURDAY, SATURDAY + timedelta(minutes=1)):
        scheduling.run_due(server, clock=standing(moment))
        scheduling.purge_due(server, clock=standing(moment))

    rows = QueuedOperation.objects.order_by("seq").values_list("command", flat=True)
    assert list(rows) == ["doSmartScan", "doPurge"]
    assert queue.is_served(server) is False


def test_no_purge_runs_by_itself_where_the_scans_are_switched_off(server: Server) -> None:
    connect.set_property(server, properties.SMART_SCAN_SCHEDULER, "false 0 4 * * *")

    scheduling.purge_due(server, clock=standing(SATURDAY))

    assert not QueuedOperation.objects.exists()
    assert scheduling.in_force(server, scheduling.PURGE).next_run(SATURDAY, UTC) is None
