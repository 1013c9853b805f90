"""Mark: all metadata of a tree, read once, to find what has expired and which blobs are named."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.disk import Mark
from backupng.engine.backuppath.ground import Folder, Ground
from backupng.engine.backuppath.pending import Frontier, lost_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import BrokenItem, ItemError, ReadError
from backupng.engine.mailserver.reckoning import Reckoning
from backupng.engine.model import AccountId, ItemId, MailboxState
from backupng.engine.upkeep.purge_reading import (
    History,
    deleted_since,
    is_unseen,
    named,
    read_history,
    reckon,
)

_NAMED: Final = 10
_FIELDS: Final = 5
_NS_A_MS: Final = 1_000_000
_Any = TypeVar("_Any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What has expired: what was deleted before these moments, in ms; None: nothing ever is.

    What was written to since `settled_before_ns` is left alone, whatever it says. A deletion may be
    written down `slack_ns` after it happened, or at any time if that is None: one that was written
    down later counts from then on, for the clock of one of both was wrong.
    """

    items_before_ms: int | None
    accounts_before_ms: int | None
    settled_before_ns: int
    slack_ns: int | None = 0


def length_of(mark: Mark) -> int:
    """Return the length in bytes of a file that is there."""
    return mark[2]


class References:
    """Blobs that are named: of each digest eight characters are kept beside its folder.

    Two digests that agree in them count as one, and at worst a blob is spared.
    """

    def __init__(self) -> None:
        self._folders: dict[bytes, bytearray] = defaultdict(bytearray)

    def add(self, digests: Iterable[bytes]) -> None:
        """Take note of digests."""
        for digest in digests:
            self._folders[digest[:2]] += digest[2:10]

    def of(self, bucket: str) -> set[bytes]:
        """Return the characters 2 to 9 of all digests in one folder."""
        kept = bytes(self._folders.get(bucket.encode(), b""))
        return {kept[at : at + 8] for at in range(0, len(kept), 8)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """An account that is due: since when it counts as deleted, why, and its folder's stamp."""

    name: str
    reason: str
    since_ms: int
    stamp: int


@dataclass(slots=True)
class AccountMark:
    """What was found in one account's folder; `size` is in bytes, of the `files` that are to go."""

    account: AccountId
    deletion: Deletion | None = None
    """Only of an account that is due: it goes as a whole."""
    examined: int = 0
    files: int = 0
    size: int = 0
    _expired: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def purged(self) -> int:
        """How many items are to go."""
        return self.examined if self.deletion else len(self._expired) // _FIELDS

    def expired(self) -> Iterator[tuple[ItemId, Mark]]:
        """Yield each item whose history is to go, and its file as it was read."""
        found = self._expired
        for at in range(0, len(found), _FIELDS):
            yield ItemId(found[at]), tuple(found[at + 1 : at + _FIELDS])

    def expire(self, item: ItemId, mark: Mark) -> None:
        """Note an item whose history is to go."""
        self._expired.extend((item, *mark))
        self.count(mark)

    def count(self, mark: Mark) -> None:
        """Count a file that is to go."""
        self.files += 1
        self.size += length_of(mark)


@dataclass(slots=True)
class Marked:
    """What a tree holds, what of it has expired, and what is wrong with it.

    `damage` has the first few of its `flaws` in words; while there is any, no blob may be removed.
    An account that nobody knows is named there, too, and is no flaw.
    `doubtful` are accounts that have been deleted long enough by what the metadata says, but were
    written down as such much later; of items that is so of, `late` is the number.
    """

    living: References = field(default_factory=References)
    dying: References = field(default_factory=References)
    accounts: list[AccountMark] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    late: int = 0
    flaws: int = 0
    damage: list[str] = field(default_factory=list)

    def blame(self, error: ItemError) -> None:
        """Note damage."""
        self.flaws += 1
        if len(self.damage) < _NAMED:
            self.damage.append(str(error))


class Marking:
    """One reading of all metadata."""

    def __init__(
        self,
        path: BackupPath,
        ground: Ground,
        limits: Limits,
        *,
        tick: Callable[[int, int], None],
    ) -> None:
        self._path, self._ground, self._limits, self._tick = path, ground, limits, tick
        self.marked = Marked()
        self._reckoning: Reckoning | None = None
        """Of the account that is read; None if no scan of it is known."""

    def run(self) -> Marked:
        """Read. Raises what `tick` raises."""
        accounts = self._path.accounts()
        for number, account in enumerate(accounts):
            self._mark(account, partial(self._tick, number, len(accounts)))
        for path in layout.ENTRY_FOLDERS.values():
            with self._blaming(), self._ground.folder(path) as folder:
                for name in folder.names():
                    if layout.id_of(name) is not None:
                        self._refer(self.marked.living, folder, name, f"ng1/{path}/{name}")
        return self.marked

    def spare(self, account: AccountId, item: ItemId) -> None:
        """Count all that an item names now: it does not go after all."""
        path = layout.item_file(account, item)
        with self._blaming(), self._ground.folder(path.parent) as folder:
            self._refer(self.marked.living, folder, path.name, f"ng1/{account}/{item}")

    def spare_account(self, account: AccountId) -> None:
        """Count all that an account names now, as a whole."""
        nothing = Limits(items_before_ms=None, accounts_before_ms=None, settled_before_ns=0)
        again = Marking(self._path, self._ground, nothing, tick=self._tick)
        again.marked.living = self.marked.living
        again._mark(account, partial(self._tick, 0, 0))
        for sentence in again.marked.damage:
            self.marked.blame(BrokenItem(sentence))

    def _mark(self, account: AccountId, tick: Callable[[], None]) -> None:
        mark, last = AccountMark(account), self._last_scan(account)
        self.marked.accounts.append(mark)
        flaws, self._reckoning = self.marked.flaws, None if last is None else Reckoning(last)
        with self._blaming():
            self._account(mark, tick)
            if self.marked.flaws == flaws and mark.deletion is None:
                self._look_for_missing(account)
        if self.marked.flaws > flaws and mark.deletion:
            # Somebody has to look at it first.
            self.marked.accounts[-1] = AccountMark(account, examined=mark.examined)

    def _account(self, mark: AccountMark, tick: Callable[[], None]) -> None:
        path = layout.account_folder(mark.account)
        with self._ground.folder(path) as folder:
            # Before anything is read: whoever writes from now on changes it.
            stamp = folder.stamp()
            entry = self._read(folder, "account", f"ng1/{path}/account")
            if entry is not None:
                mark.deletion = self._due(folder, entry, stamp)
                self._note(mark, folder, "account", entry)
            mailbox = self._read(folder, "mailbox", f"ng1/{path}/mailbox")
            if mailbox is not None:
                self._note(mark, folder, "mailbox", mailbox)
            if entry is None or mailbox is None:
                self._look_for_lost(mark.account)
            with folder.inner("items") as items:
                for bucket in filter(layout.is_item_bucket, items.names()):
                    tick()
                    try:
                        with items.inner(bucket) as found:
                            self._items(mark, found, bucket)
                    except ItemError as error:
                        self.marked.blame(error)

    def _items(self, mark: AccountMark, folder: Folder, bucket: str) -> None:
        seed = f"ng1/{mark.account}/"
        for name in folder.names():
            if layout.item_of(bucket, name) is None:
                continue
            mark.examined += 1
            history = self._read(folder, name, seed + name)
            if history is None:
                continue
            if self._reckoning is not None:
                reckon(self._reckoning, ItemId(int(name)), history)
            if mark.deletion is None and self._has_expired(folder, name, history):
                mark.expire(ItemId(int(name)), history.found.mark)
                self._add(self.marked.dying, folder, name, history)
            else:
                self._note(mark, folder, name, history)

    def _note(self, mark: AccountMark, folder: Folder, name: str, history: History) -> None:
        if mark.deletion is None:
            self._add(self.marked.living, folder, name, history)
        else:
            mark.count(history.found.mark)
            self._add(self.marked.dying, folder, name, history)

    def _refer(self, references: References, folder: Folder, name: str, seed: str) -> None:
        history = self._read(folder, name, seed)
        if history is not None:
            self._add(references, folder, name, history)

    def _add(self, references: References, folder: Folder, name: str, history: History) -> None:
        references.add(self._tried(folder, name, partial(named, self._path.tree, history)) or ())

    def _read(self, folder: Folder, name: str, seed: str) -> History | None:
        """Read a history; None if it is not there, or has a flaw: that is damage."""
        history = self._tried(folder, name, partial(read_history, folder, name, seed))
        why = "" if history is None else history.lines.damage or self._lost_end(folder, history)
        if not why:
            return history
        self._blame(folder, name, BrokenItem(why))
        return None

    def _lost_end(self, folder: Folder, history: History) -> str:
        """Say what is wrong with a history whose last state is gone: what it named, nobody knows.

        Empty for one that is whole, and for the tail of a writer that was killed.
        """
        if history.bodies and not history.lines.torn:
            return ""
        parts = folder.path.parts
        is_account = parts[0] == layout.ACCOUNTS.name
        account = AccountId(layout.id_of(parts[1]) or "") if is_account else None
        frontier = Frontier.of(self._path, account)
        return frontier.lost_end(history.lines, history.found.written_ns)

    def _look_for_lost(self, account: AccountId) -> None:
        """Note what an account that was scanned has lost as a whole."""
        lost = lost_history(self._path, account)
        if lost is None:
            return
        where, why = self._ground.root / lost[0], lost[1]
        if lost[0] != layout.account_folder(account):
            self.marked.blame(BrokenItem(f"{where} is damaged: {why}."))
        elif len(self.marked.damage) < _NAMED:
            # Its items name all that they need: nothing is in danger.
            self.marked.damage.append(f"{where} is left as it is: {why}.")

    def _last_scan(self, account: AccountId) -> MailboxState | None:
        try:
            scans = self._path.mailbox_history(account)
        except ItemError:
            # It is blamed where it is read itself.
            return None
        return scans[-1] if scans else None

    def _look_for_missing(self, account: AccountId) -> None:
        """Note what the account's last scan saw and is gone: what it named, nobody knows."""
        if self._reckoning is None:
            return
        missing = self._reckoning.missing(self._last_scan(account))
        if missing is not None:
            where = self._ground.root / layout.items_folder(account)
            self.marked.blame(BrokenItem(f"{where} is not complete: {missing}."))

    def _has_expired(self, folder: Folder, name: str, history: History) -> bool:
        before_ms = self._limits.items_before_ms
        if before_ms is None or not self._is_settled(history):
            return False
        found = self._deleted(folder, name, history, before_ms)
        if found is None or (self._reckoning is not None and is_unseen(self._reckoning, history)):
            return False
        is_late = self._is_late(history, found[0], before_ms)
        self.marked.late += is_late
        return not is_late

    def _due(self, folder: Folder, entry: History, stamp: int) -> Deletion | None:
        """Return the deletion of an account that is to go.

        One that was written down much later than it says is not: its clock, or ours, was wrong.
        """
        before_ms = self._limits.accounts_before_ms
        is_settled = self._is_settled(entry) and stamp < self._limits.settled_before_ns
        if before_ms is None or not is_settled:
            return None
        found = self._deleted(folder, "account", entry, before_ms)
        if found is None:
            return None
        since_ms, body = found
        name, reason = (str(body.get(key, "")) for key in ("name", "reason"))
        if self._is_late(entry, since_ms, before_ms):
            self.marked.doubtful.append(name)
            return None
        return Deletion(name=name, reason=reason, since_ms=since_ms, stamp=stamp)

    def _is_late(self, history: History, since_ms: int, before_ms: int) -> bool:
        """Say whether a deletion was written down within the retention, too late to be believed."""
        written_ns, slack_ns = history.found.written_ns, self._limits.slack_ns
        if slack_ns is None or written_ns < before_ms * _NS_A_MS:
            return False
        return written_ns - since_ms * _NS_A_MS > slack_ns

    def _deleted(
        self, folder: Folder, name: str, history: History, before_ms: int
    ) -> tuple[int, Any] | None:
        look = partial(deleted_since, history.bodies, before_ms=before_ms)
        return self._tried(folder, name, look)

    def _is_settled(self, history: History) -> bool:
        """Say whether nobody is about to write there, or has just done so."""
        return not history.lines.torn and history.found.written_ns < self._limits.settled_before_ns

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except ItemError as error:
            self.marked.blame(error)

    def _tried(self, folder: Folder, name: str, look: Callable[[], _Any]) -> _Any | None:
        """Look at one file; None if it is damaged, which is noted."""
        try:
            return look()
        except ItemError as error:
            self._blame(folder, name, error)
        return None

    def _blame(self, folder: Folder, name: str, error: ItemError) -> None:
        """Note damage of one file, and name it."""
        if not isinstance(error, ReadError):
            where = self._ground.root / folder.path / name
            error = BrokenItem(f"{where} is damaged: {error}.")
        self.marked.blame(error)
