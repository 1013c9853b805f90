"""Tell what happened: a record for the page, and the outbox of the mails that carry it.

Failing to tell never fails an operation: records are written inside the transaction that changes a
state, behind a savepoint; mails are sent later, by whoever calls `send_due`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, Min, OuterRef, QuerySet
from django.utils import timezone

from backupng.engine.errors import BackupError
from console import bells, connect, hosting, properties, roles, telling
from console.letter import envelope, layout, numbers, purge, text
from console.letter.carrier import MailServer
from console.letter.text import Letter
from console.models import (
    Delivery,
    Level,
    Notification,
    Origin,
    QueuedOperation,
    Server,
    Setting,
    State,
)

logger = logging.getLogger(__name__)

_PAUSES = tuple(timedelta(minutes=pause) for pause in (1, 2, 5, 15, 30, 60))
"""Between the attempts of one mail; the last one again and again."""
_TRIED_FOR = timedelta(hours=24)
_FEWEST_ATTEMPTS = len(_PAUSES) - 1
"""A mail that nobody could try in time, such as while the host was off, gets so many more."""
_CLAIM = timedelta(minutes=10)
"""From its claim a mail is its sender's for so long, which is more than one mail can take; then
another sender takes that one for dead. The sooner end of a claim is the result."""
_BATCH = 200
_REMEMBERED = timedelta(days=7)
_TOLD_LATE = timedelta(days=30)
_UNDELIVERED = "undelivered"
"""The event of the one notification that tells of no operation."""

# Records


def started(row: QueuedOperation) -> None:
    """Record that an operation has left the queue; call it in the transaction that says so."""
    _tell(row, text.STARTED)


def phase1_done(row: QueuedOperation, said: Mapping[str, Any]) -> None:
    """Record what the first phase of an import came to; once, whoever says it again."""
    with transaction.atomic():
        _tell(row, text.PHASE_1, said)
        ring(row.server, [row])


def ended(row: QueuedOperation) -> None:
    """Record the end of an operation, whatever it is; call it in the transaction that says so."""
    _tell(row, text.ENDED)


def ring(server: Server, rows: Iterable[QueuedOperation]) -> None:
    """Have the mails about operations sent, if there are any; call it where they are recorded."""
    waiting = Delivery.objects.filter(state=Delivery.State.WAITING)
    if waiting.filter(notification__operation__in=[row.pk for row in rows]).exists():
        bells.ring(server, bells.POST)


def untold(server: Server) -> QuerySet[QueuedOperation]:
    """Return the operations removed lately whose end is not told yet, the first ones first."""
    removed = QueuedOperation.objects.filter(
        server=server, state=State.REMOVED, ended_at__gte=timezone.now() - _TOLD_LATE
    )
    told = Notification.objects.filter(operation=OuterRef("pk"), event=text.ENDED)
    return removed.filter(~Exists(told)).select_related("server").order_by("seq")


def _tell(row: QueuedOperation, event: str, said: Mapping[str, Any] = text.NOTHING_SAID) -> None:
    """Make the record of an event, unless there is one."""
    try:
        with transaction.atomic():
            if not Notification.objects.filter(operation=row.pk, event=event).exists():
                now = QueuedOperation.objects.select_related("server").get(pk=row.pk)
                _record(now, event, said)
    except Exception:
        if transaction.get_connection().needs_rollback:
            # Not the telling but the database has failed: the caller's transaction is void already,
            # and only an error lets it see that and try again.
            raise
        logger.exception("no notification could be made: %s, %s", row, event)


def _record(row: QueuedOperation, event: str, said: Mapping[str, Any]) -> None:
    told = uuid.uuid4()
    letter = _letter(row, told, event, said)
    notification = Notification.objects.create(
        id=told,
        level=letter.level,
        group=_group(row),
        server=row.server,
        server_name=row.server.name,
        operation=row,
        event=event,
        subject=hosting.storable(letter.subject),
        text=hosting.storable(letter.text),
        counters=hosting.storable(letter.counters),
    )
    Delivery.objects.bulk_create(
        Delivery(notification=notification, address=address)
        for address in _recipients(row, letter.level)
    )
    logger.info("notification %s, %s, operation %s: %s", told, letter.level, row.pk, event)


def _group(row: QueuedOperation) -> str:
    if purge.is_purge(row):
        return "purge"
    return "scans" if numbers.is_scan(row) else "operations"


def _letter(row: QueuedOperation, told: uuid.UUID, event: str, said: Mapping[str, Any]) -> Letter:
    try:
        return text.compose(row, notification=told, event=event, said=said)
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

    Below the mailed level only who started it is told, and whom they named; of a dry run only who
    was named.
    """
    if telling.is_dry_run(row):
        return _distinct(telling.addresses(row))
    values = _values(row.server)
    starter = _starter(row)
    if _rank(level) < _rank(values[properties.NOTIFICATION_LEVEL].value):
        return _distinct([starter, *telling.addresses(row)])
    return _distinct([*_default_recipients(values), starter, *telling.addresses(row)])


def default_recipients(server: Server | None = None) -> tuple[str, ...]:
    """Return who gets a mail of every notification: as set, else the administrators."""
    return _distinct(_default_recipients(_values(server)))


def told_of_all(server: Server, starter: str) -> tuple[str, ...]:
    """Return who is mailed of every start and end on a server, if that address starts it."""
    values = _values(server)
    level = values[properties.NOTIFICATION_LEVEL].value
    everybody = _default_recipients(values) if level == Level.INFORMATION else ()
    return _distinct([*everybody, starter])


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


def send_due(
    *, clock: Callable[[], datetime] = timezone.now, goes_on: Callable[[], bool] = lambda: True
) -> int:
    """Send the mails whose time has come and return how many went out.

    Before each mail `goes_on` is asked. Whatever the mail server does, nothing is raised: what
    could not be sent waits for its next attempt, until 24 hours after what it tells. Any number of
    processes may call it at once.
    """
    batch = _due(clock()).select_related("notification__server", "notification__operation__server")
    ordered = list(batch.order_by("notification__created_at", "pk")[:_BATCH])
    if not ordered:
        return 0
    with MailServer() as server:
        going = takewhile(lambda _: goes_on(), ordered)
        return sum(_deliver(each, server, clock=clock) for each in going)


def is_due() -> bool:
    """Say whether the time of a mail has come."""
    return _due(timezone.now()).exists()


def _due(now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(state=Delivery.State.WAITING, next_try_at__lte=now)


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


def _deliver(delivery: Delivery, server: MailServer, *, clock: Callable[[], datetime]) -> bool:
    if server.is_lost or not _claim(delivery, clock()):
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
        _postpone(delivery, error, clock())
    else:
        sent = {"state": Delivery.State.SENT, "sent_at": timezone.now(), "last_error": ""}
        mine = Delivery.objects.filter(pk=delivery.pk, state=Delivery.State.WAITING)
        mine.update(**sent, attempts=delivery.attempts + 1)
    return not error


def _claim(delivery: Delivery, now: datetime) -> bool:
    """Take a delivery; False if another sender has it.

    Until it was tried it counts as no attempt: who dies on the way takes none away.
    """
    mine = _mine(delivery)
    delivery.next_try_at = now + _CLAIM
    return bool(mine.update(next_try_at=delivery.next_try_at))


def _postpone(delivery: Delivery, error: str, now: datetime) -> None:
    attempts = delivery.attempts + 1
    logger.warning("%s was not sent, attempt %s: %s", delivery, attempts, error)
    failed = {"attempts": attempts, "last_error": error}
    if attempts > _FEWEST_ATTEMPTS and now - delivery.notification.created_at >= _TRIED_FOR:
        if _mine(delivery).update(**failed, state=Delivery.State.UNDELIVERED):
            _tell_undelivered(delivery, error, now)
    else:
        pause = _PAUSES[min(attempts, len(_PAUSES)) - 1]
        _mine(delivery).update(**failed, next_try_at=now + pause)


def _mine(delivery: Delivery) -> QuerySet[Delivery]:
    """Find the row as long as nobody else has claimed it since."""
    return Delivery.objects.filter(
        pk=delivery.pk, state=Delivery.State.WAITING, next_try_at=delivery.next_try_at
    )


def _tell_undelivered(delivery: Delivery, error: str, now: datetime) -> None:
    """Record, once a day, that mails do not arrive; of the mails about that nothing is recorded."""
    earlier = Notification.objects.filter(event=_UNDELIVERED, created_at__gt=now - _TRIED_FOR)
    if delivery.notification.event == _UNDELIVERED or earlier.exists():
        return
    server, name = delivery.notification.server, delivery.notification.server_name
    told = Notification.objects.create(
        created_at=now,
        level=Level.ERROR,
        group="alerts",
        server=server,
        server_name=name,
        event=_UNDELIVERED,
        subject=f"[Backup NG] {name or 'console'}: mails could not be delivered for 24 hours"[:200],
        text=(
            f"A mail to {layout.clean(delivery.address)} could not be delivered for 24 hours and "
            f"is given up.\n\n{layout.block({'last error': error})}\n\n"
            "The page Notifications has what the mails said.\n"
        ),
    )
    Delivery.objects.bulk_create(
        Delivery(notification=told, address=address)
        for address in default_recipients(server)
        if address != delivery.address
    )
