"""What pages ask about a period of a mailbox: what was deleted in it, and what comes back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from backupng.engine.catalog import deletions as asked
from backupng.engine.model import FOLDER_LIKE, AccountId, EntryKind, ItemId, ItemKind, to_ms
from backupng.engine.operations.base import Context
from backupng.engine.operations.coming import NO_ITEMS, Coming, coming
from backupng.engine.operations.moments import before_of, start_of
from backupng.engine.operations.restoring import today, undelete_name
from backupng.engine.operations.words import Moment
from backupng.engine.restore.rename import order
from backupng.engine.restore.undelete import Deleted

_LISTED: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """One item that was deleted: as it was, the folder it lay in, and when it went."""

    item: ItemId
    kind: ItemKind
    title: str
    sender: str
    folder: str
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """What was deleted in a period; `kinds` are the numbers of `items` by kind.

    Folders and tags are counted apart. `listed` are the latest items.
    """

    items: int = 0
    size_bytes: int = 0
    folders: int = 0
    kinds: Mapping[ItemKind, int] = field(default_factory=dict)
    listed: list[Deletion] = field(default_factory=list)


def deletions(ctx: Context, account: str, start: Moment, end: Moment) -> Deletions:
    """Return what was deleted from a mailbox in the closed period, the last second whole.

    Raises BadRequest (date_in_future) and what reading the Backup Path raises.
    """
    span = (to_ms(start_of(start, ctx.now)), to_ms(before_of(end, ctx.now)))

    def ask(connection: sqlite3.Connection, number: int) -> Deletions:
        found = asked.count(connection, number, span)
        items = {kind: counts for kind, counts in found.items() if kind not in NO_ITEMS}
        names = asked.folder_names(connection, number)
        lines = asked.page(connection, number, span, limit=_LISTED)
        return Deletions(
            items=sum(number for number, _ in items.values()),
            size_bytes=sum(size for _, size in items.values()),
            folders=sum(found.get(kind, (0, 0))[0] for kind in FOLDER_LIKE),
            kinds={kind: number for kind, (number, _) in sorted(items.items())},
            listed=[
                Deletion(
                    item=line.item,
                    kind=line.kind,
                    title=line.subject or line.name or "",
                    sender=line.sender or "",
                    folder=names.get(line.folder, "") if line.folder else "",
                    deleted_at=line.until,
                )
                for line in lines
                if line.kind not in NO_ITEMS
            ],
        )

    return ctx.catalog.ask(AccountId(account), ask) or Deletions()


def coming_back(ctx: Context, account: str, start: Moment, end: Moment) -> Coming:
    """Return what an Undelete of that period would bring back now; reads every item.

    Raises BadRequest (date_in_future) and what reading the Backup Path raises.
    """
    entry = ctx.destination.entry(EntryKind.ACCOUNT, account)
    if entry is None:
        return Coming()
    span = start_of(start, ctx.now), before_of(end, ctx.now)
    deleted = Deleted.of(ctx.path, AccountId(account), *span)
    selection = deleted.selection()
    plan = deleted.plan(order(selection.states()), top=undelete_name(today(ctx))).with_shares()
    holds = ctx.destination.holds
    return coming(ctx, entry, plan, lambda mailbox: deleted.injection(selection, mailbox, holds))
