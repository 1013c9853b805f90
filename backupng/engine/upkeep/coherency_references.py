"""Which states refer to which blobs, and the blobs nobody refers to: too many for memory.

Both lie in a temporary SQLite database: without a name it is a file that goes with its process,
and only what its cache holds is in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from backupng.engine.model import AccountId, Digest, ItemId
from backupng.engine.upkeep.coherency_findings import NO_ITEM

_AT_ONCE: Final = 2_000
_CACHE_KIB: Final = 16 << 10
_SCHEMA: Final = """
CREATE TABLE reference (digest TEXT, owner INTEGER, item INTEGER, flags INTEGER, size INTEGER);
CREATE TABLE unclaimed (digest TEXT PRIMARY KEY, changed INTEGER) WITHOUT ROWID;
"""
_CURRENT, _PENDING, _DAMAGED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Reference:
    """That a state refers to a blob.

    `is_current`: it is the last living state of its item. `is_pending`: it is newer than what the
    tree says of itself. `is_damaged`: it stands in a damaged file, where nothing is believed.
    `size`: bytes that the content has to have, if the state says so.
    """

    digest: Digest
    account: AccountId | None = None
    item: ItemId = NO_ITEM
    is_current: bool = False
    is_pending: bool = False
    is_damaged: bool = False
    size: int | None = None


class References:
    """All references of a tree; a context manager that forgets them."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")
        self._owners: list[AccountId | None] = [None]
        self._waiting: list[tuple[str, int, int, int, int | None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def add(self, references: Iterable[Reference]) -> None:
        """Take references in; those of one account come one after the other."""
        for each in references:
            if each.account != self._owners[-1]:
                self._owners.append(each.account)
            flags = _CURRENT * each.is_current | _PENDING * each.is_pending
            flags |= _DAMAGED * each.is_damaged
            row = (each.digest, len(self._owners) - 1, each.item, flags, each.size)
            self._waiting.append(row)
        if len(self._waiting) >= _AT_ONCE:
            self._flush()

    def digests(self) -> Generator[tuple[Digest, int | None, int | None]]:
        """Yield each blob that is referred to, in the order of names.

        With the smallest and the largest size that states claim of it, None if none claims any.
        Nothing may be added any more.
        """
        self._flush()
        self._database.execute(
            "CREATE INDEX IF NOT EXISTS by_digest ON reference (digest, size, flags)"
        )
        query = "SELECT digest, min(size), max(size) FROM reference GROUP BY digest ORDER BY digest"
        yield from self._database.execute(query)

    def referring_to(self, digest: Digest) -> Iterator[Reference]:
        """Yield who refers to a blob, each thing once."""
        query = "SELECT DISTINCT owner, item, flags, size FROM reference WHERE digest = ?"
        for owner, item, flags, size in self._database.execute(query, (digest,)):
            yield Reference(
                digest=digest,
                account=self._owners[owner],
                item=ItemId(item),
                is_current=bool(flags & _CURRENT),
                is_pending=bool(flags & _PENDING),
                is_damaged=bool(flags & _DAMAGED),
                size=size,
            )

    # Blobs nobody refers to

    def unclaim(self, digest: Digest, *, changed_ns: int) -> None:
        """Note a blob that no reference is known of, and when its file was changed last."""
        self._database.execute(
            "INSERT OR IGNORE INTO unclaimed VALUES (?, ?)", (digest, changed_ns)
        )

    def claim(self, digests: Iterable[Digest]) -> None:
        """Take back what is referred to after all."""
        named = [(digest,) for digest in digests]
        self._database.executemany("DELETE FROM unclaimed WHERE digest = ?", named)

    def unclaimed(self) -> Iterator[tuple[Digest, int]]:
        """Yield the blobs that nobody refers to, by name, and when each was changed last, in ns."""
        query = "SELECT digest, changed FROM unclaimed ORDER BY digest"
        yield from self._database.execute(query)

    def has_unclaimed(self) -> bool:
        """Say whether there is any."""
        return self._database.execute("SELECT 1 FROM unclaimed LIMIT 1").fetchone() is not None

    def _flush(self) -> None:
        insert = "INSERT INTO reference VALUES (?, ?, ?, ?, ?)"
        self._database.executemany(insert, self._waiting)
        self._waiting.clear()
