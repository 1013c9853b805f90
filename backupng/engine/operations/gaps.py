"""Where nobody saw a mailbox change: a gap of the Real-Time Scanner, or the time between scans."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backupng.engine.catalog import browsing
from backupng.engine.model import AccountId, ItemId, to_ms
from backupng.engine.operations.base import Context
from backupng.engine.operations.moments import missed_until
from backupng.engine.restore.select import end_of_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The scans between which a mailbox is not known exactly."""

    last: datetime
    next: datetime


def gap_at(ctx: Context, account: AccountId, moment: datetime) -> Gap | None:
    """Return the gap that the second of a moment lies in; None where the mailbox is known.

    Before the first scan there is none, and nothing to restore. The catalog tells as far as it
    knows the account now; see `browsing.read_up`. Raises BadRequest, ReadError, BrokenItem.
    """
    before = end_of_second(moment)

    def changed(until: datetime) -> Sequence[ItemId]:
        # What a scan has found began when the scan did, at the latest.
        start, end = to_ms(before), to_ms(until) + 1

        def ask(connection: sqlite3.Connection, number: int) -> Sequence[ItemId]:
            return browsing.changed(connection, number, start=start, end=end)

        return ctx.catalog.ask_as_it_is(account, ask, is_behind=True) or ()

    until = missed_until(ctx.path, account, before, changed)
    scans = (state.start for state in ctx.path.mailbox_history(account))
    last = max((start for start in scans if start < before), default=None)
    return Gap(last=last, next=until) if last and until else None
