"""getAvailableAccounts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.pending import lost_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog.answers import EntryLine
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.model import AccountId, to_ms
from backupng.engine.operations.accounts import timestamp
from backupng.engine.operations.base import BackupPathLookup, Context
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import ALL_DOMAINS, LAST, Domains, Moment
from backupng.engine.restore.select import state_at

UNREADABLE: Final = "unreadable"
"""Status of an account whose entry in the backup cannot be read: a Coherency Check is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAvailableAccounts(BackupPathLookup):
    """List the accounts of a Backup Path."""

    command: ClassVar[str] = "getAvailableAccounts"
    title: ClassVar[str] = "Available accounts"
    summary: ClassVar[str] = "Available accounts: lists the accounts that can be restored"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getAvailableAccounts domains example.com hide_deleted true",
    )

    date: Moment = field(default=LAST, metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    domains: Domains = field(default=ALL_DOMAINS, metadata={"default": "all"})
    hide_deleted: bool = field(default=False, metadata={"values": "true|false"})

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return the accounts known at the date, by address."""
        before = before_of(self.date, ctx.now)
        with self.catalog(path, ctx) as catalog:
            known = {account: catalog.entries(account) for account in path.accounts()}
        # One damaged entry does not hide the others.
        histories = {account: history for account, history in known.items() if history}
        self._require_domains(histories.values())
        found = [
            _shown(path, account, history, state)
            for account, history in histories.items()
            if (state := state_at(history, before)) is not None and self._wanted(state)
        ]
        if not self.domains:
            lost = (account for account, history in known.items() if not history)
            found += [
                _unreadable(path, account) for account in lost if has_lost_entry(path, account)
            ]
        return {"accounts": sorted(found, key=lambda each: (each["name"], each["created"] or 0))}

    def _require_domains(self, histories: Iterable[Sequence[EntryLine]]) -> None:
        """Refuse a domain that the Backup Path has no account of. Raises BadRequest."""
        known = {history[-1].name.partition("@")[2] for history in histories}
        for domain in self.domains:
            if domain.lower() not in known:
                raise BadRequest(
                    f"There is no account of the domain {domain} in the Backup Path.",
                    code="no_such_domain",
                    hint=f"There are: {', '.join(sorted(known))}.",
                )

    def _wanted(self, state: EntryLine) -> bool:
        domain = state.name.partition("@")[2]
        return not (self.hide_deleted and state.deleted) and (
            not self.domains or domain in {each.lower() for each in self.domains}
        )


def has_lost_entry(path: BackupPath, account: AccountId) -> bool:
    """Say whether an account has an entry that cannot be read, or had one when it was scanned."""
    try:
        return bool(path.tree.mark(layout.account_file(account)) or lost_history(path, account))
    except ItemError:
        return True


def _unreadable(path: BackupPath, account: AccountId) -> dict[str, Any]:
    """Show an account of which only the id is known."""
    names = {"name": str(account), "id": account, "server": path.form.server_name}
    return names | {"status": UNREADABLE, "created": None, "deleted": None}


def _shown(
    path: BackupPath, account: AccountId, history: Sequence[EntryLine], state: EntryLine
) -> dict[str, Any]:
    return {
        "name": state.name,
        "id": account,
        "server": path.form.server_name if state.host is None else state.host,
        "status": state.status,
        "created": to_ms(timestamp(state.created) or history[0].start),
        "deleted": to_ms(state.start) if state.deleted else None,
    }
