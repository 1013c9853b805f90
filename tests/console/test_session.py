"""Logging in and out, and the preferences of a user."""

from __future__ import annotations

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from console.models import AuditEntry, Preferences

PASSWORD = "a long password of anna"


@pytest.fixture
def anna(db: None, settings: Settings) -> User:
    """Return an administrator."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    user = User.objects.create_user("anna", "anna@example.com", PASSWORD)
    user.groups.add(Group.objects.get(name="Administrator"))
    return user


def log_in(client: Client, password: str, *, name: str = "anna", address: str = "127.0.0.1"):
    return client.post("/login/", {"username": name, "password": password}, REMOTE_ADDR=address)


def shown(answer: HttpResponse, name: str) -> str:
    """Return the page without what was typed and without its token."""
    lines = answer.content.decode().replace(f'value="{name}"', "").splitlines()
    return "\n".join(line for line in lines if "csrfmiddlewaretoken" not in line)


def test_who_is_not_logged_in_comes_back_to_the_page_that_was_asked_for(
    anna: User, client: Client
) -> None:
    asked = client.get("/servers/?x=1", follow=True)
    assert 'name="next" value="/servers/?x=1"' in asked.content.decode()
    answer = client.post(
        "/login/", {"username": "anna", "password": PASSWORD, "next": "/servers/?x=1"}
    )
    assert answer.headers["Location"] == "/servers/?x=1"


def test_nobody_is_led_to_another_site(anna: User, client: Client) -> None:
    answer = client.post(
        "/login/", {"username": "anna", "password": PASSWORD, "next": "https://evil.example/"}
    )
    assert answer.headers["Location"] == "/"


def test_the_session_has_a_new_name_after_the_login(anna: User, client: Client) -> None:
    client.get("/login/")
    session = client.session
    session["before"] = True
    session.save()
    before = session.session_key
    log_in(client, PASSWORD)
    assert client.session.session_key != before


def test_an_unknown_user_and_a_wrong_password_look_the_same(anna: User, client: Client) -> None:
    wrong = log_in(client, "x")
    unknown = log_in(client, "x", name="nobody")
    assert wrong.status_code == unknown.status_code == 200
    assert shown(wrong, "anna") == shown(unknown, "nobody")


def test_after_five_failures_the_right_password_is_refused_too(anna: User, client: Client) -> None:
    answers = [log_in(client, "x").status_code for _ in range(5)]
    late = log_in(client, PASSWORD)
    assert answers == [200] * 4 + [429]
    assert late.status_code == 429
    assert "15 minutes" in late.content.decode()


def test_a_guesser_locks_nobody_out_elsewhere(anna: User, client: Client) -> None:
    for _ in range(5):
        log_in(client, "x", address="192.0.2.1")
    assert log_in(client, PASSWORD, address="192.0.2.2").status_code == 302


def test_a_guesser_locks_nobody_out_who_comes_by_the_same_proxy(anna: User, client: Client) -> None:
    words = {"username": "anna", "password": "x"}
    for _ in range(6):
        client.post("/login/", words, headers={"X-Forwarded-For": "203.0.113.9"})
    right = words | {"password": PASSWORD}
    answer = client.post("/login/", right, headers={"X-Forwarded-For": "198.51.100.1"})
    assert answer.status_code == 302
    assert set(AuditEntry.objects.values_list("client", flat=True)) == {
        "203.0.113.9",
        "198.51.100.1",
    }


def test_many_names_from_one_address_lock_out_the_address_and_fill_no_table(
    anna: User, client: Client, settings: Settings
) -> None:
    settings.ADDRESS_FAILURE_LIMIT = 7
    answers = [log_in(client, "x", name=f"guess{number}") for number in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 6
    assert log_in(client, PASSWORD).status_code == 429
    assert log_in(client, PASSWORD, address="192.0.2.2").status_code == 302
    assert AccessAttempt.objects.count() == 7
    assert AuditEntry.objects.exclude(result="done").count() <= 7


def test_unknown_names_are_locked_out_alike(anna: User, client: Client) -> None:
    answers = [log_in(client, "x", name="nobody").status_code for _ in range(5)]
    assert answers == [200] * 4 + [429]


def test_a_lock_out_ends(anna: User, client: Client) -> None:
    with time_machine.travel("2026-11-25T12:00:00Z", tick=False):
        for _ in range(5):
            log_in(client, "x")
    with time_machine.travel("2026-11-25T12:16:00Z", tick=False):
        assert log_in(client, PASSWORD).status_code == 302


def test_logging_out_ends_the_session_on_the_server(anna: User, client: Client) -> None:
    log_in(client, PASSWORD)
    stolen = client.cookies["session"].value
    client.post("/logout/")
    client.cookies["session"] = stolen
    assert client.get("/").status_code == 302


def test_cookies_are_not_for_scripts_and_other_sites(anna: User, client: Client) -> None:
    client.get("/login/")
    log_in(client, PASSWORD)
    flags = {(each["httponly"], each["samesite"]) for each in client.cookies.values()}
    assert flags == {(True, "Lax")}


# Preferences


@pytest.fixture
def logged_in(anna: User, client: Client) -> Client:
    """Return her browser."""
    client.force_login(anna)
    return client


def test_preferences_are_kept_and_count_at_once(logged_in: Client) -> None:
    answer = logged_in.post("/preferences/", {"theme": "dark", "zone": "europe/rome"}, follow=True)
    text = answer.content.decode()
    assert Preferences.objects.get().zone == "Europe/Rome"
    assert '<html lang="en" data-theme="dark">' in text
    assert 'data-zone="Europe/Rome"' in text
    assert "Your preferences are kept." in text


def test_preferences_are_changed_and_emptied(logged_in: Client) -> None:
    logged_in.post("/preferences/", {"theme": "dark", "zone": "Europe/Rome"})
    logged_in.post("/preferences/", {"theme": "", "zone": ""})
    mine = Preferences.objects.get()
    assert (mine.theme, mine.zone) == ("", "")


@pytest.mark.parametrize(
    "typed",
    [
        {"theme": "pink", "zone": ""},
        {"theme": "", "zone": "Mars/Olympus"},
        {"theme": "", "zone": "../../etc/passwd"},
        {"theme": "", "zone": "a\x00b"},
        {"theme": "", "zone": "x" * 100},
    ],
)
def test_what_is_no_preference_is_refused_with_the_reason(
    logged_in: Client, typed: dict[str, str]
) -> None:
    answer = logged_in.post("/preferences/", typed)
    assert answer.status_code == 422
    assert "err-text" in answer.content.decode()
    assert not Preferences.objects.exists()


def test_preferences_are_those_of_their_user_alone(logged_in: Client, anna: User) -> None:
    other = User.objects.create_user("other")
    Preferences.objects.create(user=other, theme="dark")
    assert "data-theme" not in logged_in.get("/preferences/").content.decode()
