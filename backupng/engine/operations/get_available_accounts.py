"""getAvailableAccounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BadRequest
from backupng.engine.model import AccountId, EntryState, to_ms
from backupng.engine.operations.accounts import created_of
from backupng.engine.operations.base import BackupPathLookup, Context
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import ALL_DOMAINS, LAST, Domains, Moment
from backupng.engine.restore.select import account_histories, state_at


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
        self._require_domains(path)
        found = [
            _shown(path, account, history, state)
            for account, history in account_histories(path)
            if (state := state_at(history, before)) is not None and self._wanted(state)
        ]
        return {"accounts": sorted(found, key=lambda each: (each["name"], each["created"]))}

    def _require_domains(self, path: BackupPath) -> None:
        """Refuse a domain that the Backup Path has no account of. Raises BadRequest."""
        known = {history[-1].entry.name.partition("@")[2] for _, history in account_histories(path)}
        for domain in self.domains:
            if domain.lower() not in known:
                raise BadRequest(
                    f"There is no account of the domain {domain} in the Backup Path.",
                    code="no_such_domain",
                    hint=f"There are: {', '.join(sorted(known))}.",
                )

    def _wanted(self, state: EntryState) -> bool:
        domain = state.entry.name.partition("@")[2]
        return not (self.hide_deleted and state.deleted) and (
            not self.domains or domain in {each.lower() for each in self.domains}
        )


def _shown(
    path: BackupPath, account: AccountId, history: Sequence[EntryState], state: EntryState
) -> dict[str, Any]:
    return {
        "name": state.entry.name,
        "id": account,
        "server": state.entry.first("zimbraMailHost", path.form.server_name),
        "status": state.entry.first("zimbraAccountStatus", "active"),
        "created": to_ms(created_of(state.entry) or history[0].start),
        "deleted": to_ms(state.start) if state.deleted else None,
    }
