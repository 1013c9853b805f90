"""Inject: make a plan's states on the destination, then read back what is really there.

What is there already is skipped. An item that `known` maps and that lives is left as it is: moves
and changes are not repeated. One that it maps and that is gone was deleted there by its owner: that
is respected, and it is skipped too, unless the restore is to bring it back `again`. One that it
does not map may have come by a restore that was killed before it could say so, or by another way:
an equal item that nothing else claims is taken for it. So a batch is made, read back, recorded; a
kill between any two of these doubles nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from backupng.engine.errors import InvalidItem, ItemError, MailServerRefused, ServerFault
from backupng.engine.mailserver.port import Blobs, MailboxWriter, Places
from backupng.engine.model import AccountId, Digest, ItemId, ItemKind, ItemState
from backupng.engine.restore.apart import CALENDAR, can_stand_apart
from backupng.engine.restore.compare import is_half_made
from backupng.engine.restore.dress import described, is_bare
from backupng.engine.restore.known import AtHome, Known
from backupng.engine.restore.lines import LMTP_LONGEST_LINE, Lines, require_short
from backupng.engine.restore.placing import Placing
from backupng.engine.restore.ready import Ready, equal_to, put_folder
from backupng.engine.restore.rename import Plan, Planned, batches
from backupng.engine.restore.select import Selection
from backupng.engine.restore.settling import DELETED, NOT_FOUND, RESTORED, settled

CANNOT_HOLD: Final = "cannot be held by this mail server"
_MAIL: Final = frozenset({ItemKind.MESSAGE, ItemKind.CHAT})
_Result = TypeVar("_Result")
_Any = TypeVar("_Any", Planned, ItemState)


def _no_tick(_done: int, _total: int) -> None:
    pass


_Made = tuple[Ready, ItemId]
"""What was made, or found there, and its id there."""


@dataclass(slots=True, kw_only=True)
class Injection:
    """One account's plan on its way into a mailbox.

    Afterwards `moved` maps the old ids of all tags, folders and items that are there to new ones;
    `restored` and `skipped` count them, `unrestored` lists the others with their cause (`errors`
    has the reasons): together they are the plan. Of the skipped, `deleted_there` are those that the
    owner of the mailbox has deleted, `too_large` those above `largest_bytes` and comments on such.
    Of the restored, `deleted_since` are those that somebody deleted before they were read back.
    `long_lines` counts messages that came in and that delivery by LMTP would refuse.
    """

    selection: Selection
    writer: MailboxWriter
    holds: frozenset[ItemKind]
    accounts: Mapping[AccountId, AccountId]
    tick: Callable[[int, int], None] = _no_tick
    known: Known | None = None
    """None: the mailbox is new, so nothing can be there."""
    at_home: bool = False
    """Whether this is the very mailbox that the items are from: what is there keeps its look, an
    item that did not move is where it was, and one that is back is back wherever it lies."""
    again: bool = False
    in_place: bool = False
    """At home too, only what lies where it is to come is back."""
    exact: bool = False
    """With `in_place`: and only what looks as it is to."""
    beside: bool = False
    """What meets another of its name or UID comes beside it under a new one; always at home."""
    largest_bytes: int | None = None
    moved: dict[ItemId, ItemId] = field(default_factory=dict)
    kinds: Counter[ItemKind] = field(default_factory=Counter)
    """What was restored, by kind."""
    skipped: int = 0
    deleted_there: int = 0
    deleted_since: int = 0
    too_large: set[ItemId] = field(default_factory=set)
    long_lines: int = 0
    unrestored: list[tuple[ItemId, str]] = field(default_factory=list)
    errors: list[tuple[ItemId, ItemError]] = field(default_factory=list)
    _placing: Placing = field(init=False)
    _taken: set[ItemId] = field(default_factory=set)
    _gone: set[ItemId] = field(default_factory=set)
    """What somebody has deleted there: with a document its comments went, too."""
    _total: int = 0

    def __post_init__(self) -> None:
        self.beside = self.beside or self.at_home
        self._placing = self._placing_of(Plan())

    @property
    def restored(self) -> int:
        """How many were made and are there."""
        return self.kinds.total()

    @property
    def unknown_folders(self) -> int:
        """How many folders were made for those that nobody knows any more."""
        return self._placing.unknown

    @property
    def top(self) -> str:
        """The name that the plan's `top` was given, once there was something to put there."""
        return self._placing.top

    @property
    def counts(self) -> dict[str, int]:
        """The items so far, by what became of them."""
        return {
            "restored": self.restored,
            "skipped": self.skipped,
            "unrestored": len(self.unrestored),
        }

    def run(self, plan: Plan) -> None:
        """Make tags, then folders, then items batch by batch.

        Raises MailServerUnreachable when the destination dies: run again, it goes on from there.
        """
        self._total, self._placing = plan.size, self._placing_of(plan)
        self._taken = {*self.moved.values()}
        if not plan.top:
            # Folders that are there already need not be part of the plan.
            self._placing.places = self.moved | self._placing.places
        self._put_tags(plan.tags)
        self._put_folders(plan)
        for batch in batches(plan.items):
            self._put_batch(batch)
            self._tell()
        self._tell()

    def _placing_of(self, plan: Plan) -> Placing:
        return Placing(
            plan=plan,
            writer=self.writer,
            at_home=self.at_home,
            beside=self.beside,
            record=self._record,
        )

    # Tags and folders

    def _put_tags(self, tags: Sequence[ItemState]) -> None:
        pairs = []
        for state in self._unmapped(tags):
            put = partial(self.writer.put_tag, state, keep=self.at_home)
            if (found := self._attempt(state.item_id, put)) is not None:
                tag, is_new = found
                self.kinds[state.kind] += is_new
                self.skipped += not is_new
                pairs.append((state.item_id, self._arrive(state.item_id, tag)))
        self._record(pairs)

    def _put_folders(self, plan: Plan) -> None:
        for state in plan.system:
            self._put_system_folder(state)
        left = self._unmapped(plan.folders)
        # What its owner has deleted there is made again once something new needs it.
        waiting = {each.item_id for each in plan.folders} - {each.item_id for each in left}
        self._placing.places |= {each: self.moved[each] for each in waiting & self.moved.keys()}
        waiting -= self.moved.keys()
        folders = {each.item_id: each for each in plan.folders}
        self._placing.waiting |= {each: folders[each] for each in waiting}
        made: list[_Made] = []
        there: list[_Made] = []
        is_anywhere = self.at_home and not self.in_place
        back = self._equal([Ready(each, None) for each in left]) if is_anywhere else {}
        for state in left:
            if state.item_id in back:
                folder = self._arrive(state.item_id, back[state.item_id])
                there.append((Ready(state, None), folder))
                continue
            found = self._attempt(state.item_id, partial(self._put_folder, state))
            if found is not None:
                ready, folder, is_new = found
                (made if is_new else there).append((ready, folder))
        self._settle(made, there)

    def _put_system_folder(self, state: ItemState) -> None:
        old = state.item_id
        keep = self.at_home or (self.known is not None and self.known.find(old) is not None)
        parent = self._placing.place(state.folder_id)
        put = partial(self.writer.put_folder, state, parent, keep=keep)
        if (found := self._attempt(old, put)) is not None:
            self._placing.places[old] = self._arrive(old, found[0])
            self._record([] if keep else [(old, found[0])])

    def _put_folder(self, state: ItemState) -> tuple[Ready, ItemId, bool]:
        put = partial(put_folder, self.writer, state, keep=self.at_home, beside=self.beside)
        found = self._placing.put(state.folder_id, put)
        self._placing.places[state.item_id] = self._arrive(state.item_id, found[1])
        return found

    # Items

    def _put_batch(self, batch: Sequence[Planned]) -> None:
        turns = (self._ready(item) for item in self._unmapped(batch))
        there, missing = self._there([each for each in turns if each is not None])
        puts = (self._attempt(each.state.item_id, partial(self._put, each)) for each in missing)
        self._settle([each for each in puts if each is not None], there)

    def _ready(self, item: Planned) -> Ready | None:
        if item.kind not in self.holds:
            self.unrestored.append((item.item_id, CANNOT_HOLD))
            return None
        is_large = self.largest_bytes is not None and item.size > self.largest_bytes
        if is_large or item.document in self.too_large:
            self.skipped += 1
            self.too_large.add(item.item_id)
            return None
        if item.document in self._gone:
            self.skipped += 1
            self.deleted_there += 1
            return None
        return self._attempt(item.item_id, partial(self._turn, item))

    def _turn(self, item: Planned) -> Ready:
        state = self.selection.state(item.item_id, item.mod)
        if is_bare(state) and state.digest is not None:
            state = described(
                state, b"".join(self.selection.path.blob(state.digest, size=state.size))
            )
        limit = self.writer.longest_line
        if limit is not None and state.kind in _MAIL and state.digest is not None:
            require_short(self.selection.path.blob(state.digest), state.item_id, limit)
        # At home it may be back anywhere, and no folder is made for what is.
        is_anywhere = self.at_home and not self.in_place
        return Ready(state, None if is_anywhere else self._placing.place(state.folder_id))

    def _there(self, ready: Sequence[Ready]) -> tuple[list[_Made], list[Ready]]:
        """Part what is there already, and whole, from what is to be made."""
        if self.known is None:
            return [], list(ready)
        found = self._equal(ready)
        ready = self._apart(ready, found)
        shown = self.writer.read_back(sorted(found.values()))
        is_ours, missing = not self.at_home, list[Ready]()
        there: list[_Made] = []
        for each in ready:
            item = found.get(each.state.item_id)
            now = None if item is None else shown.get(item)
            if item is None or now is None:
                missing.append(each)
            elif is_ours and now.folder_id == each.folder and is_half_made(each.state, now):
                missing.append(replace(each, begun=item))
            else:
                there.append((each, self._arrive(each.state.item_id, item)))
        return there, missing

    def _apart(self, ready: Sequence[Ready], found: dict[ItemId, ItemId]) -> Sequence[Ready]:
        """Give calendar items another UID where their own lives on beside them, and the next one
        where that does, too; `found` gets what is there already under such a UID.
        """
        while True:
            left = [each for each in ready if each.state.item_id not in found]
            asked = [each for each in left if each.state.kind in CALENDAR and self.beside]
            live = self.writer.equal([(each.state, None) for each in asked]) if asked else {}
            others = {
                item: self._attempt(item, partial(each.apart, self.selection.path))
                for each in asked
                if live.get(item := each.state.item_id)
            }
            if not others:
                return ready
            new = [others.get(each.state.item_id, each) for each in ready]
            ready = [each for each in new if each]
            found |= self._equal([each for each in others.values() if each])

    def _equal(self, ready: Sequence[Ready]) -> dict[ItemId, ItemId]:
        """Return for old ids what there is equal and claimed by nothing else."""
        moved = AtHome(self.moved, self.writer) if self.at_home else self.moved
        equal = equal_to(
            ready, moved, self.writer, in_place=self.in_place, exact=self.exact, beside=self.beside
        )
        found: dict[ItemId, ItemId] = {}
        for each in ready:
            for item in equal.get(each.state.item_id, ()):
                is_free = self.known is None or self.known.is_free(each.state, item)
                if item not in self._taken and is_free:
                    self._taken.add(item)
                    found[each.state.item_id] = item
                    break
        return found

    def _put(self, each: Ready) -> _Made:
        return self._placing.put(each.state.folder_id, partial(self._put_in, each))

    def _put_in(self, each: Ready, folder: ItemId) -> _Made:
        wanted, each, lines = each, replace(each, folder=folder), Lines()
        moved = AtHome(self.moved, self.writer) if self.at_home else self.moved
        places = Places(folder=folder, items=moved, accounts=self.accounts)
        blobs = partial(self._blob, lines if each.state.kind in _MAIL else None, each)
        try:
            item = self._make_item(each, places, blobs)
        except InvalidItem as error:
            if not (self.beside and can_stand_apart(each.state, error)):
                raise
            return self._put(wanted.apart(self.selection.path))
        self.long_lines += lines.longest > LMTP_LONGEST_LINE
        return each, self._arrive(each.state.item_id, item)

    def _make_item(self, each: Ready, places: Places, blobs: Blobs) -> ItemId:
        try:
            return self.writer.put_item(each.state, places, blobs, begun=each.begun)
        except (ServerFault, MailServerRefused):
            # It may have come in before the server failed: believe what is there.
            landed = self._equal([each]).get(each.state.item_id)
            if landed is None:
                raise
            return landed

    def _blob(self, lines: Lines | None, each: Ready, digest: Digest) -> Iterator[bytes]:
        for chunk in each.chunks(self.selection.path, digest):
            if lines is not None:
                lines.see(chunk)
            yield chunk

    # What became of it

    def _unmapped(self, things: Sequence[_Any]) -> list[_Any]:
        """Return what no earlier restore brought; the others are counted."""
        if self.known is None:
            return list(things)
        found = {each.item_id: self.known.find(each.item_id) for each in things}
        mapped = {old: new for old, new in found.items() if new is not None}
        alive = self.writer.living(mapped.values()) if mapped else set()
        left = []
        for each in things:
            new = mapped.get(each.item_id)
            if new is None or (new not in alive and self.again):
                left.append(each)
                continue
            self.skipped += 1
            if new in alive:
                self._arrive(each.item_id, new)
            else:
                self.deleted_there += 1
                self._gone.add(each.item_id)
        return left

    def _attempt(self, item: ItemId, put: Callable[[], _Result]) -> _Result | None:
        try:
            return put()
        except MailServerRefused as error:
            self._lose(item, ServerFault(str(error), hint=error.hint))
        except ItemError as error:
            self._lose(item, error)
        return None

    def _lose(self, item: ItemId, error: ItemError) -> None:
        self.unrestored.append((item, error.cause))
        self.errors.append((item, error))

    def _arrive(self, old: ItemId, new: ItemId) -> ItemId:
        self.moved[old] = new
        self._taken.add(new)
        return new

    def _settle(self, made: Sequence[_Made], there: Sequence[_Made]) -> None:
        """Count and record what is there; what somebody deleted since is to stay deleted."""
        pairs = [(each.state.item_id, item) for each, item in there]
        self.skipped += len(there)
        for each, item, fate in settled(made, self.writer):
            old = each.state.item_id
            if fate in (DELETED, NOT_FOUND):
                del self.moved[old]
            if fate == DELETED:
                self._gone.add(old)
            if fate != NOT_FOUND:
                pairs.append((old, item))
            if fate in (RESTORED, DELETED):
                self.kinds[each.state.kind] += 1
                self.deleted_since += fate == DELETED
            else:
                self.unrestored.append((old, fate))
        self._record(pairs)

    def _record(self, pairs: Sequence[tuple[ItemId, ItemId]]) -> None:
        if self.known is not None and pairs:
            self.known.record(pairs)

    def _tell(self) -> None:
        self.tick(sum(self.counts.values()), self._total)
