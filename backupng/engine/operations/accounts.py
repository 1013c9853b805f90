"""What pages ask about accounts: which there are, since when they are saved, what a moment holds.

No commands: these are answered in the process that asks. Each question reads a few files an
account; only `expected` reads every item, as the restore itself does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, tzinfo
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BackupError, BadRequest, ItemError, MailServerError
from backupng.engine.mailserver.zimbra.attributes import created_of
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, EntryState, ItemKind
from backupng.engine.operations.base import Context
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import Moment
from backupng.engine.restore.rename import order
from backupng.engine.restore.select import first_moment, select_account
from backupng.engine.scan.cos import classes_of, is_disabled
from backupng.engine.scan.directory import is_left_out

_NOTHING_YET: Final = "not_initialized"
_CLASSES_AND_DOMAINS: Final = (EntryKind.COS, EntryKind.DOMAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """One account as lists show it: what the mail server says now, and what the backup knows.

    `exists` says whether it is on the mail server, as far as that can be asked; `deleted_at` is
    when a scan found it gone. `protected_since` is the first moment it can be restored to, None
    while nothing of it is saved; `last_change` is when a scan last captured a change, `items` how
    many items the backup has ever had of it, `unsaved` how many the last scan could not save: all
    three only after `detailed`. `problem` is why the backup's part cannot be read.
    """

    account_id: str
    name: str
    server_name: str = ""
    display_name: str = ""
    status: str = ""
    cos_name: str = ""
    backup_disabled: bool = False
    exists: bool = True
    items: int | None = None
    protected_since: datetime | None = None
    last_change: datetime | None = None
    deleted_at: datetime | None = None
    created_at: datetime | None = None
    unsaved: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountList:
    """The accounts of a server by name, and why one of the two who know them did not answer."""

    lines: list[AccountLine]
    directory_error: str = ""
    backup_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a mailbox held at a moment, as a restore would find it; `size_bytes` of plain content.

    `kinds` are the numbers of `items` by kind; `unreadable` items would be missing.
    """

    items: int = 0
    size_bytes: int = 0
    folders: int = 0
    tags: int = 0
    mountpoints: int = 0
    unreadable: int = 0
    kinds: Mapping[ItemKind, int] = field(default_factory=dict)


def list_accounts(ctx: Context) -> AccountList:
    """Return all accounts that the mail server or the backup knows, without `detailed`."""
    known: dict[str, _Known] = {}
    backup_error = ""
    try:
        path = _path_of(ctx)
        known = {each: _known(path, each) for each in path.accounts()} if path else {}
    except BackupError as error:
        backup_error = str(error)
    directory, directory_error = _directory(ctx, known)
    found = _lines(directory, known)
    return AccountList(
        lines=sorted(found, key=lambda line: (line.name, line.account_id)),
        directory_error=directory_error,
        backup_error=backup_error,
    )


def find_account_line(ctx: Context, account: str, *, is_detailed: bool = True) -> AccountLine:
    """Return one account by its id, `detailed` or not. Raises BadRequest (no_such_account)."""
    known: dict[str, _Known] = {}
    problem = ""
    try:
        path = _path_of(ctx)
        if path and account in path.accounts():
            known = {account: _known(path, account)}
    except BackupError as error:
        problem = str(error)
    directory, _ = _directory(ctx, known, account)
    found = _lines(directory, known)
    if not found:
        raise BadRequest(f"There is no account {account}.", code="no_such_account")
    line = next(detailed(ctx, found)) if is_detailed else found[0]
    return replace(line, problem=problem or line.problem)


def detailed(ctx: Context, lines: Iterable[AccountLine]) -> Iterator[AccountLine]:
    """Yield the lines with what only the files of each account tell."""
    for line in lines:
        if line.protected_since is None:
            yield line
            continue
        account = AccountId(line.account_id)
        try:
            scans = ctx.path.mailbox_history(account)
            items = sum(1 for _ in ctx.path.items(account))
        except BackupError as error:
            yield replace(line, problem=str(error))
            continue
        yield replace(
            line,
            items=items,
            protected_since=min([line.protected_since, *(scan.start for scan in scans[:1])]),
            last_change=scans[-1].start if scans else None,
            unsaved=len(scans[-1].unread) if scans else 0,
        )


def first_moment_of(ctx: Context, account: str) -> datetime | None:
    """Return the first moment an account can be restored to; None while nothing is saved of it."""
    history = _entry_history(ctx, account)
    return first_moment(ctx.path, AccountId(account), history) if history else None


def changed_days(
    ctx: Context, account: str, *, year: int, month: int, zone: tzinfo
) -> frozenset[date]:
    """Return the local days of a month on which a scan captured a change of the mailbox."""
    if not _entry_history(ctx, account):
        return frozenset()
    scans = ctx.path.mailbox_history(AccountId(account))
    days = (scan.start.astimezone(zone).date() for scan in scans)
    return frozenset(day for day in days if (day.year, day.month) == (year, month))


def item_count(ctx: Context, account: str) -> int:
    """Return how many items the backup has ever had of an account: at least what it holds now."""
    if not _entry_history(ctx, account):
        return 0
    return sum(1 for _ in ctx.path.items(AccountId(account)))


def expected(ctx: Context, account: str, moment: Moment) -> Expected:
    """Return what a restore to that moment would plan. Raises BadRequest for a future date."""
    before = before_of(moment, ctx.now)
    if not _entry_history(ctx, account):
        return Expected()
    selection = select_account(ctx.path, AccountId(account), before)
    plan = order(selection.states())
    return Expected(
        items=len(plan.items),
        size_bytes=sum(item.size for item in plan.items),
        folders=len(plan.folders),
        tags=len(plan.tags),
        mountpoints=len(plan.shares),
        unreadable=len(selection.unreadable),
        kinds=Counter(item.kind for item in plan.items),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the backup has of an account's entry, or why that cannot be read."""

    history: tuple[EntryState, ...] = ()
    problem: str = ""

    @property
    def last(self) -> EntryState | None:
        """The newest state, None if there is none."""
        return self.history[-1] if self.history else None


@dataclass(frozen=True, slots=True)
class _Directory:
    """The accounts of a directory by id, and what decides on their class of service."""

    accounts: Mapping[str, DirectoryEntry]
    coses: list[DirectoryEntry]
    domains: list[DirectoryEntry]


def _known(path: BackupPath, account: str) -> _Known:
    try:
        return _Known(path.entry_history(EntryKind.ACCOUNT, account))
    except ItemError as error:
        return _Known(problem=str(error))


def _directory(
    ctx: Context, known: Mapping[str, _Known], account: str | None = None
) -> tuple[_Directory, str]:
    """Return the mail server's directory, all accounts or one.

    If it does not answer: as the last scan saw it, and why.
    """
    try:
        coses, domains = (list(ctx.source.entries(kind)) for kind in _CLASSES_AND_DOMAINS)
        accounts = _accounts(ctx, account)
    except MailServerError as error:
        remembered = {
            each: last.entry
            for each, found in known.items()
            # What a scan left out for its class of service is still there.
            if (last := found.last) and (not last.deleted or is_left_out(last))
        }
        coses, domains = (_remembered(ctx, kind) for kind in _CLASSES_AND_DOMAINS)
        return _Directory(remembered, coses, domains), str(error)
    return _Directory({entry.entry_id: entry for entry in accounts}, coses, domains), ""


def _accounts(ctx: Context, account: str | None) -> list[DirectoryEntry]:
    if account is None:
        return list(ctx.source.entries(EntryKind.ACCOUNT))
    found = ctx.destination.entry(EntryKind.ACCOUNT, account)
    # It is also found by its addresses: those are no ids.
    return [found] if found is not None and found.entry_id == account else []


def _remembered(ctx: Context, kind: EntryKind) -> list[DirectoryEntry]:
    """Return the living entries of a kind as the backup has them, as far as they can be read."""
    found: list[EntryState] = []
    try:
        for entry_id in ctx.path.entry_ids(kind):
            with suppress(ItemError):
                found += ctx.path.entry_history(kind, entry_id)[-1:]
    except BackupError:
        return []
    return [state.entry for state in found if not state.deleted]


def _path_of(ctx: Context) -> BackupPath | None:
    """Return the Backup Path; None before the first scan has made it."""
    try:
        return ctx.path
    except BackupError as error:
        if error.code == _NOTHING_YET:
            return None
        raise


def _entry_history(ctx: Context, account: str) -> tuple[EntryState, ...]:
    """Return the history of an account's entry; empty if the backup does not know that id."""
    path = _path_of(ctx)
    if path is None or account not in path.accounts():
        return ()
    return path.entry_history(EntryKind.ACCOUNT, account)


def _lines(directory: _Directory, known: Mapping[str, _Known]) -> list[AccountLine]:
    shown = {each: found.last.entry for each, found in known.items() if found.last}
    shown |= directory.accounts
    classes = classes_of(shown.values(), directory.coses, directory.domains)
    return [
        _line(
            entry,
            known.get(account, _Known()),
            exists=account in directory.accounts,
            cos=classes.get(account),
        )
        for account, entry in shown.items()
    ]


def _line(
    entry: DirectoryEntry, known: _Known, *, exists: bool, cos: DirectoryEntry | None
) -> AccountLine:
    last = known.last
    return AccountLine(
        account_id=entry.entry_id,
        name=entry.name,
        display_name=entry.first("displayName"),
        status=entry.first("zimbraAccountStatus", "active") if exists else "deleted",
        cos_name=cos.name if cos else "",
        backup_disabled=exists and cos is not None and is_disabled(cos),
        exists=exists,
        protected_since=known.history[0].start if known.history else None,
        deleted_at=last.start if last and last.deleted and not exists else None,
        created_at=created_of(entry),
        problem=known.problem,
    )
