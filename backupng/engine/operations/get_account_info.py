"""getAccountInfo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from sqlite3 import Connection
from typing import Any, ClassVar, Final

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog import searching
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import BadRequest, ItemError
from backupng.engine.mailserver.zimbra.attributes import created_of
from backupng.engine.model import (
    AccountId,
    Digest,
    DirectoryEntry,
    EntryKind,
    EntryState,
    MailboxState,
    to_ms,
)
from backupng.engine.operations.base import BackupPathLookup, Context
from backupng.engine.operations.moments import before_of
from backupng.engine.operations.words import AccountNameOrId, Moment
from backupng.engine.restore.select import ALL_TIME, find_account, living_at, state_at
from backupng.engine.scan.cos import classes_of

_MOST_RECENT: Final = Moment(keyword="most_recent")
_PAGE: Final = 1_000
_LENGTH: Final = 2
"""Where the mark of a file has its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAccountInfo(BackupPathLookup):
    """Say what the backup knows of an account itself."""

    command: ClassVar[str] = "getAccountInfo"
    title: ClassVar[str] = "Account"
    summary: ClassVar[str] = "Account: what the backup knows of an account, and how much of it"
    examples: ClassVar[tuple[str, ...]] = (
        "backupng backup getAccountInfo john@example.com backupstats true",
        "backupng backup getAccountInfo a7300a00-56ec-46c3-9773-c6ef7c4f3636 date all",
    )

    account: AccountNameOrId
    date: Moment = field(
        default=_MOST_RECENT,
        metadata={"values": '"dd/MM/yyyy HH:mm:ss"|most_recent|least_recent|all'},
    )
    backupstats: bool = False

    def look(self, path: BackupPath, ctx: Context) -> dict[str, Any]:
        """Return the account's states that are asked for, oldest first, and its numbers if wanted.

        The numbers are those of now. A blob that other accounts have as well counts in full.
        """
        account, history = find_account(path, self.account)
        scans: tuple[MailboxState, ...] = ()
        with suppress(ItemError):
            scans = path.mailbox_history(account)
        known = _Known(path, history, scans)
        shown = [known.show(each) for each in self._chosen(history, ctx)]
        with self.catalog(path, ctx) as catalog:
            totals = catalog.totals(account)
            moments = [state.start for state in history] + [scan.start for scan in scans]
            moments += [each for each in (totals.first, totals.last) if each]
            response = {
                "account": {"id": account, "name": history[-1].entry.name},
                "accountStates": shown,
                "first_state_date": to_ms(min(moments)),
                "last_state_date": to_ms(max(moments)),
            }
            if self.backupstats:
                response["backupstats"] = _stats(path, catalog, account, scans)
        return response

    def _chosen(self, history: Sequence[EntryState], ctx: Context) -> Sequence[EntryState]:
        match self.date.keyword:
            case "all":
                return history
            case "most_recent" | "last":
                return history[-1:]
            case "least_recent" | "first":
                return history[:1]
        state = state_at(history, before_of(self.date, ctx.now))
        if state is None:
            raise BadRequest(
                f"{history[-1].entry.name} was not in the backup yet at that time.",
                code="before_first_backup",
                hint="date least_recent shows its first state.",
                first=to_ms(history[0].start),
            )
        return [state]


class _Known:
    """What else the backup knows of an account and of the classes of service there were."""

    def __init__(
        self, path: BackupPath, history: Sequence[EntryState], scans: Sequence[MailboxState]
    ) -> None:
        self._server_name = path.form.server_name
        self._history = history
        self._scans = scans
        self._ends = {id(state): after.start for state, after in pairwise(history)}
        self._coses = list(_histories(path, EntryKind.COS))
        self._domains = list(_histories(path, EntryKind.DOMAIN))

    def show(self, state: EntryState) -> dict[str, Any]:
        """Return one element of `accountStates`."""
        end = self._ends.get(id(state))
        scan = state_at(self._scans, end or ALL_TIME)
        entry = state.entry
        return {
            "start_date": to_ms(state.start),
            "end_date": to_ms(end) if end else None,
            "id": entry.entry_id,
            "name": entry.name,
            "aliases": list(entry.values("zimbraMailAlias")),
            "server": entry.first("zimbraMailHost", self._server_name),
            "mailbox_id": scan.mailbox.mailbox_id if scan else None,
            "status": entry.first("zimbraAccountStatus", "active"),
            "cos": self._cos_of(entry, end or ALL_TIME),
            "created": to_ms(created_of(entry) or self._history[0].start),
            "deleted": to_ms(state.start) if state.deleted else None,
            "deleted_why": state.reason or None,
        }

    def _cos_of(self, entry: DirectoryEntry, before: datetime) -> str | None:
        """Return the name of the class of service that the account had then."""
        coses, domains = (_living(each, before) for each in (self._coses, self._domains))
        found = classes_of([entry], coses, domains).get(entry.entry_id)
        return found.name if found else None


def _histories(path: BackupPath, kind: EntryKind) -> Iterator[tuple[EntryState, ...]]:
    for entry_id in path.entry_ids(kind):
        with suppress(ItemError):
            yield path.entry_history(kind, entry_id)


def _living(
    histories: Iterable[Sequence[EntryState]], before: datetime
) -> Iterator[DirectoryEntry]:
    for history in histories:
        if (state := living_at(history, before)) is not None:
            yield state.entry


def _stats(
    path: BackupPath, catalog: Catalog, account: AccountId, scans: Sequence[MailboxState]
) -> dict[str, Any]:
    kinds = [
        {
            "type": each.kind.value,
            "items_existing": each.existing,
            "items_deleted": each.deleted,
            "states": each.states,
        }
        for each in catalog.ask(account, searching.count_kinds) or ()
    ]
    plain = packed = missing = blobs = 0
    for digest, size in _blobs(catalog, account):
        mark = path.tree.mark(layout.blob_file(digest))
        blobs, plain = blobs + 1, plain + size
        packed, missing = packed + (mark[_LENGTH] if mark else 0), missing + (not mark)
    return {
        "types": kinds,
        "items_existing": sum(each["items_existing"] for each in kinds),
        "items_deleted": sum(each["items_deleted"] for each in kinds),
        "items_unreadable": len(catalog.unreadable(account)),
        "states": sum(each["states"] for each in kinds),
        "blobs": blobs,
        "blobs_missing": missing,
        "blob_bytes": plain,
        "blob_bytes_compressed": packed,
        "last_scan_date": path.checkpoint().get("smartscan", {}).get("ended"),
        "last_change_date": to_ms(scans[-1].start) if scans else None,
    }


def _blobs(catalog: Catalog, account: AccountId) -> Iterator[tuple[Digest, int]]:
    after: Digest | None = None

    def ask(connection: Connection, number: int) -> list[tuple[Digest, int]]:
        return searching.blobs(connection, number, after=after, limit=_PAGE)

    while page := catalog.ask(account, ask):
        yield from page
        after = page[-1][0]
