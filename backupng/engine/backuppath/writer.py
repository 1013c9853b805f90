"""class Writer: the one way to add to a Backup Path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, TypeVar

from backupng.engine.backuppath import disk, histories, layout, metadata, provisioning, values
from backupng.engine.backuppath.blobs import Packer
from backupng.engine.backuppath.clock import Reading, Seen
from backupng.engine.backuppath.copying import copied
from backupng.engine.backuppath.ends import Ends, Growing
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.histories import State
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.sharing import Pulse
from backupng.engine.backuppath.space import Space
from backupng.engine.backuppath.telling import (
    NOTHING,
    UNKNOWN,
    Batch,
    Grown,
    ItemLine,
    Listener,
)
from backupng.engine.errors import ItemError
from backupng.engine.model import (
    AccountId,
    Digest,
    EntryKind,
    EntryState,
    ItemId,
    ItemState,
    MailboxState,
    to_ms,
)

Made = TypeVar("Made")

NO_ITEM = ItemId(0)
"""Stands in `Writer.refused` for what is no item: a mailbox as a whole, a directory entry."""


@dataclass(slots=True)
class _Group:
    """What waits for the next commit."""

    blobs: dict[Digest, Place] = field(default_factory=dict)
    items: dict[AccountId, dict[ItemId, list[ItemState]]] = field(default_factory=dict)
    entries: dict[tuple[EntryKind, str], list[EntryState]] = field(default_factory=dict)
    mailboxes: dict[AccountId, MailboxState] = field(default_factory=dict)
    length: int = 0
    """Bytes of its blobs as they lie on the disk."""
    relied_on: set[Digest] = field(default_factory=set)
    """Blobs that were there already, and got a new time."""
    missing: set[Digest] = field(default_factory=set)
    """Blobs that were looked for, were not there, and are not the group's yet."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.blobs or self.items or self.entries or self.mailboxes)

    def names(self, digest: Digest) -> bool:
        """Say whether a blob is the group's, or got its new time for it."""
        return digest in self.relied_on or digest in self.blobs


class Writer:
    """Adds blobs and states in groups: stage, sync, rename, append, sync (`FORMAT.md` §6).

    What was added is in the tree, whole and durable, when `commit` returns, and not before.
    """

    def __init__(
        self, tree: Tree, pulse: Pulse, *, server_id: str, role: str, packer: Packer
    ) -> None:
        self._tree = tree
        self._server_id = server_id
        self._role = role
        self._packer = packer
        self._group = _Group()
        self._written = self._group
        self.pulse = pulse
        """Tells purges up to when this writer has written all that it began (`sharing`)."""
        self._ends = Ends(tree, began_ns=pulse.began_ns)
        self._met: set[AccountId] = set()
        self._followed: dict[AccountId, int] = {}
        """Stamps of accounts to which nobody else has written since they were followed."""
        self._batches: list[Batch] = []
        self.listener: Listener | None = None
        """Told what each group appended, after its last sync."""
        self.space = Space(tree, role)
        self.clock = Seen()
        self._distrusted: set[Digest] = set()
        self.refused: list[tuple[AccountId, ItemId, ItemError]] = []
        """States that could not be kept, with why, for the Report; who takes them, clears it."""

    def follow(self, account: AccountId) -> None:
        """Notice from now on whether anybody else writes to an account, until its scan ends."""
        self._followed[account] = self._tree.stamp(layout.account_folder(account)) or NOTHING

    def last_state(self, account: AccountId, item: ItemId) -> ItemState | None:
        """Return the state of an item's last line, whoever wrote it; None for an unknown item.

        What waits in this group is left out. Raises ReadError or BrokenItem.
        """
        path = layout.item_file(account, item)
        return self._ends.of(path, partial(metadata.parse_state, item)).last

    def last_mailbox(self, account: AccountId) -> MailboxState | None:
        """Return what the last scan found in the mailbox as a whole. Raises as `last_state`."""
        parse = partial(provisioning.parse_mailbox, account)
        return self._ends.of(layout.mailbox_file(account), parse).last

    def has_blob(self, digest: Digest) -> bool:
        """Say whether the blob is already kept or waits in this group; refreshes its age."""
        if digest in self._group.blobs:
            return True
        is_there = layout.is_digest(digest) and self._tree.touch(layout.blob_file(digest))
        if is_there and digest not in self._distrusted:
            self._group.relied_on.add(digest)
            return True
        self._group.missing.add(digest)
        return False

    def distrust(self, digest: Digest) -> None:
        """Have a damaged blob count as missing; once it is kept anew, that takes its place."""
        self._distrusted.add(digest)

    def add_blob(self, plain: Iterable[bytes]) -> tuple[Digest, int, int]:
        """Keep plain bytes once; return digest, plain length and bytes newly written (0: known)."""
        with self.space, self._tree.stage(self._role) as file:
            digest, length = self._packer.pack(plain, file.write)
        if digest not in self._group.missing and self.has_blob(digest):
            self._tree.discard(file.path)
            return digest, length, 0
        self._take(digest, file)
        return digest, length, file.length

    def _take(self, digest: Digest, staged: disk.StagedFile) -> None:
        """Have a staged blob in the group."""
        self._group.blobs[digest] = staged.path
        self._group.missing.discard(digest)
        self._distrusted.discard(digest)
        self._group.length += staged.length

    def add_copy(
        self, digest: Digest, file: BinaryIO, size: int | None, pause: Callable[[], None]
    ) -> tuple[int, int]:
        """Keep the blob of a file of another tree, which is closed, as it lies there.

        Returns its length in plain bytes and that of the file. `size` is what its state tells, if
        one does. `pause` may end it between two
        pieces. Raises ReadError, or BrokenItem when it is not what its name says.
        """
        with file, self.space, self._tree.stage(self._role) as staged:

            def write(data: bytes) -> None:
                pause()
                staged.write(data)

            length = copied(file, digest, size, write)
        self._take(digest, staged)
        return length, staged.length

    def add_file(self, path: Place, make: Callable[[Callable[[bytes], object]], Made]) -> Made:
        """Keep a file of its own, durably, as `make` writes it; returns what that returned."""
        with self.space, self._tree.stage(self._role) as file:
            made = make(file.write)
            self._tree.publish(file.path, path)
            self._tree.sync()
        return made

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
        self._written = group
        self._batches = []
        try:
            with self.space:
                if not group.is_empty:
                    self.space.require()
                news = self._write(group)
        except BaseException:
            self._ends.forget()
            self._tree.undo()
            for staged in group.blobs.values():
                self._tree.discard(staged)
            raise
        self.pulse.beat()
        return news

    def set_checkpoint(self, said: Mapping[str, Any]) -> None:
        """Replace the server's checkpoint, durably; comes after the commit it speaks of."""
        path = layout.checkpoint_file(self._server_id)
        data = provisioning.spell_checkpoint(self.clock.noted(said))
        self._tree.replace(path, data, role=self._role)

    def set_scanner(self, said: Mapping[str, Any]) -> None:
        """Replace what the Real-Time Scanner says of itself, after the commit it speaks of."""
        path = layout.scanner_file(self._server_id)
        said = self.clock.noted(said)
        data = provisioning.spell_checkpoint(said, longest=values.LONGEST_SCANNER)
        self._tree.replace(path, data, role=self._role)

    def trust_clock(self, now: datetime) -> None:
        """Let the next checkpoint tell that the clock shows `now`: a person says it is right."""
        self.clock.confirm(Reading.of(to_ms(now)))

    def _write(self, group: _Group) -> int:
        if group.blobs:
            self._tree.sync()
        for digest, staged in group.blobs.items():
            self._tree.publish(staged, layout.blob_file(digest))
        news = 0
        for account in sorted(group.items):
            with self._batch(account, adds_items=True) as batch:
                for item, states in group.items[account].items():
                    news += self._append_item(batch, item, states)
        for (kind, entry_id), found in group.entries.items():
            self._append_entry(kind, entry_id, found)
        for account in sorted(group.mailboxes):
            self._append_mailbox(account, group.mailboxes[account])
        self._tree.sync()
        self.space.wrote(group.length)
        if self.listener is not None and self._batches:
            self.listener(self._batches)
        return news

    @contextmanager
    def _batch(self, account: AccountId, *, adds_items: bool = False) -> Iterator[Batch]:
        """Hold an account's lock, and note what is appended meanwhile.

        `mailbox` has the stamp as its own time as long as it stands for all items there are: from
        the end of a scan beside which nobody else wrote (`follow`) until items are added.
        """
        folder, mailbox = layout.account_folder(account), layout.mailbox_file(account)
        with self._tree.locked(folder) as descriptor:
            stamp, after = self._tree.stamped
            before = stamp
            if account not in self._met:
                self._met.add(account)
                before = before if self._tree.names(folder) else NOTHING
            is_followed = self._followed.pop(account, None) in (stamp, before)
            stands = not adds_items and self._tree.stamp(mailbox) == stamp
            batch = Batch(account, before, NOTHING if before < after else UNKNOWN)
            yield batch
            if batch.after != UNKNOWN:
                # Names that were made in the folder have changed its time once more.
                batch.after = disk.stamp_of(descriptor)
            stands |= is_followed and bool(batch.mailboxes)
            if stands or batch.mailboxes:
                # What was just written may bear the folder's time by chance.
                disk.date_as_folder(descriptor, mailbox.name, is_equal=stands)
            elif is_followed and batch.after != UNKNOWN:
                self._followed[account] = batch.after
        self._batches.append(batch)

    def _append_item(self, batch: Batch, item: ItemId, states: Sequence[ItemState]) -> int:
        account = batch.account
        path = layout.item_file(account, item)
        lines: list[ItemLine] = []
        try:
            history = Growing(self._tree, self._ends, path, partial(metadata.parse_state, item))
            for state in states:
                if _is_news(history.last, state):
                    try:
                        lines.append(self._item_line(history, state))
                    except ItemError as error:
                        self.refused.append((account, item, error))
            mark = history.append()
        except ItemError as error:
            self.refused.append((account, item, error))
            return 0
        if lines:
            batch.items.append(Grown(item, mark, lines))
        return len(lines)

    def _item_line(self, history: Growing[ItemState], state: ItemState) -> ItemLine:
        number = history.next_number
        self._rely_on_blobs(history.last, state)
        last, bulk = self._add(history, metadata.spell_state(state, number))
        return ItemLine(number, last, bulk)

    def _rely_on_blobs(self, last: ItemState | None, state: ItemState) -> None:
        """Give the blobs a new time that a state names, and that its item did not name before.

        A copy, or an item that is back, names those of another history, which a purge may be about
        to remove.
        """
        named = histories.digests_of(state)
        if last is not None and not last.deleted:
            named -= histories.digests_of(last)
        for digest in named:
            if not self._written.names(digest) and not self._tree.touch(layout.blob_file(digest)):
                # It was there when the state was made.
                self._tree.rescue(layout.blob_file(digest))

    def _append_entry(self, kind: EntryKind, entry_id: str, states: Sequence[EntryState]) -> None:
        path = layout.entry_file(kind, entry_id)
        parse = partial(provisioning.parse_entry, kind, entry_id)
        if kind is EntryKind.ACCOUNT:
            locked: AbstractContextManager[Batch | int] = self._batch(AccountId(entry_id))
        else:
            locked = self._tree.locked(layout.lock_folder(path))
        with locked as batch, self._refusing(entry_id):
            history = Growing(self._tree, self._ends, path, parse)
            lines: list[tuple[int, EntryState]] = []
            for state in states:
                with self._refusing(entry_id):
                    number = history.next_number
                    last, _ = self._add(history, provisioning.spell_entry(state, number))
                    lines.append((number, last))
            history.append()
            if isinstance(batch, Batch):
                batch.entries += lines

    def _append_mailbox(self, account: AccountId, state: MailboxState) -> None:
        path = layout.mailbox_file(account)
        parse = partial(provisioning.parse_mailbox, account)
        with self._batch(account) as batch, self._refusing(account):
            history = Growing(self._tree, self._ends, path, parse)
            lines: list[tuple[int, MailboxState]] = []
            if not _is_begun(history.last, state):
                number = history.next_number
                last, _ = self._add(history, provisioning.spell_mailbox(state, number))
                lines.append((number, last))
            history.append()
            batch.mailboxes += lines

    def _add(self, history: Growing[State], body: dict[str, Any]) -> tuple[State, Digest | None]:
        """Add a body to a history; return its state, and the blob of its bulk if it is too long."""
        data = values.dump_body(body)
        digest: Digest | None = None
        if len(data) > values.LONGEST_BODY:
            head, bulk = values.split_bulk(body)
            digest, _, _ = self.add_blob([values.dump_body(bulk)])
            if digest in self._group.blobs:
                self._tree.publish(self._group.blobs.pop(digest), layout.blob_file(digest))
            body = head | {values.MORE: digest}
            data = values.dump_body(body)
        return history.add(data, body), digest

    @contextmanager
    def _refusing(self, account: str, item: ItemId = NO_ITEM) -> Iterator[None]:
        try:
            yield
        except ItemError as error:
            self.refused.append((AccountId(account), item, error))


def _is_begun(last: MailboxState | None, state: MailboxState) -> bool:
    """Say whether another writer has just begun the era that this state begins."""
    if last is None or state.mark or last.mark:
        return False
    return last.mailbox.mailbox_id == state.mailbox.mailbox_id


def _is_news(last: ItemState | None, state: ItemState) -> bool:
    if last is not None and last.deleted and state.deleted:
        return False
    if last is None or state.mod > last.mod:
        return True
    return state.mod == last.mod and bool(state.row) and not (last.row or last.deleted)
