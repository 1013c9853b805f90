"""The reader of Zimbra's mailbox database: rows -> mailboxes and item states.

Zimbra/zm-db-conf `src/db/mysql/db.sql` and `create_database.sql`; zm-mailbox
`store/src/java/com/zimbra/cs/db/DbMailItem.java`. Written once, over a `Database`: MariaDB of a
real server or the one SQLite file of a sandbox. Reads only.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from itertools import islice
from typing import Any, Final, Protocol

from backupng.engine.errors import BrokenItem, ItemError
from backupng.engine.mailserver.port import BlobReference
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.metadata import Value, as_int, decode_column
from backupng.engine.model import (
    FOLDER_LIKE,
    AccountId,
    Digest,
    ItemId,
    ItemKind,
    ItemState,
    Mailbox,
    Row,
    from_ms,
)

ZIMBRA: Final = "zimbra"
SIDE_TABLES: Final[Mapping[str, str]] = {
    "revision": "item_id",
    "appointment": "item_id",
    "data_source_item": "item_id",
    "pop3_message": "item_id",
    "imap_folder": "item_id",
    "imap_message": "item_id",
}
"""Tables whose rows belong to one item, with the column that names it.

`tagged_item` is left out: it follows from `tag_names`, `flags` and `unread`; `open_conversation` is
the server's own short-lived index.
"""
TAG_TABLE: Final = "tag"

_DIGEST: Final = re.compile(r"[A-Za-z0-9+,]{43}=|[A-Za-z0-9+,]{27}=")
_SIGNED: Final = (-(2**63), 2**63 - 1)
_UNSIGNED: Final = (0, 2**63 - 1)
_SECONDS: Final = (0, 253_402_300_799)
_NUMBERS: Final[Mapping[str, tuple[int, int]]] = {
    "type": _UNSIGNED,
    "parent_id": _UNSIGNED,
    "folder_id": _UNSIGNED,
    "index_id": _UNSIGNED,
    "imap_id": _UNSIGNED,
    "date": _SECONDS,
    "size": _UNSIGNED,
    "unread": _UNSIGNED,
    "flags": (-(2**31), 2**31 - 1),
    "tags": _SIGNED,
    "mod_metadata": _UNSIGNED,
    "change_date": _SECONDS,
    "mod_content": _UNSIGNED,
}
"""Columns of numbers in `mail_item`, with the lowest and highest that is possible."""
_NULLABLE: Final = frozenset(
    {"parent_id", "folder_id", "index_id", "imap_id", "unread", "change_date"}
)
_TEXTS: Final = (
    "prev_folders",
    "locator",
    "blob_digest",
    "tag_names",
    "sender",
    "recipients",
    "subject",
    "name",
    "metadata",
    "uuid",
)
_WORDS: Final = "backupng.engine.mailserver.zimbra.words"
"""Loaded once there is an encoded word: most scans read nothing new."""
_AT_ONCE: Final = 500
_SHOWN: Final = 1024


class Database(Protocol):
    """A connection to the databases of one mail server."""

    def table(self, schema: str, name: str) -> str:
        """Spell a table's name for this connection, quoted: the only difference between the two."""

    def rows(self, sql: str, *parameters: Any) -> Iterator[dict[str, Any]]:
        """Run a query with `?` for each parameter; yield its rows. Raises MailServerUnreachable."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Let all queries inside see one moment."""


class MailboxReader:
    """Mailboxes and item states of one server's database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def volume_rows(self) -> list[Row]:
        """Return the rows of `zimbra.volume`."""
        return list(self._db.rows(f"SELECT * FROM {self._db.table(ZIMBRA, 'volume')}"))

    def mailbox(self, account: AccountId) -> Mailbox | None:
        """Return an account's mailbox with its metadata sections; None if it was never opened.

        Raises BrokenItem for a row with impossible values.
        """
        table = self._db.table(ZIMBRA, "mailbox")
        found = next(self._db.rows(f"SELECT * FROM {table} WHERE account_id = ?", account), None)
        if found is None:
            return None
        sections = self._db.rows(
            f"SELECT section, metadata FROM {self._db.table(ZIMBRA, 'mailbox_metadata')}"
            " WHERE mailbox_id = ? ORDER BY section",
            found["id"],
        )
        return Mailbox(
            mailbox_id=_number(found, "id"),
            account_id=account,
            group_id=_number(found, "group_id"),
            row=_without_nulls(found),
            sections={
                _text(row, "section") or "": _text(row, "metadata") or "" for row in sections
            },
        )

    def heads(self, mailbox: Mailbox) -> dict[ItemId, int]:
        """Return the change number of every live item and user tag, by id.

        An impossible one is 0: reading the item itself will say what is wrong.
        """
        items = self._db.rows(
            f"SELECT id, mod_metadata FROM {self._table(mailbox, 'mail_item')}"
            " WHERE mailbox_id = ?",
            mailbox.mailbox_id,
        )
        tags = self._db.rows(
            f"SELECT id, sequence FROM {self._table(mailbox, TAG_TABLE)}"
            " WHERE mailbox_id = ? AND id > 0",
            mailbox.mailbox_id,
        )
        found = {ItemId(row["id"]): _head(row["mod_metadata"]) for row in items}
        return found | {ItemId(row["id"]): _head(row["sequence"]) for row in tags}

    def states(
        self, mailbox: Mailbox, items: Iterable[ItemId]
    ) -> Iterator[tuple[ItemId, ItemState | ItemError]]:
        """Yield the present state of the given items and tags that still exist."""
        ids = iter(items)
        while some := list(islice(ids, _AT_ONCE)):
            sides = self._side_rows(mailbox, some)
            for row in self._by_id(mailbox, "mail_item", "id", some):
                yield _attempt(item_state, row, sides.get(row["id"], {}))
            for row in self._by_id(mailbox, TAG_TABLE, "id", some):
                yield _attempt(tag_state, row, {})

    def _side_rows(
        self, mailbox: Mailbox, items: Sequence[ItemId]
    ) -> Mapping[int, Mapping[str, tuple[Row, ...]]]:
        found: dict[int, dict[str, tuple[Row, ...]]] = defaultdict(dict)
        for table, column in SIDE_TABLES.items():
            for row in self._by_id(mailbox, table, column, items):
                rows = found[row[column]].get(table, ())
                found[row[column]][table] = (*rows, _side_row(row))
        return found

    def _by_id(
        self, mailbox: Mailbox, table: str, column: str, items: Sequence[ItemId]
    ) -> Iterator[dict[str, Any]]:
        marks = ", ".join("?" * len(items))
        return self._db.rows(
            f"SELECT * FROM {self._table(mailbox, table)}"
            f" WHERE mailbox_id = ? AND {column} IN ({marks}) ORDER BY {column}",
            mailbox.mailbox_id,
            *items,
        )

    def _table(self, mailbox: Mailbox, name: str) -> str:
        return self._db.table(f"mboxgroup{mailbox.group_id}", name)


def read_row(row: dict[str, Any]) -> tuple[ItemId, ItemState | ItemError]:
    """Return the id and state of a row of `mail_item` or the dumpster, without side rows."""
    return _attempt(item_state, row, {})


def item_state(row: Mapping[str, Any], side_rows: Mapping[str, tuple[Row, ...]]) -> ItemState:
    """Return the state that a row of `mail_item` and its side rows hold.

    Raises BrokenItem for a row with impossible values.
    """
    _check(row, side_rows)
    kind = codes.KIND_OF_TYPE.get(row["type"])
    if kind is None:
        raise BrokenItem(f"item {row['id']} has the unknown type {row['type']}")
    values = decode_column(row["metadata"])
    return ItemState(
        item_id=_item_id(row["id"]),
        kind=kind,
        mod=row["mod_metadata"],
        start=from_ms((row["change_date"] or 0) * 1000),
        folder_id=None if row["folder_id"] is None else _item_id(row["folder_id"]),
        name=row["name"],
        subject=full_subject(row["subject"], values),
        sender=shown_text(values.get("s")) or row["sender"],
        recipients=shown_text(values.get("t")) or row["recipients"],
        flags=codes.letters_of(row["flags"]),
        unread=bool(row["unread"]) and kind not in FOLDER_LIKE,
        tags=codes.split_tags(row["tag_names"]),
        color=as_int(values.get("c", 0)),
        date=row["date"],
        size=None if kind in FOLDER_LIKE else row["size"],
        digest=_digest(row),
        fields=_contact_fields(kind, values),
        row=_without_nulls(row),
        side_rows=side_rows,
    )


def tag_state(row: Mapping[str, Any], _side_rows: Mapping[str, tuple[Row, ...]]) -> ItemState:
    """Return the state of a user tag; its change number is its `sequence`."""
    if isinstance(row.get("policy"), bytes):
        raise _impossible(row, "policy")
    return ItemState(
        item_id=_item_id(row["id"]),
        kind=ItemKind.TAG,
        mod=_number(row, "sequence"),
        start=from_ms(0),
        name=_text(row, "name"),
        color=0 if row["color"] is None else _number(row, "color", _SIGNED),
        row=_without_nulls(row),
    )


def full_subject(column: str | None, values: Mapping[str, Value]) -> str | None:
    """Return the subject as a user reads it: `r` replaces the column, `p` stands before it.

    An empty one is none.
    """
    raw, prefix = values.get("r"), values.get("p")
    if isinstance(raw, str):
        return raw or None
    if isinstance(prefix, str):
        return prefix + (column or "")
    return column or None


def blob_references(state: ItemState) -> Iterator[BlobReference]:
    """Yield where the blobs of a state's row and of its older versions lie.

    Raises BrokenItem for a row that has half of what a blob needs.
    """
    for row in (state.row, *state.side_rows.get("revision", ())):
        if "locator" not in row and "blob_digest" not in row:
            continue
        digest = _digest(row)
        if digest is None or "locator" not in row:
            raise BrokenItem(f"item {state.item_id} names its blob incompletely")
        yield BlobReference(
            item_id=state.item_id,
            mod_content=_number(row, "mod_content"),
            locator=str(row["locator"]),
            digest=digest,
            size=_number(row, "size"),
        )


def _attempt(
    read: Any, row: dict[str, Any], side_rows: Mapping[str, tuple[Row, ...]]
) -> tuple[ItemId, ItemState | ItemError]:
    try:
        return ItemId(row["id"]), read(row, side_rows)
    except ItemError as error:
        return ItemId(row["id"]), error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        broken = BrokenItem(f"item {row['id']} has impossible values: {error}")
        return ItemId(row["id"]), broken


def _contact_fields(kind: ItemKind, values: Mapping[str, Value]) -> dict[str, str]:
    if kind is not ItemKind.CONTACT:
        return {}
    fields = values.get("fld", values)
    if not isinstance(fields, dict):
        raise BrokenItem("a contact's fields are no map")
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _item_id(value: Any) -> ItemId:
    if not isinstance(value, int) or not 0 < value < 2**31:
        raise BrokenItem(f"{value!r} is no item id")
    return ItemId(value)


def _check(row: Mapping[str, Any], side_rows: Mapping[str, tuple[Row, ...]]) -> None:
    """Raise BrokenItem for a row of `mail_item` with a value that its column cannot have.

    Of side rows what is no text is wrong: they are kept as they are, and nothing is read from them.
    """
    for column, bounds in _NUMBERS.items():
        if row[column] is not None or column not in _NULLABLE:
            _number(row, column, bounds)
    for column in _TEXTS:
        _text(row, column)
    for table, rows in side_rows.items():
        if any(isinstance(value, bytes) for each in rows for value in each.values()):
            raise BrokenItem(f"item {row['id']}: its row of {table} is damaged")


def _number(row: Mapping[str, Any], column: str, bounds: tuple[int, int] = _UNSIGNED) -> int:
    value = row[column]
    if not isinstance(value, int) or not bounds[0] <= value <= bounds[1]:
        raise _impossible(row, column)
    return value


def _head(value: Any) -> int:
    """Return a change number; an impossible one must not keep the others from being read."""
    return value if isinstance(value, int) and value > 0 else 0


def _text(row: Mapping[str, Any], column: str) -> str | None:
    value = row[column]
    if not (value is None or isinstance(value, str)):
        raise _impossible(row, column)
    return value


def _digest(row: Mapping[str, Any]) -> Digest | None:
    value = row.get("blob_digest")
    if value is None:
        return None
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise _impossible(row, "blob_digest")
    return Digest(value)


def _impossible(row: Mapping[str, Any], column: str) -> BrokenItem:
    item = row.get("id", row.get("item_id"))
    where = "the mailbox" if item is None else f"item {item}"
    return BrokenItem(f"{where}: {column} is {row[column]!r}"[:_SHOWN])


def shown_text(value: Value | None) -> str | None:
    """Return a header value as people read it; one that does not decode stays as it is."""
    if not isinstance(value, str):
        return None
    shown = import_module(_WORDS).decoded(value) if "=?" in value else value
    # An encoded word can spell half a character, which no file could hold.
    return shown[:_SHOWN].encode("utf-8", "replace").decode("utf-8")


def _without_nulls(row: Mapping[str, Any]) -> Row:
    """Return what a state keeps: no NULLs, and nothing binary from columns unknown to us."""
    return {
        column: value
        for column, value in row.items()
        if not (value is None or isinstance(value, bytes))
    }


def _side_row(row: Mapping[str, Any]) -> Row:
    return {column: value for column, value in row.items() if value is not None}
