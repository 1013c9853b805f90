"""The maps of an import: old ids -> new ids, of directory entries and of items.

`map_<source server id>` at the root says what became of domains, classes of service, lists and
accounts; `id_mapper` in an account's folder what became of its items, folders and tags. Both are
sealed lines like a history's (FORMAT.md §4.5); a later line takes the place of an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from backupng.engine.backuppath import layout, mapcopies, metadata, values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.histories import numbered
from backupng.engine.backuppath.layout import Place
from backupng.engine.errors import BackupPathBroken, BrokenItem
from backupng.engine.model import AccountId, EntryKind, ItemId, to_ms

MAPPED: Final = (EntryKind.DOMAIN, EntryKind.COS, EntryKind.LIST, EntryKind.ACCOUNT)
MOST_ITEMS: Final = 500
"""So many items one line tells of at most."""
_MOST_LEFT: Final = 50_000
"""Above that a line names none of them: it would become too long."""
_LONGEST_ID, _LONGEST_NAME = 127, 320
_HIGHEST_ITEM: Final = 2**31 - 1
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_ITEM: Final = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What became of one directory entry: its id and name at the source, and here.

    `own`: it was here before the first import, and goes on saying what it said. `since`, in ms, is
    when the first line told of it under that id; 0 of what no line tells of yet.
    """

    kind: EntryKind
    old: str
    new: str
    name: str
    here: str
    own: bool = False
    since: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedItems:
    """What became of items of one account: of which server and account they were.

    `mailbox` is the id of the mailbox here that they are in. With `anew` it has lost what earlier
    lines tell of, but for so many just before as `kept` says. `left` is what the import that ended
    with this line could not restore; None: it does not say.
    """

    server_id: str
    account: AccountId
    mailbox: str
    items: Mapping[ItemId, ItemId]
    anew: bool = False
    kept: int = 0
    left: frozenset[ItemId] | None = None


class _Lines:
    """A file of sealed lines that one writer adds to; in a dry run nothing is added."""

    def __init__(self, tree: Tree, path: Place, *, dry: bool) -> None:
        self._tree, self._path, self._dry = tree, path, dry
        data = tree.read(path, limit=values.LONGEST_FILE)
        where = str(tree.root / path)
        self.bodies, self._good, self._digits = _read(data or b"", path, where=where)
        self._is_there = data is not None
        self._is_named = False
        """Its name is durable with the next sync: who made the file may have been killed before."""

    def add(self, body: dict[str, Any], now: datetime) -> None:
        """Add one line; durable with the tree's next sync."""
        if self._dry:
            return
        head = {"n": len(self.bodies) + 1, "t": to_ms(now)}
        spelled = head | body
        data, digits = metadata.seal(self._digits, values.dump_body(spelled))
        if self._good + len(data) > values.LONGEST_FILE:
            raise BackupPathBroken(
                f"{self._tree.root / self._path} has become too long for a map.",
                hint="Move it away: what is there already is then recognised by its content.",
            )
        cut_to = self._good if self._is_there else None
        self._tree.append(self._path, data, cut_to=cut_to, named=self._is_named)
        self.bodies.append(spelled)
        self._good, self._digits = self._good + len(data), digits
        self._is_there = self._is_named = True


class IdMap:
    """`map_<server id>` of a tree: what became of the directory entries of that server."""

    def __init__(self, tree: Tree, server_id: str, *, dry: bool = False) -> None:
        """Read it; without a file it is empty. Raises BackupPathBroken, ReadError.

        `dry`: what is noted counts for as long as this lasts, and is not written.
        """
        self._tree = tree
        self._lines = _Lines(tree, layout.map_file(server_id), dry=dry)
        self._found: dict[tuple[EntryKind, str], Mapped] = {}
        for each in map(_mapped, self._lines.bodies):
            first = self._found.get((each.kind, each.old), each)
            since = first.since if first.new == each.new else each.since
            self._found[each.kind, each.old] = replace(each, since=since)

    def __iter__(self) -> Iterator[Mapped]:
        return iter(self._found.values())

    def new_id(self, kind: EntryKind, old: str) -> str | None:
        """Return the id here of what had that id at the source."""
        found = self._found.get((kind, old))
        return found.new if found else None

    def note(self, mapped: Mapped, now: datetime) -> None:
        """Remember what became of an entry, durably after `sync`; what is known adds nothing.

        One that a kill takes back is found again by its name.
        """
        key = (mapped.kind, mapped.old)
        if self._found.get(key) != mapped:
            self._lines.add(_spell(mapped), now)
            self._found[key] = mapped

    def sync(self) -> None:
        """Have everything that was noted be durable."""
        self._tree.sync()


class ItemMap:
    """The `id_mapper` of an account here, as to one account of one source server.

    Maps old item ids to new ones, those of folders and tags among them. What it tells of another
    mailbox, one that was deleted here, does not count.
    """

    def __init__(
        self,
        tree: Tree,
        account: AccountId,
        *,
        server_id: str,
        source: AccountId,
        mailbox: str | None = None,
        dry: bool = False,
    ) -> None:
        """Read it; without a file it is empty. Raises BackupPathBroken, ReadError.

        `mailbox` is the id of the present mailbox, which who notes must know; None: of the last one
        that was noted. `dry`: what is noted counts for as long as this lasts, and is not written.
        """
        self._tree = tree
        self._lines = _Lines(tree, layout.id_mapper(account), dry=dry)
        self._server_id, self._source, self._mailbox = server_id, source, mailbox
        self._found: dict[ItemId, ItemId] = {}
        self._taken: set[ItemId] = set()
        self._named: set[ItemId] = set()
        """All new ids, those of other sources too."""
        self._left: frozenset[ItemId] = frozenset()
        for each in _that_count(map(_mapped_items, self._lines.bodies)):
            if mailbox in (None, each.mailbox):
                self._named.update(each.items.values())
                if (each.server_id, each.account) == (server_id, source):
                    self._take(each.items)
                    self._left = self._left if each.left is None else each.left

    @property
    def left(self) -> frozenset[ItemId]:
        """What the last import could not restore; 0 among it stands for anything."""
        return self._left

    @property
    def items(self) -> Mapping[ItemId, ItemId]:
        """Old ids to new ones."""
        return self._found

    def note(self, items: Mapping[ItemId, ItemId], now: datetime) -> None:
        """Remember what became of items, durably; what is known already adds nothing."""
        news = [(old, new) for old, new in items.items() if self._found.get(old) != new]
        if news:
            self._write(news, now)
            self._tree.sync()

    def begin_anew(self, kept: Mapping[ItemId, ItemId], now: datetime) -> None:
        """Let nothing count, durably, but `kept`: the mailbox was set back to an earlier state.

        `kept` is part of what is known, so until the last line is written nothing has changed.
        """
        self._found, self._taken, self._named = {}, set(), set()
        lines = self._write(list(kept.items()), now)
        left = {"left": sorted(self._left)} if self._left else {}
        self._add({"items": {}, "anew": True, "kept": lines, **left}, now)
        self._tree.sync()

    def leave(self, items: Iterable[ItemId], now: datetime) -> None:
        """Remember what an import that is at its end could not restore, in place of what was."""
        left = frozenset(items)
        left = left if len(left) <= _MOST_LEFT else frozenset({ItemId(0)})
        if left != self._left and self._mailbox:
            self._add({"items": {}, "left": sorted(left)}, now)
            self._tree.sync()
            self._left = left

    def above(self, highest: int) -> list[ItemId]:
        """Return the new ids of whatever source above `highest`, ascending."""
        return sorted(item for item in self._named if item > highest)

    def _write(self, pairs: Sequence[tuple[ItemId, ItemId]], now: datetime) -> int:
        """Add what became of items; return in how many lines."""
        starts = range(0, len(pairs), MOST_ITEMS)
        for at in starts:
            some = dict(pairs[at : at + MOST_ITEMS])
            self._add({"items": {str(old): new for old, new in some.items()}}, now)
            self._take(some)
        return len(starts)

    def _add(self, body: dict[str, Any], now: datetime) -> None:
        if self._mailbox is None:
            raise ValueError("a map is noted for a mailbox")
        head = {"server": self._server_id, "account": self._source, "mailbox": self._mailbox}
        self._lines.add(head | body, now)

    def holds(self, new: ItemId) -> bool:
        """Say whether some item is known to have become that one."""
        return new in self._taken

    def _take(self, items: Mapping[ItemId, ItemId]) -> None:
        self._found |= items
        self._taken.update(items.values())
        self._named.update(items.values())


def check(tree: Tree, path: Place) -> int | None:
    """Check a map; return how many bytes it has, None if there is none.

    Raises ReadError, or BrokenItem for a damaged one.
    """
    data = tree.read(path, limit=values.LONGEST_FILE)
    if data is None:
        return None
    _checked(data, path)
    return len(data)


def maps_of(tree: Tree) -> list[str]:
    """Return the names of the maps at the root of a tree, sorted."""
    return [name for name in tree.names(Place()) if layout.server_of_map(name) is not None]


def read_items(file: Path) -> list[MappedItems]:
    """Read a map of items by its path: an account's `id_mapper`.

    Raises BadRequest (path_missing, path_not_readable), NotABackupPath for what is no map of ours,
    BackupPathBroken for a damaged one.
    """
    bodies = _whole(mapcopies.text_of(file), Place("/".join(file.parts[-3:])), file)
    return _that_count(map(_mapped_items, bodies))


def read_entries(file: Path, names: Iterable[str] = ()) -> tuple[str, list[Mapped]]:
    """Read a map of entries by its path: return the name it was written under, and its lines.

    A copy may have any name: it was written under its own or one of `names`. Raises what
    `read_items` does.
    """
    data = mapcopies.text_of(file)
    first = data[: data.find(b"\n") + 1]
    for name in (file.name, *names):
        if not metadata.read_lines(first, layout.chain_seed(Place(name))).damage:
            return name, [_mapped(body) for body in _whole(data, Place(name), file)]
    error = _damaged(str(file), "line 1 is not what was written under that name")
    error.hint = "A copy under another name is read while the map itself lies in the Backup Path."
    raise error


def _whole(data: bytes, place: Place, file: Path) -> list[dict[str, Any]]:
    """Return the bodies of a map that nobody writes: its last line counts, too."""
    lines = metadata.read_lines(data, layout.chain_seed(place))
    if lines.damage:
        raise _damaged(str(file), lines.damage)
    return _read(data, place, where=str(file))[0]


def _read(data: bytes, path: Place, *, where: str) -> tuple[list[dict[str, Any]], int, str]:
    """Return the bodies of the intact lines, how many bytes they have, and their last digits.

    A last line that does not check is what a kill or a power loss has left: nobody relied on it.
    """
    try:
        return _checked(data, path)
    except BrokenItem as error:
        raise _damaged(where, str(error)) from error


def _checked(data: bytes, path: Place) -> tuple[list[dict[str, Any]], int, str]:
    lines = metadata.read_lines(data, layout.chain_seed(path))
    if lines.damage and data.find(b"\n", lines.good) not in (-1, len(data) - 1):
        raise BrokenItem(lines.damage)
    bodies = [
        numbered(values.load_body(body), number) for number, body in enumerate(lines.bodies, 1)
    ]
    parse = _mapped_items if path.name == layout.ID_MAPPER else _mapped
    for body in bodies:
        parse(body)
    return bodies, lines.good, lines.digits


def _damaged(where: str, why: str) -> BackupPathBroken:
    return BackupPathBroken(
        f"The map {where} is damaged: {why}.",
        hint="Move it away: what was imported is then recognised by its content.",
    )


def _spell(mapped: Mapped) -> dict[str, Any]:
    body: dict[str, Any] = {"kind": mapped.kind.value, "old": mapped.old, "new": mapped.new}
    body |= {"name": mapped.name} | ({"here": mapped.here} if mapped.here != mapped.name else {})
    return body | ({"own": True} if mapped.own else {})


def _mapped(body: Mapping[str, Any]) -> Mapped:
    try:
        kind, name = EntryKind(body["kind"]), _text(body["name"], _LONGEST_NAME)
        if kind not in MAPPED:
            raise ValueError(kind)
        return Mapped(
            kind=kind,
            old=_text(body["old"], _LONGEST_ID),
            new=_text(body["new"], _LONGEST_ID),
            name=name,
            here=_text(body.get("here", name), _LONGEST_NAME),
            own=values.flag(body.get("own", False)),
            since=values.integer(body["t"]),
        )
    except (KeyError, ValueError) as error:
        raise BrokenItem("a line is not what a map of entries says") from error


def _mapped_items(body: Mapping[str, Any]) -> MappedItems:
    try:
        return MappedItems(
            server_id=_text(body["server"], _LONGEST_ID),
            account=AccountId(_text(body["account"], _LONGEST_ID)),
            mailbox=_text(body["mailbox"], _LONGEST_ID),
            items={
                _item(old): _item(str(values.integer(new)))
                for old, new in values.mapping(body["items"]).items()
            },
            anew=values.flag(body.get("anew", False)),
            kept=values.integer(body.get("kept", 0)),
            left=_left(body["left"]) if "left" in body else None,
        )
    except (KeyError, ValueError) as error:
        raise BrokenItem("a line is not what a map of items says") from error


def _that_count(lines: Iterable[MappedItems]) -> list[MappedItems]:
    """Return those of the last mailbox that it has not lost again."""
    found: list[MappedItems] = []
    for line in lines:
        if found and found[-1].mailbox != line.mailbox:
            found = []
        if line.anew:
            found = found[max(0, len(found) - line.kept) :]
        found.append(line)
    return found


def _text(value: object, longest: int) -> str:
    found = values.text(value)
    if not 0 < len(found) <= longest or _CONTROL.search(found):
        raise ValueError(value)
    return found


def _left(listed: object) -> frozenset[ItemId]:
    items = map(values.integer, values.array(listed))
    return frozenset(ItemId(0) if item == 0 else _item(str(item)) for item in items)


def _item(text: str) -> ItemId:
    if not _ITEM.fullmatch(text) or int(text) > _HIGHEST_ITEM:
        raise ValueError(text)
    return ItemId(int(text))
