"""The metadata of a tree, history by history: what is wrong with each, and what it refers to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from backupng.engine.backuppath import histories, layout, metadata, provisioning, values
from backupng.engine.backuppath.customizations import archive_of
from backupng.engine.backuppath.disk import Kind
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.pending import Frontier, lost_history
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import (
    BackupPathBroken,
    BrokenItem,
    ItemError,
    OperationError,
    ReadError,
)
from backupng.engine.model import (
    AccountId,
    Digest,
    EntryKind,
    ItemId,
    ItemKind,
    ItemState,
    MailboxState,
)
from backupng.engine.upkeep.coherency_findings import NO_ITEM, Finding, Findings, Flaw
from backupng.engine.upkeep.coherency_references import Reference

_DIGEST: Final = re.compile(rb"[A-Za-z0-9+,]{43}=")
_OF_ACCOUNT: Final = frozenset({"account", "mailbox", "items"})
_PARTS_OF_ITEM: Final = 5
_SEAL: Final = len(" #00000000\n")
_SIZED: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT, ItemKind.DOCUMENT})
"""Kinds of items whose size is that of their blob."""

Pause = Callable[[str], None]
"""Called with the name of what comes next; may raise Stopped."""


@dataclass(frozen=True, slots=True)
class History:
    """One history of the tree: its file, how its bodies read, whose it is."""

    path: Place
    parse: histories.Parse[Any]
    account: AccountId | None = None
    item: ItemId = NO_ITEM


@dataclass(slots=True)
class Examined:
    """What one history holds: its states up to the first flaw, and which flaw.

    `good` is the length in bytes of the lines of those states; `bulk` are the blobs that those and
    the flawed line keep their bulk in; `raw` is the whole file if it is flawed. `is_pending`: what
    follows `good` lacks its bulk because a copy was made before it was there.
    """

    states: list[Any] = field(default_factory=list)
    good: int = 0
    bulk: list[tuple[Digest, bool]] = field(default_factory=list)
    flaw: Flaw | None = None
    why: str = ""
    raw: bytes = b""
    is_torn: bool = False
    is_cut: bool = False
    """Whether its end is gone: what that named, nobody knows."""
    is_pending: bool = False
    length: int = 0


def histories_of(path: BackupPath, account: AccountId, findings: Findings) -> Iterator[History]:
    """Yield the histories of an account; what else lies in its folder goes to the findings."""
    folder = layout.account_folder(account)
    known = _of_account(account)
    for name, kind in _entries(path, folder, findings):
        if name in known:
            if _is_file(folder / name, kind, findings, account=account):
                yield known[name]
        elif name not in ("items", layout.ID_MAPPER):
            findings.leave(folder / name)
    _tell_lost(path, account, findings)
    items = layout.items_folder(account)
    for name, kind in _entries(path, items, findings):
        if not layout.is_item_bucket(name):
            findings.leave(items / name)
        elif _is_folder(items / name, kind, findings, account):
            yield from _items(path, account, name, findings)


def entries_of(path: BackupPath, findings: Findings) -> Iterator[History]:
    """Yield the histories of all directory entries that are no account's."""
    known = {folder.name for folder in layout.ENTRY_FOLDERS.values()}
    for name, found in _entries(path, layout.SERVER, findings):
        if name not in known and (found is not Kind.FILE or archive_of(name) is None):
            findings.leave(layout.SERVER / name)
    for kind, folder in layout.ENTRY_FOLDERS.items():
        for name, found in _entries(path, folder, findings):
            entry_id = layout.id_of(name)
            if entry_id is None:
                findings.leave(folder / name)
            elif _is_file(folder / name, found, findings):
                yield History(folder / name, partial(provisioning.parse_entry, kind, entry_id))


def history_at(file: Place) -> History | None:
    """Return the history that lies in a file; None for a path where none can lie."""
    parts = file.parts
    account = AccountId(layout.id_of(parts[1]) or "") if len(parts) > 1 else None
    is_account = parts[0] == layout.ACCOUNTS.name and account
    if account and is_account and file.parent == layout.account_folder(account):
        return _of_account(account).get(file.name)
    if account and is_account and len(parts) == _PARTS_OF_ITEM:
        item = layout.item_of(parts[3], file.name)
        return None if item is None else _of_item(account, item)
    for kind, folder in layout.ENTRY_FOLDERS.items():
        if file.parent == folder and (entry_id := layout.id_of(file.name)):
            return History(file, partial(provisioning.parse_entry, kind, entry_id))
    return None


def accounts_of(path: BackupPath, findings: Findings) -> Iterator[AccountId]:
    """Yield the accounts that the tree has a folder of."""
    for name, kind in _entries(path, layout.ACCOUNTS, findings):
        account = layout.account_of(name, is_file=kind is Kind.FILE)
        if account is None or not _is_account(path, layout.ACCOUNTS / name, kind):
            findings.leave(layout.ACCOUNTS / name)
        elif _is_folder(layout.ACCOUNTS / name, kind, findings, account):
            yield account


def frontier_of(path: BackupPath, account: AccountId | None) -> Frontier:
    """Return how far the tree says to be complete; where nothing says so, nothing is pending."""
    try:
        return Frontier.of(path, account)
    except OperationError:
        return Frontier(None, None, None)


def last_scan(path: BackupPath, account: AccountId) -> MailboxState | None:
    """Return what the last scan of an account found; None also if that cannot be read."""
    try:
        scans = path.mailbox_history(account)
    except ItemError:
        # It is told of where it is looked at itself.
        return None
    return scans[-1] if scans else None


def examine(path: BackupPath, history: History, frontier: Frontier | None = None) -> Examined:
    """Read one history to its first flaw; never raises for what is wrong with it."""
    try:
        data = path.tree.read(history.path, limit=values.LONGEST_FILE) or b""
        lines = metadata.read_lines(data, layout.chain_seed(history.path))
        if lines.damage:
            # A writer may have cut a torn tail, and written there, while we were reading.
            data = path.tree.read(history.path, limit=values.LONGEST_FILE) or b""
            lines = metadata.read_lines(data, layout.chain_seed(history.path))
    except ReadError as error:
        too_long = (*path.tree.mark(history.path), 0, 0, 0)[2] > values.LONGEST_FILE
        flaw = Flaw.BROKEN_METADATA if too_long else Flaw.READ_ERROR
        return Examined(flaw=flaw, why=str(error))
    found = Examined(is_torn=lines.torn, length=len(data))
    _read_states(path, history, lines.bodies, found, frontier)
    if not found.flaw and not found.is_pending:
        cut = _lost_end(path, history, lines, frontier)
        found.is_cut, found.is_torn = bool(cut), found.is_torn and not cut
        if lines.damage or cut:
            found.flaw, found.why = Flaw.BROKEN_METADATA, lines.damage or cut
    if found.flaw:
        found.raw = data
    return found


def _lost_end(
    path: BackupPath, history: History, lines: metadata.Lines, frontier: Frontier | None
) -> str:
    if frontier is None or (lines.bodies and not lines.torn):
        return ""
    try:
        # Asked for after the lines: a writer that was at work there has written since.
        written_ns = path.tree.stamp(history.path)
        is_there = bool(path.tree.mark(history.path))
    except ReadError:
        return ""
    return frontier.lost_end(lines, written_ns) if is_there else ""


def _tell_lost(path: BackupPath, account: AccountId, findings: Findings) -> None:
    """Tell of the histories of an account itself that are not there although it was scanned."""
    try:
        lost = lost_history(path, account)
    except (ItemError, OperationError):
        # What cannot be read is told of where it is looked at itself.
        return
    if lost is not None:
        findings.add(Finding(Flaw.BROKEN_METADATA, *lost, account))
        # Where there was none yet, nothing was referred to.
        findings.is_blind |= lost[0] != layout.account_folder(account)


def _is_account(path: BackupPath, folder: Place, kind: Kind) -> bool:
    """Say whether a folder is an account's: by its name, or by what lies in it."""
    if kind is not Kind.FOLDER or layout.is_uuid(folder.name):
        return True
    try:
        return not _OF_ACCOUNT.isdisjoint(path.tree.names(folder))
    except ReadError:
        return True


def references_of(
    history: History, found: Examined, frontier: Frontier | None
) -> Iterator[Reference]:
    """Yield what a history refers to, what its damaged part may refer to included."""
    for digest, is_pending in found.bulk:
        yield Reference(digest, history.account, history.item, is_pending=is_pending)
    if found.flaw:
        named = {Digest(each.decode("ascii")) for each in _DIGEST.findall(found.raw)}
        for digest in named:
            yield Reference(digest, history.account, history.item, is_damaged=True)
    seen: set[Digest] = set()
    if history.item != NO_ITEM:
        for number, state in enumerate(reversed(found.states)):
            for digest in histories.digests_of(state) - seen:
                seen.add(digest)
                yield _reference(history, state, digest, frontier, is_last=number == 0)


def check_checkpoints(path: BackupPath, findings: Findings) -> None:
    """Read the checkpoints of all servers that the tree has any of."""
    for name, kind in _entries(path, layout.CHECKPOINT, findings):
        file = layout.CHECKPOINT / name
        if layout.id_of(name.removesuffix(".scanner")) is None:
            findings.leave(file)
        elif _is_file(file, kind, findings):
            try:
                if _is_broken_checkpoint(path, file):
                    findings.add(Finding(Flaw.BROKEN_METADATA, file, "it fails its checksum"))
            except ReadError as error:
                findings.add(Finding(Flaw.READ_ERROR, file, str(error)))


def is_broken_checkpoint(path: BackupPath, file: Place) -> bool:
    """Say whether a checkpoint is there, can be read, and fails its checksum."""
    try:
        return _is_broken_checkpoint(path, file)
    except ReadError:
        return False


def _is_broken_checkpoint(path: BackupPath, file: Place) -> bool:
    limit = values.LONGEST_SCANNER if file.name.endswith(".scanner") else values.LONGEST_CHECKPOINT
    data = path.tree.read(file, limit=limit)
    try:
        if data is not None:
            provisioning.parse_checkpoint(data, where=str(file), longest=limit)
    except BackupPathBroken:
        return True
    return False


def check_top(path: BackupPath, findings: Findings, known: Iterable[str]) -> None:
    """Count the names at the root that are not the tree's."""
    for name, _ in _entries(path, Place(), findings):
        is_ours = name.startswith(".") or name in known or layout.server_of_map(name) is not None
        if not is_ours:
            findings.leave(Place(name))


def _of_account(account: AccountId) -> dict[str, History]:
    """Return the two histories of an account itself, by the names of their files."""
    entry, mailbox = layout.account_file(account), layout.mailbox_file(account)
    parse = partial(provisioning.parse_entry, EntryKind.ACCOUNT, account)
    return {
        entry.name: History(entry, parse, account),
        mailbox.name: History(mailbox, partial(provisioning.parse_mailbox, account), account),
    }


def _of_item(account: AccountId, item: ItemId) -> History:
    parse = partial(metadata.parse_state, item)
    return History(layout.item_file(account, item), parse, account, item)


def _items(
    path: BackupPath, account: AccountId, bucket: str, findings: Findings
) -> Iterator[History]:
    folder = layout.items_folder(account) / bucket
    for name, kind in _entries(path, folder, findings):
        item = layout.item_of(bucket, name)
        if item is None:
            findings.leave(folder / name)
        elif kind is Kind.FILE or _is_file(
            folder / name, kind, findings, account=account, item=item
        ):
            yield _of_item(account, item)


def _entries(path: BackupPath, folder: Place, findings: Findings) -> list[tuple[str, Kind]]:
    try:
        return path.tree.entries(folder)
    except ReadError as error:
        findings.add(Finding(Flaw.READ_ERROR, folder, str(error)))
        return []


def _is_file(
    file: Place,
    kind: Kind,
    findings: Findings,
    *,
    account: AccountId | None = None,
    item: ItemId = NO_ITEM,
) -> bool:
    if kind is Kind.FILE:
        return True
    what = "it is a folder" if kind is Kind.FOLDER else "it is a link, a pipe or a device"
    findings.add(Finding(Flaw.WRONG_TYPE, file, what, account, item))
    return False


def _is_folder(folder: Place, kind: Kind, findings: Findings, account: AccountId) -> bool:
    if kind is Kind.FOLDER:
        return True
    findings.add(Finding(Flaw.WRONG_TYPE, folder, "it is no folder", account))
    return False


def _read_states(
    path: BackupPath,
    history: History,
    bodies: tuple[bytes, ...],
    found: Examined,
    frontier: Frontier | None,
) -> None:
    reading = histories.states_of(path.tree, bodies, history.parse)
    for number, body in enumerate(bodies, 1):
        try:
            bulk = histories.bulk_of(body)
            is_new = bulk is not None and _is_newer(body, frontier)
            if bulk is not None:
                found.bulk.append((bulk, is_new))
            state = next(reading)
            _require_later(found.states, state, number)
        except ReadError as error:
            found.is_pending = is_new
            if not is_new:
                found.flaw, found.why = Flaw.BROKEN_METADATA, f"line {number}: {error}"
            return
        except BrokenItem as error:
            found.flaw, found.why = Flaw.BROKEN_METADATA, _placed(error, number)
            return
        found.states.append(state)
        found.good += len(body) + _SEAL


def _placed(error: ItemError, number: int) -> str:
    said = str(error)
    return said if said.startswith("line ") else f"line {number}: {said}"


def _is_newer(body: bytes, frontier: Frontier | None) -> bool:
    source = values.load_body(body).get("pos")
    return frontier is not None and isinstance(source, str) and frontier.is_newer(source)


def _require_later(states: list[Any], state: Any, number: int) -> None:
    """Refuse an item's state whose change number no writer would have appended."""
    if not states or not isinstance(state, ItemState):
        return
    last = states[-1].mod
    if state.mod < last or (state.mod == last and (state.deleted or not state.row)):
        raise BrokenItem(f"line {number} has the change number {state.mod} after {last}")


def _reference(
    history: History,
    state: ItemState,
    digest: Digest,
    frontier: Frontier | None,
    *,
    is_last: bool,
) -> Reference:
    own = digest == state.digest and state.kind in _SIZED
    return Reference(
        digest,
        history.account,
        history.item,
        is_current=is_last,
        is_pending=frontier is not None and frontier.is_newer(state.source),
        size=state.size if own else None,
    )
