"""The audit log: every entry follows from the one before, and nothing keeps a page from working."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError
from django.db.models.signals import pre_save
from django.test import Client, RequestFactory
from pytest_django import Settings

from console import audit
from console.models import AuditEntry
from tests.console.rows import HOSTILE

PASSWORD = "a long password of anna"


@pytest.fixture
def anna(db: None, settings: Settings) -> User:
    """Return an administrator."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    user = User.objects.create_user("anna", "anna@example.com", PASSWORD)
    user.groups.add(Group.objects.get(name="Administrator"))
    return user


def add(number: int) -> None:
    audit.note_as("anna", "act", client=audit.CLI, subject=str(number))


def entries() -> list[tuple[str, str, str]]:
    """Return user, action and result of all entries, oldest first."""
    return list(AuditEntry.objects.order_by("pk").values_list("user", "action", "result"))


# The chain


@pytest.mark.django_db
def test_no_entry_is_a_whole_chain() -> None:
    assert audit.verify() is None


@pytest.mark.django_db
def test_entries_that_nobody_touched_are_a_whole_chain() -> None:
    for number in range(3):
        add(number)
    assert audit.verify() is None


@pytest.mark.django_db
@pytest.mark.parametrize("field", ["user", "client", "action", "subject", "result", "detail"])
def test_a_changed_entry_breaks_the_chain(field: str) -> None:
    for number in range(3):
        add(number)
    second = AuditEntry.objects.order_by("pk")[1]
    AuditEntry.objects.filter(pk=second.pk).update(**{field: "other"})
    assert audit.verify() == second.pk


@pytest.mark.django_db
def test_an_entry_taken_out_breaks_the_chain_at_the_next() -> None:
    for number in range(3):
        add(number)
    _first, second, third = AuditEntry.objects.order_by("pk")
    second.delete()
    assert audit.verify() == third.pk


@pytest.mark.django_db
def test_a_first_entry_taken_out_breaks_the_chain() -> None:
    add(1)
    add(2)
    first, second = AuditEntry.objects.order_by("pk")
    first.delete()
    assert audit.verify() == second.pk


@pytest.mark.django_db
def test_a_writer_that_was_overtaken_tries_again() -> None:
    def overtake(**_: object) -> None:
        pre_save.disconnect(overtake, AuditEntry)
        add(2)

    add(0)
    # What is added here has the place in the chain that the one being saved was to have.
    pre_save.connect(overtake, AuditEntry)
    add(1)
    assert "1" in AuditEntry.objects.values_list("subject", flat=True)
    assert audit.verify() is None


# Texts


@pytest.mark.django_db
@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_kept_in_one_line_that_can_be_read(text: str) -> None:
    audit.note_as(text, text, client=text, subject=text, result=text, detail=text)
    entry = AuditEntry.objects.get()
    assert len(entry.detail.splitlines()) <= 1
    assert len(entry.client) <= 64
    assert entry.detail.isprintable() or "\uffff" in entry.detail
    assert audit.verify() is None


@pytest.mark.django_db
def test_an_entry_that_cannot_be_written_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_arguments: object, **_names: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(AuditEntry, "save", refuse)
    add(1)
    assert "not in the audit log" in caplog.text


@pytest.mark.django_db
def test_a_request_says_who_and_from_where(anna: User) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7")
    request.user = anna
    audit.note(request, "act", subject="mail1", detail="in detail")
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.client, entry.subject) == ("anna", "192.0.2.7", "mail1")


# Logins


def log_in(client: Client, password: str) -> None:
    client.post("/login/", {"username": "anna", "password": password})


def test_login_and_logout_are_written_down(anna: User, client: Client) -> None:
    log_in(client, PASSWORD)
    client.post("/logout/")
    assert entries() == [("anna", "login", "done"), ("anna", "logout", "done")]


def test_failures_are_written_down_up_to_the_lock_out(anna: User, client: Client) -> None:
    for _ in range(9):
        log_in(client, "x")
    found = entries()
    assert found.count(("anna", "login", "locked out")) == 1
    assert 4 <= found.count(("anna", "login", "refused")) <= 5
    assert audit.verify() is None


def test_a_password_is_never_written_down(anna: User, client: Client) -> None:
    log_in(client, "a secret that was mistyped")
    assert "mistyped" not in str(list(AuditEntry.objects.values()))


# The page


def page(client: Client, anna: User, query: str = "") -> str:
    client.force_login(anna)
    return client.get(f"/audit/{query}").content.decode()


def test_the_page_shows_who_did_what_newest_first(anna: User, client: Client) -> None:
    add(1)
    audit.note_as("anna", "act", client=audit.CLI, subject="<b>two</b>")
    text = page(client, anna)
    assert "&lt;b&gt;two&lt;/b&gt;" in text
    assert text.index("two") < text.index(">act<", text.index("two") + 50)


def test_the_page_finds_words(anna: User, client: Client) -> None:
    audit.note_as("berta", "doSmartScan", client=audit.CLI, subject="mail7")
    assert "mail7" in page(client, anna, "?q=berta+smartscan")
    assert "No entry contains" in page(client, anna, "?q=nobody")


def test_the_page_checks_the_chain_when_asked(anna: User, client: Client) -> None:
    add(1)
    assert "Each entry follows" in page(client, anna, "?verify=1")
    entry = AuditEntry.objects.order_by("pk")[0]
    AuditEntry.objects.filter(pk=entry.pk).update(user="berta")
    assert f"Entry {entry.pk} does not follow" in page(client, anna, "?verify=1")


def test_the_page_has_further_pages(anna: User, client: Client) -> None:
    for number in range(51):
        add(number)
    assert 'rel="next"' in page(client, anna)
    assert 'rel="prev"' in page(client, anna, "?page=2")
