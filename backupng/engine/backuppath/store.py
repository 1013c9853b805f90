"""class BackupPath: one tree on disk; its Writer is the one way to add to it."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from backupng.engine.backuppath import gate, histories, layout, metadata, provisioning, values
from backupng.engine.backuppath.blobs import BlobCodec, Packer, codec_of
from backupng.engine.backuppath.clock import Seen
from backupng.engine.backuppath.disk import Kind, Room, reading
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.recovery import Recovered, Recovery
from backupng.engine.backuppath.telling import Listener
from backupng.engine.backuppath.writer import Writer
from backupng.engine.errors import (
    BackupPathBusy,
    BackupPathUnwritable,
    BadRequest,
    NotABackupPath,
    ReadError,
    UnsupportedFormat,
)
from backupng.engine.model import (
    AccountId,
    Digest,
    EntryKind,
    EntryState,
    ItemId,
    ItemState,
    MailboxState,
)

__all__ = ["BackupPath", "BlobFile", "Owner", "Writer"]

_SMALL_FILE = 64 << 10
_OF_A_NEW_FILE_SYSTEM = "lost+found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose tree it is to be; `tree_id` if it is known which tree was there before.

    `host` is the identity of the host that may write there; empty: whichever.
    """

    server_id: str
    server_name: str
    tree_id: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class BlobFile:
    """Where a blob lies and how it is compressed."""

    path: Path
    codec: BlobCodec


class BackupPath:
    """A Backup Path opened for reading; `writer` adds to it."""

    def __init__(self, tree: Tree, form: provisioning.Format) -> None:
        self.tree = tree
        self.form = form
        self.listener: Listener | None = None
        """Told by writers what each group appended."""
        self.host = ""
        self.opened = form.created
        self.least_free_bytes = 0
        """With less than that nothing more is stored."""
        self.recovered: Recovered | None = None
        """What a power loss had left, once a writer has put it right."""
        self.tell: Callable[[str], None] = lambda _line: None
        """Told in one sentence what was recovered."""

    @classmethod
    def open(cls, root: Path, *, is_unfinished: bool = False) -> BackupPath:
        """Open the tree at `root`; `format` is read before anything else.

        Raises BadRequest (path_missing, path_not_readable), NotABackupPath, UnsupportedFormat or
        BackupPathBroken. Who goes on with an export says that it `is_unfinished`.
        """
        tree = Tree(root)
        try:
            form = _read_format(tree)
            if not is_unfinished:
                provisioning.require_complete(form, root)
            return cls(tree, form)
        except BaseException:
            tree.close()
            raise

    @classmethod
    def open_or_create(cls, root: Path, owner: Owner, *, now: datetime) -> BackupPath:
        """Open the tree of this server, making it in a folder that exists and is empty.

        Raises also BackupPathBusy when the tree is another server's, NotABackupPath when the folder
        holds something else, or nothing although it held the server's tree before.
        """
        form = provisioning.Format(
            tree_id=str(uuid.uuid4()),
            server_id=owner.server_id,
            server_name=owner.server_name,
            created=now,
        )
        tree = Tree(root)
        try:
            if _is_empty(tree):
                _refuse_vanished(root, owner)
                _create(tree, form)
        finally:
            tree.close()
        path = cls.open(root)
        path.host, path.opened = owner.host, now
        try:
            _require_owner(path, owner)
        except BaseException:
            path.close()
            raise
        return path

    @classmethod
    def check_writable(cls, root: Path, owner: Owner) -> Room:
        """Refuse what `open_or_create` and a writer would refuse, and change nothing.

        Returns what is free below it. Raises also what `Tree.require_writable` does.
        """
        tree = Tree(root)
        try:
            tree.require_writable()
            room, empty = tree.room(), _is_empty(tree)
        finally:
            tree.close()
        if empty:
            _refuse_vanished(root, owner)
            return room
        with cls.open(root) as path:
            _require_owner(path, owner)
            _require_known_features(path)
            with _as_a_whole():
                gate.require_own(path.tree, owner.host)
        return room

    def confirm_host(self) -> None:
        """Let this host write here although another one did: a person says that it does no more."""
        gate.confirm(self.tree)

    def require_in_place(self) -> None:
        """Refuse to go on in a tree that does not lie at its root any more.

        What is written there would be found by nobody. Raises NotABackupPath.
        """
        self.tree.require_in_place()

    def close(self) -> None:
        """Close the tree."""
        self.tree.close()

    def __enter__(self) -> BackupPath:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def accounts(self) -> list[AccountId]:
        """List the accounts that the tree has a folder of, sorted by id."""
        with _as_a_whole():
            found = self.tree.entries(layout.ACCOUNTS)
        known = (layout.account_of(name, is_file=kind is Kind.FILE) for name, kind in found)
        return [account for account in known if account is not None]

    def items(self, account: AccountId) -> Iterator[ItemId]:
        """Yield the ids of all items the account ever had in the backup.

        Raises ReadError, after all that can be listed, for what cannot.
        """
        folder, lost = layout.items_folder(account), None
        for bucket in filter(layout.is_item_bucket, self.tree.names(folder)):
            try:
                names = self.tree.names(folder / bucket)
            except ReadError as error:
                names, lost = [], error
            yield from filter(None, (layout.item_of(bucket, name) for name in names))
        if lost is not None:
            raise lost

    def history(self, account: AccountId, item: ItemId) -> tuple[ItemState, ...]:
        """Return an item's states, oldest first; empty for an item unknown here.

        Raises ReadError or BrokenItem when the file cannot be read or is damaged; a torn last line,
        as a kill leaves it, is no damage.
        """
        parse = partial(metadata.parse_state, item)
        return histories.read_states(self.tree, layout.item_file(account, item), parse)

    def last_state(self, account: AccountId, item: ItemId) -> ItemState | None:
        """Return the item's newest state, or None."""
        history = self.history(account, item)
        return history[-1] if history else None

    def stamp(self, account: AccountId) -> int:
        """Return the stamp of an account's folder (`telling`), 0 if there is none."""
        return self.tree.stamp(layout.account_folder(account))

    def entry_ids(self, kind: EntryKind) -> list[str]:
        """List the ids of all entries of a kind, sorted."""
        if kind is EntryKind.ACCOUNT:
            return list(self.accounts())
        with _as_a_whole():
            found = [layout.id_of(name) for name in self.tree.names(layout.ENTRY_FOLDERS[kind])]
        return [entry_id for entry_id in found if entry_id is not None]

    def entry_history(self, kind: EntryKind, entry_id: str) -> tuple[EntryState, ...]:
        """Return a directory entry's states, oldest first. Raises as `history` does."""
        parse = partial(provisioning.parse_entry, kind, entry_id)
        return histories.read_states(self.tree, layout.entry_file(kind, entry_id), parse)

    def mailbox_history(self, account: AccountId) -> tuple[MailboxState, ...]:
        """Return what scans found in the mailbox as a whole, oldest first."""
        parse = partial(provisioning.parse_mailbox, account)
        return histories.read_states(self.tree, layout.mailbox_file(account), parse)

    def blob(self, digest: Digest, *, size: int | None = None) -> Iterator[bytes]:
        """Yield a blob's plain bytes, verified, see `histories.read_blob`. Raises ReadError."""
        return histories.read_blob(self.tree, digest, size)

    def find_blob(self, digest: Digest) -> BlobFile | None:
        """Return where a blob lies and its codec, None if it is not there."""
        if not layout.is_digest(digest):
            return None
        path = layout.blob_file(digest)
        file = self.tree.open(path)
        if file is None:
            return None
        with file, reading(self.tree.root, path):
            return BlobFile(self.tree.root / path, codec_of(file, digest))

    def measure_blobs(self) -> tuple[int, int]:
        """Return how many blobs the tree holds, and how many bytes their files have."""
        count = length = 0
        with _as_a_whole():
            for bucket in filter(layout.is_blob_bucket, self.tree.names(layout.BLOBS)):
                for name in filter(layout.is_digest, self.tree.names(layout.BLOBS / bucket)):
                    mark = self.tree.mark(layout.BLOBS / bucket / name)
                    count, length = count + bool(mark), length + (mark[2] if mark else 0)
        return count, length

    def checkpoint(self) -> Mapping[str, Any]:
        """Return what the server's checkpoint says; empty before the first scan has ended."""
        return self._said(
            layout.checkpoint_file(self.form.server_id), limit=values.LONGEST_CHECKPOINT
        )

    def scanner(self) -> Mapping[str, Any]:
        """Return what the Real-Time Scanner says of itself; empty before it first ran."""
        return self._said(layout.scanner_file(self.form.server_id), limit=values.LONGEST_SCANNER)

    def scanner_mark(self) -> tuple[int, ...]:
        """Return what differs once the scanner has said something else of itself."""
        return self.tree.mark(layout.scanner_file(self.form.server_id))

    def is_writing(self, role: str) -> bool:
        """Say whether a writer of that role is at work now: its lock tells, which dies with it."""
        return self.tree.count_pulses(role) > 0

    def has_writers(self) -> bool:
        """Say whether anybody writes to the tree now, under whatever role; True if in doubt."""
        if not (self.tree.mark(layout.LOCK) and self.tree.mark(layout.STAGING)):
            return False
        try:
            # As every writer does at its start: none of them meets this look and gives up.
            with self.tree.locked(layout.STAGING), self.repairing():
                return False
        except (BackupPathBusy, BackupPathUnwritable):
            return True

    @contextmanager
    def repairing(self) -> Iterator[None]:
        """Keep every writer out. Raises BackupPathBusy at once if there is one."""
        with self.tree.locked(layout.LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield

    def _said(self, path: Place, *, limit: int) -> Mapping[str, Any]:
        with _as_a_whole():
            data = self.tree.read(path, limit=limit)
        where = str(self.tree.root / path)
        if data is None:
            return {}
        return provisioning.parse_checkpoint(data, where=where, longest=limit)

    # Writing

    @contextmanager
    def writer(self, role: str, *, packer: Packer | None = None) -> Iterator[Writer]:
        """Open the tree for writing under `role`, the name of its folder below `.staging`.

        Raises BackupPathBusy while the tree is repaired or migrated, and at the end the first error
        that is left in `Writer.refused`: what nobody has taken note of does not pass silently.
        """
        _require_known_features(self)
        with gate.passed(self.tree, self.host, self._recover), self.tree.staging(role) as pulse:
            if _read_format(self.tree) != self.form:
                raise BackupPathBusy(
                    f"{self.tree.root} was migrated or replaced a moment ago.", hint="Run it again."
                )
            packer, server_id = packer or Packer(), self.form.server_id
            writer = Writer(self.tree, pulse, server_id=server_id, role=role, packer=packer)
            writer.listener = self.listener
            writer.space.least_free_bytes = self.least_free_bytes
            writer.clock = Seen.of(self)
            yield writer
        for _, _, error in writer.refused:
            raise error

    def _recover(self, past: gate.Past) -> None:
        self.recovered = Recovery(self, past, now=self.opened).run()
        if past is gate.Past.POWER_LOSS or self.recovered.cut:
            self.tell(str(self.recovered))


def _require_owner(path: BackupPath, owner: Owner) -> None:
    if path.form.server_id != owner.server_id:
        raise BackupPathBusy(
            f"{path.tree.root} is the Backup Path of the server {path.form.server_name}.",
            hint="Give this server a folder of its own: setProperty ZxBackup_DestPath.",
        )


def _require_known_features(path: BackupPath) -> None:
    if path.form.read_only:
        raise UnsupportedFormat(
            f"{path.tree.root} uses a newer format that this version can only read.",
            hint="Use a newer version of Backup NG.",
        )


def _refuse_vanished(root: Path, owner: Owner) -> None:
    """An empty folder where the backup was is a disk that is not mounted, not a new beginning."""
    if owner.tree_id:
        raise NotABackupPath(
            f"{root} is empty, but it held the backup of {owner.server_name}.",
            hint="Mount its disk. To begin anew on purpose: setProperty ZxBackup_DestPath.",
        )


def _create(tree: Tree, form: provisioning.Format) -> None:
    with tree.locked_alone(), tree.staging("create"):
        # Somebody else may have been first.
        if _is_empty(tree):
            tree.replace(layout.FORMAT, provisioning.spell_format(form), role="create")


def _is_empty(tree: Tree) -> bool:
    # A creator killed before `format` leaves only names with a dot behind.
    with _as_a_whole():
        names = set(tree.names(Place())) - {_OF_A_NEW_FILE_SYSTEM}
        return all(name.startswith(".") for name in names)


def _read_format(tree: Tree) -> provisioning.Format:
    data = _read_small(tree, layout.FORMAT)
    if data is None and _is_empty(tree):
        raise NotABackupPath(
            f"No SmartScan has ever ended on {tree.root}: it is empty.",
            code="not_initialized",
            hint="Run one: backupng backup doSmartScan",
        )
    if data is None:
        raise NotABackupPath(
            f"{tree.root} is no Backup Path: it holds no file `format`.",
            hint="A first SmartScan makes one in an empty folder.",
        )
    return provisioning.parse_format(data, where=str(tree.root / layout.FORMAT))


def _read_small(tree: Tree, path: Place) -> bytes | None:
    with _as_a_whole():
        return tree.read(path, limit=_SMALL_FILE)


@contextmanager
def _as_a_whole() -> Iterator[None]:
    """End the operation where the tree as a whole cannot be read."""
    try:
        yield
    except ReadError as error:
        raise BadRequest(str(error), code="path_not_readable") from error
