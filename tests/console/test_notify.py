"""Records of what happened, who is told, and the outbox, with real SMTP servers."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, connection, transaction

from backupng.engine.operations.smart_scan import SmartScan
from console import notify, queue, roles
from console.models import Delivery, Level, Notification, QueuedOperation, Server, Setting, State
from tests.console import rows
from tests.console.rows import asked, ends


@pytest.fixture(autouse=True)
def _tables(db: None) -> None:
    """Every test here needs the database."""


def administrator(name: str = "admin", email: str = "admin@example.com") -> User:
    user = User.objects.create_user(name, email)
    user.groups.add(Group.objects.get(name=roles.ADMINISTRATOR))
    return user


def addressed() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("address", flat=True))


def set_for_all(name: str, value: str) -> None:
    Setting.objects.create(server=None, name=name, value=value)


# Records


def test_a_start_and_an_end_are_two_records_in_order() -> None:
    row = asked()
    notify.started(row)
    ends(row, State.SUCCESSFUL, report=rows.RESTORED)
    notify.ended(row)
    first, last = Notification.objects.order_by("created_at")
    assert (first.event, last.event) == ("started", "ended")
    assert (first.level, last.level) == (Level.INFORMATION, Level.WARNING)
    assert (last.group, last.server_name, last.operation) == (
        *("operations", "mail.example.com", row),
    )
    assert last.counters == rows.RESTORED["counters"]
    assert last.subject.endswith("10 items not restored")


def test_telling_twice_changes_nothing() -> None:
    row = asked()
    notify.started(row)
    told = Notification.objects.get()
    notify.started(row)
    assert Notification.objects.get() == told
    assert Delivery.objects.count() == 2


def test_a_row_that_was_read_before_its_end_is_told_as_it_is_now() -> None:
    stale = asked()
    ends(QueuedOperation.objects.get(), State.FAILED, error={"code": "x", "message": "No."})
    notify.ended(stale)
    assert Notification.objects.get().level == Level.ERROR


def test_a_removed_one_has_an_end_without_a_start() -> None:
    row = asked(started_at=None)
    ends(row, State.REMOVED)
    notify.ended(row)
    assert Notification.objects.get().subject.endswith("removed from the queue")


def test_a_scan_is_told_in_the_group_of_scans() -> None:
    notify.started(asked(rows.scan()))
    assert Notification.objects.get().group == "scans"


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": {"report": {"unrestored": {"a@x.org": "no list"}}}},
        {"outcome": {"report": ["no report"]}},
        {"parameters": ["no mapping"]},
        {"origin": "elsewhere"},
    ],
)
def test_what_cannot_be_told_in_its_own_words_is_told_plainly(changes: dict[str, Any]) -> None:
    row = asked(state=State.SUCCESSFUL, **changes)
    notify.ended(row)
    assert Notification.objects.get().subject == (
        "[Backup NG] mail.example.com: doRestoreOnNewAccount – successful"
    )


def test_failing_to_tell_does_not_touch_what_happened() -> None:
    row = asked()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE console_delivery RENAME TO console_lost")
    with transaction.atomic():
        ends(row, State.SUCCESSFUL)
        notify.ended(row)
    assert QueuedOperation.objects.get().state == State.SUCCESSFUL
    assert not Notification.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="made with a trigger of SQLite")
def test_a_change_that_the_database_gave_up_is_not_taken_for_made() -> None:
    row = asked()

    @transaction.atomic
    def end() -> None:
        ends(row, State.SUCCESSFUL)
        notify.ended(row)

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER gives_up BEFORE INSERT ON console_delivery "
            "BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END"
        )
    try:
        with pytest.raises(DatabaseError):
            end()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER gives_up")
    assert QueuedOperation.objects.get().state == State.STARTED


def test_a_row_that_is_gone_is_no_error() -> None:
    notify.ended(rows.restore())
    assert not Notification.objects.exists()


# Recipients


def test_the_recipients_are_the_default_ones_the_starter_and_the_typed_ones() -> None:
    set_for_all("notificationRecipients", "team@example.com,Ops@Example.com")
    notify.started(asked(requester_address="Jo@example.com"))
    assert addressed() == ["team@example.com", "Ops@Example.com", "Jo@example.com"]


def test_unset_the_administrators_are_the_default_ones() -> None:
    administrator()
    administrator("second", "second@example.com")
    administrator("away", "away@example.com")
    User.objects.filter(username="away").update(is_active=False)
    User.objects.create_user("viewer", "viewer@example.com")
    assert notify.default_recipients() == ("admin@example.com", "second@example.com")


def test_a_list_that_was_emptied_stays_empty() -> None:
    administrator()
    set_for_all("notificationRecipients", "")
    notify.started(asked(rows.scan()))
    assert addressed() == []
    assert Notification.objects.count() == 1


def test_the_value_of_a_server_counts_before_the_global_one() -> None:
    set_for_all("notificationRecipients", "all@example.com")
    row = asked(rows.scan())
    Setting.objects.create(
        server=row.server, name="notificationRecipients", value="here@example.com"
    )
    notify.started(row)
    assert addressed() == ["here@example.com"]


def test_the_user_of_the_console_is_told_at_the_address_of_the_login() -> None:
    user = User.objects.create_user("jo", "jo@example.com")
    notify.started(asked(requester=user, requester_address="", parameters={}))
    assert addressed() == ["jo@example.com"]


def test_at_the_command_line_the_administrator_is_the_starter() -> None:
    administrator()
    set_for_all("notificationRecipients", "team@example.com")
    notify.started(asked(rows.scan(origin="cli")))
    assert addressed() == ["team@example.com", "admin@example.com"]


def test_a_schedule_has_no_starter() -> None:
    administrator()
    set_for_all("notificationRecipients", "team@example.com")
    notify.started(asked(rows.scan()))
    assert addressed() == ["team@example.com"]


@pytest.mark.parametrize("typed", ["a@b.org\r\nBcc: c@d.org", "nobody", "a@b.org c@d.org", "<a@b>"])
def test_an_address_that_cannot_be_written_to_is_left_out(typed: str) -> None:
    notify.started(asked(parameters={"notifications": typed}))
    assert addressed() == ["admin@example.com"]


def test_below_the_mailed_level_who_started_it_is_told_and_whom_they_named() -> None:
    set_for_all("notificationLevel", "warning")
    set_for_all("notificationRecipients", "team@example.com")
    row = asked()
    notify.started(row)
    assert addressed() == ["admin@example.com", "ops@example.com"]
    ends(row, State.SUCCESSFUL, report=rows.RESTORED)
    notify.ended(row)
    assert addressed()[2:] == ["team@example.com", "admin@example.com", "ops@example.com"]


def test_below_the_mailed_level_a_schedule_is_recorded_and_not_mailed() -> None:
    set_for_all("notificationLevel", "critical")
    administrator()
    notify.started(asked(rows.scan()))
    assert addressed() == []
    assert Notification.objects.count() == 1


def test_a_property_that_cannot_be_read_does_not_silence_anything() -> None:
    administrator()
    set_for_all("notificationLevel", "loud")
    notify.started(asked(rows.scan()))
    assert addressed() == ["admin@example.com"]


def test_mails_come_from_the_sender_that_was_set() -> None:
    administrator()
    assert notify.sender() == "admin@example.com"
    set_for_all("notificationFrom", "backup@example.com")
    assert notify.sender() == "backup@example.com"


def test_without_any_address_the_server_itself_is_the_sender() -> None:
    server = rows.mail_server()
    server.save()
    assert notify.sender(server) == "backupng@mail.example.com"


# With the queue


def test_an_operation_that_ran_is_told_twice_with_the_numbers_it_counted(server: Server) -> None:
    row = queue.submit(server, SmartScan())
    queue.drain(server)
    first, last = Notification.objects.order_by("created_at")
    row.refresh_from_db()
    assert (first.event, last.event) == ("started", "ended")
    assert row.started_at is not None
    assert row.ended_at is not None
    assert row.started_at <= first.created_at <= row.ended_at <= last.created_at
    assert last.counters == row.outcome["report"]["counters"]
    assert f"scanned {last.counters['accounts_scanned']} " in last.text


def test_one_that_is_removed_while_it_waits_is_told_once(server: Server) -> None:
    row = queue.submit(server, SmartScan())
    queue.stop(row, by="anna")
    queue.stop(row, by="bert")
    told = Notification.objects.get()
    assert told.subject == "[Backup NG] mail1: SmartScan – removed from the queue"
    assert "by anna before it began" in told.text


def test_one_that_was_cut_off_is_told_by_whoever_finds_it(server: Server) -> None:
    row = queue.submit(server, SmartScan())
    QueuedOperation.objects.filter(pk=row.pk).update(state=State.STARTED, token=uuid4())
    queue.drain(server)
    queue.drain(server)
    told = Notification.objects.get()
    assert (told.event, told.level) == ("ended", Level.ERROR)
    assert told.subject.endswith("– interrupted")
