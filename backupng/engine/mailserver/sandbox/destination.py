"""The sandbox as a server that is restored to; implements `port.Destination`.

It holds every kind of item, so a restore into it can be compared with its source to the last field.
Every item becomes a change of its own, as one injected over a real server's interface would.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from backupng.engine.errors import InvalidItem, MailServerRefused
from backupng.engine.mailserver.port import Blobs, Places
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.directory import dn_of
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID
from backupng.engine.mailserver.zimbra.metadata import Value, as_int, decode_column, encode_column
from backupng.engine.mailserver.zimbra.parsing import mime
from backupng.engine.model import (
    Digest,
    DirectoryEntry,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
    to_ms,
)

_NEVER_PUT: Final = frozenset(
    {ItemKind.FOLDER, ItemKind.SEARCH, ItemKind.TAG, ItemKind.CONVERSATION, ItemKind.MOUNTPOINT}
)
_GRANTS: Final = ("acl", "aclm")
_FOLDERS_OWN: Final = ("sz", "unxt", "mseq", "i4l", "i4r", "i4d", "i4du", "a", "mdver", *_GRANTS)
"""Metadata that a folder has where it is: counters, what the server lets it be, grants."""
_FLAGS_KEPT: Final = codes.CLIENT_BITS | sum(codes.SERVER_LETTERS.values())
_CARRIED: Final = (
    "date",
    "size",
    "unread",
    "flags",
    "tag_names",
    "sender",
    "recipients",
    "subject",
    "name",
)
_REVISION_CARRIED: Final = ("version", "date", "size", "name", "metadata")
_ID_ATTRIBUTES: Final = {
    EntryKind.IDENTITY: "zimbraPrefIdentityId",
    EntryKind.SIGNATURE: "zimbraSignatureId",
}


class SandboxDestination:
    """Creates accounts on a sandbox and opens their mailboxes for injection."""

    holds = frozenset(ItemKind)

    def __init__(self, sandbox: Sandbox, clock: Callable[[], datetime]) -> None:
        self._sandbox = sandbox
        self._clock = clock

    def entry(self, kind: EntryKind, name: str) -> DirectoryEntry | None:
        """Return an entry by its name or id, an account also by alias."""
        return self._sandbox.directory.find(kind, name)

    def create_account(
        self, name: str, attributes: Mapping[str, tuple[bytes, ...]]
    ) -> DirectoryEntry:
        """Create an account with a new id and an empty mailbox."""
        try:
            return self._sandbox.create_account(
                name, str(uuid.uuid4()), now_ms=to_ms(self._clock()), attributes=attributes
            )
        except InvalidItem as error:
            raise MailServerRefused(str(error)) from error

    def add_child(self, account: DirectoryEntry, child: DirectoryEntry) -> None:
        """Add an identity or signature to an account, under a new id."""
        new_id = str(uuid.uuid4())
        attributes = {**child.attributes, _ID_ATTRIBUTES[child.kind]: (new_id.encode(),)}
        dn = dn_of(child.kind, child.name, parent=account.dn)
        with self._sandbox.locked():
            self._sandbox.directory.add(
                replace(child, entry_id=new_id, dn=dn, attributes=attributes)
            )

    def set_notes(self, cos: DirectoryEntry, notes: str) -> None:
        """Replace the Notes of a class of service; an empty text removes them."""
        directory = self._sandbox.directory
        try:
            with self._sandbox.locked():
                # What else it says may have changed since it was read.
                now = directory.find(EntryKind.COS, cos.entry_id)
                if now is None:
                    raise MailServerRefused(f"The class of service {cos.name} is gone.")
                directory.modify(now, {"zimbraNotes": (notes.encode(),) if notes else ()})
        except InvalidItem as error:
            raise MailServerRefused(str(error)) from error

    @contextmanager
    def open(self, account: DirectoryEntry) -> Iterator[SandboxInjection]:
        """Open the account's mailbox for injection; its quota does not count meanwhile."""
        yield SandboxInjection(self._sandbox, account, self._clock)


class SandboxInjection:
    """One sandbox mailbox during a restore; implements `port.MailboxWriter`."""

    def __init__(
        self, sandbox: Sandbox, account: DirectoryEntry, clock: Callable[[], datetime]
    ) -> None:
        self._sandbox = sandbox
        self._account = account
        self._clock = clock

    def put_tag(self, state: ItemState) -> bool:
        """Make a tag; an existing one of that name takes the colour. False if it was there."""
        with self._change() as change:
            before = change.next_id
            tag = change.tag_id(state.name or "")
            dress = {name: state.row.get(name) for name in ("color", "policy")}
            change.update_tag(tag, listed=state.row.get("listed", 1), **dress)
            return tag == before

    def put_folder(self, state: ItemState, parent: ItemId) -> tuple[ItemId, bool]:
        """Make a folder or search folder below `parent`, or dress the one that is there."""
        flags = int(state.row.get("flags", 0)) & _FLAGS_KEPT
        values = _without(decode_column(state.row.get("metadata")), *_FOLDERS_OWN)
        with self._change() as change:
            found = self._find_folder(change, state, parent)
            if found is None:
                folder = arrivals.new_folder(
                    change, parent, state.name or "", kind=state.kind, flags=flags, values=values
                )
                change.update(folder, date=state.row.get("date", change.date))
                return folder, True
            own = decode_column(found["metadata"])
            values |= {key: own[key] for key in _FOLDERS_OWN if key in own}
            change.update(found["id"], flags=flags, metadata=encode_column(values))
            return ItemId(found["id"]), False

    def put_item(self, state: ItemState, places: Places, blobs: Blobs) -> ItemId:
        """Inject one item with its older versions; returns its new id."""
        if state.kind in _NEVER_PUT or not state.row:
            raise InvalidItem(f"item {state.item_id}: a {state.kind} is not injected as an item")
        kept = state.kept_as
        with self._change() as change:
            item = change.new_id()
            revisions = [
                _revision_columns(change, item, revision, lambda old: blobs(kept.get(old, old)))
                for revision in state.side_rows.get("revision", ())
            ]
            columns = {name: state.row[name] for name in _CARRIED if name in state.row}
            columns["flags"] = columns.get("flags", 0) & _FLAGS_KEPT
            data = b""
            if state.digest is not None:
                data = b"".join(blobs(state.digest))
                columns |= change.put_blob(item, data)
            change.insert(
                state.kind,
                id=item,
                folder=places.folder,
                parent_id=_parent(state, places),
                index_id=item if "index_id" in state.row else None,
                imap_id=item if "imap_id" in state.row else None,
                uuid=str(uuid.uuid4()) if "uuid" in state.row else None,
                metadata=_moved_metadata(state, places),
                **columns,
            )
            for revision in revisions:
                change.add_revision(item, **revision)
            for row in state.side_rows.get("appointment", ()):
                times = {name: row.get(name) for name in ("uid", "start_time", "end_time")}
                change.insert_side("appointment", item_id=item, **times)
            if state.kind is ItemKind.MESSAGE:
                arrivals.join_thread(change, item, mime.describe(data))
        return item

    def read_back(self, items: Iterable[ItemId]) -> Mapping[ItemId, ItemState]:
        """Return each of these items as it is there now; those that are not there are left out."""
        source = self._sandbox.source()
        found = source.states(self._sandbox.mailbox(self._account), items)
        return {item: state for item, state in found if isinstance(state, ItemState)}

    @contextmanager
    def _change(self) -> Iterator[Change]:
        now_ms = to_ms(self._clock())
        with self._sandbox.change(self._account, now_ms=now_ms, enforce_quota=False) as change:
            yield change

    def _find_folder(
        self, change: Change, state: ItemState, parent: ItemId
    ) -> dict[str, Any] | None:
        """Return the row of the folder that is there: a system folder's, else that of its name."""
        name = state.name or ""
        found = change.rows("id = ? AND id < ? AND name = ?", state.item_id, FIRST_USER_ID, name)
        found = found or change.rows("folder_id = ? AND name = ?", parent, name)
        if found and codes.KIND_OF_TYPE.get(found[0]["type"]) is not state.kind:
            raise InvalidItem(f"item {state.item_id}: something else is called {name!r} there")
        return found[0] if found else None


def _revision_columns(
    change: Change, item: ItemId, revision: Mapping[str, Any], blobs: Blobs
) -> dict[str, Any]:
    """Return an older version's row under a number of its own, with its blob if it has one."""
    number = change.spare_number()
    columns = {name: revision.get(name) for name in _REVISION_CARRIED}
    columns |= {"mod_metadata": number, "change_date": change.date, "mod_content": number}
    if "blob_digest" in revision:
        data = b"".join(blobs(Digest(revision["blob_digest"])))
        columns |= change.put_blob(item, data, mod_content=number)
    return columns


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
    values = _without(decode_column(state.row.get("metadata")), "mdver", *_GRANTS)
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
    return _without(draft, "do") | ({"do": str(moved)} if moved else {})


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


def _without(values: Mapping[str, Value], *keys: str) -> dict[str, Value]:
    return {key: value for key, value in values.items() if key not in keys}
