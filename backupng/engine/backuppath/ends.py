"""Where histories end, and how lines are added there.

A writer comes back to the same histories again and again. What it has read or written before, and
what nobody has touched since, it does not read again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic

from backupng.engine.backuppath import histories, layout, metadata, values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.histories import Parse, State
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import InvalidItem
from backupng.engine.model import Digest

_REMEMBERED: Final = 1_000
_MARGIN_NS: Final = 3_600 * 10**9
"""No other writer's group was begun so long before this one and waits for its sync still."""


@dataclass(frozen=True, slots=True)
class End(Generic[State]):
    """The end of one history: how many lines it has, how many bytes they are, the last one's sum.

    `last` is the state of the last line alone: its start may lie before that of an earlier one.
    `is_ours`: this writer has written there, so that its group has made, or will make, the file's
    name durable. `is_there`: there is a file.
    """

    count: int
    length: int
    digits: str
    last: State | None
    is_ours: bool = False
    is_there: bool = True


class Ends:
    """The ends that one writer met last; `began_ns` is when that began."""

    def __init__(self, tree: Tree, *, began_ns: int) -> None:
        self._tree = tree
        self._young_ns = began_ns - _MARGIN_NS
        self._met: OrderedDict[Place, tuple[tuple[int, ...], End[Any]]] = OrderedDict()

    def of(self, path: Place, parse: Parse[State], *, is_alone: bool = False) -> End[State]:
        """Return where the history at `path` ends. Raises ReadError, or BrokenItem if damaged.

        `is_alone`: nobody else can have written there.
        """
        met = self._met.get(path)
        mark = () if is_alone and met is None else self._tree.mark(path)
        if met is not None and met[0] == mark:
            self._met.move_to_end(path)
            return met[1]
        if not mark:
            # Never written, or removed by a purge. What is not there is not remembered either.
            digits = metadata.first_digits(layout.chain_seed(path))
            return End(0, 0, digits, None, is_there=False)
        lines = histories.intact_lines(self._tree, path)
        if mark[3] >= self._young_ns:
            self._rely_on_blobs(lines.bodies)
        count = len(lines.bodies)
        states = histories.states_of(self._tree, lines.bodies[-1:], parse, first=count)
        end = End(count, lines.good, lines.digits, next(states, None))
        self._meet(path, mark, end)
        return end

    def _rely_on_blobs(self, bodies: Iterable[bytes]) -> None:
        """Have the next sync cover what lines name: it may not be durable yet, as they may not."""
        for digest in metadata.quoted_digests(b"".join(bodies)):
            self._tree.rely_on_blob(layout.blob_file(Digest(digest.decode("ascii"))))

    def grown(self, path: Place, mark: tuple[int, ...], end: End[Any]) -> None:
        """Take note of where a history ends now, and of its mark; the caller holds its lock."""
        self._meet(path, mark, end)

    def forget(self) -> None:
        """Forget all: what was written is not certain to stay."""
        self._met.clear()

    def _meet(self, path: Place, mark: tuple[int, ...], end: End[Any]) -> None:
        self._met[path] = mark, end
        self._met.move_to_end(path)
        if len(self._met) > _REMEMBERED:
            self._met.popitem(last=False)


class Growing(Generic[State]):
    """One history and the lines that are about to be appended to it; the caller holds its lock.

    Raises ItemError when it is damaged, or for a line that its readers would not take.
    """

    def __init__(self, tree: Tree, ends: Ends, path: Place, parse: Parse[State]) -> None:
        self._tree = tree
        self._ends = ends
        self._path = path
        self._parse: Parse[State] = parse
        is_alone = tree.make_folder(layout.folder_of(path))
        self._end: End[State] = ends.of(path, parse, is_alone=is_alone)
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

    def add(self, body: bytes, spelled: Mapping[str, Any]) -> State:
        """Add a line, read back as all readers will read it; return its state.

        `spelled` is what `dump_body` has made the body of.
        """
        line, digits = metadata.seal(self._end.digits, body)
        length = self._end.length + len(line)
        if length > values.LONGEST_FILE:
            raise InvalidItem(f"{self._tree.root / self._path} has reached its largest length.")
        last = self._read(body, spelled)
        self._bodies.append(body)
        self._new.append(line)
        self._end = End(self.next_number, length, digits, last, is_ours=True)
        return last

    def append(self) -> tuple[int, ...]:
        """Append the lines to the file, all with one write; return its mark, empty without any."""
        if not self._new:
            if self._end.count:
                # Another writer's lines, perhaps not synced yet, are why ours are none.
                self._tree.rely_on(self._path)
            return ()
        begin, data = self._begin, b"".join(self._new)
        cut_to = begin.length if begin.is_there else None
        mark = self._tree.append(self._path, data, cut_to=cut_to, named=begin.is_ours)
        self._ends.grown(self._path, mark, self._end)
        return mark

    def _read(self, body: bytes, spelled: Mapping[str, Any]) -> State:
        if values.MORE not in spelled:
            found = values.load_body(body, spelled=spelled)
            return self._parse(histories.numbered(found, self.next_number))
        # Bulk counts for the whole history, so that one is read as a whole.
        earlier: list[bytes] = [
            *histories.intact_lines(self._tree, self._path).bodies,
            *self._bodies,
        ]
        *_, last = histories.states_of(self._tree, [*earlier, body], self._parse)
        return last
