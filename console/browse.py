"""What pages ask of the engine: accounts, moments, classes of service. Answers, no engine objects.

Every question opens the server for itself, answers from the Backup Path and the directory, and
raises BackupError: MailServerUnreachable for a server whose operations run on another host.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, tzinfo

from django.db import transaction
from django.utils import timezone

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.operations import accounts as engine_accounts
from backupng.engine.operations import cos as engine_cos
from backupng.engine.operations.accounts import AccountLine, AccountList, Expected
from backupng.engine.operations.cos import ClassOfService, Switched
from backupng.engine.operations.words import Moment
from console import connect, hosting
from console.models import CosFlag, Server

__all__ = ["AccountLine", "AccountList", "ClassOfService", "Expected", "Switched"]

# Accounts


def servers_here() -> list[Server]:
    """Return the servers whose operations run on this host, or on none yet, by name."""
    return list(Server.objects.filter(identity__in=("", hosting.identity())).order_by("name"))


def accounts(server: Server) -> AccountList:
    """Return all accounts that the mail server or the backup knows, without `detailed`."""
    with connect.context(server) as ctx:
        found = engine_accounts.list_accounts(ctx)
    return replace(found, lines=[_named(line, server) for line in found.lines])


def detailed(server: Server, lines: Iterable[AccountLine]) -> list[AccountLine]:
    """Return lines of one server with items, exact first moment and last change: for one page."""
    with connect.context(server) as ctx:
        return list(engine_accounts.detailed(ctx, lines))


def find_account(account_id: str) -> tuple[Server, AccountLine]:
    """Return an account by its id, `detailed`, and its server: the one it is on now, if any is.

    Raises BadRequest (no_such_account).
    """
    gone: tuple[Server, AccountLine] | None = None
    for server in servers_here():
        try:
            with connect.context(server) as ctx:
                line = _named(engine_accounts.find_account_line(ctx, account_id), server)
        except BackupError:
            continue
        if line.exists:
            return server, line
        gone = gone or (server, line)
    if gone is None:
        raise BadRequest(f"There is no account {account_id}.", code="no_such_account")
    return gone


def first_moment(server: Server, account_id: str) -> datetime | None:
    """Return the first moment an account can be restored to; None while nothing is saved of it."""
    with connect.context(server) as ctx:
        return engine_accounts.first_moment_of(ctx, account_id)


def changed_days(
    server: Server, account_id: str, *, year: int, month: int, zone: tzinfo
) -> frozenset[date]:
    """Return the local days of a month on which the backup captured a change of the mailbox."""
    with connect.context(server) as ctx:
        return engine_accounts.changed_days(ctx, account_id, year=year, month=month, zone=zone)


def item_count(server: Server, account_id: str) -> int:
    """Return how many items the backup has ever had of an account; cheap, nothing is opened."""
    with connect.context(server) as ctx:
        return engine_accounts.item_count(ctx, account_id)


def expected(server: Server, account_id: str, moment: Moment) -> Expected:
    """Return what a restore to that moment would plan; reads every item of the account.

    Raises BadRequest (date_in_future).
    """
    with connect.context(server) as ctx:
        return engine_accounts.expected(ctx, account_id, moment)


def _named(line: AccountLine, server: Server) -> AccountLine:
    return replace(line, server_name=server.name)


# Classes of service


def classes_of_service(server: Server) -> list[ClassOfService]:
    """Return the classes of service as the directory has them now, by name."""
    with connect.context(server) as ctx:
        return engine_cos.list_classes(ctx)


def read_cos_flags(server: Server) -> list[CosFlag]:
    """Bring the cache up to the directory; returns the flags found switched since the last time.

    The first reading of a class finds it as it is, not switched.
    """
    found = classes_of_service(server)
    now = timezone.now()
    switched = []
    with transaction.atomic():
        Server.objects.select_for_update().get(pk=server.pk)
        known = {flag.cos_id: flag for flag in CosFlag.objects.filter(server=server)}
        for cos in found:
            flag = known.pop(cos.cos_id, None) or CosFlag(
                server=server, cos_id=cos.cos_id, disabled=cos.disabled
            )
            if flag.disabled != cos.disabled:
                flag.disabled, flag.changed_at = cos.disabled, now
                switched.append(flag)
            flag.name, flag.accounts, flag.read_at = cos.name[:256], cos.accounts, now
            flag.save()
        CosFlag.objects.filter(pk__in=[flag.pk for flag in known.values()]).delete()
    return switched


def switch_cos(server: Server, name: str, *, disabled: bool) -> Switched:
    """Switch the backup of a class of service, by name or id; the flags are read afterwards.

    Raises BadRequest (no_such_cos) and MailServerError.
    """
    with connect.context(server) as ctx:
        return engine_cos.switch(ctx, name, disabled=disabled)
