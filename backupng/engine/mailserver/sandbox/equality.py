"""Which items of a sandbox mailbox are equal to those of a backup: what need not come again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import three_bytes
from backupng.engine.mailserver.zimbra.grants import is_alike
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.mailserver.zimbra.rows import read_row
from backupng.engine.model import FOLDER_LIKE, Digest, ItemId, ItemKind, ItemState, Mailbox

_MAIL: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})
_CALENDAR: Final = frozenset({ItemKind.APPOINTMENT, ItemKind.TASK})
_PAPERS: Final = frozenset({ItemKind.DOCUMENT, ItemKind.WIKI})
_COLUMN_OF_KIND: Final = {
    **dict.fromkeys(_MAIL, "date"),
    ItemKind.CONTACT: "sender",
    **dict.fromkeys(_PAPERS, "name"),
    ItemKind.FOLDER: "name",
    ItemKind.SEARCH: "name",
    ItemKind.MOUNTPOINT: "name",
    ItemKind.NOTE: "subject",
    ItemKind.COMMENT: "subject",
}
"""The column by which candidates are looked for; the rest is compared."""
_Wanted = tuple[ItemState, ItemId | None]


class Equality:
    """Looks for equal items in one mailbox."""

    def __init__(self, database: SqliteDatabase, mailbox: Mailbox) -> None:
        self._db = database
        self._mailbox = mailbox

    def find(self, wanted: Sequence[_Wanted]) -> dict[ItemId, list[ItemId]]:
        """Return for each state, by its id, the ids of what is equal, ascending."""
        found: dict[ItemId, list[ItemId]] = {state.item_id: [] for state, _ in wanted}
        groups: dict[tuple[ItemKind, ItemId | None], list[ItemState]] = defaultdict(list)
        for state, folder in wanted:
            groups[state.kind, folder].append(state)
        for (kind, folder), states in groups.items():
            pairs = (
                self._by_uid(states)
                if kind in _CALENDAR
                else self._by_content(kind, folder, states)
            )
            for old, new in pairs:
                found[old].append(new)
        return found

    def _by_uid(self, states: Iterable[ItemState]) -> Iterator[tuple[ItemId, ItemId]]:
        for state in states:
            for row in state.side_rows.get("appointment", ()):
                query = (
                    f"SELECT item_id FROM {self._table('appointment')}"
                    " WHERE mailbox_id = ? AND uid = ?"
                )
                uid = three_bytes(row.get("uid"))
                for found in self._db.rows(query, self._mailbox.mailbox_id, uid):
                    yield state.item_id, ItemId(found["item_id"])

    def _by_content(
        self, kind: ItemKind, folder: ItemId | None, states: Sequence[ItemState]
    ) -> Iterator[tuple[ItemId, ItemId]]:
        column = _COLUMN_OF_KIND.get(kind)
        if column is None:
            return
        keys = {_key(state, column) for state in states}
        candidates = list(self._candidates(kind, folder, column, keys))
        for state in states:
            for row, candidate in candidates:
                if _is_equal(state, candidate, row):
                    yield state.item_id, candidate.item_id

    def _candidates(
        self, kind: ItemKind, folder: ItemId | None, column: str, keys: set[Any]
    ) -> Iterator[tuple[Mapping[str, Any], ItemState]]:
        marks = ", ".join("?" * len(keys))
        fits = f"({column} IN ({marks}){f' OR {column} IS NULL' if None in keys else ''})"
        query = f"SELECT * FROM {self._table('mail_item')} WHERE mailbox_id = ? AND type = ?"
        query += f" AND {fits}{'' if folder is None else ' AND folder_id = ?'} ORDER BY id"
        values = [*keys, *([] if folder is None else [folder])]
        number = codes.TYPE_OF_KIND[kind]
        for row in self._db.rows(query, self._mailbox.mailbox_id, number, *values):
            _, state = read_row(row)
            if isinstance(state, ItemState):
                yield row, state

    def _table(self, name: str) -> str:
        return self._db.table(f"mboxgroup{self._mailbox.group_id}", name)


def _key(state: ItemState, column: str) -> Any:
    return three_bytes(state.row.get(column))


def _is_equal(state: ItemState, found: ItemState, row: Mapping[str, Any]) -> bool:
    if state.kind in _MAIL:
        return state.digest is not None and (state.digest, state.date) == (found.digest, found.date)
    if state.kind is ItemKind.CONTACT:
        return dict(state.fields) == dict(found.fields) and state.digest == found.digest
    if state.kind in _PAPERS:
        return _key(state, "name") == row["name"] and found.digest in _versions(state)
    if state.kind in FOLDER_LIKE:
        return bool(_key(state, "name") == row["name"]) and is_alike(state, found)
    if _key(state, "subject") != row["subject"]:
        return False
    if state.kind is ItemKind.NOTE:
        # Where it is pinned, and its colour: it has both from the first.
        return all(_told(state, key) == _told(found, key) for key in ("l", "c"))
    return bool(_key(state, "parent_id") == row["parent_id"])


def _told(state: ItemState, key: str) -> str:
    """Return what the metadata says under a key; what cannot be read says nothing."""
    try:
        return str(decode_column(state.row.get("metadata")).get(key) or "")
    except ItemError:
        return ""


def _versions(state: ItemState) -> set[Digest | None]:
    """Return the digests of all versions of a document."""
    older = (each.get("blob_digest") for each in state.side_rows.get("revision", ()))
    return {state.digest, *(state.kept_as.get(each, each) for each in older if each)}
