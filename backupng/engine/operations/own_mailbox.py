"""A mailbox that gets its own items back: it must be there, and the backup must know it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest
from backupng.engine.mailserver.port import MailboxWriter
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, ItemId
from backupng.engine.operations.account_scan import settle
from backupng.engine.operations.base import Context, Report
from backupng.engine.operations.moments import require_scanned, spelled
from backupng.engine.restore.select import find_account, first_moment
from backupng.engine.scan.uncertainty import uncertain

_TOPS = frozenset({ItemId(SystemFolder.USER_ROOT), ItemId(SystemFolder.ROOT)})


@dataclass(frozen=True, slots=True)
class OwnMailbox:
    """An account on the mail server, its id in the backup, and since when that knows it."""

    path: BackupPath
    entry: DirectoryEntry
    account: AccountId
    first: datetime

    @classmethod
    def of(cls, ctx: Context, path: BackupPath, name: str) -> OwnMailbox:
        """Find the account of that address, alias or id. Raises BadRequest (no_such_account, …)."""
        require_scanned(path)
        try:
            account, history = find_account(path, name)
        except BadRequest as error:
            raise _unfound(ctx, name, error) from error
        entry = ctx.destination.entry(EntryKind.ACCOUNT, account)
        if entry is None:
            address = history[-1].entry.name
            raise BadRequest(
                f"The account {address} is not on the mail server any more.",
                code="no_such_account",
                hint="Its content comes back in a new account:"
                f" backupng backup doRestoreOnNewAccount {account} {address} last",
            )
        return cls(path, entry, account, first_moment(path, account, history))

    def require_known(self, before: datetime, zone: str) -> None:
        """Refuse a moment that lies before the first backup. Raises BadRequest."""
        if before <= self.first:
            raise BadRequest(
                f"{self.entry.name} was not in the backup yet at that time.",
                code="before_first_backup",
                hint=f"The first moment is {spelled(self.first, zone)}.",
                first=int(self.first.timestamp() * 1000),
            )

    def settle(self, ctx: Context, report: Report) -> None:
        """Have an uncertain account of this server scanned before it is restored."""
        doubt = uncertain(self.path, self.account)
        if doubt is not None and self.path.tree.root == ctx.backup_path:
            settle(ctx, self.account, doubt, report)


def _unfound(ctx: Context, name: str, error: BadRequest) -> BadRequest:
    """Return the refusal of a name that the backup does not know, or knows of several."""
    entry = ctx.destination.entry(EntryKind.ACCOUNT, name)
    if error.code == "no_such_account" and entry is not None:
        return BadRequest(
            f"The backup knows nothing of {entry.name} yet.",
            code="no_such_account",
            hint=f"backupng backup doAccountScan {entry.name} saves it as it is now.",
        )
    # Of accounts that are all deleted no id would do here.
    if entry is None and _are_deleted(error):
        error.hint = (
            "None of them is on the mail server any more. The content of one comes back in a new"
            f" account: backupng backup doRestoreOnNewAccount ID {name} last"
        )
    return error


def _are_deleted(error: BadRequest) -> bool:
    accounts = error.details.get("accounts", [])
    return bool(accounts) and all(each["deleted"] is not None for each in accounts)


def path_of(writer: MailboxWriter, folder: ItemId | None) -> str:
    """Return the path of a folder of a mailbox as it is now."""
    names: list[str] = []
    seen: set[ItemId] = set()
    while folder is not None and folder not in _TOPS and folder not in seen:
        seen.add(folder)
        found = writer.read_back([folder]).get(folder)
        if found is None:
            break
        names.append(found.name or "")
        folder = found.folder_id
    return "/" + "/".join(reversed(names))
