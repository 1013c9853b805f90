"""assert_consistent: every number that a server derives, worked out anew from the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from backupng.engine.errors import ItemError
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra import codes, volumes
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.mailserver.zimbra.metadata import decode_column
from backupng.engine.model import AccountId, EntryKind, ItemState, spell_digest

FOLDER, CONVERSATION, MESSAGE, CONTACT, DOCUMENT, COMMENT = 1, 4, 5, 6, 8, 17
FOLDER_LIKE = {1, 2, 13}
UNCOUNTED = FOLDER_LIKE | {3, CONVERSATION}
CALENDAR = {11, 15}
Row = Mapping[str, Any]


def assert_consistent(sandbox: Sandbox, *, orphans: bool = False) -> None:
    """Check every mailbox of a sandbox, and that nothing else lies about but `orphans`: files."""
    books = [Book(sandbox, row) for row in _rows(sandbox, "zimbra", "mailbox")]
    problems = [f"mailbox {book.mailbox['id']}: {each}" for book in books for each in book.check()]
    assert not problems, problems
    accounts = {entry.entry_id for entry in sandbox.directory.entries(EntryKind.ACCOUNT)}
    assert {book.mailbox["account_id"] for book in books} == accounts
    expected = {path for book in books for path in book.blob_paths()}
    files = set(sandbox.folder.rglob("*.msg"))
    assert files >= expected if orphans else files == expected
    assert not list(_strays(sandbox, {book.mailbox["id"] for book in books}))


def _rows(sandbox: Sandbox, schema: str, table: str) -> list[dict[str, Any]]:
    name = sandbox.database.table(schema, table)
    return list(sandbox.database.rows(f"SELECT * FROM {name}"))  # noqa: S608


def _strays(sandbox: Sandbox, mailboxes: set[int]) -> Iterator[Row]:
    """Yield rows of mailboxes that are no more."""
    names = (
        "name LIKE 'mboxgroup%' OR name IN ('zimbra__mailbox_metadata', 'zimbra__pending_acl_push')"
    )
    query = f"SELECT name FROM sqlite_master WHERE type = 'table' AND ({names})"  # noqa: S608
    for table in list(sandbox.database.rows(query)):
        rows = _rows(sandbox, *table["name"].split("__"))
        yield from (row for row in rows if row["mailbox_id"] not in mailboxes)


@dataclass
class Book:
    """The rows of one mailbox, and what must follow from them."""

    sandbox: Sandbox
    mailbox: Row

    def table(self, name: str) -> list[Row]:
        group = f"mboxgroup{self.mailbox['group_id']}"
        rows = _rows(self.sandbox, group, name)
        return [row for row in rows if row["mailbox_id"] == self.mailbox["id"]]

    @cached_property
    def items(self) -> dict[int, Row]:
        return {row["id"]: row for row in self.table("mail_item")}

    @cached_property
    def leaves(self) -> list[Row]:
        return [row for row in self.items.values() if row["type"] not in UNCOUNTED]

    @cached_property
    def revisions(self) -> list[Row]:
        return self.table("revision")

    @cached_property
    def tags(self) -> list[Row]:
        return self.table("tag")

    def check(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from self._mailbox()
        for row in self.items.values():
            yield from self._numbers(row)
            yield from self._place(row)
            if row["type"] == FOLDER:
                yield from self._folder(row)
            if row["type"] == CONVERSATION:
                yield from self._conversation(row)
        yield from self._tags()
        yield from self._side_rows()
        yield from self._blobs()

    def blob_paths(self) -> Iterator[Any]:
        """Yield where blobs must lie."""
        found = _rows(self.sandbox, "zimbra", "volume")
        stores = {row["id"]: volumes.volume_of_row(row, home=self.sandbox.folder) for row in found}
        dumped = (*self.table("mail_item_dumpster"), *self.table("revision_dumpster"))
        for row in (*self.items.values(), *self.revisions, *dumped):
            if row["locator"] is not None:
                yield volumes.blob_path(
                    stores[int(row["locator"])],
                    self.mailbox["id"],
                    item_id=row.get("item_id", row.get("id", 0)),
                    mod_content=row["mod_content"],
                )

    def _mailbox(self) -> Iterator[str]:
        total = sum(row["size"] for row in (*self.leaves, *self.revisions))
        yield from _unequal("size_checkpoint", self.mailbox["size_checkpoint"], total)
        contacts = sum(row["type"] == CONTACT for row in self.leaves)
        yield from _unequal("contact_count", self.mailbox["contact_count"], contacts)
        highest_id = max(*self.items, *(tag["id"] for tag in self.tags))
        if highest_id > self.mailbox["item_id_checkpoint"]:
            yield f"item {highest_id} lies above item_id_checkpoint"

    def _numbers(self, row: Row) -> Iterator[str]:
        last = self.mailbox["change_checkpoint"]
        if not 0 < row["mod_content"] <= row["mod_metadata"] <= last:
            yield f"item {row['id']}: {row['mod_content']}, {row['mod_metadata']}, {last}"
        if row["change_date"] is None:
            yield f"item {row['id']} has no change_date"
        changes = [
            int(each.partition(":")[0]) for each in (row["prev_folders"] or "").split(";") if each
        ]
        if changes != sorted(set(changes)) or len(changes) > 10:
            yield f"item {row['id']}: prev_folders {row['prev_folders']}"

    def _place(self, row: Row) -> Iterator[str]:
        folder = self.items.get(row["folder_id"])
        if folder is None or folder["type"] != FOLDER:
            yield f"item {row['id']} lies in {row['folder_id']}, which is no folder"
        parent = self.items.get(row["parent_id"] or 0)
        kind = row["type"]
        wanted = {MESSAGE: CONVERSATION, COMMENT: DOCUMENT}.get(kind)
        if kind in FOLDER_LIKE:
            yield from _unequal(f"parent of {row['id']}", row["parent_id"], row["folder_id"])
        elif row["parent_id"] is not None and (parent is None or parent["type"] != wanted):
            yield f"item {row['id']} has the parent {row['parent_id']}"

    def _folder(self, row: Row) -> Iterator[str]:
        values = decode_column(row["metadata"])
        inside = [each for each in self.leaves if each["folder_id"] == row["id"]]
        if int(str(values.get("a", 0))) & codes.UNCOUNTED:
            inside = []
        ids = {each["id"] for each in inside}
        older = [each for each in self.revisions if each["item_id"] in ids]
        deleted = [each for each in inside if each["flags"] & Flag.DELETED]
        wanted = {
            "size": len(inside),
            "unread": _unread(inside),
            "sz": sum(each["size"] for each in (*inside, *older)),
            "i4d": len(deleted),
            "i4du": _unread(deleted),
        }
        got = {"size": row["size"], "unread": row["unread"]} | {
            key: values.get(key, 0) for key in ("sz", "i4d", "i4du")
        }
        yield from _unequal(f"folder {row['name']}", got, wanted)
        latest = max((each["mod_metadata"] for each in inside), default=0)
        if not latest <= int(str(values["mseq"])) <= self.mailbox["change_checkpoint"]:
            yield f"folder {row['name']}: mseq {values['mseq']} below {latest}"
        if not max(ids, default=row["id"]) < int(str(values["unxt"])):
            yield f"folder {row['name']}: unxt {values['unxt']}"

    def _conversation(self, row: Row) -> Iterator[str]:
        members = [each for each in self.leaves if each["parent_id"] == row["id"]]
        yield from _unequal(f"conversation {row['id']}", row["size"], len(members))
        yield from _unequal(f"folder of {row['id']}", row["folder_id"], 9)
        if not members:
            yield f"conversation {row['id']} has no members"

    def _tags(self) -> Iterator[str]:
        names = {tag["name"]: tag["id"] for tag in self.tags}
        wanted = set()
        for row in self.leaves:
            named = codes.split_tags(row["tag_names"])
            mirrored = codes.mirrored_tag_ids(row["flags"], unread=bool(row["unread"]))
            ids = (*(names.get(name, 0) for name in named), *mirrored)
            wanted |= {(tag, row["id"]) for tag in ids}
        got = [(row["tag_id"], row["item_id"]) for row in self.table("tagged_item")]
        yield from _unequal("tagged_item", sorted(got), sorted(wanted))
        for tag in self.tags:
            items = [self.items[item] for tag_id, item in wanted if tag_id == tag["id"] > 0]
            counted = [row for row in items if not row["flags"] & Flag.DELETED]
            counts = (tag["item_count"], tag["unread"])
            yield from _unequal(f"tag {tag['name']}", counts, (len(counted), _unread(counted)))

    def _side_rows(self) -> Iterator[str]:
        calendar = [row["id"] for row in self.leaves if row["type"] in CALENDAR]
        booked = [row["item_id"] for row in self.table("appointment")]
        yield from _unequal("appointment", sorted(booked), sorted(calendar))
        versioned = {row["id"] for row in self.leaves if row["flags"] & Flag.VERSIONED}
        older = {row["item_id"] for row in self.revisions}
        yield from _unequal("revision", older, versioned)
        for row in self.table("open_conversation"):
            if row["conv_id"] not in self.items:
                yield f"open_conversation names {row['conv_id']}"
        stones = [each for row in self.table("tombstone") for each in row["ids"].split(",")]
        if alive := {int(each.partition(":")[0]) for each in stones} & self.items.keys():
            yield f"tombstones of living items: {alive}"
        if stones and not self.mailbox["tracking_sync"]:
            yield "tombstones that nobody asked for"

    def _blobs(self) -> Iterator[str]:
        source = self.sandbox.source()
        mailbox = source.mailbox(AccountId(self.mailbox["account_id"]))
        assert mailbox is not None
        for item, state in source.states(mailbox, sorted(source.heads(mailbox))):
            if not isinstance(state, ItemState):
                yield f"item {item}: {state}"
                continue
            try:
                for reference in source.blobs_of(state):
                    data = b"".join(source.blob(mailbox, reference))
                    digest = spell_digest(hashlib.sha256(data).digest())
                    yield from _unequal(f"blob of {item}", digest, reference.digest)
            except ItemError as error:
                yield f"blob of {item}: {error}"


def _unread(rows: Sequence[Row]) -> int:
    return sum(row["unread"] or 0 for row in rows)


def _unequal(what: str, got: object, wanted: object) -> Iterator[str]:
    if got != wanted:
        yield f"{what} is {got}, not {wanted}"
