"""The choke point: every change of a sandbox mailbox goes through a `Change`.

One change is one transaction with one change number, as in the real server: whatever it touches
gets that number (`zimbra-store.md` §7), and the redo log gets one operation. It keeps what the
server derives in step: counters of folders and tags, `tagged_item`, the mailbox row, tombstones,
blob files.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from backupng.engine.errors import InvalidItem, NoRoom
from backupng.engine.mailserver.sandbox.blobfiles import BlobFiles
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.sandbox.names import item_name, tag_name
from backupng.engine.mailserver.sandbox.redo import Op, op
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag, three_bytes
from backupng.engine.mailserver.zimbra.metadata import as_int, decode_column, encode_column
from backupng.engine.model import FOLDER_LIKE, ItemId, ItemKind

_UNCOUNTED: Final = FOLDER_LIKE | {ItemKind.CONVERSATION, ItemKind.TAG}
_FOLDER_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.FOLDER]
_TAG_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.TAG]
_FOLDER_SUMS: Final = ("sz", "i4d", "i4du")
_SEARCHABLE: Final = ("tag_names", "flags", "unread")
_ITEM_TABLES: Final = {
    "tagged_item": "item_id",
    "appointment": "item_id",
    "revision": "item_id",
    "open_conversation": "conv_id",
    "mail_item": "id",
}
"""Tables whose rows go with an item; those of external accounts stay: they stop a second fetch."""
_TOMBSTONE_CHARACTERS: Final = 65_406


class Change:
    """One transaction of one mailbox; made by `Sandbox.change`."""

    def __init__(
        self,
        database: SqliteDatabase,
        mailbox: Mapping[str, Any],
        *,
        blobs: BlobFiles,
        now_ms: int,
        quota: int,
    ) -> None:
        self._db = database
        self._mailbox = mailbox
        self._quota = quota
        self.blobs = blobs
        self.mailbox_id: int = mailbox["id"]
        self.number: int = mailbox["change_checkpoint"] + 1
        self.now_ms = now_ms
        self.date = now_ms // 1000
        self._last_id: int = mailbox["item_id_checkpoint"]
        self._bytes = 0
        self._contacts = 0
        self._folders: dict[int, Counter[str]] = defaultdict(Counter)
        self._tags: dict[int, Counter[str]] = defaultdict(Counter)
        self._done: Op | None = None

    def log(self, name: str, /, **fields: Any) -> None:
        """Say what the redo log is to hold of this change: one operation, no more and no less."""
        if self._done is not None:
            raise RuntimeError(f"One change logs one operation: {name} comes second.")
        self._done = op(name, **fields)

    @property
    def done(self) -> Op:
        """What was logged."""
        if self._done is None:
            raise RuntimeError("A change says what it does: nothing was logged.")
        return self._done

    @property
    def address(self) -> str:
        """The address of the mailbox's account."""
        return str(self._mailbox["comment"] or "")

    def table(self, name: str) -> str:
        """Spell a table of this mailbox's group."""
        return self._db.table(f"mboxgroup{self._mailbox['group_id']}", name)

    @property
    def tracks_imap(self) -> bool:
        """Whether the mailbox is used over IMAP, so that a move gives an item a new UID."""
        return bool(self._mailbox["tracking_imap"])

    def new_id(self) -> ItemId:
        """Return the next free item id."""
        self._last_id += 1
        return ItemId(self._last_id)

    def spare_number(self) -> int:
        """Give away this change's number and go on under the next one."""
        self.number += 1
        return self.number - 1

    @property
    def next_id(self) -> ItemId:
        """The id that `new_id` would return now."""
        return ItemId(self._last_id + 1)

    def row(self, item: int) -> dict[str, Any]:
        """Return an item's row. Raises InvalidItem if there is none."""
        found = self.rows("id = ?", item)
        if not found:
            raise InvalidItem(f"The mailbox has no item {item}.", code="no_such_item")
        return found[0]

    def rows(self, where: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of this mailbox's items that fit a condition, by id."""
        sql = f"SELECT * FROM {self.table('mail_item')} WHERE mailbox_id = ? AND ({where})"
        values = map(three_bytes, parameters)
        return list(self._db.rows(sql + " ORDER BY id", self.mailbox_id, *values))

    def insert(self, kind: ItemKind, *, folder: int, **columns: Any) -> ItemId:
        """Add an item; unnamed columns get what a new item of its kind has. Returns its id."""
        item = columns.pop("id", None) or self.new_id()
        row: dict[str, Any] = {
            "mailbox_id": self.mailbox_id,
            "id": item,
            "type": codes.TYPE_OF_KIND[kind],
            "folder_id": folder,
            "date": self.date,
            "size": 0,
            "unread": None,
            "flags": 0,
            "tag_names": None,
            "mod_metadata": self.number,
            "change_date": self.date,
            "mod_content": self.number,
        } | self._stored(columns)
        if folder != item:
            self._check_folder(folder)
        if kind in FOLDER_LIKE and not row.get("uuid"):
            row["uuid"] = str(uuid.uuid4())
        self._db.insert(self.table("mail_item"), row)
        self._count(row, +1, arrives=True)
        self._retag(row)
        return ItemId(item)

    def update(self, item: int, *, numbered: bool = True, **columns: Any) -> None:
        """Change columns of an item, under this change's number unless that is not to show."""
        before = self.row(item)
        numbers = {"mod_metadata": self.number, "change_date": self.date} if numbered else {}
        after = before | numbers | self._stored(columns)
        moved = after["folder_id"] != before["folder_id"]
        if moved:
            self._check_folder(after["folder_id"])
        self._db.update(
            self.table("mail_item"),
            {name: value for name, value in after.items() if value != before[name]},
            mailbox_id=self.mailbox_id,
            id=item,
        )
        self._count(before, -1)
        self._count(after, +1, arrives=moved)
        if any(after[name] != before[name] for name in _SEARCHABLE):
            self._retag(after)

    def delete(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Delete items for good, their side rows and blobs with them. Returns how many."""
        gone = list(rows)
        for row in gone:
            self._count(row, -1)
            for each in (row, *self._revisions(row["id"])):
                self.blobs.forget(row["id"], each)
            for table, column in _ITEM_TABLES.items():
                self._delete(table, **{column: row["id"]})
        if self._mailbox["tracking_sync"]:
            self._bury(gone)
        return len(gone)

    def put_blob(self, item: int, data: bytes, *, mod_content: int | None = None) -> dict[str, Any]:
        """Write an item's blob to the current volume; return the columns that name it.

        `mod_content` is that of an older version; without it the blob is this change's.
        """
        number = self.number if mod_content is None else mod_content
        return self.blobs.write(item, data, mod_content=number)

    def insert_side(self, table: str, **columns: Any) -> None:
        """Add a row to a side table of this mailbox."""
        self._db.insert(self.table(table), {"mailbox_id": self.mailbox_id, **columns})

    def add_revision(self, item: int, **columns: Any) -> None:
        """Add an older version of an item that is marked as having some; it counts like an item."""
        self.insert_side("revision", item_id=item, **columns)
        self._bytes += columns["size"]
        self._folders[self.row(item)["folder_id"]]["sz"] += columns["size"]

    def tag_id(self, name: str, *, color: int | None = None, listed: bool = True) -> int:
        """Return the id of a tag of this name, made if it is new."""
        return int(self._tag(name, color=color, listed=listed)["id"])

    def tag_row(self, tag: int) -> dict[str, Any]:
        """Return a tag's row. Raises InvalidItem if there is none of its users' with that id."""
        query = f"SELECT * FROM {self.table('tag')} WHERE mailbox_id = ? AND id = ?"
        found = self._db.one(query, self.mailbox_id, tag) if tag > 0 else None
        if found is None:
            raise InvalidItem(f"The mailbox has no tag {tag}.", code="no_such_item")
        return found

    def drop_tag(self, tag: int) -> None:
        """Take away a tag that no item has any more."""
        self._tags.pop(tag, None)
        self._delete("tag", id=tag)
        if self._mailbox["tracking_sync"]:
            self._bury([{"id": tag, "uuid": None, "type": _TAG_TYPE}])

    def rename_tag(self, tag: int, name: str) -> None:
        """Give a tag another name, on all items that have it too."""
        old, new = self.tag_row(tag)["name"], tag_name(name)
        self.update_tag(tag, name=new)
        for row in self.tagged(tag):
            names = (new if each == old else each for each in codes.split_tags(row["tag_names"]))
            columns = {"mod_metadata": self.number, "change_date": self.date}
            values = {**columns, "tag_names": codes.join_tags(names)}
            table, key = self.table("mail_item"), row["id"]
            self._db.update(table, values, mailbox_id=self.mailbox_id, id=key)
            # Its folder tells IMAP of the change.
            self._folders[row["folder_id"]]["renamed"] += 1

    def tagged(self, tag: int) -> list[dict[str, Any]]:
        """Return the rows of all items that have a tag."""
        having = f"SELECT item_id FROM {self.table('tagged_item')} WHERE mailbox_id = ?"
        return self.rows(f"id IN ({having} AND tag_id = ?)", self.mailbox_id, tag)

    def update_tag(self, tag: int, **columns: Any) -> None:
        """Change columns of a tag under this change's number."""
        values = {**columns, "sequence": self.number}
        self._db.update(self.table("tag"), values, mailbox_id=self.mailbox_id, id=tag)

    def thread_of(self, thread_hash: str) -> int | None:
        """Return the conversation, or lone message, that a message id was seen in."""
        found = self._db.one(
            f"SELECT conv_id FROM {self.table('open_conversation')}"
            " WHERE mailbox_id = ? AND hash = ?",
            self.mailbox_id,
            thread_hash,
        )
        return found["conv_id"] if found else None

    def remember_thread(self, thread_hash: str, conversation: int) -> None:
        """Note where a message id was seen."""
        self._delete("open_conversation", hash=thread_hash)
        self.insert_side("open_conversation", hash=thread_hash, conv_id=conversation)

    def finish(self) -> None:
        """Write counters of folders and tags and the mailbox row; last step before the commit."""
        for folder, counts in self._folders.items():
            self._count_folder(folder, counts)
        for tag, counts in self._tags.items():
            self._count_tag(tag, counts)
        size = max(self._mailbox["size_checkpoint"] + self._bytes, 0)
        if self._bytes > 0 and self._quota and size > self._quota:
            raise NoRoom(f"The mailbox is full: its quota is {self._quota} bytes.")
        values: dict[str, Any] = {
            "change_checkpoint": self.number,
            "item_id_checkpoint": self._last_id,
            "size_checkpoint": size,
        }
        if self._contacts and self._mailbox["contact_count"] is not None:
            values["contact_count"] = max(self._mailbox["contact_count"] + self._contacts, 0)
        self._db.update(self._db.table("zimbra", "mailbox"), values, id=self.mailbox_id)

    def _stored(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Return columns with names, and names of tags, as the server stores them."""
        if columns.get("name") is not None:
            columns["name"] = item_name(columns["name"])
        if columns.get("tag_names") is not None:
            names = codes.split_tags(columns["tag_names"])
            known = (self._tag(name, listed=False)["name"] for name in names)
            columns["tag_names"] = codes.join_tags(dict.fromkeys(known))
        return columns

    def _check_folder(self, folder: int) -> None:
        if self.row(folder)["type"] != _FOLDER_TYPE:
            raise InvalidItem(f"Item {folder} is no folder that can hold items.", code="bad_value")

    def _count(self, row: Mapping[str, Any], sign: int, *, arrives: bool = False) -> None:
        kind = codes.KIND_OF_TYPE.get(row["type"])
        if kind in _UNCOUNTED:
            return
        size, unread = self._size_of(row), row["unread"] or 0
        deleted = bool(row["flags"] & Flag.DELETED)
        counts = self._folders[row["folder_id"]]
        counts["items"] += sign
        counts["unread"] += sign * unread
        counts["sz"] += sign * size
        counts["i4d"] += sign * deleted
        counts["i4du"] += sign * deleted * unread
        counts["arrived"] += arrives
        self._bytes += sign * size
        self._contacts += sign * (kind is ItemKind.CONTACT)
        for name in codes.split_tags(row["tag_names"]):
            tag = self._tags[self.tag_id(name, listed=False)]
            # What IMAP marked as deleted does not count.
            tag["items"] += sign * (not deleted)
            tag["unread"] += sign * (not deleted) * unread

    def _size_of(self, row: Mapping[str, Any]) -> int:
        """Return how many bytes an item takes, its older versions included."""
        older = self._revisions(row["id"]) if row["flags"] & Flag.VERSIONED else ()
        return int(row["size"] + sum(each["size"] for each in older))

    def _count_folder(self, folder: int, counts: Mapping[str, int]) -> None:
        """Bring a folder's row up to what happened in it; it keeps its own change number."""
        row = next(iter(self.rows("id = ?", folder)), None)
        values = decode_column(row["metadata"]) if row else {}
        if row is None or as_int(values.get("a", 0)) & codes.UNCOUNTED:
            return
        sums = {key: max(as_int(values.get(key, 0)) + counts[key], 0) for key in _FOLDER_SUMS}
        values = {key: value for key, value in values.items() if key not in _FOLDER_SUMS}
        values |= {key: value for key, value in sums.items() if value}
        values["mseq"] = self.number
        if counts["arrived"]:
            values["unxt"] = self._last_id + 1
        columns = {
            "size": max(row["size"] + counts["items"], 0),
            "unread": max((row["unread"] or 0) + counts["unread"], 0),
            "metadata": encode_column(values),
        }
        table = self.table("mail_item")
        self._db.update(table, columns, mailbox_id=self.mailbox_id, id=folder)

    def _tag(self, name: str, *, listed: bool, color: int | None = None) -> dict[str, Any]:
        """Return the row of the tag of this name, made if it is new."""
        query = f"SELECT * FROM {self.table('tag')} WHERE mailbox_id = ? AND name = ?"
        found = self._db.one(query, self.mailbox_id, three_bytes(name.strip()))
        if found is None:
            found = {"id": self.new_id(), "name": tag_name(name)}
            self.insert_side("tag", **found, color=color, listed=int(listed), sequence=self.number)
        return found

    def _retag(self, row: Mapping[str, Any]) -> None:
        """Let `tagged_item` say what `tag_names`, `flags` and `unread` say."""
        if codes.KIND_OF_TYPE.get(row["type"]) in _UNCOUNTED:
            return
        self._delete("tagged_item", item_id=row["id"])
        named = [self.tag_id(name, listed=False) for name in codes.split_tags(row["tag_names"])]
        mirrored = codes.mirrored_tag_ids(row["flags"], unread=bool(row["unread"]))
        for tag in (*named, *mirrored):
            self.insert_side("tagged_item", tag_id=tag, item_id=row["id"])

    def _count_tag(self, tag: int, counts: Mapping[str, int]) -> None:
        self._db.run(
            f"UPDATE {self.table('tag')} SET item_count = MAX(item_count + ?, 0),"
            " unread = MAX(unread + ?, 0) WHERE mailbox_id = ? AND id = ?",
            counts["items"],
            counts["unread"],
            self.mailbox_id,
            tag,
        )

    def _revisions(self, item: int) -> list[dict[str, Any]]:
        query = f"SELECT * FROM {self.table('revision')} WHERE mailbox_id = ? AND item_id = ?"
        return list(self._db.rows(query, self.mailbox_id, item))

    def _delete(self, table: str, **key: Any) -> None:
        ((column, value),) = key.items()
        self._db.run(
            f"DELETE FROM {self.table(table)} WHERE mailbox_id = ? AND {column} = ?",
            self.mailbox_id,
            value,
        )

    def _bury(self, rows: Iterable[Mapping[str, Any]]) -> None:
        by_type: dict[int, list[str]] = defaultdict(list)
        for row in rows:
            text = f"{row['id']}:{row['uuid']}" if row["uuid"] else str(row["id"])
            by_type[row["type"]].append(text)
        for item_type, ids in by_type.items():
            for text in _joined(ids):
                self.insert_side(
                    "tombstone", sequence=self.number, date=self.date, type=item_type, ids=text
                )


def _joined(ids: Iterable[str]) -> Iterator[str]:
    """Join ids by commas, as many in one text as a column holds."""
    text = ""
    for each in ids:
        text = f"{text},{each}" if text else each
        if len(text) > _TOMBSTONE_CHARACTERS:
            yield text
            text = ""
    if text:
        yield text
