"""The servers, the `Backup NG` tab, and what is started and stopped there."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from console import connect, properties
from console.models import AuditEntry, Origin, QueuedOperation, Server, State
from tests.console import rows

TAB, SCAN, STOP = "/servers/mail1/", "/servers/mail1/smartscan/", "/servers/mail1/stop/"
PAUSE = "/servers/mail1/pause/"


def browser(role: str) -> Client:
    user = User.objects.create_user(role.lower(), f"{role.lower()}@example.com")
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def administrator(server: Server) -> Client:
    """Return an administrator's browser."""
    return browser("Administrator")


def text_of(client: Client, path: str) -> str:
    return unescape(client.get(path).content.decode())


def form_of(client: Client, path: str) -> dict[str, str]:
    """Open a page and return what the hidden fields of its form send."""
    text = text_of(client, path)
    return dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', text))


def started(server: Server, **changes: object) -> QueuedOperation:
    return QueuedOperation.objects.create(
        server=server, seq=900, command="doSmartScan", state=State.STARTED, **changes
    )


# The tab


def test_the_tab_of_an_unknown_server_is_not_there(administrator: Client) -> None:
    paths = ("/servers/other/", "/servers/other/live/", "/servers/other/smartscan/")
    assert [administrator.get(path).status_code for path in paths] == [404] * 3


def test_a_server_that_was_never_scanned_says_what_to_do(administrator: Client) -> None:
    text = text_of(administrator, TAB)
    assert "A SmartScan is required." in text
    assert "backupng --host mail1 backup doSmartScan" in text
    assert "no SmartScan has completed on it" in text


def test_a_backup_path_with_nothing_in_it_is_not_initialised(
    server: Server, administrator: Client
) -> None:
    server.path.rename(server.path.with_name("moved"))
    server.path.mkdir()
    assert "not initialised" in text_of(administrator, TAB)


def test_a_scan_that_waits_or_runs_takes_the_place_of_the_button(
    server: Server, administrator: Client
) -> None:
    row = started(server)
    text = text_of(administrator, TAB)
    assert "A SmartScan is running." in text
    assert reverse("operation", args=[row.pk]) in text
    assert "A SmartScan is required." not in text


def test_after_a_good_scan_the_tab_shows_its_numbers(scanned: Server) -> None:
    rows.asked(rows.ended(rows.scan(server=scanned), State.SUCCESSFUL, report=rows.SCANNED))
    text = text_of(browser("Viewer"), TAB)
    assert "245 scanned, 1 new" in text
    assert "148 new, 61 changed, 9 deleted" in text
    assert "9.6 MB" in text
    assert ">1.0<" in text
    assert "A SmartScan is required." not in text


def test_a_missing_backup_path_is_told_and_the_page_stands(
    server: Server, administrator: Client
) -> None:
    server.path.rename(server.path.with_name("moved"))
    answer = administrator.get(TAB)
    assert answer.status_code == 200
    assert "is missing" in answer.content.decode()


def test_a_server_of_another_host_shows_what_the_database_knows(
    server: Server, administrator: Client
) -> None:
    Server.objects.update(identity="another host")
    answer = administrator.get(TAB)
    assert answer.status_code == 200
    assert "on another host" in answer.content.decode()


def test_properties_say_where_their_value_comes_from(server: Server, administrator: Client) -> None:
    connect.set_property(server, properties.BLOB_CODEC, "gzip")
    text = text_of(administrator, TAB)
    assert "set for this server" in text
    assert "gzip" in text


def test_the_buttons_stand_in_the_order_of_the_manual(administrator: Client) -> None:
    head = text_of(administrator, TAB).partition("<h1>")[2].partition("server-live")[0]
    assert 0 < head.index("Run SmartScan") < head.index("Stop all Operations")


def test_an_operator_is_not_offered_what_only_administrators_do(server: Server) -> None:
    text = text_of(browser("Operator"), TAB)
    assert "Run SmartScan" in text
    assert "Stop all Operations" not in text


def test_the_live_part_is_answered_only_when_something_changed(
    server: Server, administrator: Client
) -> None:
    text = text_of(administrator, TAB)
    version = text.partition("?version=")[2].partition('"')[0]
    same = administrator.get(f"{TAB}live/?version={version}")
    started(server)
    changed = administrator.get(f"{TAB}live/?version={version}")
    assert (same.status_code, changed.status_code) == (204, 200)


# Run SmartScan


def test_asking_changes_nothing(administrator: Client) -> None:
    assert administrator.get(SCAN).status_code == 200
    assert not QueuedOperation.objects.exists()


def test_a_scan_is_queued_for_the_user_and_written_down(
    server: Server, administrator: Client
) -> None:
    answer = administrator.post(SCAN, {"known": ""})
    row = QueuedOperation.objects.get()
    entry = AuditEntry.objects.get(action="doSmartScan")
    assert answer.status_code == 303
    assert answer.headers["Location"] == reverse("operation", args=[row.pk])
    assert (row.command, row.server, row.state) == ("doSmartScan", server, State.QUEUED)
    assert (row.origin, row.requester_name) == (Origin.CONSOLE, "administrator")
    assert row.requester_address == "administrator@example.com"
    assert (entry.user, entry.subject, entry.result) == ("administrator", "mail1", "done")


def test_a_second_click_starts_no_second_scan_and_names_the_first(administrator: Client) -> None:
    administrator.post(SCAN, {"known": ""})
    again = administrator.post(SCAN, {"known": ""})
    row = QueuedOperation.objects.get()
    assert again.status_code == 409
    assert reverse("operation", args=[row.pk]) in again.content.decode()


def test_a_form_that_is_sent_twice_asks_once(administrator: Client) -> None:
    words = form_of(administrator, SCAN)
    first = administrator.post(SCAN, words)
    second = administrator.post(SCAN, words)
    QueuedOperation.objects.update(state=State.SUCCESSFUL, ended_at=timezone.now())
    late = administrator.post(SCAN, words)
    row = QueuedOperation.objects.get()
    answers = [(answer.status_code, answer.headers["Location"]) for answer in (first, second, late)]
    assert answers == [(303, reverse("operation", args=[row.pk]))] * 3


def test_each_form_can_be_sent(administrator: Client) -> None:
    administrator.post(SCAN, form_of(administrator, SCAN))
    administrator.post(SCAN, form_of(administrator, SCAN))
    assert QueuedOperation.objects.count() == 2


def test_who_was_told_of_the_other_scan_may_have_a_second(administrator: Client) -> None:
    administrator.post(SCAN, {"known": ""})
    first = QueuedOperation.objects.get()
    page = text_of(administrator, SCAN)
    answer = administrator.post(SCAN, {"known": str(first.pk)})
    assert "A SmartScan of this server is queued already." in page
    assert f'value="{first.pk}"' in page
    assert answer.status_code == 303
    assert QueuedOperation.objects.count() == 2


def test_a_refusal_is_shown_with_what_to_do_and_nothing_is_queued(
    server: Server, administrator: Client
) -> None:
    connect.set_property(server, properties.SPACE_THRESHOLD, "999999999")
    answer = administrator.post(SCAN, {"known": ""})
    text = unescape(answer.content.decode())
    assert answer.status_code == 422
    assert "Nothing was started." in text
    assert "MB are free" in text
    assert "Make room" in text
    assert not QueuedOperation.objects.exists()
    assert AuditEntry.objects.get(action="doSmartScan").result == "refused"


def test_a_form_of_another_site_starts_nothing(server: Server) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(SCAN, {"known": ""}).status_code == 403
    assert not QueuedOperation.objects.exists()


@pytest.mark.parametrize(("role", "path"), [("Viewer", SCAN), ("Viewer", STOP), ("Operator", STOP)])
def test_who_may_not_is_refused_though_the_control_was_never_drawn(
    server: Server, role: str, path: str
) -> None:
    row = started(server)
    assert browser(role).post(path, {"known": str(row.pk)}).status_code == 403
    assert QueuedOperation.objects.get().stop_requested_at is None


# Stop all Operations


def test_stopping_all_asks_first_and_the_safe_answer_has_the_focus(
    server: Server, administrator: Client
) -> None:
    started(server)
    administrator.post(SCAN, {"known": str(QueuedOperation.objects.get().pk)})
    text = text_of(administrator, STOP)
    assert "1 running, 1 queued." in text
    assert "autofocus>Keep running</a>" in text
    assert QueuedOperation.objects.filter(stop_requested_at=None).count() == 2


def test_stopping_all_stops_what_runs_and_removes_what_waits(
    server: Server, administrator: Client
) -> None:
    running = started(server)
    administrator.post(SCAN, {"known": str(running.pk)})
    text = unescape(administrator.post(STOP, follow=True).content.decode())
    states = {row.shown_state for row in QueuedOperation.objects.all()}
    assert states == {"Stopping", "Removed"}
    assert "1 operation is being stopped. 1 operation was removed from the queue." in text
    assert AuditEntry.objects.get(action="doStopAllOperations").detail == "1 running, 1 queued"


def test_with_nothing_to_stop_there_is_no_button(administrator: Client) -> None:
    text = text_of(administrator, STOP)
    assert "there is nothing to stop" in text
    assert "danger" not in text


# Pause queue


def test_an_administrator_pauses_and_resumes_the_queue(
    server: Server, administrator: Client
) -> None:
    assert "Pause queue" in text_of(administrator, TAB)
    administrator.post(PAUSE, form_of(administrator, PAUSE))
    server.refresh_from_db()
    paused = server.paused
    tab = text_of(administrator, TAB)
    administrator.post(PAUSE, form_of(administrator, PAUSE))
    server.refresh_from_db()
    assert (paused, server.paused) == (True, False)
    assert "The queue of mail1 is paused." in tab
    assert f'href="{PAUSE}">Resume queue</a>' in tab
    found = AuditEntry.objects.exclude(action="login").order_by("pk")
    assert list(found.values_list("action", "subject")) == [
        ("pause queue", "mail1"),
        ("resume queue", "mail1"),
    ]


def test_a_paused_queue_is_told_wherever_one_would_wait_for_it(
    server: Server, administrator: Client
) -> None:
    version = text_of(administrator, "/operations/").partition("?version=")[2].partition('"')[0]
    administrator.post(PAUSE, {"paused": "yes"})
    live = administrator.get(f"/operations/queue/?version={version}")
    assert "The queue of mail1 is paused." in text_of(administrator, "/operations/")
    assert live.status_code == 200
    assert "is paused: the operation waits" in text_of(administrator, SCAN)
    assert "An administrator of this console can resume it." in text_of(browser("Operator"), TAB)


# The list


def test_the_list_says_how_many_need_a_look(administrator: Client) -> None:
    text = text_of(administrator, "/servers/")
    assert "1 server; 1 of them needs a look." in text
    assert "never" in text
