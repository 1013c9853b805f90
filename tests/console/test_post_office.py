"""Who sends the mails of a host: one process at a time, in shifts, and never before the queue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from backupng.engine.operations.smart_scan import SmartScan
from console import bells, hosting, queue, tasks
from console.models import Delivery, Level, Notification, Server
from tests.console.post import Office, open_office

WAITING = "waiting"


@pytest.fixture
def office(settings: Settings) -> Iterator[Office]:
    """Take the mails of the console."""
    made = Office()
    with open_office(made) as port:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield made


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> tasks.Ending:
    """Return the end of the service, as this test announces it."""
    made = tasks.Ending()
    monkeypatch.setattr(tasks, "ENDING", made)
    return made


def mail_to(*addresses: str) -> None:
    told = Notification.objects.create(level=Level.WARNING, group="operations", subject="s")
    for address in addresses:
        Delivery.objects.create(notification=told, address=address)


def rung() -> list[str]:
    return [each.func() for each in OrmQ.objects.order_by("pk")]


@pytest.mark.usefixtures("unscheduled")
def test_a_tick_runs_the_queue_and_leaves_the_mails_to_the_post(
    server: Server, office: Office
) -> None:
    row = queue.submit(server, SmartScan())
    mail_to("a@x.org")
    OrmQ.objects.all().delete()
    tasks.tick("mail1")
    row.refresh_from_db()
    assert row.state == "successful"
    assert office.tried == []
    assert rung() == [bells.POST]


@pytest.mark.usefixtures("unscheduled")
def test_a_tick_goes_on_though_the_queue_cannot_be_drained(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_server: Server, **_options: object) -> None:
        raise AssertionError("a defect")

    monkeypatch.setattr(queue, "drain", fail)
    mail_to("a@x.org")
    with pytest.raises(AssertionError):
        tasks.tick("mail1")
    assert rung() == [bells.POST]


@pytest.mark.usefixtures("unscheduled")
def test_a_tick_rings_for_no_post_where_no_mail_is_due(server: Server) -> None:
    tasks.tick("mail1")
    assert rung() == []


def test_a_second_sender_of_the_host_goes_away(server: Server, office: Office) -> None:
    mail_to("a@x.org")
    with hosting.locked(hosting.POST_LOCK):
        assert tasks.post("mail1") == "somebody else sends"
    assert office.tried == []
    assert tasks.post("mail1") == "1 sent"


def test_a_sender_shows_that_the_worker_lives(server: Server, office: Office) -> None:
    mail_to("a@x.org")
    begun = timezone.now()
    tasks.post("mail1")
    server.refresh_from_db()
    assert server.worker_seen_at is not None
    assert server.worker_seen_at >= begun


def test_a_service_that_ends_sends_no_further_mail(
    server: Server, office: Office, ending: tasks.Ending
) -> None:
    mail_to("a@x.org", "b@x.org")
    office.meanwhile.append(ending.announce)
    assert tasks.post("mail1") == "1 sent"
    assert Delivery.objects.get(state=WAITING).attempts == 0
    assert rung() == []


def test_a_shift_that_is_over_rings_for_the_next_one(
    server: Server, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail_to("a@x.org", "b@x.org")
    office.meanwhile.append(lambda: monkeypatch.setattr(tasks, "_SHIFT_S", 0.0))
    assert tasks.post("mail1") == "1 sent"
    assert rung() == [bells.POST]


def test_a_mail_that_came_while_others_were_sent_rings_again(
    server: Server, office: Office
) -> None:
    mail_to("a@x.org")
    told = Notification.objects.get()
    office.meanwhile.append(
        lambda: Delivery.objects.create(notification=told, address="late@x.org")
    )
    tasks.post("mail1")
    assert rung() == [bells.POST]


def test_a_mail_server_that_takes_nothing_is_not_asked_again_at_once(
    server: Server, office: Office
) -> None:
    office.lost |= {"a@x.org", "b@x.org", "c@x.org"}
    mail_to("a@x.org", "b@x.org", "c@x.org")
    tasks.post("mail1")
    assert rung() == []
    assert Delivery.objects.get(attempts=0).state == WAITING
