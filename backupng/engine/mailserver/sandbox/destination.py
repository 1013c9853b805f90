"""The sandbox as a server that is restored to; implements `port.Destination`.

It holds every kind of item, so a restore into it can be compared with its source to the last field.
Every item becomes a change of its own or several, as one injected over a real server's interface
would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from backupng.engine.errors import InvalidItem, NoRoom
from backupng.engine.mailserver.port import Blobs, Places
from backupng.engine.mailserver.sandbox import arrivals, edits, redo
from backupng.engine.mailserver.sandbox.beside import Others, OwnSeries
from backupng.engine.mailserver.sandbox.equality import Equality
from backupng.engine.mailserver.sandbox.injection import FLAGS_KEPT, GRANTS, Arrival, without
from backupng.engine.mailserver.sandbox.provisioning import SandboxProvisioning
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.sandbox.shares import SandboxShares
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.mailserver.zimbra.grants import is_alike, target_of
from backupng.engine.mailserver.zimbra.metadata import as_int, decode_column, encode_column
from backupng.engine.model import (
    DirectoryEntry,
    ItemId,
    ItemKind,
    ItemState,
    Mailbox,
    to_ms,
)

_NEVER_PUT: Final = frozenset(
    {ItemKind.FOLDER, ItemKind.SEARCH, ItemKind.TAG, ItemKind.CONVERSATION, ItemKind.MOUNTPOINT}
)
_FOLDERS_OWN: Final = ("sz", "unxt", "mseq", "i4l", "i4r", "i4d", "i4du", "a", "mdver", *GRANTS)
"""Metadata that a folder has where it is: counters, what the server lets it be, grants."""
LARGEST: Final = 64 << 20
"""Bytes of the largest item that is taken: what a sandbox logs and stores, it holds in memory."""
_TAG_TYPE: Final = codes.TYPE_OF_KIND[ItemKind.TAG]


class SandboxDestination(SandboxProvisioning):
    """Provisions a sandbox and opens its mailboxes for injection."""

    holds = frozenset(ItemKind)

    @contextmanager
    def open(self, account: DirectoryEntry) -> Iterator[SandboxInjection]:
        """Open the account's mailbox for injection; its quota does not count meanwhile."""
        yield SandboxInjection(self._sandbox, account, self._clock)

    def shares(self, account: DirectoryEntry) -> SandboxShares:
        """Return what changes grants and mountpoints in the account's mailbox."""
        return SandboxShares(MailboxSeries(self._sandbox, account, lambda: to_ms(self._clock())))


class SandboxInjection:
    """One sandbox mailbox during a restore; implements `port.MailboxWriter`."""

    def __init__(
        self, sandbox: Sandbox, account: DirectoryEntry, clock: Callable[[], datetime]
    ) -> None:
        self._sandbox = sandbox
        self._account = account
        self._clock = clock
        series = MailboxSeries(sandbox, account, self._now_ms, enforce_quota=False)
        self._series = OwnSeries(series)
        self._others: Others | None = None

    longest_line: Final = None

    def find_tag(self, name: str) -> ItemId | None:
        """Return the tag of that name; None if there is none."""
        table = self._sandbox.database.table(f"mboxgroup{self._mailbox.group_id}", "tag")
        row = self._sandbox.database.one(
            f"SELECT id FROM {table} WHERE mailbox_id = ? AND id > 0 AND name = ?",
            self._mailbox.mailbox_id,
            codes.three_bytes(name.strip()),
        )
        return None if row is None else ItemId(row["id"])

    def find_folder(self, state: ItemState, parent: ItemId) -> ItemId | None:
        """Return what `put_folder` would reuse, system folders too. Raises InvalidItem as it."""
        table = self._sandbox.database.table(f"mboxgroup{self._mailbox.group_id}", "mail_item")
        row = self._sandbox.database.one(
            f"SELECT id, type FROM {table} WHERE mailbox_id = ? AND folder_id = ? AND name = ?",
            self._mailbox.mailbox_id,
            parent,
            codes.three_bytes(state.name or "").rstrip(" "),
        )
        if row is None:
            return None
        found = ItemId(row["id"])
        if codes.KIND_OF_TYPE.get(row["type"]) is not state.kind:
            raise _taken(state)
        if state.kind is not ItemKind.FOLDER:
            there = self.read_back([found]).get(found)
            if there is None or not is_alike(state, there):
                raise _taken(state)
        return found

    def put_tag(self, state: ItemState, *, keep: bool = False) -> tuple[ItemId, bool]:
        """Make a tag; an existing one of that name takes the colour unless it is to keep it."""
        if keep and (known := self.find_tag(state.name or "")) is not None:
            return known, False
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
            return ItemId(tag), tag == before

    def put_folder(
        self, state: ItemState, parent: ItemId, *, keep: bool = False
    ) -> tuple[ItemId, bool]:
        """Make a folder, search folder or mountpoint, or dress the one that is there."""
        if state.kind is ItemKind.MOUNTPOINT:
            target_of(state)
        known = self.find_folder(state, parent)
        if keep and known is not None:
            return known, False
        flags = int(state.row.get("flags", 0)) & FLAGS_KEPT
        values = without(decode_column(state.row.get("metadata")), *_FOLDERS_OWN)
        date = state.row.get("date")
        if known is None:
            with self._series.change() as change:
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
        with self._series.change() as change:
            found = change.row(known)
            own = decode_column(found["metadata"])
            values |= {key: own[key] for key in _FOLDERS_OWN if key in own}
            change.update(known, metadata=encode_column(values))
            color = as_int(values.get("c", 0))
            change.log("ColorItem", color=color, **redo.items([known], found["type"]))
        if flags != found["flags"]:
            with self._series.change() as change:
                edits.set_marks(change, known, flags=flags, tags=None)
        return known, False

    def put_item(
        self, state: ItemState, places: Places, blobs: Blobs, *, begun: ItemId | None = None
    ) -> ItemId:
        """Inject one item with its older versions, or finish one; returns its id."""
        if state.kind in _NEVER_PUT or not state.row:
            raise InvalidItem(f"item {state.item_id}: a {state.kind} is not injected as an item")
        if (state.size or 0) > LARGEST:
            raise NoRoom(f"item {state.item_id} has {state.size} bytes: a sandbox takes {LARGEST}")
        arrival = Arrival(self._series, state, places, blobs)
        if begun is None:
            return arrival.inject()
        if (found := self.read_back([begun]).get(begun)) is None:
            raise InvalidItem(f"item {state.item_id}: what was begun of it is gone")
        arrival.finish(found)
        return begun

    def equal(
        self, wanted: Sequence[tuple[ItemState, ItemId | None]]
    ) -> Mapping[ItemId, Sequence[ItemId]]:
        """Find what is there already, for each state by its id."""
        return Equality(self._sandbox.database, self._mailbox).find(wanted)

    def living(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these ids exist as an item, folder or tag."""
        return self._sandbox.source().living(self._mailbox, items)

    def read_back(self, items: Iterable[ItemId]) -> Mapping[ItemId, ItemState]:
        """Return each of these items as it is there now; those that are not there are left out."""
        found = self._sandbox.source().states(self._mailbox, items)
        return {item: state for item, state in found if isinstance(state, ItemState)}

    def is_own(self, change: int) -> bool:
        """Say whether this writer made the change of that number."""
        return self._series.made(change)

    def deleted(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these the redo log says others have deleted since the first put."""
        others = self._read_on()
        return others.deleted.intersection(items) if others else set()

    def changed(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Return which of these the redo log says others have changed since the first put."""
        others = self._read_on()
        return others.changed.intersection(items) if others else set()

    def _read_on(self) -> Others | None:
        begin = self._series.begin
        if self._others is None and begin is not None:
            files, mailbox = self._sandbox.redo_log, self._mailbox.mailbox_id
            self._others = Others(files, mailbox, self._series, begin.sequence, begin.offset)
        if self._others is not None:
            self._others.read_on()
        return self._others

    @property
    def _mailbox(self) -> Mailbox:
        return self._sandbox.mailbox(self._account)

    def _now_ms(self) -> int:
        return to_ms(self._clock())


def _taken(state: ItemState) -> InvalidItem:
    message = f"item {state.item_id}: something else is called {state.name!r} there"
    return InvalidItem(message, code="already_exists")
