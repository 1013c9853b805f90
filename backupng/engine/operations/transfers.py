"""What pages ask before an export or an import: the folder, and what is to go which way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.backuppath.typed import folder_to_read, folder_to_write
from backupng.engine.errors import BackupError, ItemError
from backupng.engine.mailserver.zimbra.systemaccounts import is_system_account, named_by
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, from_ms
from backupng.engine.operations.base import Context, open_named
from backupng.engine.operations.do_external_restore import ExternalRestore, scanner_warning
from backupng.engine.operations.named_path import bounds
from backupng.engine.restore.importing.attributes import rights_in
from backupng.engine.restore.importing.phase2 import amount_of
from backupng.engine.restore.select import account_histories
from backupng.engine.scan.cos import disabled_accounts

_CLASSES_AND_DOMAINS: Final = (EntryKind.COS, EntryKind.DOMAIN)
_MOST_READ: Final = 20_000
"""Items whose states a page reads one by one."""


# Export


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A folder that an export can be written to; `is_on_the_same_disk` as the Backup Path."""

    free_bytes: int
    is_on_the_same_disk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainToExport:
    """A domain of the mail server; `left_out` of its accounts have backup off by their class."""

    name: str
    accounts: int
    left_out: int


def check_target(ctx: Context, path: Path, *, is_begun: bool) -> Target:
    """Check a folder for an export, below the allowed roots. Raises BadRequest (path_…).

    `is_begun`: one that did not come to its end is to go on there.
    """
    with folder_to_write(path, bounds(ctx, is_confined=True), is_begun=is_begun) as folder:
        return Target(free_bytes=folder.room.bytes, is_on_the_same_disk=folder.is_on_the_same_disk)


def is_begun(ctx: Context, path: Path) -> bool:
    """Say whether an export that did not come to its end lies in a folder below the roots."""
    with (
        suppress(BackupError),
        folder_to_read(path, bounds(ctx, is_confined=True)) as folder,
        BackupPath.open(folder.path, is_unfinished=True) as tree,
    ):
        folder.require_same(tree.tree)
        return bool(tree.form.incomplete)
    return False


def domains_to_export(ctx: Context) -> list[DomainToExport]:
    """Return the domains of the mail server by name. Raises MailServerError."""
    accounts = list(ctx.source.entries(EntryKind.ACCOUNT))
    coses, domains = (list(ctx.source.entries(kind)) for kind in _CLASSES_AND_DOMAINS)
    disabled = disabled_accounts(accounts, coses, domains)
    number = Counter(_domain(entry) for entry in accounts if entry.entry_id not in disabled)
    left_out = Counter(_domain(entry) for entry in accounts if entry.entry_id in disabled)
    names = {domain.name.lower() for domain in domains}
    return [
        DomainToExport(name=name, accounts=number[name], left_out=left_out[name])
        for name in sorted(names)
    ]


def sizes_to_export(ctx: Context) -> dict[str, int]:
    """Return how many bytes the mailboxes of each domain hold, backup off or not, by its name."""
    found: dict[str, int] = defaultdict(int)
    for entry in ctx.source.entries(EntryKind.ACCOUNT):
        with suppress(ItemError):
            mailbox = ctx.source.mailbox(AccountId(entry.entry_id))
            found[_domain(entry)] += int((mailbox.row if mailbox else {}).get(_SIZE, 0))
    return found


_SIZE: Final = "size_checkpoint"


def _domain(entry: DirectoryEntry) -> str:
    return entry.name.lower().partition("@")[2]


# Import


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountToImport:
    """An account of a backup; `exists` says whether this server has one of that address or id.

    `has_rights`: its entry would make somebody an administrator, or let somebody in.
    """

    account_id: str
    name: str
    domain: str
    deleted_at: datetime | None
    is_system: bool
    exists: bool
    has_rights: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupToImport:
    """What a folder holds: whose backup since when, as of when, and the accounts by name.

    `unreadable` accounts are there, and their entries cannot be read. `warnings` are sentences.
    """

    path: Path
    server_name: str
    version: str
    since: datetime
    until: datetime | None
    accounts: list[AccountToImport]
    unreadable: int
    warnings: list[str]

    @property
    def deleted(self) -> int:
        """How many of the accounts were deleted at the source."""
        return sum(1 for account in self.accounts if account.deleted_at)

    @property
    def domains(self) -> dict[str, tuple[int, int]]:
        """The domains by name, each with its accounts and how many of them were deleted."""
        total = Counter(account.domain for account in self.accounts)
        gone = Counter(account.domain for account in self.accounts if account.deleted_at)
        return {name: (total[name], gone[name]) for name in sorted(total)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedOfImport:
    """What an import would find; `items` is None without any, else a bound unless `is_exact`."""

    accounts: int
    items: int | None = None
    size_bytes: int = 0
    is_exact: bool = True


def look_at_backup(ctx: Context, path: Path) -> BackupToImport:
    """Look at a backup that is to be imported, below the allowed roots.

    Raises BadRequest (path_…), NotABackupPath, UnsupportedFormat or BackupPathBroken.
    """
    with _opened(ctx, path) as tree:
        ExternalRestore(source_path=path).check(ctx)
        scan = tree.checkpoint().get("smartscan", {})
        accounts = list(_accounts(ctx, tree))
        return BackupToImport(
            path=path,
            server_name=tree.form.server_name,
            version=tree.form.version,
            since=tree.form.created,
            until=from_ms(scan["ended"]) if scan.get("ended") else None,
            accounts=sorted(accounts, key=lambda account: (account.domain, account.name)),
            unreadable=len(tree.accounts()) - len(accounts),
            warnings=list(filter(None, [scanner_warning(ctx)])),
        )


def size_of_backup(ctx: Context, path: Path) -> int:
    """Return how many bytes the blobs of a backup have on the disk."""
    with _opened(ctx, path) as tree:
        return tree.measure_blobs()[1]


def expected_of_import(
    ctx: Context, path: Path, accounts: Collection[str], *, with_items: bool
) -> ExpectedOfImport:
    """Count what an import of these accounts would find; of very many items no sizes are read."""
    with _opened(ctx, path) as tree:
        chosen = [account for account in tree.accounts() if account in accounts]
        if not with_items:
            return ExpectedOfImport(accounts=len(chosen))
        there = sum(1 for account in chosen for _ in tree.items(account))
        if there > _MOST_READ:
            return ExpectedOfImport(accounts=len(chosen), items=there, is_exact=False)
        found = ExpectedOfImport(accounts=len(chosen), items=0)
        for account in chosen:
            with suppress(ItemError):
                amount = amount_of(tree, account)
                found = replace(
                    found,
                    items=(found.items or 0) + amount.items,
                    size_bytes=found.size_bytes + amount.size_bytes,
                )
        return found


@contextmanager
def _opened(ctx: Context, path: Path) -> Iterator[BackupPath]:
    with (
        folder_to_read(path, bounds(ctx, is_confined=True)) as folder,
        open_named(folder.path) as tree,
    ):
        folder.require_same(tree.tree)
        yield tree


def _accounts(ctx: Context, path: BackupPath) -> Iterator[AccountToImport]:
    here = _known_here(ctx)
    histories = list(account_histories(path))
    last = [history[-1] for _, history in histories]
    named = named_by([*_entries(path), *(state.entry for state in last)])
    for state in last:
        entry = state.entry
        yield AccountToImport(
            account_id=entry.entry_id,
            name=entry.name,
            domain=_domain(entry),
            deleted_at=state.start if state.deleted else None,
            is_system=is_system_account(entry, named),
            exists=not here.isdisjoint({entry.entry_id, entry.name.lower()}),
            has_rights=bool(rights_in(entry)),
        )


def _known_here(ctx: Context) -> frozenset[str]:
    accounts = ctx.source.entries(EntryKind.ACCOUNT)
    return frozenset(word for each in accounts for word in (each.entry_id, each.name.lower()))


def _entries(path: BackupPath) -> Iterator[DirectoryEntry]:
    """Yield what may name system accounts: configuration and domains, as far as they are read."""
    for kind in (EntryKind.CONFIG, EntryKind.DOMAIN):
        for entry_id in path.entry_ids(kind):
            with suppress(ItemError):
                yield from (state.entry for state in path.entry_history(kind, entry_id)[-1:])
