"""Where histories end, and how lines are added there.

A writer comes back to the same histories again and again. What it has read or written before, and
what nobody has touched since, it does not read again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Generic

from backupng.engine.backuppath import histories, layout, metadata, values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.histories import Parse, State
from backupng.engine.errors import InvalidItem

_REMEMBERED: Final = 4_000


@dataclass(frozen=True, slots=True)
class End(Generic[State]):
    """The end of one history: how many lines it has, how many bytes they are, the last one's sum.

    `last` is the state of the last line alone: its start may lie before that of an earlier one.
    `is_ours`: this writer has written there, so that its group has made, or will make, the file's
    name durable.
    """

    count: int
    length: int
    digits: str
    last: State | None
    is_ours: bool = False


class Ends:
    """The ends that one writer met last."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._met: OrderedDict[PurePosixPath, tuple[tuple[int, ...], End[Any]]] = OrderedDict()

    def of(self, path: PurePosixPath, parse: Parse[State]) -> End[State]:
        """Return where the history at `path` ends. Raises ReadError, or BrokenItem if damaged."""
        mark = self._tree.mark(path)
        met = self._met.get(path)
        if met is not None and met[0] == mark:
            self._met.move_to_end(path)
            return met[1]
        if not mark:
            # Never written, or removed by a purge. What is not there is not remembered either.
            return End(0, 0, metadata.first_digits(layout.chain_seed(path)), None)
        lines = histories.intact_lines(self._tree, path)
        count = len(lines.bodies)
        states = histories.states_of(self._tree, lines.bodies[-1:], parse, first=count)
        end = End(count, lines.good, lines.digits, next(states, None))
        self._meet(path, mark, end)
        return end

    def grown(self, path: PurePosixPath, mark: tuple[int, ...], end: End[Any]) -> None:
        """Take note of where a history ends now, and of its mark; the caller holds its lock."""
        self._meet(path, mark, end)

    def mark_of(self, path: PurePosixPath) -> tuple[int, ...]:
        """Return what `Tree.mark` said of a history when its end was last met."""
        return self._met[path][0]

    def forget(self) -> None:
        """Forget all: what was written is not certain to stay."""
        self._met.clear()

    def _meet(self, path: PurePosixPath, mark: tuple[int, ...], end: End[Any]) -> None:
        self._met[path] = mark, end
        self._met.move_to_end(path)
        if len(self._met) > _REMEMBERED:
            self._met.popitem(last=False)


class Growing(Generic[State]):
    """One history and the lines that are about to be appended to it; the caller holds its lock.

    Raises ItemError when it is damaged, or for a line that its readers would not take.
    """

    def __init__(self, tree: Tree, ends: Ends, path: PurePosixPath, parse: Parse[State]) -> None:
        self._tree = tree
        self._ends = ends
        self._path = path
        self._parse: Parse[State] = parse
        self._end: End[State] = ends.of(path, parse)
        self._begin: End[State] = self._end
        self._new: list[bytes] = []
        self._bodies: list[bytes] = []

    @property
    def last(self) -> State | None:
        """The state of the last line, added ones included."""
        return self._end.last

    @property
    def next_number(self) -> int:
        """The number of the line that comes next."""
        return self._end.count + 1

    def add(self, body: bytes) -> None:
        """Add a line, read back as all readers will read it."""
        line, digits = metadata.seal(self._end.digits, body)
        length = self._end.length + len(line)
        if length > values.LONGEST_FILE:
            raise InvalidItem(f"{self._tree.root / self._path} has reached its largest length.")
        last = self._read(body)
        self._bodies.append(body)
        self._new.append(line)
        self._end = End(self.next_number, length, digits, last, is_ours=True)

    def append(self) -> None:
        """Append the lines to the file, all with one write."""
        if self._new:
            begin, data = self._begin, b"".join(self._new)
            mark = self._tree.append(self._path, data, cut_to=begin.length, named=begin.is_ours)
            self._ends.grown(self._path, mark, self._end)
        elif self._end.count:
            # Another writer's lines, perhaps not synced yet, are why ours are none.
            self._tree.rely_on(self._path)

    def _read(self, body: bytes) -> State:
        earlier: list[bytes] = []
        if b'"more":' in body:
            # Bulk counts for the whole history, so that one is read as a whole.
            earlier = [*histories.intact_lines(self._tree, self._path).bodies, *self._bodies]
        first = self.next_number - len(earlier)
        *_, last = histories.states_of(self._tree, [*earlier, body], self._parse, first=first)
        return last
