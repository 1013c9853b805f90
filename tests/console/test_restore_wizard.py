"""The Restore wizard: its steps in the manual's order, and every word it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.urls import reverse

from backupng.engine.errors import BadRequest
from backupng.engine.model import BACKUP_DISABLED
from console import connect, queue, summary, wizard, wizards
from console.models import AuditEntry, Preferences, QueuedOperation, Server
from tests.console.prototypes import smart_scan
from tests.console.restoring import DATE, LAST, MODE, NOW, Page, Visitor, a_user

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>@example.com',
    "two words@example.com",
    "a@b@example.com",
    "nul\0l@example.com",
    "new\nline@example.com",
    "\u202eevil@example.com",
    "пользователь@example.com",
    f"{'x' * 300}@example.com",
    "@example.com",
    "'; DROP TABLE console_draft; --",
    "{{ request }}",
]


@pytest.fixture
def clock() -> Iterator[Any]:
    """Let it be NOW until a test moves on."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def anna(scanned: Server, clock: Any) -> Visitor:
    """Return an operator who has begun a run."""
    visitor = Visitor(a_user())
    visitor.begin()
    return visitor


def in_zone(zone: str) -> None:
    Server.objects.update(zone=zone)


# The way through


def test_the_steps_are_those_of_the_manual(anna: Visitor) -> None:
    mode = Page(anna.see("mode"))
    assert "1 Mode 2 Date 3 Operation Summary" in mode.text
    assert "Restore on New Account" in mode.text
    assert "Hide in GAL" in mode.text
    assert "The source account stays unchanged." in mode.text
    assert "Shares are not carried over" in mode.text
    assert "Cancel Next" in mode.text
    assert [each["value"] for each in mode.inputs if "checked" in each] == ["new"]
    assert anna.send("mode", **MODE)["Location"] == anna.url("date")
    assert "Cancel Previous Next" in Page(anna.see("date")).text
    assert anna.send("date", **DATE)["Location"] == anna.url("summary")
    assert "Cancel Previous Finish" in Page(anna.see("summary")).text


def test_the_summary_says_every_choice_in_words(anna: Visitor) -> None:
    in_zone("Europe/Rome")
    Preferences.objects.create(user=User.objects.get(username="anna"), zone="Asia/Tokyo")
    text = Page(anna.at_summary().see("summary")).text
    for words in (
        "Mode Restore on New Account",
        "Source a1@example.com",
        "Destination again@example.com (will be made)",
        "Hide in GAL Yes Obey HSM Policy No",
        "At 28/09/2026 10:15:10 Europe/Rome",
        "In your zone 28/09/2026 17:15:10 Asia/Tokyo",
        "In UTC 28/09/2026 08:15:10 UTC",
        "Server mail1",
        "Shares are not carried over",
        "The source account stays unchanged.",
        "Account settings are those read at 02/03/2026 13:00:00 Europe/Rome.",
        "doRestoreOnNewAccount a1@example.com again@example.com '28/09/2026 10:15:10' hide_in_gal",
    ):
        assert words in text


def test_what_finish_starts_restores_the_account(anna: Visitor, scanned: Server) -> None:
    anna.at_summary(**LAST).finish()
    queue.drain(scanned)
    row = QueuedOperation.objects.get()
    with connect.sandbox("mail1") as sandbox:
        made = sandbox.list("again@example.com")["account"]["name"]
    assert (row.state, made) == ("successful", "again@example.com")


def test_last_is_a_choice_of_its_own(anna: Visitor) -> None:
    text = Page(anna.at_summary(**LAST).see("summary")).text
    assert "At Last: the newest state in the backup" in text
    anna.finish()
    assert QueuedOperation.objects.get().parameters["date"] == "last"
    assert "Hide in GAL Yes" in text


def test_of_two_accounts_of_one_name_the_id_tells_which(anna: Visitor) -> None:
    with connect.sandbox("mail1") as sandbox:
        sandbox.delete_account("a1@example.com")
    smart_scan(Server.objects.get())
    with connect.sandbox("mail1") as sandbox:
        sandbox.create_account("a1@example.com")
    smart_scan(Server.objects.get())
    text = Page(anna.at_summary().see("summary")).text
    anna.finish()
    assert QueuedOperation.objects.get().parameters["source_account"] == anna.account
    assert "Source a1@example.com" in text


def test_backup_that_is_switched_off_is_said_on_the_summary(anna: Visitor) -> None:
    with connect.sandbox("mail1") as sandbox:
        sandbox.set_cos_notes("default", BACKUP_DISABLED)
    text = Page(anna.at_summary().see("summary")).text
    assert "Backup is off for the class of service default" in text


# Destination


def test_a_bare_name_gets_the_domain_of_the_source(anna: Visitor) -> None:
    anna.send("mode", mode="new", destination_account=" Again ")
    assert anna.row.words["mode"]["destination_account"] == "again@example.com"


NO_DESTINATIONS = (
    ("", "Type the name of the new account."),
    ("   ", "Type the name of the new account."),
    ("a2", "The account a2@example.com exists."),
    ("A1@Example.COM", "The account a1@example.com exists."),
    ("everyone@example.com", "The distribution list everyone@example.com exists."),
    ("again@elsewhere.org", "The domain elsewhere.org does not exist."),
    ("again@", "is no mail address"),
)


def test_a_destination_that_cannot_be_is_refused_and_kept(anna: Visitor) -> None:
    for name, message in NO_DESTINATIONS:
        answer = anna.send("mode", mode="new", destination_account=name, hide_in_gal="on")
        page = Page(answer)
        assert (name, answer.status_code) == (name, 422)
        assert (name, page.text.count(message)) == (
            name,
            2,
        )  # in the error summary, and below the field
        [field] = [each for each in page.inputs if each["name"] == "destination_account"]
        assert (field.get("value") or "").strip() == name.strip()
        [box] = [each for each in page.inputs if each["name"] == "hide_in_gal"]
        assert "checked" in box
        assert "mode" not in anna.row.words, name


def test_a_hostile_name_is_refused_and_shown_as_text(anna: Visitor) -> None:
    for name in HOSTILE:
        answer = anna.send("mode", mode="new", destination_account=name)
        page = Page(answer)
        assert (name, answer.status_code) == (name, 422)
        assert (name, page.forbidden) == (name, [])
        assert "<img" not in answer.content.decode()
        assert "mode" not in anna.row.words, name


def test_an_alias_of_another_account_is_not_free(anna: Visitor, scanned: Server) -> None:
    with connect.context(scanned) as ctx:
        made = ctx.destination.create_account("a3@example.com", {})
        ctx.destination.add_alias(made, "third@example.com")
    answer = anna.send("mode", mode="new", destination_account="third")
    assert "The account third@example.com exists." in Page(answer).text


def test_an_address_that_a_queued_restore_makes_is_not_free(anna: Visitor) -> None:
    anna.at_summary().finish()
    typed = QueuedOperation.objects.get().parameters | {"destination_account": "AGAIN@example.com"}
    QueuedOperation.objects.update(parameters=typed)
    anna.begin()
    answer = anna.send("mode", **MODE)
    assert answer.status_code == 422
    assert "An operation in the queue makes the account again@example.com." in Page(answer).text


def test_the_address_of_a_deleted_account_is_free_and_said_so(anna: Visitor) -> None:
    with connect.sandbox("mail1") as sandbox:
        sandbox.delete_account("a2@example.com")
    smart_scan(Server.objects.get())
    part = anna.client.get(
        anna.url("mode", "check"), {"field": "destination_account", "destination_account": "a2"}
    )
    summary = Page(anna.at_summary(destination_account="a2").see("summary"))
    assert "The backup knows a deleted account of this name" in part.content.decode()
    assert "The backup knows a deleted account a2@example.com" in summary.text


def test_a_destination_taken_before_finish_is_an_error_of_its_step(anna: Visitor) -> None:
    anna.at_summary()
    shown = anna.see("summary").context["summary"].digest
    with connect.sandbox("mail1") as sandbox:
        sandbox.create_account("again@example.com")
    answer = anna.send("summary", shown=shown)
    page = Page(anna.client.get(answer["Location"]))
    assert answer["Location"] == anna.url("mode")
    assert "The account again@example.com exists." in page.text
    assert not QueuedOperation.objects.exists()


def test_a_mode_that_does_not_exist_is_refused(anna: Visitor) -> None:
    assert anna.send("mode", **(MODE | {"mode": "other"})).status_code == 422


def test_one_field_can_be_checked_alone(anna: Visitor) -> None:
    query = {"field": "destination_account", "destination_account": "a2"}
    [field] = [each for each in Page(anna.see("mode")).inputs if each.get("hx-include")]
    part = anna.client.get(anna.url("mode", "check"), query)
    assert (field["name"], field["hx-include"]) == ("destination_account", "#mode")
    assert part.status_code == 200
    assert "The account a2@example.com exists." in part.content.decode()
    assert "<html" not in part.content.decode()
    assert anna.client.get(anna.url("mode", "check"), {"field": "mode"}).status_code == 404


# Refused at the very end


def test_what_the_operation_itself_refuses_is_shown_and_noted(
    anna: Visitor, scanned: Server
) -> None:
    anna.at_summary()
    shutil.rmtree(scanned.path / "checkpoint")
    shown = anna.see("summary").context["summary"].digest
    answer = anna.send("summary", shown=shown, notifications="x@example.com")
    text = Page(answer).text
    assert answer.status_code == 422
    assert "No SmartScan has ever ended" in text
    assert "x@example.com" in text
    assert not QueuedOperation.objects.exists()
    assert AuditEntry.objects.get(result="refused").subject == "a1@example.com"


def test_an_error_of_the_operation_is_put_on_the_field_it_is_about(anna: Visitor) -> None:
    anna.at_summary()
    run = wizard.Run(wizards.RESTORE, anna.row)
    assert run.first_invalid(before="summary") is None
    form = summary.refused_by(run, BadRequest("The account is there.", code="already_exists"))
    assert form is run.form("mode")
    assert form.errors == {"destination_account": ["The account is there."]}
    early = BadRequest("Too early.", code="before_first_backup", hint="Take a later one.")
    assert summary.refused_by(run, early) is run.form("date")
    assert run.form("date").problems == [("id_day", "Too early. Take a later one.")]
    assert summary.refused_by(run, BadRequest("No.", code="no_space")) is None


def test_a_backup_path_that_is_gone_is_said_where_a_restore_begins(
    anna: Visitor, scanned: Server
) -> None:
    address = reverse("restore", args=[anna.account])
    shutil.move(scanned.path, scanned.path.with_name("away"))
    for answer in (anna.client.get(address), anna.client.post(address)):
        assert answer.status_code == 503
        assert "cannot be read now" in Page(answer).text
        assert "Nothing of this account" not in Page(answer).text
