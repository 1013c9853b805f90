"""Tell what happened: a record for the page, and the outbox of the mails that carry it.

Failing to tell never fails an operation: records are written inside the transaction that changes a
state, behind a savepoint; mails are sent later, by whoever calls `send_due`.
"""

from __future__ import annotations

import logging
import smtplib
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from django.contrib.auth.models import User
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Min
from django.utils import timezone

from backupng.engine.errors import BackupError
from console import connect, properties, roles, telling
from console.letter import envelope, layout, numbers, text
from console.letter.text import Letter
from console.models import Delivery, Level, Notification, Origin, QueuedOperation, Server, Setting

logger = logging.getLogger(__name__)

_PAUSES = tuple(timedelta(minutes=pause) for pause in (1, 2, 5, 15, 30, *[60] * 24))
"""Between the attempts of one mail: a little more than 24 hours in all."""
_CLAIM = timedelta(minutes=10)
"""How long a sender may take for one mail before another one takes it for dead."""
_BATCH = 200
_ERROR_LENGTH = 500
_REMEMBERED = timedelta(days=7)

# Records


def started(row: QueuedOperation) -> None:
    """Record that an operation has left the queue; call it in the transaction that says so."""
    _tell(row, text.STARTED)


def ended(row: QueuedOperation) -> None:
    """Record the end of an operation, whatever it is; call it in the transaction that says so."""
    _tell(row, text.ENDED)


def _tell(row: QueuedOperation, event: str) -> None:
    """Make the record of an event, unless there is one."""
    try:
        with transaction.atomic():
            if not Notification.objects.filter(operation=row.pk, event=event).exists():
                _record(QueuedOperation.objects.select_related("server").get(pk=row.pk), event)
    except Exception:
        if transaction.get_connection().needs_rollback:
            # Not the telling but the database has failed: the caller's transaction is void already,
            # and only an error lets it see that and try again.
            raise
        logger.exception("no notification could be made: %s, %s", row, event)


def _record(row: QueuedOperation, event: str) -> None:
    told = uuid.uuid4()
    letter = _letter(row, told, event)
    notification = Notification.objects.create(
        id=told,
        level=letter.level,
        group="scans" if numbers.is_scan(row) else "operations",
        server=row.server,
        server_name=row.server.name,
        operation=row,
        event=event,
        subject=letter.subject,
        text=letter.text,
        counters=letter.counters,
    )
    Delivery.objects.bulk_create(
        Delivery(notification=notification, address=address)
        for address in _recipients(row, letter.level)
    )
    logger.info("notification %s, %s, operation %s: %s", told, letter.level, row.pk, event)


def _letter(row: QueuedOperation, told: uuid.UUID, event: str) -> Letter:
    try:
        return text.compose(row, notification=told, event=event)
    except Exception:
        logger.exception("the text of %s cannot be composed: %s", row, event)
        return text.plain(row, notification=told, event=event)


def _recipients(row: QueuedOperation, level: str) -> tuple[str, ...]:
    try:
        return recipients(row, level)
    except (TypeError, ValueError, AttributeError):
        logger.exception("only the default recipients are told of %s", row)
        return default_recipients(row.server)


# Recipients


def recipients(row: QueuedOperation, level: str) -> tuple[str, ...]:
    """Return who gets a mail: the default recipients, who started it, the addresses typed with it.

    Below the mailed level only who started it is told.
    """
    values = _values(row.server)
    starter = _starter(row)
    if _rank(level) < _rank(values[properties.NOTIFICATION_LEVEL].value):
        return _distinct([starter])
    return _distinct([*_default_recipients(values), starter, *telling.addresses(row)])


def default_recipients(server: Server | None = None) -> tuple[str, ...]:
    """Return who gets a mail of every notification: as set, else the administrators."""
    return _distinct(_default_recipients(_values(server)))


def sender(server: Server | None = None) -> str:
    """Return the address that mails come from."""
    own: str = _values(server)[properties.NOTIFICATION_FROM].value
    found = _distinct([own, *_administrators()])
    # A server may have a name that is no domain.
    by_server = envelope.address(f"backupng@{server}") if server else None
    return next(iter(found), by_server or "backupng@localhost")


def _values(server: Server | None) -> dict[str, properties.Value]:
    """Return the properties of a server, or those of all; a value that cannot be read is unset."""
    try:
        if server is not None:
            return connect.values(server)
        everywhere = Setting.objects.filter(server=None).values_list("name", "value")
        return properties.resolve({}, dict(everywhere))
    except BackupError:
        logger.exception("a property cannot be read, so the defaults count for notifications")
        return properties.resolve({}, {})


def _default_recipients(values: dict[str, properties.Value]) -> Sequence[str]:
    found = values[properties.NOTIFICATION_RECIPIENTS]
    return _administrators() if found.source == "default" else found.value


def _starter(row: QueuedOperation) -> str:
    """Return the address of who asked for it; at the command line that is the administrator."""
    if row.requester_address:
        return row.requester_address
    if row.requester is not None:
        return row.requester.email
    return next(iter(_administrators()), "") if row.origin == Origin.CLI else ""


def _administrators() -> list[str]:
    """Return the addresses of the administrators, the first one first."""
    users = User.objects.filter(is_active=True, groups__name=roles.ADMINISTRATOR).exclude(email="")
    return list(users.order_by("pk").values_list("email", flat=True))


def _distinct(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses that can be written to, each once whatever its case."""
    found: dict[str, str] = {}
    for each in filter(None, addresses):
        address = envelope.address(each)
        if address is None:
            logger.warning("no mail can be sent to %r", each)
        else:
            found.setdefault(address.lower(), address)
    return tuple(found.values())


def _rank(level: str) -> int:
    return Level.values.index(level)


# The outbox


def send_due(now: datetime | None = None) -> int:
    """Send the mails whose time has come and return how many went out.

    Whatever the mail server does, nothing is raised: what could not be sent waits for its next
    attempt, for 24 hours. Any number of processes may call it at once.
    """
    now = now or timezone.now()
    due = Delivery.objects.filter(state=Delivery.State.WAITING, next_try_at__lte=now)
    batch = due.select_related("notification__server", "notification__operation__server")
    ordered = list(batch.order_by("notification__created_at", "pk")[:_BATCH])
    if not ordered:
        return 0
    with _MailServer() as server:
        return sum(_deliver(each, server, now=now) for each in ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Mails that did not get out: how many wait after a failure, since when, and why.

    `given_up` were not delivered in 24 hours, during the last days.
    """

    waiting: int
    since: datetime | None
    error: str
    given_up: int


def trouble(now: datetime | None = None) -> Trouble | None:
    """Return what is wrong with the outbox; None if nothing is."""
    failed = Delivery.objects.exclude(last_error="")
    waiting = failed.filter(state=Delivery.State.WAITING)
    recent = (now or timezone.now()) - _REMEMBERED
    given_up = failed.filter(state=Delivery.State.UNDELIVERED, next_try_at__gte=recent)
    newest = (waiting | given_up).order_by("-next_try_at", "-pk").first()
    if newest is None:
        return None
    since = waiting.aggregate(first=Min("notification__created_at"))["first"]
    return Trouble(
        waiting=waiting.count(), since=since, error=newest.last_error, given_up=given_up.count()
    )


def _deliver(delivery: Delivery, server: _MailServer, *, now: datetime) -> bool:
    if server.is_lost or not _claim(delivery, now):
        return False
    notification = delivery.notification
    try:
        error = server.send(
            envelope.message(notification, to=delivery.address, sender=sender(notification.server))
        )
    except Exception as defect:
        logger.exception("the mail of %s cannot be made", delivery)
        error = f"The mail cannot be made: {type(defect).__name__}."
    if error:
        _postpone(delivery, error, now)
    else:
        mine = Delivery.objects.filter(pk=delivery.pk, state=Delivery.State.WAITING)
        mine.update(state=Delivery.State.SENT, sent_at=timezone.now(), last_error="")
    return not error


def _claim(delivery: Delivery, now: datetime) -> bool:
    """Take a delivery; False if another sender has it. One whose sender died is due again later."""
    mine = Delivery.objects.filter(
        pk=delivery.pk,
        state=Delivery.State.WAITING,
        attempts=delivery.attempts,
        next_try_at=delivery.next_try_at,
    )
    delivery.attempts += 1
    return bool(mine.update(attempts=delivery.attempts, next_try_at=now + _CLAIM))


def _postpone(delivery: Delivery, error: str, now: datetime) -> None:
    mine = Delivery.objects.filter(
        pk=delivery.pk, state=Delivery.State.WAITING, attempts=delivery.attempts
    )
    logger.warning("%s was not sent, attempt %s: %s", delivery, delivery.attempts, error)
    if delivery.attempts > len(_PAUSES):
        mine.update(state=Delivery.State.UNDELIVERED, last_error=error)
    else:
        pause = _PAUSES[delivery.attempts - 1]
        mine.update(next_try_at=now + pause, last_error=error)


class _MailServer:
    """One connection for a batch. Lost, it is opened anew; lost twice in a row, it stays so."""

    _MOST_LOSSES = 2

    def __init__(self) -> None:
        self._connection = get_connection()
        self._losses = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def is_lost(self) -> bool:
        """True when it makes no sense to try the rest of the batch."""
        return self._losses >= self._MOST_LOSSES

    def send(self, mail: EmailMessage) -> str:
        """Send a mail and return why it was not sent; empty if it was."""
        try:
            self._connection.open()
        except OSError as error:
            return self._lose(error)
        try:
            self._connection.send_messages([mail])
        except OSError as error:
            if self._is_closed():
                return self._lose(error)
            self._losses = 0
            return _spell(error)
        self._losses = 0
        return ""

    def _is_closed(self) -> bool:
        """Tell a connection that is gone from an answer that concerns one mail only."""
        smtp = getattr(self._connection, "connection", None)
        return smtp is not None and smtp.sock is None

    def _lose(self, error: OSError) -> str:
        self._losses += 1
        if smtp := getattr(self._connection, "connection", None):
            # Without a farewell: the answer to it would be waited for once more.
            smtp.close()
        self._close()
        return _spell(error)

    def _close(self) -> None:
        with suppress(OSError):
            self._connection.close()


def _spell(error: OSError) -> str:
    """Return an error of the mail server in one line, as it is shown on the page."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        error = smtplib.SMTPResponseException(*next(iter(error.recipients.values())))
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return layout.clean(f"{error.smtp_code} {words}")[:_ERROR_LENGTH]
    return layout.clean(error.strerror or str(error) or type(error).__name__)[:_ERROR_LENGTH]
