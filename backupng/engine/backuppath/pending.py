"""What a copy made beside a writer has only in part: states whose blobs were not copied yet.

A writer makes a blob durable before the state that names it, and both before the checkpoint behind
them. So in a copy a state may lack a blob that it names, its own, its bulk's or a revision's, where
it is newer than the copy's checkpoint and than the account's last scan: it is *pending*, and the
state before it stands. Any other state that lacks one is broken (FORMAT.md §3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from backupng.engine.backuppath import histories, layout, metadata, values
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import BackupPathBroken, BrokenItem, ItemError, ReadError
from backupng.engine.model import AccountId, Digest, EntryKind, ItemId, ItemState, to_ms

if TYPE_CHECKING:
    from backupng.engine.backuppath.store import BackupPath

UNSCANNED: Final = "deleted before any scan had read its mailbox"
"""Why an account counts as deleted that lacks the history of its mailbox for a good reason."""
_NS_A_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Frontier:
    """How far a tree says that everything of an account is there.

    `scan_ms`: start of the last scan of it that ended; `scan_id`: what bears a higher one was found
    by a later scan. `log`: sequence and offset of the first record of the redo log that may be
    missing, `open_ops` those of earlier ones that may be, too.
    None: what says so cannot be read; nothing counts as newer then, so that nothing is left out
    in silence.
    """

    scan_ms: int | None = 0
    scan_id: int | None = 0
    log: tuple[int, int] | None = (0, 0)
    open_ops: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def of(cls, path: BackupPath, account: AccountId | None) -> Frontier:
        """Read checkpoints and the account's last scan; without any, everything is newer.

        A scanner's `log` that is null was lost with a damaged file: as one that cannot be read.
        Without an account: that of the other directory entries.
        """
        return cls(*_scan_of(path, account), *_log_of(path))

    def is_newer(self, source: str) -> bool:
        """Say whether a state that bears this `pos` was written behind the checkpoints."""
        kind, _, rest = source.partition(":")
        numbers = rest.split(":")
        if not all(each.isdecimal() and len(each) < 20 for each in numbers):
            return False
        place = tuple(map(int, numbers))
        if kind == "scan" and len(place) == 1:
            return self.scan_id is not None and place[0] > self.scan_id
        if kind == "log" and len(place) == 1:
            # A record that could not be read: its moment is all that is known.
            return False
        if kind == "log" and len(place) == 2 and self.log is not None:
            return place >= self.log or place in self.open_ops
        return False

    def is_tail(self, written_ns: int) -> bool:
        """Say whether a history that is empty or ends within a line may be so by a killed writer.

        `written_ns` is when its file was last written to (`mtime`). A scan that ends has written
        anew what a writer killed before it began had not: what is older than that was cut since.
        """
        return self.scan_ms is not None and written_ns >= self.scan_ms * _NS_A_MS

    def lost_end(self, lines: metadata.Lines, written_ns: int) -> str:
        """Say what is wrong with a history that has lost its end; empty if nothing is, or may be.

        What `lines.damage` tells is another matter.
        """
        if lines.damage or (lines.bodies and not lines.torn) or self.is_tail(written_ns):
            return ""
        return f"line {len(lines.bodies) + 1} is cut short" if lines.torn else "it is empty"


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
    """Say whether a blob that a state names, of a revision too, was not there yet.

    That of its line's bulk is looked at by `is_line_pending`.
    """
    if not frontier.is_newer(state.source):
        return False
    return not all(_has(path, each) for each in histories.digests_of(state))


def is_line_pending(
    path: BackupPath, frontier: Frontier, item: ItemId, body: bytes, *, number: int
) -> bool:
    """As `is_pending`, for the body of an item's line, its bulk included; False if it is broken."""
    try:
        if _is_bulk_pending(path, frontier, body):
            return True
        if not _is_new_line(frontier, body):
            return False
        (state,) = histories.states_of(path.tree, [body], _parse_of(item), first=number)
    except ItemError:
        return False
    return is_pending(path, frontier, state)


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
        if _is_bulk_pending(path, frontier, data):
            return
        yield data


def _is_bulk_pending(path: BackupPath, frontier: Frontier, body: bytes) -> bool:
    bulk = histories.bulk_of(body)
    return bulk is not None and not _has(path, bulk) and _is_new_line(frontier, body)


def _is_new_line(frontier: Frontier, body: bytes) -> bool:
    source = values.load_body(body).get("pos")
    return isinstance(source, str) and frontier.is_newer(source)


def _parse_of(item: ItemId) -> histories.Parse[ItemState]:
    return lambda body: metadata.parse_state(item, body)


def _has(path: BackupPath, digest: Digest) -> bool:
    return bool(path.tree.mark(layout.blob_file(digest)))


def lost_history(path: BackupPath, account: AccountId) -> tuple[Place, str] | None:
    """Return what of an account that has items is missing, and why that is no scan on its way.

    A history of the account itself, or both of them: then its folder. Raises ReadError, or
    BackupPathError for the checkpoint.
    """
    entry, mailbox = layout.account_file(account), layout.mailbox_file(account)
    has_entry, has_mailbox = bool(path.tree.mark(entry)), bool(path.tree.mark(mailbox))
    if (has_entry and has_mailbox) or next(path.items(account), None) is None:
        return None
    scan: Any = path.checkpoint().get("smartscan", {})
    started = scan.get("started", 0) if isinstance(scan, Mapping) else 0
    if not has_entry and not has_mailbox:
        written_ms = path.stamp(account) // _NS_A_MS
        why = "its first scan never came to its end, and no later one has found the account"
        return (layout.account_folder(account), why) if written_ms < started else None
    was_scanned = _is_known_since(path, account, started)
    return ((mailbox if has_entry else entry), "it is missing") if was_scanned else None


def _is_known_since(path: BackupPath, account: AccountId, started: int) -> bool:
    """Say whether a SmartScan knew the account that began then, in ms; True if in doubt."""
    try:
        entries = path.entry_history(EntryKind.ACCOUNT, account)
        scans = path.mailbox_history(account)
    except BrokenItem:
        return True
    # One that was left out from its first entry on was not scanned.
    if entries and (entries[0].deleted or entries[-1].reason == UNSCANNED):
        return False
    firsts = [*(each.start for each in entries[:1]), *(each.start for each in scans[:1])]
    return min(map(to_ms, firsts), default=0) <= started


def next_scan_id(path: BackupPath, started: datetime) -> int:
    """Return what the states that a scan finds bear as its id.

    That is its start in ms, or more: a clock that was set back must not make them look older than
    the last SmartScan. That scan itself, when it runs once more, has the id it had.
    Raises BackupPathBroken.
    """
    last, start = path.checkpoint().get("smartscan", {}), to_ms(started)
    number = _told(last, "id")
    return number if number and _told(last, "started") == start else max(start, number + 1)


def _scan_of(path: BackupPath, account: AccountId | None) -> tuple[int | None, int | None]:
    try:
        found = path.checkpoint().get("smartscan", {})
        scans = () if account is None else path.mailbox_history(account)
        started, number = _told(found, "started"), _told(found, "id")
    except (BackupPathBroken, ItemError):
        return None, None
    last = to_ms(scans[-1].start) if scans else 0
    return max(started, last), max(started, number, last)


def _told(scan: Any, what: str) -> int:
    """Return what is told of the last SmartScan, 0 without any. Raises BackupPathBroken."""
    found = scan.get(what, 0) if isinstance(scan, Mapping) else None
    if type(found) is not int:
        raise BackupPathBroken("A checkpoint says nothing of the last SmartScan that can be read.")
    return found


def _log_of(path: BackupPath) -> tuple[tuple[int, int] | None, frozenset[tuple[int, int]]]:
    try:
        # One that never said how far it came may have written anything; None: that was damaged.
        found: Any = path.scanner().get("log", {"sequence": 0, "offset": 0})
        place = int(found["sequence"]), int(found["offset"])
        open_ops = {(int(sequence), int(at)) for sequence, at in found.get("open_ops", ())}
    except (BackupPathBroken, AttributeError, KeyError, TypeError, ValueError):
        return None, frozenset()
    return place, frozenset(open_ops)
