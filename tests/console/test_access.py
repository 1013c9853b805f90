"""Who may open and do what, on every address there is; and what every answer carries."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, reverse

from console.access import client_address
from console.models import PERMISSIONS, Preferences, Server
from console.urls import urlpatterns
from tests.console import pages
from tests.console.pages import ANONYMOUS, Site

ROLES_SEEN = (ANONYMOUS, "Viewer", "Operator", "Administrator")
PAGE = "302 302 | 200 405 | 200 405 | 200 405"
PART = "401 401 | 200 405 | 200 405 | 200 405"
ADMINISTRATORS_PAGE = "302 302 | 403 403 | 403 403 | 200 405"
EXPECTED = {
    "login": "200 200 | 302 302 | 302 302 | 302 302",
    "logout": "302 302 | 405 302 | 405 302 | 405 302",
    "preferences": "302 302 | 200 200 | 200 200 | 200 200",
    "health": "200 405 | 200 405 | 200 405 | 200 405",
    "dashboard": PAGE,
    "dashboard-cards": PART,
    "queue-badge": PART,
    "servers": PAGE,
    "server": PAGE,
    "server-live": PART,
    "smartscan": "302 302 | 403 403 | 200 303 | 200 409",
    "coherency": "302 302 | 403 403 | 200 303 | 200 303",
    "purge": "302 302 | 403 403 | 403 403 | 200 409",
    "purge-preview": "302 302 | 403 403 | 200 303 | 200 303",
    "purge-preview-live": "401 401 | 403 403 | 200 405 | 200 405",
    "stop-all": "302 302 | 403 403 | 403 403 | 200 303",
    "scanner": "302 302 | 403 403 | 403 403 | 200 400",
    "pause-queue": "302 302 | 403 403 | 403 403 | 200 400",
    "accounts": "302 302 | 403 403 | 200 405 | 200 405",
    "account": "302 302 | 403 403 | 200 405 | 200 405",
    "history": "302 302 | 403 403 | 200 422 | 200 422",
    "history-reading": "401 401 | 403 403 | 200 405 | 200 405",
    "item": "302 302 | 403 403 | 200 405 | 200 405",
    "restore": "302 302 | 403 403 | 200 303 | 200 303",
    "wizard-begin": "302 302 | 403 403 | 200 303 | 200 303",
    "wizard-step": "302 302 | 403 403 | 200 422 | 200 422",
    "wizard-check": "401 401 | 403 405 | 404 405 | 404 405",
    "cos": "302 302 | 200 403 | 200 403 | 200 303",
    "cos-switch": "302 302 | 403 403 | 403 403 | 200 422",
    "notifications": PAGE,
    "notification-list": PART,
    "notifications-read": "302 302 | 405 303 | 405 303 | 405 303",
    "notification": "302 302 | 200 303 | 200 303 | 200 303",
    "operations": PAGE,
    "operation-queue": PART,
    "operations-done": PART,
    "operation": PAGE,
    "operation-progress": PART,
    "operation-log": PART,
    "operation-log-file": PAGE,
    "operation-unrestored": PART,
    "operation-unrestored-csv": PAGE,
    "operation-stop": "302 302 | 403 403 | 403 403 | 303 303",
    "operation-retry": "302 302 | 405 403 | 405 303 | 405 303",
    "settings": "302 302 | 200 403 | 200 403 | 200 200",
    "settings-schedules": "302 302 | 403 403 | 403 403 | 405 422",
    "audit": ADMINISTRATORS_PAGE,
}
"""GET and POST of who is not logged in, of a Viewer, an Operator, an Administrator."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.fixture
def site(scanned: Server) -> Site:
    """Return a console with one of everything."""
    return pages.site(scanned)


def statuses(client: Client, get: str, post: str) -> str:
    """Return how an address answers a GET and then a POST of a role."""
    return f"{client.get(get).status_code} {client.post(post).status_code}"


# The matrix


def test_every_address_answers_every_role_as_the_table_says(site: Site) -> None:
    clients = {role: site.client(role) for role in ROLES_SEEN}
    found = {
        name: " | ".join(
            statuses(client, site.address(name, role), site.address(name, role))
            for role, client in clients.items()
        )
        # After it nobody is logged in.
        for name in sorted(pages.names(), key=lambda name: name == "logout")
    }
    assert found == EXPECTED


@pytest.mark.parametrize("pattern", urlpatterns, ids=lambda pattern: pattern.name)
def test_every_view_says_who_may_open_it(pattern: URLPattern) -> None:
    permission = getattr(pattern.callback, "permission", "nothing")
    assert permission in {*PERMISSIONS, "", None}


def test_only_login_and_sign_of_life_are_open_to_the_world() -> None:
    opened = {each.name for each in urlpatterns if getattr(each.callback, "permission", "") is None}
    assert opened == {"login", "health"}


def test_a_permission_granted_to_a_user_counts_beside_the_role(site: Site) -> None:
    viewer = site.users["Viewer"]
    viewer.user_permissions.add(permission("run_scan"))
    assert site.client("Viewer").get(reverse("smartscan", args=["mail1"])).status_code == 200


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def test_no_control_is_drawn_that_would_be_refused(site: Site) -> None:
    text = site.client("Viewer").get(reverse("server", args=["mail1"])).content.decode()
    assert "Run SmartScan" not in text
    assert "Stop all Operations" not in text
    assert reverse("accounts") not in text
    assert reverse("audit") not in text


def test_a_user_who_was_switched_off_is_out_at_once(site: Site) -> None:
    client = site.client("Operator")
    User.objects.filter(username="operator").update(is_active=False)
    assert client.get("/").status_code == 302


# What lists load


LISTS = (
    *("dashboard", "dashboard-cards", "queue-badge", "servers", "server", "server-live"),
    *("operations", "operation-queue", "operations-done", "notifications", "notification-list"),
)


def test_no_list_loads_what_operations_have_ended_with(site: Site) -> None:
    client = site.client("Administrator")
    for name in LISTS:
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(site.address(name, "Administrator"))
        assert (name, answer.status_code) == (name, 200)
        assert (name, [each["sql"] for each in queries if "outcome" in each["sql"]]) == (name, [])


# Addresses that no page has


NO_PAGES = {
    "/servers/%00/": 404,
    "/accounts/%00/": 404,
    "/cos/%00/x/": 404,
    "/cos/mail1/a%1fb/": 404,
    "/operations/?server=%00": 400,
    "/operations/done/?server=%00": 400,
    "/audit/?q=a%00b": 400,
    "/accounts/?server=%00": 400,
}


def test_an_address_with_a_nul_or_a_control_character_is_no_page(site: Site) -> None:
    client = site.client("Administrator")
    answers = {path: client.get(path) for path in NO_PAGES}
    assert {path: answer.status_code for path, answer in answers.items()} == NO_PAGES
    assert [path for path in answers if b"<h1>" not in answers[path].content] == []


def test_lines_and_letters_of_all_the_world_may_be_searched_for(site: Site) -> None:
    assert site.client("Administrator").get("/audit/?q=a%0Ab+%C3%A9").status_code == 200


# Where a request comes from


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::1", "198.51.100.1, 2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
    ],
)
def test_only_the_last_word_of_a_proxy_on_loopback_counts(
    peer: str, forwarded: str, found: str
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)
    assert client_address(request) == found


# Before there is anybody


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/login/", "/servers/", "/audit/", "/preferences/"])
def test_without_an_administrator_every_page_says_how_to_make_one(
    client: Client, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 503
    assert "createuser" in answer.content.decode()


@pytest.mark.django_db
def test_an_operator_alone_does_not_open_the_console(client: Client) -> None:
    User.objects.create_user("operator")
    assert client.post("/login/", {"username": "operator", "password": "x"}).status_code == 503


@pytest.mark.django_db
def test_the_sign_of_life_needs_no_administrator(client: Client) -> None:
    assert client.get("/healthz").content == b"ok\n"


# What every answer carries


POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "font-src 'self'",
    "form-action 'self'",
    "frame-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "object-src 'none'",
}


def carried(answer: Any) -> dict[str, str]:
    return {name: answer.headers.get(name, "missing") for name in HEADERS}


def is_safe(answer: Any) -> bool:
    """Say whether an answer carries the whole policy, and the headers beside it."""
    policy = answer.headers.get("Content-Security-Policy", "")
    return carried(answer) == HEADERS and set(policy.split("; ")) == POLICY


def test_every_page_carries_the_policy_and_the_safe_headers(site: Site) -> None:
    client = site.client("Administrator")
    answers = {name: client.get(site.address(name, "Administrator")) for name in pages.names()}
    assert [name for name, answer in answers.items() if not is_safe(answer)] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/nothing/", "/static/console/app.js", "/static/nothing.js", "/", "/login/"]
)
def test_answers_without_a_login_carry_them_too(client: Client, path: str) -> None:
    with contextlib.closing(client.get(path)) as answer:
        assert is_safe(answer)


def test_refusals_and_a_lost_form_carry_them_too(site: Site) -> None:
    refused = site.client("Viewer").get("/audit/")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(site.users["Viewer"])
    lost = strict.post("/preferences/", {"theme": "dark"})
    assert (refused.status_code, lost.status_code) == (403, 403)
    assert is_safe(refused)
    assert is_safe(lost)
    assert not Preferences.objects.exists()


def test_a_defect_carries_them_and_shows_no_detail(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server.objects, "order_by", None)
    answer = site.client("Viewer").get("/")
    assert answer.status_code == 500
    assert is_safe(answer)
    assert "order_by" not in answer.content.decode()


def test_nothing_of_a_login_stays_in_the_browser(site: Site) -> None:
    assert site.client("Viewer").get("/").headers["Cache-Control"] == "no-store"


# When a login ends


@pytest.fixture
def client_of_anna(django_user_model: type[User], db: None, client: Client) -> Client:
    """Return a browser whose user logged in at midnight."""
    anna = django_user_model.objects.create_user("anna")
    with time_machine.travel("2026-11-25T00:00:00Z", tick=False):
        client.force_login(anna)
    return client


def get_at(client: Client, time: str, path: str = "/preferences/") -> int:
    with time_machine.travel(f"2026-11-25T{time}Z", tick=False):
        return client.get(path).status_code


def test_a_login_ends_after_half_an_hour_without_a_page(client_of_anna: Client) -> None:
    assert get_at(client_of_anna, "00:00:01") == 200
    assert get_at(client_of_anna, "00:29:00") == 200
    assert get_at(client_of_anna, "00:58:30") == 200
    assert get_at(client_of_anna, "01:29:00") != 200


def test_what_pages_fetch_by_themselves_prolongs_nothing(client_of_anna: Client) -> None:
    User.objects.get(username="anna").user_permissions.add(permission("view_status"))
    assert get_at(client_of_anna, "00:00:01") == 200
    assert get_at(client_of_anna, "00:20:00", "/-/queue-badge/") == 200
    assert get_at(client_of_anna, "00:29:59", "/-/queue-badge/") == 200
    assert get_at(client_of_anna, "00:30:30", "/-/queue-badge/") == 401


def test_a_login_ends_after_ten_hours_however_busy(client_of_anna: Client) -> None:
    start = datetime.fromisoformat("2026-11-25T00:00:00Z")
    answers = []
    for minutes in range(0, 620, 20):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=False):
            answers.append(client_of_anna.get("/preferences/").status_code)
    assert answers[:30] == [200] * 30
    assert answers[-1] != 200
    assert timedelta(hours=10) == django_settings.SESSION_ABSOLUTE


# The time zone


def test_times_are_shown_in_the_zone_of_the_user(site: Site) -> None:
    Preferences.objects.create(user=site.users["Viewer"], zone="Asia/Kathmandu")
    text = site.client("Viewer").get("/").content.decode()
    assert 'data-zone="Asia/Kathmandu"' in text
    assert "+0545" in text


def test_a_zone_that_is_no_more_gives_way_to_that_of_the_host(site: Site) -> None:
    Preferences.objects.create(user=site.users["Viewer"], zone="Mars/Olympus")
    assert site.client("Viewer").get("/").status_code == 200


def test_the_zone_of_one_user_is_not_that_of_the_next(site: Site) -> None:
    Preferences.objects.create(user=site.users["Viewer"], zone="Asia/Kathmandu")
    site.client("Viewer").get("/")
    assert "Kathmandu" not in site.client("Operator").get("/").content.decode()
