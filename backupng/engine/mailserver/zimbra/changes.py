"""What changed in a mailbox since one of its change numbers (`zimbra-store.md` §7).

Written over the same `rows.Database` as the rest of the reader; reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import PAIRED_BITS, Census, DeletedMailbox
from backupng.engine.mailserver.zimbra.rows import (
    TAG_TABLE,
    ZIMBRA,
    Database,
    MailboxReader,
    read_row,
)
from backupng.engine.model import AccountId, ItemId, ItemState, Mailbox, Row

_AT_ONCE: Final = 500
_SUMMED: Final = 0xFFFFFFFF
"""Of a number so many bits are summed: no sum of them leaves 64 bits."""


class ChangeReader:
    """The changes of one server's mailboxes."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._reader = MailboxReader(database)

    def mailbox_of(self, mailbox_id: int) -> Mailbox | None:
        """Return the mailbox with that number; None if it is gone. Raises BrokenItem."""
        table = self._db.table(ZIMBRA, "mailbox")
        found = self._db.rows(f"SELECT account_id FROM {table} WHERE id = ?", mailbox_id)
        row = next(found, None)
        return None if row is None else self._reader.mailbox(AccountId(row["account_id"]))

    def deleted_mailbox(self, mailbox_id: int) -> DeletedMailbox | None:
        """Return whose a mailbox that is gone was, as long as the server remembers."""
        table = self._db.table(ZIMBRA, "deleted_account")
        found = self._db.rows(f"SELECT * FROM {table} WHERE mailbox_id = ?", mailbox_id)
        row = next(found, None)
        if row is None:
            return None
        return DeletedMailbox(account_id=AccountId(row["account_id"]), name=row["email"])

    def census(self, mailbox: Mailbox) -> Census:
        """Count a mailbox; each question is answered from one index of the table."""
        items, tags = self._table(mailbox, "mail_item"), self._table(mailbox, TAG_TABLE)
        found = [
            self._one(
                f"SELECT COUNT(*) AS n, SUM(id) AS s, SUM({_paired('id', 'date')}) AS d"
                f" FROM {items} WHERE mailbox_id = ?",
                mailbox.mailbox_id,
            ),
            self._one(
                f"SELECT MAX(mod_metadata) AS m, SUM(mod_metadata & {_SUMMED}) AS s,"
                f" SUM({_paired('mod_metadata', 'mod_metadata')}) AS q,"
                f" SUM({_paired('id', 'mod_metadata')}) AS p FROM {items} WHERE mailbox_id = ?",
                mailbox.mailbox_id,
            ),
            self._one(
                f"SELECT COUNT(*) AS n, MAX(sequence) AS m, SUM(sequence & {_SUMMED}) AS s,"
                f" SUM(id) AS i, SUM({_paired('id', 'sequence')}) AS p"
                f" FROM {tags} WHERE mailbox_id = ? AND id > 0",
                mailbox.mailbox_id,
            ),
        ]
        items_found, numbers, tags_found = found
        count, ids = items_found["n"] + tags_found["n"], items_found["s"] + tags_found["i"]
        begin = f"{count}/{ids}/{numbers['p'] + tags_found['p']}/{items_found['d']}"
        sums = ";".join(",".join(map(str, row.values())) for row in found)
        return Census(count=count, mark=f"{begin};{sums}")

    def dated(self, mailbox: Mailbox, since: int) -> int:
        """Return the sum of (id, date) paired of the items with a change number from `since`."""
        found = self._one(
            f"SELECT SUM({_paired('id', 'date')}) AS d FROM {self._table(mailbox, 'mail_item')}"
            " WHERE mailbox_id = ? AND mod_metadata >= ?",
            mailbox.mailbox_id,
            since,
        )
        return found["d"]

    def traits(self, mailbox: Mailbox, items: Iterable[ItemId] | None = None) -> Iterator[Row]:
        """Yield of these, or of all items and user tags what tells a row from one of its number."""
        ids = iter(()) if items is None else iter(items)
        while (some := list(islice(ids, _AT_ONCE))) or items is None:
            wanted = f" AND id IN ({', '.join('?' * len(some))})" if some else ""
            for table, columns, where in (
                ("mail_item", "id, type, mod_metadata, change_date, blob_digest", wanted),
                (TAG_TABLE, "id, sequence, name", f" AND id > 0{wanted}"),
            ):
                yield from self._db.rows(
                    f"SELECT {columns} FROM {self._table(mailbox, table)}"
                    f" WHERE mailbox_id = ?{where}",
                    mailbox.mailbox_id,
                    *some,
                )
            if items is None:
                return

    def living(self, mailbox: Mailbox, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these ids exist as an item or a user tag."""
        found: set[ItemId] = set()
        ids = iter(items)
        while some := list(islice(ids, _AT_ONCE)):
            marks = ", ".join("?" * len(some))
            for table in ("mail_item", TAG_TABLE):
                rows = self._db.rows(
                    f"SELECT id FROM {self._table(mailbox, table)}"
                    f" WHERE mailbox_id = ? AND id IN ({marks})",
                    mailbox.mailbox_id,
                    *some,
                )
                found |= {ItemId(row["id"]) for row in rows}
        return found

    def changed(self, mailbox: Mailbox, since: int, until: int) -> list[ItemId]:
        """Return the ids of items and user tags with a change number from `since` to `until`."""
        items = self._db.rows(
            f"SELECT id FROM {self._table(mailbox, 'mail_item')}"
            " WHERE mailbox_id = ? AND mod_metadata >= ? AND mod_metadata <= ? ORDER BY id",
            mailbox.mailbox_id,
            since,
            until,
        )
        tags = self._db.rows(
            f"SELECT id FROM {self._table(mailbox, TAG_TABLE)}"
            " WHERE mailbox_id = ? AND id > 0 AND sequence >= ? AND sequence <= ? ORDER BY id",
            mailbox.mailbox_id,
            since,
            until,
        )
        return [ItemId(row["id"]) for row in (*items, *tags)]

    def buried(self, mailbox: Mailbox, since: int, until: int) -> dict[ItemId, int]:
        """Return the number of each deletion from `since` to `until` that left a tombstone.

        Empty for a mailbox that nobody synchronises: the server keeps tombstones for others only.
        """
        tracked = mailbox.row.get("tracking_sync") or 0
        if not tracked:
            return {}
        found: dict[ItemId, int] = {}
        rows = self._db.rows(
            f"SELECT sequence, ids FROM {self._table(mailbox, 'tombstone')}"
            " WHERE mailbox_id = ? AND sequence >= ? AND sequence <= ? AND ids IS NOT NULL"
            " ORDER BY sequence",
            mailbox.mailbox_id,
            max(since, tracked),
            until,
        )
        for row in rows:
            for text in row["ids"].split(","):
                number, _, _ = text.partition(":")
                if number.isascii() and number.isdigit():
                    found[ItemId(int(number))] = row["sequence"]
        return found

    def dumped(
        self, mailbox: Mailbox, since: int, until: int
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """Yield what went to the dumpster from `since` to `until`; `mod` is the deletion's number.

        The rest of such a state is the item's complete last content.
        """
        rows = self._db.rows(
            f"SELECT * FROM {self._table(mailbox, 'mail_item_dumpster')}"
            " WHERE mailbox_id = ? AND mod_metadata >= ? AND mod_metadata <= ? ORDER BY id",
            mailbox.mailbox_id,
            since,
            until,
        )
        for row in rows:
            yield read_row(row)

    def _one(self, sql: str, *parameters: Any) -> dict[str, int]:
        """Return a row of counts and sums: a sum may come as text, one of nothing as NULL."""
        return {
            name: int(each or 0) for name, each in next(self._db.rows(sql, *parameters)).items()
        }

    def _table(self, mailbox: Mailbox, name: str) -> str:
        return self._db.table(f"mboxgroup{mailbox.group_id}", name)


def _paired(one: str, other: str) -> str:
    return f"({one} & {PAIRED_BITS}) * ({other} & {PAIRED_BITS})"
