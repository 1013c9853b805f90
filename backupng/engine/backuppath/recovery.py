"""What a power loss left in a tree: put right before anybody writes there again.

A group is durable only at its end. What the disk has of one that never ended may be torn, filled
with NULs, or lack the blobs it names: that is cut off, and the next scan writes it again. Every
step can be interrupted, and finds nothing to do where it was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from backupng.engine.backuppath import disk, histories, layout, metadata, values
from backupng.engine.backuppath.disk import Kind
from backupng.engine.backuppath.gate import Past
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.pending import Frontier, is_line_pending
from backupng.engine.backuppath.uncertain import (
    EVERY_ACCOUNT,
    NOTHING_KNOWN,
    REASON_SCANNER,
    make_uncertain,
    spell_uncertain,
)
from backupng.engine.errors import BackupPathBroken, BrokenItem, ReadError
from backupng.engine.model import AccountId, Digest, ItemId, to_ms

if TYPE_CHECKING:
    from backupng.engine.backuppath.store import BackupPath

_ROLE: Final = "recovery"
_MARGIN_MS: Final = 3_600_000
"""A file counts as younger than the checkpoint from an hour before it on."""
_NS: Final = 1_000_000
_ACCOUNTS: Final = layout.ACCOUNTS.name
_PARTS_OF_ITEM: Final = 5
_REASON: Final = "the host stopped without a clean end, and unfinished states were cut off"


@dataclass(slots=True)
class Recovered:
    """What a recovery did: histories and blobs looked at, what was cut or put aside.

    `unreadable` are files that the disk does not give: they are left alone.
    """

    histories: int = 0
    blobs: int = 0
    cut: list[Place] = field(default_factory=list)
    set_aside: list[Place] = field(default_factory=list)
    unreadable: list[Place] = field(default_factory=list)

    def __str__(self) -> str:
        """Spell it as a sentence for a log."""
        return (
            "The Backup Path was not closed cleanly, or is a copy: "
            f"{self.histories} histories and {self.blobs} blobs were looked at, "
            f"{len(self.cut)} histories were cut back to their last complete state, "
            f"{len(self.set_aside)} damaged blobs went to quarantine, "
            f"{len(self.unreadable)} files could not be read."
        )


class Recovery:
    """One recovery of one tree; its lock is held exclusively, or nobody else writes."""

    def __init__(self, path: BackupPath, past: Past, *, now: datetime) -> None:
        self._path, self._tree = path, path.tree
        self._after_power_loss = past is Past.POWER_LOSS
        self._now = now
        self._aside = layout.QUARANTINE / f"recovery-{disk.boot_id()}"
        self._frontier_of = AccountId(""), Frontier()
        self.result = Recovered()

    def run(self) -> Recovered:
        """Sweep, put damaged blobs aside, cut what was never finished."""
        self._sweep()
        with self._tree.staging(_ROLE):
            self._set_aside_broken_checkpoints()
            since_ns = self._since_ns()
            if self._after_power_loss:
                for blob in list(self._broken_blobs(since_ns)):
                    self._set_aside(blob)
                    self.result.set_aside.append(blob)
            # What scans say of mailboxes tells which states of items are pending.
            self._cut_all(list(self._unfinished(self._of_entries(), since_ns)))
            self._cut_all(list(self._unfinished(self._of_items(), since_ns)))
        return self.result

    def _sweep(self) -> None:
        for role, kind in self._tree.entries(layout.STAGING):
            if kind is Kind.FOLDER:
                with self._tree.staging(role):
                    pass

    # What is young

    def _set_aside_broken_checkpoints(self) -> None:
        server = self._path.form.server_id
        try:
            self._path.checkpoint()
        except BackupPathBroken:
            self._set_aside(layout.checkpoint_file(server))
        try:
            self._path.scanner()
        except BackupPathBroken:
            self._begin_scanner_anew(layout.scanner_file(server))

    def _begin_scanner_anew(self, file: Place) -> None:
        """Put aside what the scanner said; in one step `*` takes the place of who was uncertain."""
        self._keep_copy(file, self._tree.read(file, limit=values.LONGEST_SCANNER) or b"")
        data = spell_uncertain(
            self._path, NOTHING_KNOWN, [EVERY_ACCOUNT], since=self._now, reason=REASON_SCANNER
        )
        self._tree.replace(file, data, role=_ROLE)

    def _since_ns(self) -> int:
        """Return from when on files are looked at: 0 is all of them."""
        if not self._after_power_loss:
            return 0
        scan, scanner = self._path.checkpoint().get("smartscan"), self._path.scanner()
        said = (scan or {}).get("ended"), scanner.get("at")
        last = max((each for each in said if type(each) is int), default=0)
        if last > to_ms(self._now) + _MARGIN_MS:
            # The clock went back: the times of files tell nothing.
            return 0
        return max(0, last - _MARGIN_MS) * _NS

    def _is_young(self, path: Place, since_ns: int) -> bool:
        mark = self._tree.mark(path)
        # The time of the last change, which nobody can set, as copies do with the other one.
        return bool(mark) and mark[3] >= since_ns

    # Blobs

    def _broken_blobs(self, since_ns: int) -> Iterator[Place]:
        for bucket in filter(layout.is_blob_bucket, self._names(layout.BLOBS)):
            for name in filter(layout.is_digest, self._names(layout.BLOBS / bucket)):
                blob = layout.BLOBS / bucket / name
                with self._leaving_unreadable(blob):
                    if self._is_young(blob, since_ns) and self._is_broken(Digest(name)):
                        yield blob

    def _is_broken(self, digest: Digest) -> bool:
        self.result.blobs += 1
        try:
            for _ in histories.read_blob(self._tree, digest):
                pass
        except BrokenItem:
            return True
        return False

    def _set_aside(self, path: Place) -> None:
        """Move a file to the quarantine, durably; one of the same name is there already: delete."""
        target = self._aside / path
        if self._tree.mark(target):
            self._tree.discard(path)
        else:
            self._tree.move(path, target)
        self._tree.sync()

    # Histories

    def _of_entries(self) -> Iterator[Place]:
        for folder in layout.ENTRY_FOLDERS.values():
            for name in self._names(folder):
                if layout.id_of(name) is not None:
                    yield folder / name
        for account in self._path.accounts():
            yield layout.account_file(account)
            yield layout.mailbox_file(account)

    def _of_items(self) -> Iterator[Place]:
        for account in self._path.accounts():
            folder = layout.items_folder(account)
            for bucket in filter(layout.is_item_bucket, self._names(folder)):
                for name in self._names(folder / bucket):
                    if layout.item_of(bucket, name) is not None:
                        yield folder / bucket / name

    def _unfinished(self, paths: Iterable[Place], since_ns: int) -> Iterator[Place]:
        """Yield the young ones of some histories that have to be cut."""
        for path in paths:
            with self._leaving_unreadable(path):
                if self._is_young(path, since_ns):
                    self.result.histories += 1
                    data = self._read(path)
                    if self._good(path, data) < len(data):
                        yield path

    def _cut_all(self, paths: list[Place]) -> None:
        """Cut histories; first the next scan is told to look at their accounts as a whole."""
        self._make_uncertain({path.parts[1] for path in paths if path.parts[0] == _ACCOUNTS})
        for path in paths:
            with self._leaving_unreadable(path), self._tree.locked(layout.lock_folder(path)):
                data = self._read(path)
                good = self._good(path, data)
                if b"\n" in data[good:]:
                    self._keep_copy(path, data)
                self._tree.append(path, b"", cut_to=good)
                self.result.cut.append(path)
        self._tree.sync()

    def _good(self, path: Place, data: bytes) -> int:
        """Return how many bytes of a history stay."""
        lines = metadata.read_lines(data, layout.chain_seed(path))
        if lines.damage and not self._after_power_loss:
            # In a copy that is no tail of a power loss, but damage: told of, never cut.
            return len(data)
        return self._before_pending(path, lines)

    def _before_pending(self, path: Place, lines: metadata.Lines) -> int:
        """Return how many bytes of a history come before its first pending state."""
        if len(path.parts) != _PARTS_OF_ITEM or not lines.bodies:
            return lines.good
        account, item = AccountId(str(layout.id_of(path.parts[1]))), ItemId(int(path.name))
        frontier = self._frontier(account)
        good = 0
        for number, body in enumerate(lines.bodies, 1):
            if is_line_pending(self._path, frontier, item, body, number=number):
                return good
            good += len(body) + metadata.SEAL_LENGTH + 1
        return lines.good

    def _frontier(self, account: AccountId) -> Frontier:
        if self._frontier_of[0] != account:
            self._frontier_of = account, Frontier.of(self._path, account)
        return self._frontier_of[1]

    def _keep_copy(self, path: Place, data: bytes) -> None:
        with self._tree.stage(_ROLE) as file:
            file.write(data)
        self._tree.publish(file.path, self._aside / path)
        self._tree.sync()

    def _make_uncertain(self, folders: Iterable[str]) -> None:
        """Have accounts compared as a whole, by the Account Scan or SmartScan that comes next."""
        accounts = [str(layout.id_of(name)) for name in folders]
        accounts += [EVERY_ACCOUNT] if self.result.set_aside else []
        make_uncertain(self._path, accounts, since=self._now, reason=_REASON, role=_ROLE)

    def _read(self, path: Place) -> bytes:
        return self._tree.read(path, limit=values.LONGEST_FILE) or b""

    def _names(self, folder: Place) -> list[str]:
        try:
            return self._tree.names(folder)
        except ReadError:
            self.result.unreadable.append(folder)
            return []

    @contextmanager
    def _leaving_unreadable(self, path: Place) -> Iterator[None]:
        """Go on where the disk does not give a file: a check will tell of it."""
        try:
            yield
        except ReadError:
            self.result.unreadable.append(path)
