"""The mail of a notification to one recipient: headers, text, table of losses."""

from __future__ import annotations

import logging
from email.utils import format_datetime

from django.core.mail import EmailMessage

from console import properties, remedies, telling
from console.letter import layout, numbers
from console.letter.text import SUBJECT_LENGTH
from console.models import Notification

logger = logging.getLogger(__name__)

_SHORT_NAME = 24


def header(value: str) -> str:
    """Return a text that can be the value of a header: one line, nothing hidden, 200 characters.

    Every value of every header passes here: what ends a line or a header block for one library or
    another becomes a blank.
    """
    return layout.clean(value)[:SUBJECT_LENGTH].strip()


def address(text: str) -> str | None:
    """Return an address as it can be written to; None for what is no single plain address."""
    name, at, domain = text.strip().rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    found = f"{name}{at}{ascii_domain}"
    return found if properties.is_plain_address(found) else None


def message(notification: Notification, *, to: str, sender: str) -> EmailMessage:
    """Return the mail; the same notification and recipient give the same mail each time."""
    try:
        subject, text = header(notification.subject), numbers.shortened(notification.text)
    except Exception:
        logger.exception("the text of notification %s cannot be mailed", notification.pk)
        subject = f"[Backup NG] notification {notification.pk}"
        text = "The page Notifications of the console has the text.\n"
    mail = EmailMessage(
        subject=subject,
        body=text,
        from_email=header(sender),
        to=[header(to)],
        headers={name: header(value) for name, value in _headers(notification).items()},
    )
    _attach(mail, notification)
    return mail


def _headers(notification: Notification) -> dict[str, str]:
    found = {
        "Message-ID": _message_id(notification),
        "Date": format_datetime(notification.created_at),
        "Auto-Submitted": "auto-generated",
        "X-BackupNG-Level": str(notification.get_level_display()),
    }
    if notification.operation_id is None:
        return found
    found["X-BackupNG-Operation"] = str(notification.operation_id)
    earlier = Notification.objects.filter(
        operation=notification.operation_id, created_at__lt=notification.created_at
    )
    if first := earlier.order_by("created_at").first():
        found["In-Reply-To"] = found["References"] = _message_id(first)
    return found


def _message_id(notification: Notification) -> str:
    """Return its id; short enough for one line, since a folded one breaks threads in some readers.

    The name of the server is only a courtesy: the number before it is unique.
    """
    host = notification.server_name
    return f"<{notification.pk}@{host if 0 < len(host) <= _SHORT_NAME else 'backupng'}>"


def _attach(mail: EmailMessage, notification: Notification) -> None:
    row = notification.operation
    if row is None or notification.event != "ended":
        return
    if telling.lost(row).total() > numbers.MANY:
        name = f"unrestored-{str(row.pk)[:8]}.csv"
        mail.attach(name, remedies.as_csv(row).encode(), "text/csv; charset=utf-8")
