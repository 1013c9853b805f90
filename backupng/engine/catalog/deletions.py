"""Questions to the tables of a catalog about what was deleted from a mailbox in a period.

The period is [start, end) in ms. What was deleted is told as it was just before; of what was
deleted twice in the period, the last time counts.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from backupng.engine.catalog.answers import COLUMNS, Line, line_of
from backupng.engine.model import ItemId, ItemKind

_LAST: Final = ", ".join(f"last.{name.strip()}" for name in COLUMNS.split(","))
_DELETED: Final = (
    "FROM state AS gone JOIN state AS last ON last.account = gone.account"
    " AND last.item = gone.item AND last.n = gone.n - 1"
    " WHERE gone.account = :account AND gone.t >= :start AND gone.t < :end AND gone.deleted"
    " AND NOT last.deleted GROUP BY gone.item"
)
"""With `max(gone.n)` selected, the other columns are those of the last deletion: SQLite says so."""


def count(
    connection: sqlite3.Connection, account: int, span: tuple[int, int]
) -> dict[ItemKind, tuple[int, int]]:
    """Return how many items were deleted, and the bytes of their content, by kind."""
    query = (
        "SELECT kind, count(*), ifnull(sum(size), 0) FROM"  # noqa: S608  # all constant
        f" (SELECT last.kind AS kind, last.size AS size, max(gone.n) {_DELETED}) GROUP BY kind"
    )
    rows = connection.execute(query, _values(account, span))
    return {ItemKind(kind): (number, size) for kind, number, size in rows}


def page(
    connection: sqlite3.Connection, account: int, span: tuple[int, int], *, limit: int
) -> list[Line]:
    """Return the last living states of what was deleted, the latest deletion first.

    `until` is when each was deleted.
    """
    query = f"SELECT {_LAST}, max(gone.n) {_DELETED} ORDER BY gone.t DESC, gone.item LIMIT :limit"
    rows = connection.execute(query, _values(account, span) | {"limit": limit})
    return [line_of(row[:-1]) for row in rows]


def folder_names(connection: sqlite3.Connection, account: int) -> dict[ItemId, str]:
    """Return the last name that each folder had, deleted ones too."""
    query = (
        "SELECT item, name, max(n) FROM state WHERE account = ? AND NOT deleted"
        " AND kind IN ('folder', 'mountpoint', 'search') GROUP BY item"
    )
    return {ItemId(item): name for item, name, _ in connection.execute(query, (account,))}


def _values(account: int, span: tuple[int, int]) -> dict[str, Any]:
    start, end = span
    return {"account": account, "start": start, "end": end}
