"""Questions of who searches or counts all that an account ever had; one account, up to date.

The *last content* of an item is its last living state, whether it is still alive or not.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.catalog import rows
from backupng.engine.catalog.answers import COLUMNS, Line, line_of
from backupng.engine.catalog.schema import FOREVER
from backupng.engine.model import Digest, ItemId, ItemKind

FIELDS: Final = ("subject", "sender", "recipients")
"""What a search can be confined to; `subject` means the name as well."""
_LAST_CONTENT: Final = (
    "account = :account AND NOT deleted AND NOT EXISTS (SELECT 1 FROM state AS later"
    " WHERE later.account = state.account AND later.item = state.item AND later.n > state.n"
    " AND NOT later.deleted)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What the content of an item is like: all that is given.

    `text` stands in one of the `fields`. `since` and `until` are the first and the last second of
    its own date, since the epoch. `deleted` is None for both.
    """

    text: str = ""
    ignore_case: bool = True
    fields: tuple[str, ...] = FIELDS
    item: ItemId | None = None
    kinds: tuple[ItemKind, ...] = ()
    folder: ItemId | None = None
    since: int | None = None
    until: int | None = None
    deleted: bool | None = None

    def clauses(self) -> tuple[str, dict[str, Any]]:
        """Return conditions on a row of `state`, each after an AND, and what stands in them."""
        values: dict[str, Any] = {f"kind{n}": kind.value for n, kind in enumerate(self.kinds)}
        clauses = [f"kind IN ({', '.join(f':{name}' for name in values)})"] if values else []
        compared = {
            "item =": self.item,
            "folder =": self.folder,
            "date >=": self.since,
            "date <=": self.until,
        }
        for number, (comparison, value) in enumerate(compared.items()):
            if value is not None:
                clauses.append(f"{comparison} :value{number}")
                values[f"value{number}"] = value
        if self.deleted is not None:
            clauses.append(f"until {'<' if self.deleted else '='} :forever")
            values["forever"] = FOREVER
        if self.text:
            clauses.append(self._holding())
            text = self.text.casefold() if self.ignore_case else self.text
            (values["text"],) = rows.storable((text,))
        return "".join(f" AND {clause}" for clause in clauses), values

    def _holding(self) -> str:
        names: list[str] = [name for name in FIELDS if name in self.fields]
        names += ["name"] * ("subject" in names)
        if self.ignore_case:
            return f"holds(:text, {', '.join(names)})"
        return f"({' OR '.join(f'instr({name}, :text)' for name in names)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCount:
    """How many items of a kind exist, how many are deleted, and how many states they all have."""

    kind: ItemKind
    existing: int
    deleted: int
    states: int


def last_contents(
    connection: sqlite3.Connection, account: int, sought: Sought, *, after: int, limit: int
) -> list[Line]:
    """Return the last contents that are sought, of items above `after`, ascending by item.

    `Line.until` is when the item was deleted, None if it exists.
    """
    clauses, values = sought.clauses()
    query = (
        f"SELECT {COLUMNS} FROM state WHERE item > :after AND {_LAST_CONTENT}{clauses}"  # noqa: S608
        " ORDER BY item LIMIT :limit"
    )
    values |= {"account": account, "after": after, "limit": limit}
    return [line_of(row) for row in connection.execute(query, values)]


def count_kinds(connection: sqlite3.Connection, account: int) -> list[KindCount]:
    """Return the numbers of each kind there is, by its name."""
    query = (
        "SELECT kind, count(*) FILTER (WHERE until = :forever AND NOT deleted), count(*) FILTER"
        " (WHERE until = :forever AND deleted), count(*) FROM state WHERE account = :account"
        " GROUP BY kind ORDER BY kind"
    )
    return [
        KindCount(kind=ItemKind(kind), existing=existing, deleted=deleted, states=states)
        for kind, existing, deleted, states in connection.execute(
            query, {"account": account, "forever": FOREVER}
        )
    ]


def blobs(
    connection: sqlite3.Connection, account: int, *, after: Digest | None, limit: int
) -> list[tuple[Digest, int]]:
    """Return blobs that states of an account have as their content, with its length in bytes.

    Each once, ascending by the bytes of the digest, above `after`.
    """
    query = (
        "SELECT digest, max(ifnull(size, 0)) FROM state WHERE account = ? AND digest > ?"
        " GROUP BY digest ORDER BY digest LIMIT ?"
    )
    first = b"" if after is None else rows.raw_digest(after)
    return [
        (Digest(rows.spelled(digest) or ""), size)
        for digest, size in connection.execute(query, (account, first, limit))
    ]
