"""What a purge removes, in groups, several threads at it: a removal is a wait for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.disk import Mark
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.removal import Account, Remover
from backupng.engine.model import ItemId
from backupng.engine.upkeep.purge_blobs import ACCOUNTS, BLOBS, Survey, trash_folder
from backupng.engine.upkeep.purge_findings import AccountMark, References, length_of

_THREADS: Final = 3
_ITEMS_AT_ONCE: Final = 256
"""Histories removed while an account's lock is held: a writer waits no longer."""
_GROUP: Final = 64
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What became of some items of an account, or of all of it; `size` is in bytes.

    `items` are gone, or with None the account as a whole. `spared` are items that were written to,
    or went, since they were read; `is_spared` says the same of the account as a whole.
    """

    mark: AccountMark
    items: tuple[ItemId, ...] | None
    size: int = 0
    spared: tuple[ItemId, ...] = ()
    is_spared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some expired items of one account, or with None all of it."""

    mark: AccountMark
    items: Sequence[tuple[ItemId, Mark]] | None


class Removers:
    """Threads that remove, each with a `Remover` of its own."""

    def __init__(self, pool: ThreadPoolExecutor, several: Sequence[Remover]) -> None:
        self._pool = pool
        self._idle: SimpleQueue[Remover] = SimpleQueue()
        for remover in several:
            self._idle.put(remover)

    def work(
        self, do: Callable[[Remover, _In], _Out], parts: Iterable[_In]
    ) -> Iterator[list[_Out]]:
        """Do it for all parts, a group at a time; yield what came of each group."""
        waiting = iter(parts)
        while group := list(islice(waiting, _GROUP)):
            yield list(self._pool.map(partial(self._with_a_remover, do), group))

    def _with_a_remover(self, do: Callable[[Remover, _In], _Out], part: _In) -> _Out:
        remover = self._idle.get()
        try:
            return do(remover, part)
        finally:
            self._idle.put(remover)


@contextmanager
def removers(root: Path) -> Iterator[Removers]:
    """Have threads for a tree."""
    with ExitStack() as stack:
        several = [stack.enter_context(Remover(root)) for _ in range(_THREADS)]
        yield Removers(stack.enter_context(ThreadPoolExecutor(_THREADS)), several)


def remove_metadata(
    several: Removers, marks: Iterable[AccountMark], *, purge_ms: int
) -> Iterator[list[Removed]]:
    """Remove what has expired of the accounts; yield what came of each group, in its order."""
    remove = partial(_remove, purge_ms=purge_ms)
    yield from several.work(remove, _parts(marks))


def move_blobs(
    several: Removers, found: Survey, living: References | None, *, purge_ms: int, before_ns: int
) -> Iterator[list[tuple[int, int]]]:
    """Move blobs into the trash; yield for each group number and bytes of each folder's.

    `living`, if given, is asked once more: something may be named after all.
    """
    into = trash_folder(purge_ms) / BLOBS

    def move(remover: Remover, bucket: str) -> tuple[int, int]:
        names = found.names_of(bucket)
        if living is not None:
            named = living.of(bucket)
            names = [name for name in names if name[2:10].encode() not in named]
        return remover.move_blobs(bucket, names, into, before_ns=before_ns)

    return several.work(move, found.buckets)


def empty_trash(several: Removers, remover: Remover, purge_ms: int) -> Iterator[list[int]]:
    """Delete what a purge has put into the trash; yield the bytes of each group's parts."""
    for inside, at_once in ((BLOBS, _ITEMS_AT_ONCE), (ACCOUNTS, 1)):
        path = trash_folder(purge_ms) / inside
        with remover.folder(path) as folder:
            names = folder.names()
        parts = [names[at : at + at_once] for at in range(0, len(names), at_once)]
        yield from several.work(partial(_delete, path), parts)
    yield [remover.delete(layout.TRASH, [str(purge_ms)])]


def _delete(folder: Place, remover: Remover, names: Sequence[str]) -> int:
    return remover.delete(folder, names)


def _parts(marks: Iterable[AccountMark]) -> Iterator[_Part]:
    for mark in marks:
        if mark.deletion is not None:
            yield _Part(mark=mark, items=None)
            continue
        expired = mark.expired()
        while some := list(islice(expired, _ITEMS_AT_ONCE)):
            yield _Part(mark=mark, items=some)


def _remove(remover: Remover, part: _Part, *, purge_ms: int) -> Removed:
    mark = part.mark
    with remover.account(layout.account_folder(mark.account)) as folder:
        if folder is None:
            # Moved or deleted by hand: there is nothing left to remove.
            return Removed(mark=mark, items=())
        if part.items is None:
            return _move_account(folder, mark, purge_ms)
        return _unlink(folder, mark, part.items)


def _move_account(folder: Account, mark: AccountMark, purge_ms: int) -> Removed:
    into = trash_folder(purge_ms) / ACCOUNTS
    is_gone = mark.deletion is not None and folder.move(into, stamp=mark.deletion.stamp)
    return Removed(
        mark=mark,
        items=None if is_gone else (),
        size=mark.size if is_gone else 0,
        is_spared=not is_gone,
    )


def _unlink(folder: Account, mark: AccountMark, items: Sequence[tuple[ItemId, Mark]]) -> Removed:
    folder.stamp()
    spared: set[int] = set()
    for number, some in groupby(items, key=lambda each: each[0] % 100):
        wanted = [(str(item), found) for item, found in some]
        spared.update(map(int, folder.unlink(f"{number:02d}", wanted)))
    gone = [(item, found) for item, found in items if item not in spared]
    return Removed(
        mark=mark,
        items=tuple(item for item, _ in gone),
        size=sum(length_of(found) for _, found in gone),
        spared=tuple(ItemId(item) for item in sorted(spared)),
    )
