"""What is added to a catalog: the batches of a writer, or whole histories as they were read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from backupng.engine.backuppath.disk import Mark
from backupng.engine.backuppath.telling import NOTHING, UNKNOWN, Batch, Grown, ItemLine
from backupng.engine.catalog import rows
from backupng.engine.catalog.schema import BUCKETS, FOREVER
from backupng.engine.model import AccountId, EntryState, ItemId, MailboxState, to_ms

_STATE: Final = (
    "INSERT OR REPLACE INTO state VALUES (?1, ?2, ?3, max(?4, ifnull((SELECT before.t FROM state"
    " AS before WHERE before.account = ?1 AND before.item = ?2 AND before.n = ?3 - 1), ?4)), ?5,"
    " ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)"
)
_UNTIL: Final = (
    "UPDATE state SET until = (SELECT next.t FROM state AS next WHERE next.account = ?1"
    " AND next.item = ?2 AND next.n = ?3) WHERE account = ?1 AND item = ?2 AND n = ?3 - 1"
)
_HISTORY: Final = (
    "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    " ON CONFLICT (account, bucket, item) DO UPDATE SET length = excluded.length, changed ="
    " excluded.changed, lines = excluded.lines, first = min(ifnull(first, excluded.first),"
    " excluded.first), last = max(ifnull(last, excluded.last), excluded.last),"
    " problem = excluded.problem"
)
_REFERENCE: Final = "INSERT OR REPLACE INTO reference VALUES (?, ?, ?, ?)"
_FORGET_REFERENCE: Final = (
    "DELETE FROM reference WHERE digest = ? AND account = ? AND item = ? AND n = ?"
)

ReadHistory = tuple[ItemId, Mark, Sequence[ItemLine], str]
"""An item, its file's mark from before it was read, its lines, and why they are none."""


def add_batches(connection: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Take in what a writer appended, inside a transaction; what was taken in before is no news.

    An account that was behind stays so: its history would have a hole, or ghosts if it begins anew.
    """
    for batch in batches:
        number, stamp = find_account(connection, batch.account)
        if number is None and batch.before == NOTHING:
            number, stamp = make_account(connection, batch.account), NOTHING
        if number is None or stamp != batch.before:
            continue
        if batch.after == UNKNOWN:
            set_stamp(connection, number, 0)
            continue
        _add_items(connection, number, batch.items)
        add_entries(connection, number, batch.entries)
        add_scans(connection, number, batch.mailboxes)
        set_stamp(connection, number, batch.after)


def find_account(connection: sqlite3.Connection, account: AccountId) -> tuple[int | None, int]:
    """Return the number of an account here and the stamp up to which it is complete."""
    query = "SELECT number, stamp FROM account WHERE id = ?"
    found: tuple[int, int] | None = connection.execute(query, (account,)).fetchone()
    return found if found else (None, 0)


def make_account(connection: sqlite3.Connection, account: AccountId) -> int:
    """Make room for an account that is not there yet."""
    made = connection.execute("INSERT INTO account (id, stamp) VALUES (?, 0)", (account,))
    return made.lastrowid or 0


def set_stamp(
    connection: sqlite3.Connection, number: int, stamp: int, problem: str | None = None
) -> None:
    """Note up to which stamp an account is complete; 0: that is not known."""
    values = (stamp, problem, number)
    connection.execute("UPDATE account SET stamp = ?, problem = ? WHERE number = ?", values)


def doubt(connection: sqlite3.Connection, number: int) -> None:
    """Have an account count as behind, though its stamp may be as it was."""
    connection.execute("UPDATE account SET stamp = 0 WHERE number = ?", (number,))


def put_histories(
    connection: sqlite3.Connection, number: int, found: Iterable[ReadHistory]
) -> None:
    """Put whole histories in the place of what is known of them, inside a transaction."""
    grown: list[Grown] = []
    for item, mark, lines, problem in found:
        forget_item(connection, number, item)
        if problem or not lines:
            row = (number, item % BUCKETS, item, *_length_and_change(mark), 0, None, None)
            connection.execute(_HISTORY, (*row, problem or None))
        else:
            grown.append(Grown(item, mark, lines))
    _add_items(connection, number, grown)


def forget_item(connection: sqlite3.Connection, number: int, item: ItemId) -> None:
    """Forget a history, inside a transaction."""
    query = "SELECT n, digest, others FROM state WHERE account = ? AND item = ?"
    references = [
        (each, number, item, n)
        for n, digest, others in connection.execute(query, (number, item))
        for each in rows.digests_in(digest, others)
    ]
    connection.executemany(_FORGET_REFERENCE, references)
    connection.execute("DELETE FROM state WHERE account = ? AND item = ?", (number, item))
    place = (number, item % BUCKETS, item)
    query = "DELETE FROM history WHERE account = ? AND bucket = ? AND item = ?"
    connection.execute(query, place)


def forget_account(connection: sqlite3.Connection, number: int) -> None:
    """Forget an account that the tree does not have any more, inside a transaction."""
    # Not all of its digests at once: there may be very many.
    query = "SELECT item FROM history WHERE account = ? LIMIT 500"
    while found := connection.execute(query, (number,)).fetchall():
        for (item,) in found:
            forget_item(connection, number, item)
    connection.execute("DELETE FROM entry WHERE account = ?", (number,))
    connection.execute("DELETE FROM scan WHERE account = ?", (number,))
    connection.execute("DELETE FROM account WHERE number = ?", (number,))


def add_entries(
    connection: sqlite3.Connection, number: int, lines: Iterable[tuple[int, EntryState]]
) -> None:
    """Add states of an account's entry, oldest first."""
    for n, state in lines:
        time = _not_before(connection, "entry", number, n, to_ms(state.start))
        row = rows.storable(rows.entry_row(number, n, time, state))
        connection.execute("INSERT OR REPLACE INTO entry VALUES (?,?,?,?,?,?,?,?,?)", row)


def add_scans(
    connection: sqlite3.Connection, number: int, lines: Iterable[tuple[int, MailboxState]]
) -> None:
    """Add what scans found in a mailbox as a whole, oldest first."""
    for n, state in lines:
        time = _not_before(connection, "scan", number, n, to_ms(state.start))
        row = rows.scan_row(number, n, time, state)
        connection.execute("INSERT OR REPLACE INTO scan VALUES (?,?,?,?,?)", row)


def _not_before(connection: sqlite3.Connection, table: str, number: int, n: int, time: int) -> int:
    query = f"SELECT t FROM {table} WHERE account = ? AND n = ?"  # noqa: S608  # one of two names
    found = connection.execute(query, (number, n - 1)).fetchone()
    return max(time, found[0]) if found else time


def _add_items(connection: sqlite3.Connection, number: int, items: Iterable[Grown]) -> None:
    states: list[rows.Values] = []
    ends: list[rows.Values] = []
    histories: list[rows.Values] = []
    for grown in items:
        found = [rows.state_row(number, line) for line in grown.lines]
        states += found
        ends += [(number, grown.item, line.number) for line in grown.lines if line.number > 1]
        # The time of a line counts from that of the line before on: so do the first and the last.
        times = [row[3] for row in found]
        first = times[0] if grown.lines[0].number == 1 else FOREVER
        histories.append(
            (
                *(number, grown.item % BUCKETS, grown.item, *_length_and_change(grown.mark)),
                *(grown.lines[-1].number, first, max(times), None),
            )
        )
    _execute_all(connection, _STATE, states)
    connection.executemany(_UNTIL, ends)
    connection.executemany(_HISTORY, histories)
    connection.executemany(
        _REFERENCE, [each for row in states for each in rows.reference_rows(number, row)]
    )


def _execute_all(connection: sqlite3.Connection, statement: str, values: list[Any]) -> None:
    try:
        connection.executemany(statement, values)
    except UnicodeEncodeError:
        # What was added before it is replaced by the same.
        connection.executemany(statement, [rows.storable(row) for row in values])


def _length_and_change(mark: Mark) -> tuple[int, int]:
    return (mark[-2], mark[-1]) if mark else (0, 0)
