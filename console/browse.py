"""What pages ask of the engine: accounts, moments, classes of service. Answers, no engine objects.

Every question opens the server for itself, answers from the Backup Path and the directory, and
raises BackupError: MailServerUnreachable for a server whose operations run on another host.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, tzinfo
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.model import AccountId, ItemId
from backupng.engine.operations import accounts as engine_accounts
from backupng.engine.operations import browsing as engine_browsing
from backupng.engine.operations import cos as engine_cos
from backupng.engine.operations import deletions as engine_deletions
from backupng.engine.operations import gaps as engine_gaps
from backupng.engine.operations import restoring
from backupng.engine.operations import transfers as engine_transfers
from backupng.engine.operations.accounts import AccountLine, AccountList, Expected
from backupng.engine.operations.browsing import (
    FolderLine,
    Inside,
    ItemInTime,
    ItemLine,
    Known,
    Sought,
    View,
    ms_before,
)
from backupng.engine.operations.coming import Coming
from backupng.engine.operations.cos import ClassOfService, Switched
from backupng.engine.operations.deletions import Deletions
from backupng.engine.operations.do_item_restore import DoItemRestore
from backupng.engine.operations.gaps import Gap
from backupng.engine.operations.transfers import (
    AccountToImport,
    BackupToImport,
    DomainToExport,
    ExpectedOfImport,
    Target,
)
from backupng.engine.operations.words import Moment
from console import connect, hosting
from console.models import CosFlag, Server

__all__ = [
    "AccountLine",
    "AccountList",
    "AccountToImport",
    "BackupToImport",
    "ClassOfService",
    "Coming",
    "Deletions",
    "DomainToExport",
    "Expected",
    "ExpectedOfImport",
    "FolderLine",
    "Gap",
    "Inside",
    "ItemInTime",
    "ItemLine",
    "Known",
    "Sought",
    "Switched",
    "Target",
    "View",
    "ms_before",
]

_READING_S = 1.0
"""No longer is waited for a catalog that has to read; what it knows by then is taken."""

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


def find_account(account_id: str, *, is_detailed: bool = True) -> tuple[Server, AccountLine]:
    """Return an account by its id, `detailed`, and its server: the one it is on now, if any is.

    Raises BadRequest (no_such_account).
    """
    gone: tuple[Server, AccountLine] | None = None
    for server in servers_here():
        try:
            line = account_of(server, account_id, is_detailed=is_detailed)
        except BackupError:
            continue
        if line.exists:
            return server, line
        gone = gone or (server, line)
    if gone is None:
        raise BadRequest(f"There is no account {account_id}.", code="no_such_account")
    return gone


def deleted_accounts(server: Server) -> list[AccountLine]:
    """Return the accounts that the backup knows and the mail server has not any more, by name."""
    with connect.context(server) as ctx:
        ctx.path.accounts()  # a Backup Path that cannot be read has none, and says so
        found = engine_accounts.list_accounts(ctx)
    lines = (line for line in found.lines if not line.exists and line.protected_since)
    return [_named(line, server) for line in lines]


def account_of(server: Server, account_id: str, *, is_detailed: bool = True) -> AccountLine:
    """Return an account of that server, `detailed`. Raises BadRequest (no_such_account)."""
    with connect.context(server) as ctx:
        found = engine_accounts.find_account_line(ctx, account_id, is_detailed=is_detailed)
    return _named(found, server)


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


def gap_at(server: Server, account_id: str, moment: datetime) -> Gap | None:
    """Return the time around a moment in which nobody saw the mailbox change; None without one."""
    with connect.context(server) as ctx:
        engine_browsing.read_up(ctx, AccountId(account_id), seconds=_READING_S)
        return engine_gaps.gap_at(ctx, AccountId(account_id), moment)


def item_count(server: Server, account_id: str) -> int:
    """Return how many items the backup has ever had of an account; cheap, nothing is opened."""
    with connect.context(server) as ctx:
        return engine_accounts.item_count(ctx, account_id)


def deletions(server: Server, account_id: str, start: Moment, end: Moment) -> Deletions:
    """Return what was deleted from a mailbox in a period. Raises BadRequest (date_in_future)."""
    with connect.context(server) as ctx:
        return engine_deletions.deletions(ctx, account_id, start, end)


def coming_back(server: Server, account_id: str, start: Moment, end: Moment) -> Coming:
    """Return what an Undelete would bring back now; reads every item of the account.

    Raises BadRequest (date_in_future).
    """
    with connect.context(server) as ctx:
        return engine_deletions.coming_back(ctx, account_id, start, end)


def check_items(server: Server, operation: DoItemRestore) -> None:
    """Check an Item Restore as its run does at first. Raises BadRequest."""
    with connect.context(server) as ctx:
        operation.check(ctx)


def items_coming(server: Server, operation: DoItemRestore) -> Coming:
    """Return what an Item Restore would bring now. Raises BadRequest if it would be refused."""
    with connect.context(server) as ctx:
        return operation.coming(ctx)


def undelete_folder(server: Server, account_id: str) -> str:
    """Return the path of the folder that an Undelete would make now in that mailbox."""
    with connect.context(server) as ctx:
        return restoring.undelete_folder(ctx, account_id)


def expected(server: Server, account_id: str, moment: Moment) -> Expected:
    """Return what a restore to that moment would plan; reads every item of the account.

    Raises BadRequest (date_in_future).
    """
    with connect.context(server) as ctx:
        return engine_accounts.expected(ctx, account_id, moment)


# Mailboxes


def read_up(server: Server, account_id: str, *, seconds: float) -> Known | None:
    """Have the catalog read what it lacks of an account; None once it lacks nothing."""
    with connect.context(server) as ctx:
        return engine_browsing.read_up(ctx, AccountId(account_id), seconds=seconds)


def mailbox(server: Server, account_id: str, inside: Inside, *, first: int, limit: int) -> View:
    """Return a mailbox at a moment, and a page of one of its folders."""
    with connect.context(server) as ctx:
        return engine_browsing.view(ctx, AccountId(account_id), inside, first=first, limit=limit)


def search(
    server: Server, account_id: str, sought: Sought, *, first: int, limit: int
) -> list[ItemLine]:
    """Return items that were ever like that, the newest first."""
    with connect.context(server) as ctx:
        return engine_browsing.found(ctx, AccountId(account_id), sought, first=first, limit=limit)


def items_at(
    server: Server, account_id: str, items: Sequence[ItemId], before: datetime
) -> list[ItemLine]:
    """Return these items as they were at a moment, deleted ones as they were before that."""
    with connect.context(server) as ctx:
        return engine_browsing.items_at(ctx, AccountId(account_id), items, before)


def changes(server: Server, account_id: str, limits: Sequence[datetime]) -> list[tuple[int, int]]:
    """Return how many changes there were, and how many of them deletions, between each two."""
    with connect.context(server) as ctx:
        return engine_browsing.changes(ctx, AccountId(account_id), limits)


def item_in_time(server: Server, account_id: str, item: int) -> ItemInTime:
    """Return all states of an item. Raises BadRequest (no_such_item)."""
    with connect.context(server) as ctx:
        return engine_browsing.item_in_time(ctx, AccountId(account_id), ItemId(item))


# Transfers


def check_target(server: Server, path: Path, *, is_begun: bool) -> Target:
    """Check a folder for an export, or for one that goes on there. Raises BadRequest (path_…)."""
    with connect.context(server) as ctx:
        return engine_transfers.check_target(ctx, path, is_begun=is_begun)


def is_export_begun(server: Server, path: Path) -> bool:
    """Say whether an export that did not come to its end lies in a folder."""
    with connect.context(server) as ctx:
        return engine_transfers.is_begun(ctx, path)


def domains_to_export(server: Server) -> list[DomainToExport]:
    """Return the domains of the mail server by name."""
    with connect.context(server) as ctx:
        return engine_transfers.domains_to_export(ctx)


def sizes_to_export(server: Server) -> dict[str, int]:
    """Return how many bytes the mailboxes of each domain hold, by its name."""
    with connect.context(server) as ctx:
        return engine_transfers.sizes_to_export(ctx)


def backup_to_import(server: Server, path: Path) -> BackupToImport:
    """Look at a backup that is to be imported. Raises BadRequest (path_…), BackupPathError."""
    with connect.context(server) as ctx:
        found = engine_transfers.look_at_backup(ctx, path)
        return replace(found, warnings=[ctx.named(each) for each in found.warnings])


def expected_of_import(
    server: Server, path: Path, accounts: Collection[str], *, with_items: bool
) -> ExpectedOfImport:
    """Return what an import of these accounts, by their ids, would find."""
    with connect.context(server) as ctx:
        return engine_transfers.expected_of_import(ctx, path, accounts, with_items=with_items)


def size_of_backup(server: Server, path: Path) -> int:
    """Return how many bytes the blobs of a backup have on the disk."""
    with connect.context(server) as ctx:
        return engine_transfers.size_of_backup(ctx, path)


def free_bytes(path: Path) -> int | None:
    """Return how much is free where a folder lies; None if it is not there."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


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
