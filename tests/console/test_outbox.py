"""The outbox, with real SMTP servers: willing, picky, rude, mute and absent ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from console import notify, roles
from console.models import Delivery, Level, Notification, QueuedOperation, State
from tests.console import rows
from tests.console.post import Office, mute_office, no_office, open_office
from tests.console.rows import asked, ends

SENT, WAITING, UNDELIVERED = "sent", "waiting", "undelivered"
LATER = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _tables(db: None) -> None:
    """Every test here needs the database."""


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def serving(office: Office, settings: Settings) -> Iterator[Office]:
    """Send mails to the office."""
    with open_office(office) as port:
        send_to(settings, port)
        yield office


def send_to(settings: Settings, port: int) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    settings.EMAIL_TIMEOUT = 1


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def states() -> dict[str, str]:
    return dict(Delivery.objects.values_list("address", "state"))


def test_every_recipient_gets_one_mail_over_one_connection(serving: Office) -> None:
    notify.started(asked())
    assert notify.send_due() == 2
    assert serving.addresses == ["admin@example.com", "ops@example.com"]
    assert [mail["To"] for _, mail in serving.received] == serving.addresses
    assert len(serving.sessions) == 1
    assert states() == {"admin@example.com": SENT, "ops@example.com": SENT}


def test_what_was_sent_is_not_sent_again(serving: Office) -> None:
    notify.started(asked())
    notify.send_due()
    assert notify.send_due(clock=at(timezone.now() + timedelta(days=1))) == 0
    assert len(serving.received) == 2


def test_the_mails_of_an_operation_arrive_in_order_as_one_thread(serving: Office) -> None:
    row = asked(parameters={})
    notify.started(row)
    ends(row, State.SUCCESSFUL, report=rows.RESTORED)
    notify.ended(row)
    notify.send_due()
    (_, first), (_, last) = serving.received
    assert last["In-Reply-To"] == first["Message-ID"]
    assert first["Date"].datetime <= last["Date"].datetime
    assert last.get_content().replace("\r\n", "\n") == Notification.objects.get(event="ended").text


def test_a_sender_that_died_after_sending_makes_the_same_mail_again(serving: Office) -> None:
    notify.started(asked(parameters={}))
    notify.send_due()
    now = timezone.now()
    # As it was left: claimed, sent, and never marked.
    Delivery.objects.update(state=WAITING, sent_at=None, next_try_at=now + timedelta(minutes=10))
    assert notify.send_due(clock=at(now + timedelta(minutes=9))) == 0
    assert notify.send_due(clock=at(now + timedelta(minutes=11))) == 1
    (_, first), (_, again) = serving.received
    assert first["Message-ID"] == again["Message-ID"]


def test_a_server_that_is_gone_is_tried_again(settings: Settings, office: Office) -> None:
    notify.started(asked(parameters={}))
    with no_office() as port:
        send_to(settings, port)
        assert notify.send_due() == 0
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == (WAITING, 1)
    assert "refused" in delivery.last_error
    with open_office(office) as port:
        send_to(settings, port)
        assert notify.send_due() == 0
        assert notify.send_due(clock=at(timezone.now() + LATER)) == 1


@pytest.mark.parametrize("answer", ["550 no such user", "450 later", "421 closing"])
def test_a_refusal_concerns_its_recipient_only(serving: Office, answer: str) -> None:
    serving.refused["admin@example.com"] = answer
    notify.started(asked())
    assert notify.send_due() == 1
    assert states() == {"admin@example.com": WAITING, "ops@example.com": SENT}
    assert answer[:3] in Delivery.objects.get(state=WAITING).last_error


def test_a_server_that_hangs_up_on_one_mail_takes_the_next(serving: Office) -> None:
    serving.lost.add("admin@example.com")
    notify.started(asked())
    assert notify.send_due() == 1
    assert states() == {"admin@example.com": WAITING, "ops@example.com": SENT}


def test_a_server_that_keeps_hanging_up_is_left_alone(serving: Office) -> None:
    serving.lost |= {"a@x.org", "b@x.org"}
    notify.started(
        asked(requester_address="a@x.org", parameters={"notifications": "b@x.org,c@x.org"})
    )
    assert notify.send_due() == 0
    waiting = dict(Delivery.objects.values_list("address", "attempts"))
    assert waiting == {"a@x.org": 1, "b@x.org": 1, "c@x.org": 0}
    assert notify.send_due() == 1


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_allowed(
    settings: Settings,
) -> None:
    notify.started(asked(parameters={}))
    with mute_office() as port:
        send_to(settings, port)
        settings.EMAIL_TIMEOUT = 0.2
        assert notify.send_due() == 0
    assert Delivery.objects.get().last_error.endswith("timed out")


def test_the_pauses_grow_and_after_24_hours_a_mail_is_given_up(settings: Settings) -> None:
    notify.started(asked(parameters={}))
    begun = now = timezone.now()
    pauses = []
    with no_office() as port:
        send_to(settings, port)
        while Delivery.objects.get().state == WAITING:
            assert notify.send_due(clock=at(now)) == 0
            due: datetime = Delivery.objects.get().next_try_at
            pauses.append(due - now)
            now = due
    minutes = [pause.total_seconds() / 60 for pause in pauses]
    assert minutes[:7] == [1, 2, 5, 15, 30, 60, 60]
    assert timedelta(hours=24) <= now - begun <= timedelta(hours=26)
    assert Delivery.objects.get().state == UNDELIVERED
    assert notify.send_due(clock=at(now + timedelta(days=9))) == 0


def test_a_mail_that_cannot_be_made_does_not_hold_up_the_others(serving: Office) -> None:
    notify.started(asked(parameters={}))
    row = asked(rows.scan(id="9" * 32, seq=2, state="queued", requester_address="b@x.org"))
    notify.started(row)
    Notification.objects.filter(operation=rows.ID).update(event="ended")
    QueuedOperation.objects.filter(pk=rows.ID).update(outcome={"report": {"unrestored": [3]}})
    assert notify.send_due() == 1
    assert states() == {"admin@example.com": WAITING, "b@x.org": SENT}


@pytest.mark.django_db(transaction=True)
def test_two_senders_never_send_a_mail_twice(serving: Office) -> None:
    typed = ",".join(f"a{number}@x.org" for number in range(9))
    notify.started(asked(parameters={"notifications": typed}))
    by_the_second: list[int] = []

    def second_sender() -> None:
        by_the_second.append(notify.send_due())
        connection.close()

    serving.meanwhile.append(second_sender)
    serving.refused["a7@x.org"] = "450 later"
    assert notify.send_due() == 1
    assert by_the_second == [8]
    assert len(serving.tried) == len(set(serving.tried)) == 10


@pytest.mark.django_db(transaction=True)
def test_a_mail_is_its_senders_from_its_own_turn_on_not_from_that_of_the_batch(
    serving: Office,
) -> None:
    notify.started(asked())
    moments = [timezone.now()]
    by_the_second: list[int] = []

    def clock() -> datetime:
        return moments[-1]

    def first_mail_takes_long() -> None:
        moments.append(moments[-1] + timedelta(minutes=11))

    def second_sender() -> None:
        by_the_second.append(notify.send_due(clock=clock))
        connection.close()

    serving.meanwhile += [second_sender, first_mail_takes_long]
    assert notify.send_due(clock=clock) == 2
    assert by_the_second == [0]
    assert serving.tried == ["admin@example.com", "ops@example.com"]


def test_a_pause_begins_when_the_attempt_has_failed(settings: Settings) -> None:
    notify.started(asked(parameters={}))
    begun = timezone.now()
    moments = iter([begun, begun, begun + timedelta(minutes=3)])
    with no_office() as port:
        send_to(settings, port)
        notify.send_due(clock=lambda: next(moments))
    assert Delivery.objects.get().next_try_at == begun + timedelta(minutes=4)


def test_who_is_told_to_end_ends_between_two_mails(serving: Office) -> None:
    notify.started(asked())
    answers = iter([True, False])
    assert notify.send_due(goes_on=lambda: next(answers)) == 1
    assert states() == {"admin@example.com": SENT, "ops@example.com": WAITING}
    assert Delivery.objects.get(state=WAITING).attempts == 0
    assert notify.send_due() == 1


def test_a_sender_that_was_killed_has_taken_no_attempt_away(settings: Settings) -> None:
    notify.started(asked(parameters={}))
    killed_at = timezone.now()
    assert notify._claim(Delivery.objects.get(), killed_at)
    later = killed_at + timedelta(minutes=11)
    with no_office() as port:
        send_to(settings, port)
        notify.send_due(clock=at(later))
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.next_try_at) == (1, later + timedelta(minutes=1))


def old_mail(address: str, *, attempts: int) -> Delivery:
    """Return the mail of a notification of the day before yesterday."""
    told = Notification.objects.create(
        level=Level.WARNING,
        group="operations",
        subject="old",
        text="old",
        created_at=timezone.now() - timedelta(days=2),
    )
    return Delivery.objects.create(notification=told, address=address, attempts=attempts)


def test_a_mail_that_nobody_could_try_for_a_day_is_not_given_up_at_once(
    settings: Settings,
) -> None:
    old_mail("a@x.org", attempts=0)
    with no_office() as port:
        send_to(settings, port)
        notify.send_due()
    assert states() == {"a@x.org": WAITING}


def test_mails_that_are_given_up_are_told_once_a_day_and_never_about_themselves(
    serving: Office,
) -> None:
    User.objects.create_user("jo", "jo@x.org").groups.add(
        Group.objects.get(name=roles.ADMINISTRATOR)
    )
    for address in ("a@x.org", "b@x.org", "jo@x.org"):
        serving.refused[address] = "550 no such user"
    old_mail("a@x.org", attempts=9)
    old_mail("b@x.org", attempts=9)

    notify.send_due()
    told = Notification.objects.get(event="undelivered")
    assert (told.level, told.group) == (Level.ERROR, "alerts")
    assert "a@x.org" in told.text
    assert "550 no such user" in told.text
    assert list(told.delivery_set.values_list("address", flat=True)) == ["jo@x.org"]

    Notification.objects.filter(pk=told.pk).update(created_at=timezone.now() - timedelta(days=2))
    told.delivery_set.update(attempts=9, next_try_at=timezone.now())
    notify.send_due()
    assert told.delivery_set.get().state == UNDELIVERED
    assert Notification.objects.get(event="undelivered") == told
