"""What the Backup Path knows of one account's items, while records are applied to them."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from backupng.engine.backuppath.store import BackupPath, Writer
from backupng.engine.catalog.answers import Line
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.zimbra.codes import Flag, bits_of, letters_of
from backupng.engine.model import (
    CONVERSATION,
    FOLDER_LIKE,
    AccountId,
    ItemId,
    ItemKind,
    ItemState,
)

_CACHED_STATES: Final = 2_000
TRASH: Final = ItemId(3)
_NOTHING: Final[frozenset[ItemId]] = frozenset()


def parent_of(state: ItemState) -> ItemId | None:
    """Return the conversation of a message, or the document of a comment, as far as is known."""
    if "parent_id" in state.row:
        return ItemId(state.row["parent_id"])
    noted = state.fields.get(CONVERSATION, "")
    return ItemId(int(noted)) if noted.isascii() and noted.isdigit() else None


@dataclass(frozen=True, slots=True)
class Brief:
    """What finds a living item by what it belongs to."""

    kind: ItemKind
    folder_id: ItemId | None
    parent_id: ItemId | None
    tags: tuple[str, ...]
    is_marked: bool
    """Whether IMAP has marked it as deleted."""

    @classmethod
    def of(cls, state: ItemState) -> Brief:
        """Return what is remembered of a state."""
        folder, parent = state.folder_id, parent_of(state)
        return cls(state.kind, folder, parent, state.tags, "x" in state.flags)

    @classmethod
    def known_by(cls, line: Line) -> Brief:
        """Return the same of what the catalog knows of a state."""
        return cls(line.kind, line.folder, line.parent, line.tags, "x" in line.flags)


class Index:
    """All living items of an account, found by what they belong to."""

    def __init__(self) -> None:
        self.briefs: dict[ItemId, Brief] = {}
        self._by_folder: dict[ItemId | None, set[ItemId]] = defaultdict(set)
        self._by_parent: dict[ItemId | None, set[ItemId]] = defaultdict(set)
        self._by_tag: dict[str, set[ItemId]] = defaultdict(set)
        self.tags: set[ItemId] = set()
        self.marked: set[ItemId] = set()

    def put(self, state: ItemState) -> None:
        """Take the newest state of an item in, a deletion too."""
        item = state.item_id
        old = self.briefs.pop(item, None)
        if old is not None:
            for places in self._places(old):
                places.discard(item)
        if not state.deleted:
            self.add(item, Brief.of(state))

    def add(self, item: ItemId, brief: Brief) -> None:
        """Take in an item that is not in yet."""
        self.briefs[item] = brief
        for places in self._places(brief):
            places.add(item)

    def join(self, item: ItemId, parent: ItemId) -> None:
        """Note the conversation of an item whose state does not tell it."""
        brief = self.briefs.get(item)
        if brief is not None:
            self._by_parent[brief.parent_id].discard(item)
            self._by_parent[parent].add(item)
            self.briefs[item] = replace(brief, parent_id=parent)

    def inside(self, folder: ItemId) -> Set[ItemId]:
        """Return what lies in a folder itself."""
        return self._by_folder.get(folder, _NOTHING)

    def children(self, parent: ItemId) -> Set[ItemId]:
        """Return the messages of a conversation, or the comments of a document."""
        return self._by_parent.get(parent, _NOTHING)

    def bearers(self, tag: str) -> Set[ItemId]:
        """Return what bears a tag of that name."""
        return self._by_tag.get(tag, _NOTHING)

    def tag_names(self) -> Set[str]:
        """Return the names of tags that items bear."""
        return {name for name, items in self._by_tag.items() if items}

    def _places(self, brief: Brief) -> Iterator[set[ItemId]]:
        yield self._by_folder[brief.folder_id]
        yield self._by_parent[brief.parent_id]
        for tag in brief.tags:
            yield self._by_tag[tag]
        if brief.kind is ItemKind.TAG:
            yield self.tags
        if brief.is_marked:
            yield self.marked


class Known:
    """Last states of an account's items, those that wait to be written included."""

    def __init__(
        self,
        path: BackupPath,
        writer: Writer,
        account: AccountId,
        catalog: Catalog | None = None,
    ) -> None:
        self._path = path
        self._catalog = catalog
        self._writer = writer
        self.account = account
        self.ahead: Set[ItemId] = _NOTHING
        self.stale: Set[ItemId] = _NOTHING
        """Items whose last state here is not what it was when the next record came; deleted so."""
        self.joined: dict[ItemId, ItemId] = {}
        """Conversations that such items have joined meanwhile."""
        self.marked: dict[ItemId, bool] = {}
        """Whether IMAP has marked such items as deleted meanwhile, where a record told."""
        self._waiting: dict[ItemId, ItemState] = {}
        self._ended: dict[ItemId, ItemState] = {}
        """What such items were last that came and went while they wait to be written."""
        self._read: OrderedDict[ItemId, ItemState | None] = OrderedDict()
        self._index: Index | None = None
        self._scanned: datetime | None = None

    def refresh(self) -> None:
        """Forget what a scan may have changed meanwhile; comes before each group of records."""
        if self._waiting:
            return
        self._read.clear()
        try:
            last = self._writer.last_mailbox(self.account)
        except ItemError:
            last = None
        scanned = last.start if last else None
        if scanned != self._scanned:
            self._scanned, self._index = scanned, None

    def committed(self) -> None:
        """Let go of states that are in the Backup Path now."""
        self._waiting.clear()
        self._ended.clear()
        self._read.clear()

    @property
    def size(self) -> int:
        """How many items are held in memory for good."""
        return len(self._index.briefs) if self._index else 0

    def last(self, item: ItemId) -> ItemState | None:
        """Return an item's last state, a deletion too; None if it is unknown or unreadable."""
        if item in self._waiting:
            return self._waiting[item]
        if item in self._read:
            self._read.move_to_end(item)
            return self._read[item]
        try:
            found = self._writer.last_state(self.account, item)
        except ItemError:
            # The writer will refuse what is appended to it, and so report the damage.
            found = None
        self._read[item] = found
        if len(self._read) > _CACHED_STATES:
            self._read.popitem(last=False)
        return found

    def living(self, item: ItemId) -> ItemState | None:
        """Return an item's last state if it lives, with the mark of IMAP it got or lost since."""
        state = self.last(item)
        if state is None or state.deleted:
            return None
        return _marked(state, on=self.marked[item]) if item in self.marked else state

    def content(self, item: ItemId) -> ItemState | None:
        """Return an item's last living state, however it ended; None also if it is not current."""
        if item in self.ahead or item in self.stale:
            return None
        last = self.last(item)
        if last is None or not last.deleted:
            return last
        if item in self._ended:
            return self._ended[item]
        try:
            history = self._path.history(self.account, item)
        except ItemError:
            return None
        return next((state for state in reversed(history) if not state.deleted), None)

    def note(self, state: ItemState) -> None:
        """Take note of a state that is about to be written."""
        before = self._waiting.get(state.item_id)
        if state.deleted and before is not None and not before.deleted:
            self._ended[state.item_id] = before
        self._waiting[state.item_id] = state
        if self._index is not None:
            self._index.put(state)

    def join(self, item: ItemId, parent: ItemId) -> None:
        """Take note of the conversation of an item that is ahead."""
        self.joined[item] = parent
        if self._index is not None:
            self._index.join(item, parent)

    @property
    def index(self) -> Index:
        """All living items; the first look asks the catalog, or reads all histories there are."""
        if self._index is None:
            index = Index()
            for item in self._to_read(index):
                state = self.last(item)
                if state is not None:
                    index.put(state)
            for state in self._waiting.values():
                index.put(state)
            for item, parent in self.joined.items():
                index.join(item, parent)
            self._index = index
        return self._index

    def _to_read(self, index: Index) -> Iterator[ItemId]:
        """Take in what the catalog knows; yield the items whose histories are to be read."""
        if self._catalog is None:
            yield from self._path.items(self.account)
            return
        for line in self._catalog.living(self.account):
            index.add(line.item, Brief.known_by(line))
        for item, _ in self._catalog.unreadable(self.account):
            # The last line may be one that can be read.
            yield item

    def below(self, folder: ItemId) -> set[ItemId]:
        """Return everything living in a folder and in the folders below it, itself left out."""
        found: set[ItemId] = set()
        level = {folder}
        while level:
            inside = set().union(*map(self.index.inside, level)) - found - level
            found |= inside
            level = {item for item in inside if self.index.briefs[item].kind in FOLDER_LIKE}
        return found - {folder}

    def is_in_trash(self, folder: ItemId | None) -> bool:
        """Say whether a folder is the Trash or lies in it, as far as is known."""
        return any(each == TRASH for each in self._upwards(folder))

    def spelling(self, tag: str) -> str:
        """Return the name of the tag that is meant: names differ in more than case."""
        if self._index is not None:
            for item in self._index.tags:
                state = self.living(item)
                if state and state.name and state.name.casefold() == tag.casefold():
                    return state.name
        return tag

    def _upwards(self, folder: ItemId | None) -> Iterator[ItemId]:
        passed: set[ItemId] = set()
        while folder is not None and folder not in passed:
            yield folder
            passed.add(folder)
            state = self.last(folder) if folder != TRASH else None
            folder = state.folder_id if state else None


def _marked(state: ItemState, *, on: bool) -> ItemState:
    bits = bits_of(state.flags)
    return replace(state, flags=letters_of(bits | Flag.DELETED if on else bits & ~Flag.DELETED))
