"""getAvailableDomains."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.model import EntryKind, EntryState, to_ms
from backupng.engine.operations.base import Context, Lookup, open_named
from backupng.engine.operations.get_available_accounts import domain_of
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import Moment
from backupng.engine.restore.select import account_histories, state_at


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAvailableDomains(Lookup):
    """List the domains of a Backup Path."""

    command: ClassVar[str] = "getAvailableDomains"
    title: ClassVar[str] = "Available domains"
    summary: ClassVar[str] = "Available domains: lists the domains that can be restored"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getAvailableDomains last /opt/zimbra/backup/export",
    )

    date: Moment = field(metadata={"values": '"dd/MM/yyyy HH:mm:ss"|last'})
    backup_path: Path

    def answer(self, ctx: Context) -> dict[str, Any]:
        """Return the domains of that date by name, each with the numbers of its accounts.

        A domain that has accounts there and no entry of its own has no id; one that was gone by
        then is listed, with its date, while there are accounts of it.
        """
        before = before_of(self.date, ctx.now)
        with open_named(self.backup_path) as path:
            domains = _domains(path, before)
            living, deleted = _count_accounts(path, before)
        known = {name for name, state in domains.items() if not state.deleted}
        names = sorted(known | living.keys() | deleted.keys())
        return {
            "domains": [
                {
                    "name": name,
                    "id": domains[name].entry.entry_id if name in domains else None,
                    "accounts": living[name],
                    "accounts_deleted": deleted[name],
                    "deleted": _deleted(domains.get(name)),
                }
                for name in names
            ]
        }


def _domains(path: BackupPath, before: datetime) -> dict[str, EntryState]:
    """Return the domains that there were by then, by name; of a name the living or newest one."""
    found: dict[str, EntryState] = {}
    for entry_id in path.entry_ids(EntryKind.DOMAIN):
        with suppress(ItemError):
            state = state_at(path.entry_history(EntryKind.DOMAIN, entry_id), before)
            if state is not None:
                name = state.entry.name.lower()
                found[name] = max(found.get(name, state), state, key=_age)
    return found


def _age(state: EntryState) -> tuple[bool, datetime]:
    return not state.deleted, state.start


def _count_accounts(path: BackupPath, before: datetime) -> tuple[Counter[str], Counter[str]]:
    """Return how many accounts each domain had, and how many that were deleted by then."""
    living: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    for _, history in account_histories(path):
        if (state := state_at(history, before)) is not None:
            (deleted if state.deleted else living)[domain_of(state.entry)] += 1
    return living, deleted


def _deleted(state: EntryState | None) -> int | None:
    return to_ms(state.start) if state is not None and state.deleted else None
