"""Where nobody saw a mailbox change: a gap of the Real-Time Scanner, or the time between scans."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from backupng.engine.catalog import browsing
from backupng.engine.model import AccountId, to_ms
from backupng.engine.operations.base import Context
from backupng.engine.operations.moments import known_by, missed_until
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
    until = missed_until(ctx.path, account, before, partial(_was_missed, ctx, account, before))
    scans = (state.start for state in ctx.path.mailbox_history(account))
    last = max((start for start in scans if start < before), default=None)
    return Gap(last=last, next=until) if last and until else None


def known_for_page(ctx: Context, account: AccountId, before: datetime, *, zone: str) -> str:
    """Say what `known_by` says; the catalog reads what it lacks of the account, and nothing else.

    Raises BadRequest, ReadError, BrokenItem.
    """

    def was_missed(until: datetime) -> bool:
        ctx.catalog.ask(account, lambda _connection, _number: None)
        return _was_missed(ctx, account, before, until)

    return known_by(ctx.path, account, before, zone=zone, was_missed=was_missed)


def _was_missed(ctx: Context, account: AccountId, before: datetime, until: datetime) -> bool:
    """Say of which `missed_until` asks, as far as the catalog knows the account now."""
    # What a scan has found began when the scan did, at the latest.
    start, end = to_ms(before), to_ms(until) + 1

    def ask(connection: sqlite3.Connection, number: int) -> bool:
        return browsing.is_known_by_scan(connection, number, start=start, end=end)

    return bool(ctx.catalog.ask_as_it_is(account, ask, is_behind=True))
