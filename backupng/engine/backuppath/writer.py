"""class Writer: the one way to add to a Backup Path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Generic

from backupng.engine.backuppath import histories, layout, metadata, provisioning, values
from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.histories import Parse, State
from backupng.engine.errors import InvalidItem, ItemError
from backupng.engine.model import (
    AccountId,
    Digest,
    EntryKind,
    EntryState,
    ItemId,
    ItemState,
    MailboxState,
)

NO_ITEM = ItemId(0)
"""Stands in `Writer.refused` for what is no item: a mailbox as a whole, a directory entry."""


@dataclass(slots=True)
class _Group:
    """What waits for the next commit."""

    blobs: dict[Digest, PurePosixPath] = field(default_factory=dict)
    items: dict[AccountId, dict[ItemId, list[ItemState]]] = field(default_factory=dict)
    entries: dict[tuple[EntryKind, str], list[EntryState]] = field(default_factory=dict)
    mailboxes: dict[AccountId, MailboxState] = field(default_factory=dict)


class Writer:
    """Adds blobs and states in groups: stage, sync, rename, append, sync (`FORMAT.md` §6).

    What was added is in the tree, whole and durable, when `commit` returns, and not before.
    """

    def __init__(self, tree: Tree, *, server_id: str, role: str, packer: Packer) -> None:
        self._tree = tree
        self._server_id = server_id
        self._role = role
        self._packer = packer
        self._group = _Group()
        self.refused: list[tuple[AccountId, ItemId, ItemError]] = []
        """States that could not be kept, with why, for the Report; who takes them, clears it."""

    def has_blob(self, digest: Digest) -> bool:
        """Say whether the blob is already kept or waits in this group; refreshes its age."""
        if digest in self._group.blobs:
            return True
        return layout.is_digest(digest) and self._tree.touch(layout.blob_file(digest))

    def add_blob(self, plain: Iterable[bytes]) -> tuple[Digest, int, int]:
        """Keep plain bytes once; return digest, plain length and bytes newly written (0: known)."""
        with self._tree.stage(self._role) as file:
            digest, length = self._packer.pack(plain, file.write)
        if self.has_blob(digest):
            self._tree.discard(file.path)
            return digest, length, 0
        self._group.blobs[digest] = file.path
        return digest, length, file.length

    def add_states(self, account: AccountId, states: Iterable[ItemState]) -> None:
        """Queue item states; per item in ascending change number."""
        items = self._group.items.setdefault(account, {})
        for state in states:
            items.setdefault(state.item_id, []).append(state)

    def add_entry(self, state: EntryState) -> None:
        """Queue a directory entry's state."""
        key = (state.entry.kind, state.entry.entry_id)
        self._group.entries.setdefault(key, []).append(state)

    def add_mailbox(self, state: MailboxState) -> None:
        """Queue what a scan found in a mailbox as a whole; written after all its items."""
        self._group.mailboxes[state.mailbox.account_id] = state

    def commit(self) -> int:
        """Write the group durably; return how many item states were news.

        A state is news if its change number is greater than that of the last line, or equal and it
        only adds the database row. What its history refuses goes to `refused`. Raises
        BackupPathUnwritable; then nothing of the group counts.
        """
        group, self._group = self._group, _Group()
        try:
            return self._write(group)
        except BaseException:
            self._tree.undo()
            for staged in group.blobs.values():
                self._tree.discard(staged)
            raise

    def set_checkpoint(self, said: Mapping[str, Any]) -> None:
        """Replace the server's checkpoint, durably; comes after the commit it speaks of."""
        path = layout.checkpoint_file(self._server_id)
        self._tree.replace(path, provisioning.spell_checkpoint(said), role=self._role)

    def set_scanner(self, said: Mapping[str, Any]) -> None:
        """Replace what the Real-Time Scanner says of itself, after the commit it speaks of."""
        path = layout.scanner_file(self._server_id)
        self._tree.replace(path, provisioning.spell_checkpoint(said), role=self._role)

    def _write(self, group: _Group) -> int:
        if group.blobs:
            self._tree.sync()
        for digest, staged in group.blobs.items():
            self._tree.publish(staged, layout.blob_file(digest))
        news = 0
        for account in sorted(group.items):
            with self._tree.locked(layout.account_folder(account)):
                for item, states in group.items[account].items():
                    news += self._append_item(account, item, states)
        for (kind, entry_id), found in group.entries.items():
            self._append_entry(kind, entry_id, found)
        for account in sorted(group.mailboxes):
            self._append_mailbox(account, group.mailboxes[account])
        self._tree.sync()
        return news

    def _append_item(self, account: AccountId, item: ItemId, states: Sequence[ItemState]) -> int:
        path, news = layout.item_file(account, item), 0
        with self._refusing(account, item):
            history = _Growing(self._tree, path, partial(metadata.parse_state, item))
            for state in states:
                if _is_news(history.last, state):
                    with self._refusing(account, item):
                        self._add(history, metadata.spell_state(state, history.next_number))
                        news += 1
            history.append()
        return news

    def _append_entry(self, kind: EntryKind, entry_id: str, states: Sequence[EntryState]) -> None:
        path = layout.entry_file(kind, entry_id)
        parse = partial(provisioning.parse_entry, kind, entry_id)
        with self._tree.locked(layout.lock_folder(path)), self._refusing(entry_id):
            history = _Growing(self._tree, path, parse)
            for state in states:
                with self._refusing(entry_id):
                    self._add(history, provisioning.spell_entry(state, history.next_number))
            history.append()

    def _append_mailbox(self, account: AccountId, state: MailboxState) -> None:
        path = layout.mailbox_file(account)
        parse = partial(provisioning.parse_mailbox, account)
        with self._tree.locked(layout.lock_folder(path)), self._refusing(account):
            history = _Growing(self._tree, path, parse)
            self._add(history, provisioning.spell_mailbox(state, history.next_number))
            history.append()

    def _add(self, history: _Growing[Any], body: dict[str, Any]) -> None:
        """Add a body to a history, its bulk moved into a blob if it is too long."""
        data = values.dump_body(body)
        if len(data) > values.LONGEST_BODY:
            head, bulk = values.split_bulk(body)
            digest, _, _ = self.add_blob([values.dump_body(bulk)])
            if digest in self._group.blobs:
                self._tree.publish(self._group.blobs.pop(digest), layout.blob_file(digest))
            data = values.dump_body(head | {values.MORE: digest})
        history.add(data)

    @contextmanager
    def _refusing(self, account: str, item: ItemId = NO_ITEM) -> Iterator[None]:
        try:
            yield
        except ItemError as error:
            self.refused.append((AccountId(account), item, error))


class _Growing(Generic[State]):
    """One history and the lines that are about to be appended to it; the caller holds its lock.

    Raises ItemError when it is damaged, or for a line that its readers would not take.
    """

    def __init__(self, tree: Tree, path: PurePosixPath, parse: Parse[State]) -> None:
        self._tree = tree
        self._path = path
        self._parse: Parse[State] = parse
        self._lines = histories.intact_lines(tree, path)
        self._length, self._digits = self._lines.good, self._lines.digits
        self._bodies = list(self._lines.bodies)
        self._new: list[bytes] = []
        self.last: State | None = self._read(self._bodies[-1:], first=len(self._bodies))

    @property
    def next_number(self) -> int:
        """The number of the line that comes next."""
        return len(self._bodies) + 1

    def add(self, body: bytes) -> None:
        """Add a line, read back as all readers will read it."""
        line, digits = metadata.seal(self._digits, body)
        if self._length + len(line) > values.LONGEST_FILE:
            raise InvalidItem(f"{self._tree.root / self._path} has reached its largest length.")
        # Bulk counts for the whole history, so that one is read as a whole.
        earlier: list[bytes] = self._bodies if b'"more":' in body else []
        self.last = self._read([*earlier, body], first=self.next_number - len(earlier))
        self._bodies.append(body)
        self._new.append(line)
        self._length, self._digits = self._length + len(line), digits

    def append(self) -> None:
        """Append the lines to the file, all with one write."""
        if self._new:
            self._tree.append(self._path, b"".join(self._new), cut_to=self._lines.good)
        elif self._bodies:
            # Another writer's lines, perhaps not synced yet, are why ours are none.
            self._tree.rely_on(self._path)

    def _read(self, bodies: list[bytes], *, first: int) -> State | None:
        states = list(histories.states_of(self._tree, bodies, self._parse, first=first))
        return states[-1] if states else None


def _is_news(last: ItemState | None, state: ItemState) -> bool:
    if last is not None and last.deleted and state.deleted:
        return False
    if last is None or state.mod > last.mod:
        return True
    return state.mod == last.mod and bool(state.row) and not (last.row or last.deleted)
