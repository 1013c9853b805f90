"""Asking for an operation again from its page: a scan at once, a restore by its wizard."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from backupng.engine.model import EntryKind
from backupng.engine.operations.smart_scan import SmartScan
from console import connect, queue, roles, summary, wizard, wizards
from console.models import AuditEntry, Draft, QueuedOperation, Server, State
from tests.console.queued import RESTORE, add, login, lossy, words


@pytest.fixture
def admin(client: Client, server: Server) -> User:
    """Return an administrator, who is logged in."""
    return login(client, roles.ADMINISTRATOR)


def ask_again(client: Client, row: QueuedOperation) -> str:
    """Press the button and return where that leads."""
    response = client.post(reverse("operation-retry", args=[row.pk]))
    assert response.status_code == 303
    address: str = response.headers["Location"]
    return address


def test_a_scan_is_queued_again_with_its_parameters(client: Client, admin: User) -> None:
    row = add(State.INTERRUPTED, parameters={"deep": "true"})
    address = ask_again(client, row)
    again = QueuedOperation.objects.get(state=State.QUEUED)
    assert address == reverse("operation", args=[again.pk])
    assert (again.parameters, again.resumes, again.requester) == ({"deep": "true"}, row, admin)
    assert AuditEntry.objects.get(action="repeat operation").subject == str(row.pk)


@pytest.mark.usefixtures("admin")
def test_a_scan_that_waits_already_is_not_queued_twice(client: Client) -> None:
    row = add(State.FAILED)
    first = ask_again(client, row)
    assert ask_again(client, row) == first
    assert "The same was asked for already" in words(client.get(first))
    assert QueuedOperation.objects.filter(state=State.QUEUED).count() == 1


@pytest.mark.usefixtures("admin")
def test_a_form_that_is_sent_twice_asks_once_though_the_first_has_ended(client: Client) -> None:
    row = add(State.FAILED)
    address = reverse("operation-retry", args=[row.pk])
    page = client.get(reverse("operation", args=[row.pk])).content.decode()
    (form,) = re.findall(r'name="form" value="([^"]+)"', page)
    first = client.post(address, {"form": form})["Location"]
    QueuedOperation.objects.filter(resumes=row).update(state=State.FAILED, ended_at=timezone.now())
    assert client.post(address, {"form": form})["Location"] == first
    assert QueuedOperation.objects.count() == 2


@pytest.mark.usefixtures("admin")
def test_a_scan_whose_repetition_has_ended_can_be_asked_for_once_more(client: Client) -> None:
    row = add(State.FAILED)
    first = ask_again(client, row)
    QueuedOperation.objects.filter(resumes=row).update(state=State.FAILED, ended_at=timezone.now())
    assert ask_again(client, row) != first


def test_a_scan_that_cannot_be_says_why(client: Client, server: Server, admin: User) -> None:
    connect.set_property(server, "ZxBackup_SpaceThreshold", "999999999")
    row = add(State.FAILED)
    page = client.get(ask_again(client, row))
    assert "are free on the disk of the Backup Path" in words(page)
    assert not QueuedOperation.objects.filter(state=State.QUEUED).exists()


def test_a_restore_begins_its_wizard_with_the_same_words(
    client: Client, server: Server, admin: User
) -> None:
    queue.submit(server, SmartScan())
    queue.drain(server)
    with connect.context(server) as ctx:
        source = ctx.destination.entry(EntryKind.ACCOUNT, "a1@example.com")
    assert source is not None
    texts: dict[str, Any] = RESTORE | {"date": "last", "hide_in_gal": "true"}
    row = add(State.FAILED, command="doRestoreOnNewAccount", parameters=texts)
    address = ask_again(client, row)
    draft = Draft.objects.get()
    assert (draft.owner, draft.server, draft.account_id) == (admin, server, source.entry_id)
    assert address == reverse("wizard-step", args=[draft.pk, next(iter(draft.words))])
    assert "new@example.com" in client.get(address).content.decode()
    run = wizard.Run(wizards.RESTORE, draft)
    assert run.first_invalid(before=wizard.SUMMARY) is None
    assert summary.finish(run, run.operation()).resumes == row


@pytest.mark.usefixtures("admin")
def test_a_restore_of_an_account_that_nobody_knows_says_so(client: Client) -> None:
    row = add(**lossy())
    page = client.get(ask_again(client, row), follow=True)
    assert page.status_code == 200
    assert not Draft.objects.exists()


@pytest.mark.usefixtures("admin")
def test_a_restore_without_losses_is_not_offered_again(client: Client) -> None:
    row = add(command="doRestoreOnNewAccount", parameters=RESTORE)
    assert client.post(reverse("operation-retry", args=[row.pk])).status_code == 403


@pytest.mark.usefixtures("admin")
def test_what_an_import_did_not_bring_is_asked_for_alone_on_the_summary(client: Client) -> None:
    texts = {"source_path": "/backup/old", "accounts": "anna@example.com"}
    row = add(**lossy(command="doExternalRestore", parameters=texts))
    page = client.get(reverse("operation", args=[row.pk]))
    answer = client.post(reverse("operation-retry", args=[row.pk]), {"these": "1"})
    draft = Draft.objects.get()
    other = Draft.objects.get(pk=ask_again(client, row).split("/")[2])
    assert "Retry these" in words(page)
    assert answer["Location"] == reverse("wizard-step", args=[draft.pk, wizard.SUMMARY])
    assert draft.words["options"]["retry"] == "true"
    assert "retry" not in other.words["options"]


@pytest.mark.usefixtures("server")
def test_who_may_not_import_is_not_offered_to_retry_what_is_missing(client: Client) -> None:
    login(client, roles.OPERATOR)
    row = add(**lossy(command="doExternalRestore", parameters={"source_path": "/backup/old"}))
    assert "Retry these" not in words(client.get(reverse("operation", args=[row.pk])))


@pytest.mark.usefixtures("server")
def test_a_viewer_cannot_ask_again(client: Client) -> None:
    login(client, roles.VIEWER)
    row = add(State.FAILED)
    assert client.post(reverse("operation-retry", args=[row.pk])).status_code == 403
    assert QueuedOperation.objects.count() == 1
