"""The mails that carry notifications."""

from __future__ import annotations

import email
import email.policy
import re
import uuid
from email.message import EmailMessage
from typing import Any

import pytest

from console.letter import envelope, text
from console.letter.text import ENDED, STARTED
from console.models import Notification, QueuedOperation
from tests.console import rows
from tests.console.rows import HOSTILE, losing, restored


def saved(row: QueuedOperation, event: str = ENDED, **changes: Any) -> Notification:
    """Return the record of an event; server and operation are saved."""
    row.server.save()
    if not QueuedOperation.objects.filter(pk=row.pk).exists():
        row.save()
    composed = text.compose(row, notification=uuid.uuid4(), event=event)
    return Notification.objects.create(
        **{
            "level": composed.level,
            "group": "operations",
            "server": row.server,
            "server_name": row.server.name,
            "operation": row,
            "event": event,
            "subject": composed.subject,
            "text": composed.text,
            "created_at": row.ended_at or row.started_at,
            **changes,
        }
    )


def mailed(notification: Notification, to: str = "ops@example.com") -> EmailMessage:
    """Return the mail as its reader's program understands it."""
    message = envelope.message(notification, to=to, sender="backup@example.com").message()
    read = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


@pytest.mark.django_db
def test_the_headers_say_what_the_mail_belongs_to() -> None:
    notification = saved(restored())
    mail = mailed(notification)
    assert mail["Subject"].strip() == notification.subject
    assert (mail["From"], mail["To"]) == ("backup@example.com", "ops@example.com")
    assert mail["Message-ID"] == f"<{notification.pk}@mail.example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-BackupNG-Operation"] == str(rows.ID)
    assert mail["X-BackupNG-Level"] == "Warning"
    assert mail["Date"].datetime == rows.ENDED
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content() == notification.text


@pytest.mark.django_db
def test_the_mails_of_an_operation_are_one_thread() -> None:
    first = saved(rows.restore(), STARTED)
    last = saved(restored(server=first.server))
    opening = f"<{first.pk}@mail.example.com>"
    assert mailed(first)["In-Reply-To"] is None
    assert mailed(last)["In-Reply-To"] == mailed(last)["References"] == opening


@pytest.mark.django_db
def test_a_long_name_of_a_server_does_not_fold_the_id() -> None:
    server = rows.mail_server()
    server.name = "mail." * 40 + "example.com"
    message = envelope.message(saved(restored(server=server)), to="a@x.org", sender="b@x.org")
    assert b"\nMessage-ID: <" in message.message().as_bytes()


@pytest.mark.django_db
def test_more_than_20_losses_come_as_a_table_too() -> None:
    (table,) = mailed(saved(losing(21))).iter_attachments()
    assert table.get_filename() == "unrestored-30ed9eb9.csv"
    assert table.get_content_type() == "text/csv"
    assert len(table.get_content().splitlines()) == 22


@pytest.mark.django_db
def test_20_losses_are_told_by_the_text_alone() -> None:
    assert list(mailed(saved(losing(20))).iter_attachments()) == []


@pytest.mark.django_db
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_text_gets_out_of_its_header(hostile: str) -> None:
    notification = saved(restored())
    notification.subject = notification.server_name = hostile
    mail = mailed(notification, to="ops@example.com")
    assert set(mail.keys()) == {
        *("Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Subject", "From", "To"),
        *("Message-ID", "Date", "Auto-Submitted", "X-BackupNG-Level", "X-BackupNG-Operation"),
    }
    assert len(mail["Subject"].strip()) <= 200
    assert mail["To"] == "ops@example.com"
    assert mail.get_content() == notification.text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_header_value_is_clean(hostile: str) -> None:
    value = envelope.header(hostile)
    assert len(value) <= 200
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", value)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("john@example.com", "john@example.com"),
        (" John@Example.com ", "John@Example.com"),
        ("john@bücher.example", "john@xn--bcher-kva.example"),
        ("jöhn@example.com", None),
        ("a@b.org, c@d.org", None),
        ("a@b.org,c@d.org", None),
        ("John <john@example.com>", None),
        ('"a b"@example.com', None),
        ("john", None),
        ("john@", None),
        ("@example.com", None),
        ("john@example.com\r\nBcc: x@y.org", None),
        ("john@exa\u2028mple.com", None),
        ("john@.." + "a" * 70 + ".com", None),
        ("", None),
    ],
)
def test_only_single_plain_addresses_are_written_to(typed: str, address: str | None) -> None:
    assert envelope.address(typed) == address
