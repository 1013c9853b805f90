"""Questions to the tables of a catalog, one account at a time; the account is up to date there.

`before` is the moment just before which something held, in ms; `FOREVER` asks for what holds now.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from backupng.engine.catalog import rows
from backupng.engine.catalog.schema import FOREVER
from backupng.engine.model import (
    FOLDER_LIKE,
    Digest,
    EntryState,
    ItemId,
    ItemKind,
    from_ms,
    to_ms,
)

COLUMNS: Final = (
    "item, n, t, until, mod, kind, deleted, folder, name, subject, sender, recipients, flags, tags,"
    " parent, date, size, digest"
)
_ALIVE: Final = "account = :account AND t < :before AND until >= :before AND NOT deleted"
FOLDERS: Final = ", ".join(f"'{kind.value}'" for kind in sorted(FOLDER_LIKE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the catalog knows of one state; `until` is when the next one began, None for the last.

    `parent` is the conversation of a message, or the document of a comment, as far as is known.
    """

    item: ItemId
    number: int
    start: datetime
    until: datetime | None
    mod: int
    kind: ItemKind
    deleted: bool
    folder: ItemId | None
    name: str | None
    subject: str | None
    sender: str | None
    recipients: str | None
    flags: str
    tags: tuple[str, ...]
    parent: ItemId | None
    date: int
    size: int | None
    digest: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLine:
    """What the catalog knows of one state of an account's entry.

    `created` is the directory's own spelling, empty if there is none; `host` the mail host that it
    names, if it does.
    """

    start: datetime
    name: str
    status: str
    host: str | None
    created: str
    deleted: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Numbers of an account, or of several.

    `items` were ever saved, in `states`; `first` and `last` are the moments of the first and last
    of these, `content_bytes` what the living items hold, `history_bytes` the length of all
    histories; of the `unreadable` items nothing else is known.
    """

    items: int = 0
    states: int = 0
    first: datetime | None = None
    last: datetime | None = None
    content_bytes: int = 0
    history_bytes: int = 0
    unreadable: int = 0

    def __add__(self, other: Totals) -> Totals:
        firsts = [each for each in (self.first, other.first) if each]
        lasts = [each for each in (self.last, other.last) if each]
        return Totals(
            items=self.items + other.items,
            states=self.states + other.states,
            first=min(firsts, default=None),
            last=max(lasts, default=None),
            content_bytes=self.content_bytes + other.content_bytes,
            history_bytes=self.history_bytes + other.history_bytes,
            unreadable=self.unreadable + other.unreadable,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which living items of an account: all that every part of it that is given asks for."""

    before: int = FOREVER
    folder: ItemId | None = None
    kinds: tuple[ItemKind, ...] = ()
    tag: str | None = None
    text: str = ""
    """Stands in name, subject, sender or recipients, whatever the case of its letters."""


def prepare(connection: sqlite3.Connection) -> None:
    """Teach a connection what the questions use."""
    connection.create_function("holds", -1, _holds, deterministic=True)
    connection.create_function("bears", 2, _bears, deterministic=True)


def living(
    connection: sqlite3.Connection, account: int, wish: Wish, *, after: int, limit: int
) -> list[Line]:
    """Return the states that are wished, of items above `after`, ascending by item."""
    clauses = [_ALIVE, "item > :after"]
    values: dict[str, Any] = {"account": account, "before": wish.before, "after": after}
    if wish.folder is not None:
        clauses.append("folder = :folder")
        values["folder"] = wish.folder
    if wish.kinds:
        clauses.append(f"kind IN ({', '.join(f':kind{n}' for n in range(len(wish.kinds)))})")
        values |= {f"kind{n}": kind.value for n, kind in enumerate(wish.kinds)}
    if wish.tag is not None:
        clauses.append("tags IS NOT NULL AND bears(tags, :tag)")
        values["tag"] = json.dumps(wish.tag)
    if wish.text:
        clauses.append("holds(:text, name, subject, sender, recipients)")
        (values["text"],) = rows.storable((wish.text.casefold(),))
    query = (
        f"SELECT {COLUMNS} FROM state WHERE {' AND '.join(clauses)}"  # noqa: S608  # all constant
        " ORDER BY item LIMIT :limit"
    )
    return [line_of(row) for row in connection.execute(query, values | {"limit": limit})]


def states_in(
    connection: sqlite3.Connection,
    account: int,
    *,
    folder: ItemId | None,
    span: tuple[int, int],
    after: tuple[int, int],
    limit: int,
) -> list[Line]:
    """Return states that began in [span[0], span[1]), deletions too, by item and number.

    With a folder: those of items that lay in it, their deletions left out.
    """
    values = {
        "account": account,
        "folder": folder,
        "start": span[0],
        "end": span[1],
        "item": after[0],
        "number": after[1],
        "limit": limit,
    }
    inside = "folder = :folder AND " if folder is not None else ""
    query = (
        f"SELECT {COLUMNS} FROM state WHERE account = :account AND {inside}"  # noqa: S608
        "t >= :start AND t < :end AND (item, n) > (:item, :number) ORDER BY item, n LIMIT :limit"
    )
    return [line_of(row) for row in connection.execute(query, values)]


def history(connection: sqlite3.Connection, account: int, item: ItemId) -> list[Line]:
    """Return all states of an item, oldest first."""
    query = f"SELECT {COLUMNS} FROM state WHERE account = ? AND item = ? ORDER BY n"  # noqa: S608
    return [line_of(row) for row in connection.execute(query, (account, item))]


def folders(connection: sqlite3.Connection, account: int, before: int) -> list[Line]:
    """Return the states of all folders, search folders and mountpoints alive, ascending by item."""
    query = (
        f"SELECT {COLUMNS} FROM state WHERE {_ALIVE}"  # noqa: S608  # all constant
        f" AND kind IN ({FOLDERS}) ORDER BY item"
    )
    return [
        line_of(row) for row in connection.execute(query, {"account": account, "before": before})
    ]


def entries(connection: sqlite3.Connection, account: int) -> list[EntryLine]:
    """Return the states of an account's entry, oldest first."""
    query = (
        "SELECT t, name, status, host, created, deleted, reason FROM entry WHERE account = ?"
        " ORDER BY n"
    )
    return [_entry_line(row) for row in connection.execute(query, (account,))]


def entries_in(history: Iterable[EntryState]) -> list[EntryLine]:
    """Return what the catalog would know of an entry with that history."""
    return [_entry_line(rows.entry_row(0, 0, to_ms(state.start), state)[2:]) for state in history]


def scans(connection: sqlite3.Connection, account: int) -> list[tuple[datetime, int]]:
    """Return when scans found the mailbox changed, and how many items they could not save."""
    query = "SELECT t, unread FROM scan WHERE account = ? ORDER BY n"
    return [(from_ms(t), unread) for t, unread in connection.execute(query, (account,))]


def totals(connection: sqlite3.Connection, account: int) -> Totals:
    """Return the numbers of an account."""
    query = (
        "SELECT count(*), ifnull(sum(lines), 0), min(first), max(last), ifnull(sum(length), 0),"
        " count(problem) FROM history WHERE account = ?"
    )
    items, states, first, last, length, unreadable = connection.execute(
        query, (account,)
    ).fetchone()
    query = f"SELECT ifnull(sum(size), 0) FROM state WHERE {_ALIVE}"  # noqa: S608  # constant
    content = connection.execute(query, {"account": account, "before": FOREVER}).fetchone()
    return Totals(
        items=items,
        states=states,
        first=None if first is None else from_ms(first),
        last=None if last is None else from_ms(last),
        content_bytes=content[0],
        history_bytes=length,
        unreadable=unreadable,
    )


def unreadable(connection: sqlite3.Connection, account: int) -> list[tuple[ItemId, str]]:
    """Return the items whose histories could not be read, and why; ascending."""
    query = (
        "SELECT item, problem FROM history WHERE account = ? AND problem IS NOT NULL ORDER BY item"
    )
    return [(ItemId(item), problem) for item, problem in connection.execute(query, (account,))]


def problem_of(connection: sqlite3.Connection, account: int) -> str:
    """Return why the account's own histories could not be read; empty if they could."""
    query = "SELECT problem FROM account WHERE number = ?"
    (found,) = connection.execute(query, (account,)).fetchone() or (None,)
    return found or ""


def count_references(connection: sqlite3.Connection, digest: Digest) -> int:
    """Return how many states refer to a blob, in all accounts."""
    query = "SELECT count(*) FROM reference WHERE digest = ?"
    found: tuple[int] = connection.execute(query, (rows.raw_digest(digest),)).fetchone()
    return found[0]


def unreferenced(connection: sqlite3.Connection, digests: Iterable[Digest]) -> list[Digest]:
    """Return those of the digests that no state refers to, in the order given."""
    query = "SELECT 1 FROM reference WHERE digest = ? LIMIT 1"
    return [
        digest
        for digest in digests
        if connection.execute(query, (rows.raw_digest(digest),)).fetchone() is None
    ]


def count_digests(connection: sqlite3.Connection) -> int:
    """Return how many blobs states refer to, in all accounts."""
    found: tuple[int] = connection.execute(
        "SELECT count(DISTINCT digest) FROM reference"
    ).fetchone()
    return found[0]


def _entry_line(row: Sequence[Any]) -> EntryLine:
    start, name, status, host, created, deleted, reason = row
    return EntryLine(
        start=from_ms(start),
        name=rows.as_text(name) or "",
        status=rows.as_text(status) or "",
        host=rows.as_text(host),
        created=rows.as_text(created) or "",
        deleted=bool(deleted),
        reason=rows.as_text(reason) or "",
    )


def line_of(row: Sequence[Any]) -> Line:
    """Return what a row of `COLUMNS` says."""
    item, number, start, until, mod, kind, deleted, folder, *rest = row
    *texts, flags, tags, parent, date, size, digest = rest
    name, subject, sender, recipients = map(rows.as_text, texts)
    return Line(
        item=ItemId(item),
        number=number,
        start=from_ms(start),
        until=None if until == FOREVER else from_ms(until),
        mod=mod,
        kind=ItemKind(kind),
        deleted=bool(deleted),
        folder=None if folder is None else ItemId(folder),
        name=name,
        subject=subject,
        sender=sender,
        recipients=recipients,
        flags=rows.as_text(flags) or "",
        tags=rows.tags_of(tags),
        parent=None if parent is None else ItemId(parent),
        date=date,
        size=size,
        digest=rows.spelled(digest),
    )


def _holds(text: str | bytes, *fields: str | bytes | None) -> bool:
    wanted = rows.as_text(text) or ""
    return any(field and wanted in (rows.as_text(field) or "").casefold() for field in fields)


def _bears(tags: str, tag: str) -> bool:
    return json.loads(tag) in json.loads(tags)
