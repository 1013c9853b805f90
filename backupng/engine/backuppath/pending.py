"""What a copy made beside a writer has only in part: states whose blobs were not copied yet.

A writer makes a blob durable before the state that names it, and both before the checkpoint behind
them. So in a copy a state may lack its blob where it is newer than the copy's checkpoint and than
the account's last scan: it is *pending*, and the state before it stands. Any other state that lacks
its blob is broken (FORMAT.md §3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backupng.engine.backuppath import histories, layout, metadata, values
from backupng.engine.errors import BackupPathBroken, BrokenItem, ItemError, ReadError
from backupng.engine.model import AccountId, Digest, ItemId, ItemState, to_ms

if TYPE_CHECKING:
    from backupng.engine.backuppath.store import BackupPath


@dataclass(frozen=True, slots=True)
class Frontier:
    """How far a tree says that everything of an account is there.

    `scan_ms`: start of the last scan of it that ended. `log`: sequence and offset of the first
    record of the redo log that may be missing, `open_ops` those of earlier ones that may be, too.
    None: what says so cannot be read; nothing counts as newer then, so that nothing is left out
    in silence.
    """

    scan_ms: int | None = 0
    log: tuple[int, int] | None = (0, 0)
    open_ops: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def of(cls, path: BackupPath, account: AccountId) -> Frontier:
        """Read checkpoints and the account's last scan; without any, everything is newer."""
        scan_ms, (log, open_ops) = _scan_of(path, account), _log_of(path)
        return cls(scan_ms, log, open_ops)

    def is_newer(self, source: str) -> bool:
        """Say whether a state that bears this `pos` was written behind the checkpoints."""
        kind, _, rest = source.partition(":")
        numbers = rest.split(":")
        if not all(each.isdecimal() and len(each) < 20 for each in numbers):
            return False
        place = tuple(map(int, numbers))
        if kind == "scan" and len(place) == 1:
            return self.scan_ms is not None and place[0] > self.scan_ms
        if kind == "log" and len(place) == 1:
            # A record that could not be read: its moment is all that is known.
            return False
        if kind == "log" and len(place) == 2 and self.log is not None:
            return place >= self.log or place in self.open_ops
        return False


@dataclass(frozen=True, slots=True)
class Settled:
    """A history without its pending states, oldest first, and how many those were."""

    states: tuple[ItemState, ...]
    pending: int = 0


def settled_history(
    path: BackupPath, frontier: Frontier, account: AccountId, item: ItemId
) -> Settled:
    """Read an item's history as a restore takes it. Raises ReadError or BrokenItem."""
    try:
        history, cut = path.history(account, item), 0
    except ReadError:
        history, cut = _without_pending_bulk(path, frontier, account, item)
    states = tuple(each for each in history if not is_pending(path, frontier, each))
    return Settled(states, cut + len(history) - len(states))


def is_pending(path: BackupPath, frontier: Frontier, state: ItemState) -> bool:
    """Say whether a state's blob is missing because the copy was made before it was there."""
    if state.digest is None or not frontier.is_newer(state.source):
        return False
    return not _has(path, state.digest)


def _without_pending_bulk(
    path: BackupPath, frontier: Frontier, account: AccountId, item: ItemId
) -> tuple[tuple[ItemState, ...], int]:
    """Read a history up to the first line whose bulk is pending; return how many lines that cut.

    Raises ReadError if none is: then something else is missing.
    """
    file = layout.item_file(account, item)
    bodies = histories.intact_lines(path.tree, file).bodies
    kept = tuple(_before_pending_bulk(path, frontier, bodies))
    if len(kept) == len(bodies):
        return path.history(account, item), 0
    try:
        parse = _parse_of(item)
        return tuple(histories.states_of(path.tree, kept, parse)), len(bodies) - len(kept)
    except BrokenItem as error:
        raise BrokenItem(f"{path.tree.root / file} is damaged: {error}.") from error


def _before_pending_bulk(
    path: BackupPath, frontier: Frontier, bodies: tuple[bytes, ...]
) -> Iterator[bytes]:
    for data in bodies:
        head = values.load_body(data)
        bulk, source = head.get(values.MORE), head.get("pos")
        is_new = isinstance(source, str) and frontier.is_newer(source)
        if is_new and layout.is_digest(bulk) and not _has(path, Digest(values.text(bulk))):
            return
        yield data


def _parse_of(item: ItemId) -> histories.Parse[ItemState]:
    return lambda body: metadata.parse_state(item, body)


def _has(path: BackupPath, digest: Digest) -> bool:
    return bool(path.tree.mark(layout.blob_file(digest)))


def _scan_of(path: BackupPath, account: AccountId) -> int | None:
    try:
        found = path.checkpoint().get("smartscan", {})
        scans = path.mailbox_history(account)
    except (BackupPathBroken, ItemError):
        return None
    started = found.get("started", 0) if isinstance(found, Mapping) else None
    if type(started) is not int:
        return None
    return max(started, to_ms(scans[-1].start)) if scans else started


def _log_of(path: BackupPath) -> tuple[tuple[int, int] | None, frozenset[tuple[int, int]]]:
    try:
        found: Any = path.scanner().get("log", {"sequence": 0, "offset": 0})
        place = int(found["sequence"]), int(found["offset"])
        open_ops = {(int(sequence), int(at)) for sequence, at in found.get("open_ops", ())}
    except (BackupPathBroken, AttributeError, KeyError, TypeError, ValueError):
        return None, frozenset()
    return place, frozenset(open_ops)
