"""Questions of who browses a mailbox at a moment; one account, up to date there.

Items are what folders hold: no folders, tags and conversations. `before` is the moment just before
which something held, in ms; `FOREVER` asks for what holds now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from backupng.engine.catalog.answers import COLUMNS, FOLDERS, Line, line_of
from backupng.engine.catalog.schema import FOREVER
from backupng.engine.catalog.searching import Sought
from backupng.engine.model import ItemId, from_ms

_IS_ITEM: Final = f"kind NOT IN ({FOLDERS}, 'conversation', 'tag')"
_BEGAN: Final = "account = :account AND t < :before AND NOT deleted"
_IS_GONE: Final = (
    "until < :before AND EXISTS (SELECT 1 FROM state AS next WHERE next.account = state.account"
    " AND next.item = state.item AND next.n = state.n + 1 AND next.deleted"
    " AND next.until >= :before)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What is asked of a folder at a moment; `gone`: also what was deleted out of it by then."""

    folder: ItemId
    before: int
    gone: bool = False


def folder_states(connection: sqlite3.Connection, account: int) -> list[Line]:
    """Return all states of folders, search folders and mountpoints, by item, oldest first."""
    query = (
        f"SELECT {COLUMNS} FROM state INDEXED BY folderlike"  # noqa: S608  # all constant
        f" WHERE account = ? AND kind IN ({FOLDERS}) ORDER BY item, n"
    )
    return [line_of(row) for row in connection.execute(query, (account,))]


def counts(connection: sqlite3.Connection, account: int, before: int) -> dict[ItemId, int]:
    """Return how many items each folder held."""
    query = (
        f"SELECT folder, count(*) FROM state WHERE {_BEGAN} AND until >= :before AND {_IS_ITEM}"  # noqa: S608
        " AND folder IS NOT NULL GROUP BY folder"
    )
    return dict(connection.execute(query, {"account": account, "before": before}))


def count_gone(connection: sqlite3.Connection, account: int, inside: Inside) -> int:
    """Return how many items were deleted out of a folder by then."""
    query = (
        f"SELECT count(*) FROM state WHERE {_BEGAN} AND folder = :folder AND {_IS_ITEM}"  # noqa: S608
        f" AND {_IS_GONE}"
    )
    found: tuple[int] = connection.execute(query, _values(account, inside)).fetchone()
    return found[0]


def page(
    connection: sqlite3.Connection, account: int, inside: Inside, *, first: int, limit: int
) -> list[tuple[ItemId, int]]:
    """Return items and numbers of their states in a folder, the youngest first."""
    held = f"until >= :before OR ({_IS_GONE})" if inside.gone else "until >= :before"
    query = (
        f"SELECT item, n FROM state WHERE {_BEGAN} AND folder = :folder AND {_IS_ITEM}"  # noqa: S608
        f" AND ({held}) ORDER BY date DESC, item DESC LIMIT :limit OFFSET :first"
    )
    values = _values(account, inside) | {"first": first, "limit": limit}
    return list(connection.execute(query, values))


def last_held(
    connection: sqlite3.Connection, account: int, inside: Inside
) -> tuple[datetime, datetime] | None:
    """Return from when to when the last item was there that had left a folder by then."""
    query = (
        f"SELECT t, max(until) FROM state WHERE {_BEGAN} AND folder = :folder AND {_IS_ITEM}"  # noqa: S608
        " AND until < :before"
    )
    start, end = connection.execute(query, _values(account, inside)).fetchone()
    return None if end is None else (from_ms(start), from_ms(end))


def changes_beside(
    connection: sqlite3.Connection, account: int, *, before: int, after: int
) -> tuple[datetime | None, datetime | None]:
    """Return the last change before a moment and the first one from another one on."""
    earlier = "SELECT max(t) FROM state WHERE account = ? AND t < ?"
    later = "SELECT min(t) FROM state WHERE account = ? AND t >= ?"
    (last,) = connection.execute(earlier, (account, before)).fetchone()
    (first,) = connection.execute(later, (account, after)).fetchone()
    return (
        None if last is None else from_ms(last),
        None if first is None else from_ms(first),
    )


def changes(
    connection: sqlite3.Connection, account: int, limits: Sequence[int]
) -> list[tuple[int, int]]:
    """Return how many states began, and how many of them are deletions, between each two limits."""
    query = (
        "SELECT count(*), ifnull(sum(deleted), 0) FROM state WHERE account = ? AND t >= ? AND t < ?"
    )
    return [connection.execute(query, (account, *span)).fetchone() for span in pairwise(limits)]


def is_known_by_scan(connection: sqlite3.Connection, account: int, *, start: int, end: int) -> bool:
    """Say whether of any item a scan alone tells what came first from a moment on, before an end.

    `start` and `end` are in ms.
    """
    query = (
        "SELECT 1 FROM state WHERE account = :account AND t >= :start AND t < :end AND scanned"
        " AND NOT EXISTS (SELECT 1 FROM state AS before WHERE before.account = state.account"
        " AND before.item = state.item AND before.n = state.n - 1 AND before.t >= :start) LIMIT 1"
    )
    values = {"account": account, "start": start, "end": end}
    return connection.execute(query, values).fetchone() is not None


def found(
    connection: sqlite3.Connection, account: int, sought: Sought, *, first: int, limit: int
) -> list[tuple[ItemId, int]]:
    """Return items and the numbers of the last states that are sought, the newest item first."""
    clauses, values = sought.clauses()
    query = (
        f"SELECT item, max(n) FROM state WHERE account = :account AND NOT deleted AND {_IS_ITEM}"  # noqa: S608
        f"{clauses} GROUP BY item ORDER BY item DESC LIMIT :limit OFFSET :first"
    )
    values |= {"account": account, "first": first, "limit": limit}
    return list(connection.execute(query, values))


def _values(account: int, inside: Inside) -> dict[str, Any]:
    return {"account": account, "folder": inside.folder, "before": min(inside.before, FOREVER)}
