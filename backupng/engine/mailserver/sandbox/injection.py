"""One item on its way into a sandbox mailbox: what a restore brings, change by change.

What the creating operation cannot say of an item is said by others after it, as a client of a real
server would: older versions, date, colour, flags and tags.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import NO_SUCH_ITEM, Blobs, Places
from backupng.engine.mailserver.sandbox import created, edits
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.series import Series
from backupng.engine.mailserver.sandbox.threads import join_thread
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.mailserver.zimbra.metadata import Value, as_int, decode_column, encode_column
from backupng.engine.mailserver.zimbra.parsing import mime
from backupng.engine.model import Digest, ItemId, ItemKind, ItemState, spell_digest

GRANTS: Final = ("acl", "aclm")
FLAGS_KEPT: Final = codes.CLIENT_BITS | sum(codes.SERVER_LETTERS.values())
_CARRIED: Final = ("size", "unread", "sender", "recipients", "subject", "name")
_REVISION_CARRIED: Final = ("version", "date", "size", "name", "metadata")
_ROW_KEPT: Final = ("locator", "blob_digest", "mod_metadata", "change_date", "mod_content")
_DATED: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})
"""Kinds whose creation says their date; the others' date is when they came."""
_TAGGED: Final = _DATED | {ItemKind.CONTACT, ItemKind.APPOINTMENT, ItemKind.TASK}
_FLAGGED: Final = (_TAGGED - {ItemKind.CONTACT}) | {ItemKind.DOCUMENT, ItemKind.WIKI}
_PAPERS: Final = frozenset({ItemKind.DOCUMENT, ItemKind.WIKI})


@dataclass(frozen=True, slots=True)
class Arrival:
    """One item, where it goes, and where its blobs come from."""

    series: Series
    state: ItemState
    places: Places
    blobs: Blobs

    def inject(self) -> ItemId:
        """Make the item; returns its new id, also where somebody deletes it before it is whole.

        Raises InvalidItem or ReadError, nothing done then.
        """
        versions = self._versions()
        with self.series.change() as change:
            item = self._create(change, versions[0])
        try:
            self._go_on(item, versions)
            self._dress(item)
        except InvalidItem as error:
            if error.code != NO_SUCH_ITEM:
                raise
        return item

    def finish(self, found: ItemState) -> None:
        """Give an item that was begun what it lacks: newer versions, date, colour, marks."""
        versions = self._versions()
        place = [index for index, each in enumerate(versions) if each.digest == found.digest]
        self._go_on(found.item_id, versions[place[-1] if place else -1 :])
        self._dress(found.item_id, found)

    def _go_on(self, item: ItemId, versions: Sequence[_Version]) -> None:
        for older, newer in pairwise(versions):
            with self.series.change() as change:
                _revise(change, item, older, newer)

    def _versions(self) -> list[_Version]:
        """Return what the item was and is, oldest first; only documents have been several."""
        state, found = self.state, []
        for revision in self._revisions() if state.kind in _PAPERS else ():
            row = {name: revision.get(name) for name in _REVISION_CARRIED}
            columns = {name: revision.get(name) for name in ("size", "metadata")}
            found.append(_Version(columns, self._old_data(revision), row))
        data = None if state.digest is None else b"".join(self.blobs(state.digest))
        columns = {"metadata": _moved_metadata(state, self.places)}
        if "size" in state.row:
            columns["size"] = state.row["size"]
        return [*found, _Version(columns, data)]

    def _revisions(self) -> list[Mapping[str, Any]]:
        revisions = self.state.side_rows.get("revision", ())
        return sorted(revisions, key=lambda revision: as_int(revision.get("version") or 0))

    def _old_data(self, revision: Mapping[str, Any]) -> bytes | None:
        if "blob_digest" not in revision:
            return None
        digest = Digest(revision["blob_digest"])
        return b"".join(self.blobs(self.state.kept_as.get(digest, digest)))

    def _create(self, change: Change, version: _Version) -> ItemId:
        """Make the item as its creating operation tells of it."""
        state, kind = self.state, self.state.kind
        item = change.new_id()
        older = [] if kind in _PAPERS else self._old_rows(change, item)
        flags = self._flags & ~(0 if older else Flag.VERSIONED)
        columns: dict[str, Any] = {
            **{name: state.row[name] for name in _CARRIED if name in state.row},
            **version.columns,
            "flags": int(flags if kind in _FLAGGED else flags & codes.SERVER_BITS),
            "tag_names": state.row.get("tag_names") if kind in _TAGGED else None,
            "date": state.row.get("date", change.date) if kind in _DATED else change.date,
        }
        if kind is not ItemKind.NOTE:
            columns["metadata"] = _uncoloured(columns["metadata"])
        if version.data is not None:
            columns |= change.put_blob(item, version.data)
        change.insert(
            kind,
            id=item,
            folder=self.places.folder,
            parent_id=_parent(state, self.places),
            index_id=item if "index_id" in state.row else None,
            imap_id=item if "imap_id" in state.row else None,
            uuid=str(uuid.uuid4()) if "uuid" in state.row else None,
            **columns,
        )
        self._add_side_rows(change, item, older)
        data, thread = version.data or b"", None
        if kind is ItemKind.MESSAGE:
            thread = join_thread(change, item, mime.describe(data))
        created.item(change, item, kind, data, thread=thread)
        return item

    @property
    def _flags(self) -> int:
        return int(self.state.row.get("flags", 0)) & FLAGS_KEPT

    def _old_rows(self, change: Change, item: ItemId) -> list[dict[str, Any]]:
        """Return the older versions of what is no document, each under a number of its own."""
        found = []
        for revision in self._revisions():
            number = change.spare_number()
            row = {name: revision.get(name) for name in _REVISION_CARRIED}
            row |= {"mod_metadata": number, "change_date": change.date, "mod_content": number}
            data = self._old_data(revision)
            if data is not None:
                row |= change.put_blob(item, data, mod_content=number)
            found.append(row)
        return found

    def _add_side_rows(
        self, change: Change, item: ItemId, older: Iterable[Mapping[str, Any]]
    ) -> None:
        for revision in older:
            change.add_revision(item, **revision)
        for row in self.state.side_rows.get("appointment", ()):
            times = {name: row.get(name) for name in ("uid", "start_time", "end_time")}
            change.insert_side("appointment", item_id=item, **times)

    def _dress(self, item: ItemId, found: ItemState | None = None) -> None:
        """Give the item what its creation could not say of it, or what is found to lack."""
        row, kind = self.state.row, self.state.kind
        color = as_int(decode_column(row.get("metadata")).get("c", 0))
        if color and kind is not ItemKind.NOTE and (found is None or found.color != color):
            with self.series.change() as change:
                edits.color(change, item, color)
        flags = self._flags
        tags = codes.split_tags(row.get("tag_names"))
        is_marked = (kind in _TAGGED or not tags) and (
            kind in _FLAGGED or not flags & codes.CLIENT_BITS
        )
        if found is not None:
            is_marked = (found.tags, found.flags) == (tags, self.state.flags)
        if not is_marked:
            with self.series.change() as change:
                edits.set_marks(change, item, flags=flags, tags=tags)
        # The last: until then the date of its coming tells that it is not whole.
        if kind not in _DATED and "date" in row and (found is None or found.date != row["date"]):
            with self.series.change() as change:
                edits.date(change, item, row["date"])


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of an item: columns of its row, its bytes, and its revision's row if it is old.

    `data` is None where there is no blob.
    """

    columns: Mapping[str, Any]
    data: bytes | None
    revision: Mapping[str, Any] | None = None

    @property
    def digest(self) -> Digest | None:
        """The digest of its bytes."""
        data = self.data
        return None if data is None else spell_digest(hashlib.sha256(data).digest())


def _revise(change: Change, item: ItemId, older: _Version, newer: _Version) -> None:
    """Let a document have a newer version, and keep the one it has."""
    row = change.row(item)
    metadata = _uncoloured(newer.columns["metadata"])
    columns: dict[str, Any] = {**newer.columns, "metadata": metadata, "date": change.date}
    columns |= {"locator": None, "blob_digest": None}
    if newer.data is not None:
        columns |= change.put_blob(item, newer.data)
    flags = int(row["flags"] | Flag.VERSIONED)
    change.update(item, mod_content=change.number, flags=flags, **columns)
    kept = {name: row[name] for name in _ROW_KEPT}
    change.add_revision(item, **{**kept, **(older.revision or {})})
    created.revision(change, item, newer.data or b"")


def _uncoloured(column: str | None) -> str:
    return encode_column(without(decode_column(column), "c"))


def _parent(state: ItemState, places: Places) -> int | None:
    """Only a comment's parent is carried: its document. Threads are built anew."""
    if state.kind is not ItemKind.COMMENT:
        return None
    document = places.items.get(ItemId(state.row.get("parent_id", 0)))
    if document is None:
        raise InvalidItem(f"item {state.item_id}: the document of this comment is not there")
    return document


def _moved_metadata(state: ItemState, places: Places) -> str:
    """Return the metadata with the ids in it led to their new places."""
    values = without(decode_column(state.row.get("metadata")), "mdver", *GRANTS)
    draft = values.get("d")
    if state.kind is ItemKind.MESSAGE and isinstance(draft, dict):
        values["d"] = _moved_draft(draft, places)
    links = values.get("ais")
    if isinstance(links, list):
        values["ais"] = [_moved_link(link, places) for link in links]
    if state.kind is ItemKind.COMMENT:
        values |= _moved_accounts(values, "cr", places=places)
    return encode_column(values)


def _moved_draft(draft: dict[str, Value], places: Places) -> dict[str, Value]:
    """Lead a draft to the message it answers, and to the account and identity it is sent by."""
    draft = draft | _moved_accounts(draft, "aid", "idnt", places=places)
    origin = draft.get("do")
    if not (isinstance(origin, str) and origin.isascii() and origin.isdigit()):
        return draft
    moved = places.items.get(ItemId(int(origin)))
    return without(draft, "do") | ({"do": str(moved)} if moved else {})


def _moved_accounts(values: Mapping[str, Value], *keys: str, places: Places) -> dict[str, Value]:
    """Return the values of those keys that are ids of accounts that have gone somewhere."""
    return {
        key: new for key in keys for old, new in places.accounts.items() if values.get(key) == old
    }


def _moved_link(link: Value, places: Places) -> Value:
    if not isinstance(link, dict) or not as_int(link.get("a", 0)):
        return link
    moved = places.items.get(ItemId(as_int(link["a"])))
    return link | {"a": moved or 0}


def without(values: Mapping[str, Value], *keys: str) -> dict[str, Value]:
    return {key: value for key, value in values.items() if key not in keys}
