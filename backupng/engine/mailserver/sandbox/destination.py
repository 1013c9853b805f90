"""The sandbox as a server that is restored to; implements `port.Destination`.

It holds every kind of item, so a restore into it can be compared with its source to the last field.
Every item becomes a change of its own or several, as one injected over a real server's interface
would.
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
from backupng.engine.mailserver.sandbox import arrivals, edits, redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.directory import dn_of
from backupng.engine.mailserver.sandbox.injection import FLAGS_KEPT, GRANTS, Arrival, without
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.codes import FIRST_USER_ID
from backupng.engine.mailserver.zimbra.metadata import as_int, decode_column, encode_column
from backupng.engine.model import (
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
_FOLDERS_OWN: Final = ("sz", "unxt", "mseq", "i4l", "i4r", "i4d", "i4du", "a", "mdver", *GRANTS)
"""Metadata that a folder has where it is: counters, what the server lets it be, grants."""
_TAG_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.TAG]
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
        self._series = MailboxSeries(sandbox, account, self._now_ms, enforce_quota=False)

    def put_tag(self, state: ItemState) -> bool:
        """Make a tag; an existing one of that name takes the colour. False if it was there."""
        with self._series.change() as change:
            before = change.next_id
            tag = change.tag_id(state.name or "")
            dress = {name: state.row.get(name) for name in ("color", "policy")}
            change.update_tag(tag, listed=state.row.get("listed", 1), **dress)
            row = change.tag_row(tag)
            color = row["color"] or 0
            if tag == before:
                change.log("CreateTag", tagId=tag, name=row["name"], color=color)
            else:
                change.log("ColorItem", color=color, **redo.items([tag], _TAG_TYPE))
            return tag == before

    def put_folder(self, state: ItemState, parent: ItemId) -> tuple[ItemId, bool]:
        """Make a folder or search folder below `parent`, or dress the one that is there."""
        flags = int(state.row.get("flags", 0)) & FLAGS_KEPT
        values = without(decode_column(state.row.get("metadata")), *_FOLDERS_OWN)
        date = state.row.get("date")
        with self._series.change() as change:
            found = self._find_folder(change, state, parent)
            if found is None:
                folder = arrivals.new_folder(
                    change,
                    parent,
                    state.name or "",
                    kind=state.kind,
                    flags=flags,
                    values=values,
                    date=change.date if date is None else date,
                )
                return folder, True
            own = decode_column(found["metadata"])
            values |= {key: own[key] for key in _FOLDERS_OWN if key in own}
            change.update(found["id"], metadata=encode_column(values))
            color = as_int(values.get("c", 0))
            change.log("ColorItem", color=color, **redo.items([found["id"]], found["type"]))
        if flags != found["flags"]:
            with self._series.change() as change:
                edits.set_marks(change, found["id"], flags=flags, tags=None)
        return ItemId(found["id"]), False

    def put_item(self, state: ItemState, places: Places, blobs: Blobs) -> ItemId:
        """Inject one item with its older versions; returns its new id."""
        if state.kind in _NEVER_PUT or not state.row:
            raise InvalidItem(f"item {state.item_id}: a {state.kind} is not injected as an item")
        return Arrival(self._series, state, places, blobs).inject()

    def read_back(self, items: Iterable[ItemId]) -> Mapping[ItemId, ItemState]:
        """Return each of these items as it is there now; those that are not there are left out."""
        source = self._sandbox.source()
        found = source.states(self._sandbox.mailbox(self._account), items)
        return {item: state for item, state in found if isinstance(state, ItemState)}

    def _now_ms(self) -> int:
        return to_ms(self._clock())

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
