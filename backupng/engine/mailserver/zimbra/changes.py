"""What changed in a mailbox since one of its change numbers (`zimbra-store.md` §7).

Written over the same `rows.Database` as the rest of the reader; reads only.
"""

from __future__ import annotations

from collections.abc import Iterator

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.zimbra.rows import (
    TAG_TABLE,
    ZIMBRA,
    Database,
    MailboxReader,
    read_row,
)
from backupng.engine.model import AccountId, ItemId, ItemState, Mailbox


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

    def buried(self, mailbox: Mailbox, since: int) -> dict[ItemId, int]:
        """Return the change number of each deletion from `since` on that left a tombstone.

        Empty for a mailbox that nobody synchronises: the server keeps tombstones for others only.
        """
        tracked = mailbox.row.get("tracking_sync") or 0
        if not tracked:
            return {}
        found: dict[ItemId, int] = {}
        rows = self._db.rows(
            f"SELECT sequence, ids FROM {self._table(mailbox, 'tombstone')}"
            " WHERE mailbox_id = ? AND sequence >= ? AND ids IS NOT NULL ORDER BY sequence",
            mailbox.mailbox_id,
            max(since, tracked),
        )
        for row in rows:
            for text in row["ids"].split(","):
                number, _, _ = text.partition(":")
                if number.isascii() and number.isdigit():
                    found[ItemId(int(number))] = row["sequence"]
        return found

    def dumped(
        self, mailbox: Mailbox, since: int
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """Yield what went to the dumpster at `since` or later; `mod` is the deletion's number.

        The rest of such a state is the item's complete last content.
        """
        rows = self._db.rows(
            f"SELECT * FROM {self._table(mailbox, 'mail_item_dumpster')}"
            " WHERE mailbox_id = ? AND mod_metadata >= ? ORDER BY id",
            mailbox.mailbox_id,
            since,
        )
        for row in rows:
            yield read_row(row)

    def _table(self, mailbox: Mailbox, name: str) -> str:
        return self._db.table(f"mboxgroup{mailbox.group_id}", name)
