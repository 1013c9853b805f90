"""Who did what, from where, with which result: rows that are only added, each chained to the last.

A row that was changed or taken out breaks the chain; rows taken off its end do not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
from datetime import UTC, timedelta
from typing import Any

from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError, IntegrityError, transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from console.access import client_address
from console.models import AuditEntry

logger = logging.getLogger(__name__)

CLI = "cli"
"""The client of who acts on the command line."""
DONE, REFUSED, LOCKED_OUT = "done", "refused", "locked out"

_BEFORE_THE_FIRST = "0" * 64
_ATTEMPTS = 20
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def note(
    request: HttpRequest, action: str, *, subject: str = "", result: str = DONE, detail: str = ""
) -> None:
    """Add what the user of a request did; a failure to write is logged, never raised."""
    user = getattr(request, "user", None)
    name = user.get_username() if user is not None else ""
    note_as(
        name,
        action,
        client=client_address(request),
        subject=subject,
        result=result,
        detail=detail,
    )


def note_as(
    user: str,
    action: str,
    *,
    client: str,
    subject: str = "",
    result: str = DONE,
    detail: str = "",
) -> None:
    """Add what somebody did; a failure to write is logged, never raised."""
    texts = {"user": user, "client": client, "action": action, "subject": subject}
    cleaned = {
        name: _clean(name, text)
        for name, text in (texts | {"result": result, "detail": detail}).items()
    }
    try:
        _append(cleaned)
    except DatabaseError:
        logger.exception("not in the audit log: %s", cleaned)


def verify() -> int | None:
    """Return the id of the first row that does not follow from the one before; None if all do."""
    previous = _BEFORE_THE_FIRST
    for row in AuditEntry.objects.order_by("pk").iterator():
        if row.previous != previous or row.digest != _digest(row):
            return row.pk
        previous = row.digest
    return None


def _append(texts: dict[str, str]) -> None:
    """Add a row after the last one; when somebody else was faster, after that one."""
    for attempt in range(_ATTEMPTS):
        try:
            with transaction.atomic():
                last = AuditEntry.objects.order_by("-pk").first()
                row = AuditEntry(at=timezone.now(), **texts)
                row.previous = last.digest if last else _BEFORE_THE_FIRST
                row.digest = _digest(row)
                row.save(force_insert=True)
            return
        except IntegrityError:
            # `previous` is unique: the insert has waited for the commit of the faster one.
            if attempt == _ATTEMPTS - 1:
                raise


def _digest(row: AuditEntry) -> str:
    texts = (row.user, row.client, row.action, row.subject, row.result, row.detail)
    at = row.at.astimezone(UTC)
    return hashlib.sha256(json.dumps([row.previous, at.isoformat(), *texts]).encode()).hexdigest()


def _clean(name: str, text: str) -> str:
    limit: int = AuditEntry._meta.get_field(name).max_length  # type: ignore[union-attr, assignment]
    printable = (
        " " if unicodedata.category(character) in _UNPRINTABLE else character for character in text
    )
    return "".join(printable)[:limit]


# Logins


@receiver(user_logged_in)
def _logged_in(request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    note_as(user.get_username(), "login", client=client_address(request))


@receiver(user_logged_out)
def _logged_out(request: HttpRequest, user: AbstractBaseUser | None, **_: Any) -> None:
    if user is not None:
        note_as(user.get_username(), "logout", client=client_address(request))


@receiver(user_login_failed)
def _login_failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    client = "" if request is None else client_address(request)
    _note_failure(str(credentials.get("username", "")), client=client, result=REFUSED)


@receiver(user_locked_out)
def _locked_out(request: HttpRequest, username: str, **_: Any) -> None:
    _note_failure(str(username), client=client_address(request), result=LOCKED_OUT)


def _note_failure(user: str, *, client: str, result: str) -> None:
    """Add a failed login, but none of those that follow a lock-out.

    Whatever names are guessed from it, an address adds at most `ADDRESS_FAILURE_LIMIT` entries
    while a lock lasts.
    """
    known = AuditEntry.objects.filter(
        at__gte=timezone.now() - _lock_time(),
        action="login",
        result__in=(REFUSED, LOCKED_OUT),
        client=_clean("client", client),
    )
    try:
        if known.filter(user=_clean("user", user), result=LOCKED_OUT).exists():
            return
        if known.count() >= settings.ADDRESS_FAILURE_LIMIT:
            return
    except DatabaseError:
        logger.exception("the audit log cannot be read")
    note_as(user, "login", client=client, result=result)


def _lock_time() -> timedelta:
    found: timedelta = settings.AXES_COOLOFF_TIME
    return found
