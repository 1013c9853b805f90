"""What pages ask about the content of a mailbox at a moment: folders, items, what became of them.

All of it comes from the catalog. `before` is the moment just before which something held.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from backupng.engine.backuppath import layout
from backupng.engine.catalog import answers, browsing
from backupng.engine.catalog.answers import Line
from backupng.engine.catalog.browsing import Inside
from backupng.engine.catalog.schema import FOREVER
from backupng.engine.catalog.searching import Sought
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import AccountId, ItemId, ItemKind, to_ms
from backupng.engine.operations.base import Context, IncompleteAnswer
from backupng.engine.operations.get_item import GetItem
from backupng.engine.operations.words import AccountNameOrId, Moment
from backupng.engine.restore.select import ALL_TIME

__all__ = ["Inside", "Sought"]

_TOP: Final = ItemId(int(SystemFolder.USER_ROOT))
_TOPS: Final = (_TOP, ItemId(int(SystemFolder.ROOT)))
_FIRST_OWN: Final = 256
_DEEPEST: Final = 500
_SECOND_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLine:
    """A folder as a tree shows it, and when it was deleted if that had happened by then."""

    item: ItemId
    kind: ItemKind
    name: str
    path: str
    depth: int
    items: int = 0
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemLine:
    """An item as a list shows it: its state at the moment, and what became of it.

    `deleted_at` is when it was deleted, by then or later; `is_gone` tells which. `moved_from` is
    the folder that it lay in until `moved_at`. `path` is that
    of its folder, `since` when the backup first had it.
    """

    item: ItemId
    kind: ItemKind
    folder: ItemId | None
    path: str
    title: str
    sender: str
    date: datetime | None
    size: int | None
    flags: str
    tags: tuple[str, ...]
    since: datetime
    is_gone: bool = False
    deleted_at: datetime | None = None
    moved_from: str = ""
    moved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A mailbox at a moment: its folders in the order of the tree, and a page of one of them.

    `count` is of all pages. `earlier` and `later` are the changes of the mailbox beside the moment.
    `held` is, of an empty folder, from when to when the last item was in it.
    """

    folders: list[FolderLine]
    items: list[ItemLine] = field(default_factory=list)
    count: int = 0
    earlier: datetime | None = None
    later: datetime | None = None
    held: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemInTime:
    """The `itemStates` of an item, oldest first; its file in the Backup Path, and what is wrong."""

    states: list[dict[str, Any]]
    file: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How many items of an account the catalog knows, of how many there are."""

    items: int
    total: int


class _Enough(Exception):
    """The time for reading is used up."""


def read_up(ctx: Context, account: AccountId, *, seconds: float) -> Known | None:
    """Bring the catalog up to date for about so long; None once it is, else how far it is.

    The next call goes on from there.
    """
    until = time.monotonic() + seconds

    def tick(_states: int) -> None:
        if time.monotonic() > until:
            raise _Enough

    try:
        ctx.catalog.ask(account, lambda _connection, _number: None, tick=tick)
    except _Enough:
        totals = ctx.catalog.ask_as_it_is(account, answers.totals, is_behind=True)
        there = sum(1 for _ in ctx.path.items(account))
        return Known(items=totals.items if totals else 0, total=there)
    return None


def view(ctx: Context, account: AccountId, inside: Inside, *, first: int, limit: int) -> View:
    """Return a mailbox at a moment, as far as the catalog knows it now; see `read_up`."""

    def ask(connection: sqlite3.Connection, number: int) -> View:
        folders = _Folders(browsing.folder_states(connection, number), inside.before)
        counts = browsing.counts(connection, number, inside.before)
        gone = browsing.count_gone(connection, number, inside) if inside.gone else 0
        found = browsing.page(connection, number, inside, first=first, limit=limit)
        histories = [(answers.history(connection, number, item), n) for item, n in found]
        earlier, later = browsing.changes_beside(
            connection,
            number,
            # What lies in the second that is shown is beside nothing.
            before=inside.before - _SECOND_MS if inside.before < FOREVER else FOREVER,
            after=inside.before,
        )
        return View(
            folders=list(folders.lines(counts)),
            items=[_item(history, n, inside.before, folders) for history, n in histories],
            count=counts.get(inside.folder, 0) + gone,
            earlier=earlier,
            later=later,
            held=None if found else browsing.last_held(connection, number, inside),
        )

    return ctx.catalog.ask_as_it_is(account, ask, is_behind=True) or View(folders=[])


def found(
    ctx: Context, account: AccountId, sought: Sought, *, first: int, limit: int
) -> list[ItemLine]:
    """Return items that were ever like that, the newest first, each as it was so last."""

    def ask(connection: sqlite3.Connection, number: int) -> list[ItemLine]:
        folders = _Folders(browsing.folder_states(connection, number), FOREVER)
        lines = browsing.found(connection, number, sought, first=first, limit=limit)
        histories = [(answers.history(connection, number, item), n) for item, n in lines]
        return [_item(history, n, FOREVER, folders) for history, n in histories]

    return ctx.catalog.ask_as_it_is(account, ask, is_behind=True) or []


def items_at(
    ctx: Context, account: AccountId, items: Sequence[ItemId], before: datetime
) -> list[ItemLine]:
    """Return these items as they were at a moment, deleted ones as they were before that."""
    end = ms_before(before)

    def ask(connection: sqlite3.Connection, number: int) -> list[ItemLine]:
        folders = _Folders(browsing.folder_states(connection, number), end)
        found = []
        for item in items:
            history = answers.history(connection, number, item)
            living = [each for each in history if not each.deleted and to_ms(each.start) < end]
            if living:
                found.append(_item(history, living[-1].number, end, folders))
        return found

    return ctx.catalog.ask(account, ask) or []


def changes(ctx: Context, account: AccountId, limits: Sequence[datetime]) -> list[tuple[int, int]]:
    """Return how many changes there were, and how many of them deletions, between each two."""
    spans = [to_ms(limit) for limit in limits]
    found = ctx.catalog.ask_as_it_is(
        account,
        lambda connection, number: browsing.changes(connection, number, spans),
        is_behind=True,
    )
    return found or [(0, 0) for _ in limits[1:]]


def item_in_time(ctx: Context, account: AccountId, item: ItemId) -> ItemInTime:
    """Return all states of an item as `getItem` shows them. Raises BadRequest (no_such_item)."""
    lookup = GetItem(account=AccountNameOrId(account), item=item, date=Moment(keyword="all"))
    problem = ""
    try:
        answer = lookup.answer(ctx)
    except IncompleteAnswer as error:
        answer, problem = error.response, str(error)
    file = ctx.path.tree.root / layout.item_file(account, item)
    return ItemInTime(states=answer["itemStates"], file=str(file), problem=problem)


def ms_before(before: datetime) -> int:
    """Return a moment as the catalog takes it."""
    return FOREVER if before == ALL_TIME else to_ms(before)


# Folders


class _Folders:
    """The folders of a mailbox as they were at a moment, the deleted ones among them."""

    def __init__(self, states: Sequence[Line], before: int) -> None:
        self._then: dict[ItemId, Line] = {}
        self._deleted_at: dict[ItemId, datetime] = {}
        self._ever: dict[ItemId, Line] = {}
        for line in states:
            if not line.deleted:
                self._ever[line.item] = line
            if to_ms(line.start) >= before:
                continue
            if line.deleted:
                self._deleted_at[line.item] = line.start
            else:
                self._then[line.item] = line
                self._deleted_at.pop(line.item, None)

    def path(self, folder: ItemId | None) -> str:
        """Return the path of a folder as it was then; of a later one as it was last."""
        names: list[str] = []
        while folder is not None and folder != _TOP and len(names) < _DEEPEST:
            line = self._then.get(folder) or self._ever.get(folder)
            if line is None:
                break
            names.append(line.name or "")
            folder = line.folder if line.folder != folder else None
        return "/" + "/".join(reversed(names))

    def lines(self, counts: Mapping[ItemId, int]) -> Iterator[FolderLine]:
        """Yield the tree, each folder before what is in it."""
        inside: dict[ItemId | None, list[Line]] = defaultdict(list)
        for line in self._then.values():
            is_orphan = line.folder not in self._then and line.folder not in _TOPS
            inside[_TOP if is_orphan else line.folder].append(line)
        yield from self._below(_TOP, 0, inside, counts)

    def _below(
        self,
        parent: ItemId,
        depth: int,
        inside: Mapping[ItemId | None, list[Line]],
        counts: Mapping[ItemId, int],
    ) -> Iterator[FolderLine]:
        for line in sorted(inside.get(parent, ()), key=_place):
            if line.item in _TOPS or depth >= _DEEPEST:
                continue
            yield FolderLine(
                item=line.item,
                kind=line.kind,
                name=line.name or "",
                path=self.path(line.item),
                depth=depth,
                items=counts.get(line.item, 0),
                deleted_at=self._deleted_at.get(line.item),
            )
            yield from self._below(line.item, depth + 1, inside, counts)


def _place(line: Line) -> tuple[int, str, int]:
    """The folders that every mailbox has come first, in their own order."""
    own = min(line.item, _FIRST_OWN)
    return own, (line.name or "").casefold(), line.item


# Items


def _item(history: Sequence[Line], number: int, before: int, folders: _Folders) -> ItemLine:
    """Return the state of that number, and what its history says besides."""
    line = next(each for each in history if each.number == number)
    end = next((each for each in history if each.number > number and each.deleted), None)
    is_gone = end is not None and to_ms(end.start) < before
    if not is_gone:
        # What was recovered in between is there.
        end = history[-1] if history[-1].deleted else None
    moved_from, moved_at = _moved(history, number)
    return ItemLine(
        item=line.item,
        kind=line.kind,
        folder=line.folder,
        path=folders.path(line.folder),
        title=line.subject or line.name or "",
        sender=line.sender or "",
        date=datetime.fromtimestamp(line.date, UTC) if line.date > 0 else None,
        size=line.size,
        flags=line.flags,
        tags=line.tags,
        since=history[0].start,
        is_gone=is_gone,
        deleted_at=end.start if end else None,
        moved_from=folders.path(moved_from) if moved_at else "",
        moved_at=moved_at,
    )


def _moved(history: Sequence[Line], number: int) -> tuple[ItemId | None, datetime | None]:
    """Return the folder before the present one, and since when it is in the present one."""
    here: Line | None = None
    for line in sorted((each for each in history if each.number <= number), key=_youngest):
        if line.deleted:
            continue
        if here is not None and line.folder != here.folder:
            return line.folder, here.start
        here = line
    return None, None


def _youngest(line: Line) -> int:
    return -line.number
