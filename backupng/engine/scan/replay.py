"""Apply committed records to one account: records first, then the rows of the database.

A live scanner and one that starts late write the same history, because a row counts only at the
number it bears:

- what a record tells exactly is written from the record; where the row still bears that number it
  takes the record's place, with the record's time;
- an item that a record touched in a way it does not tell, and whose row has gone further since, is
  *ahead*: nothing is written of it until the record whose number its row bears, or its deletion;
- an item that a record may have deleted is *doomed*: it is settled where the log ends, with the
  last record that named it.

Both wait in `Pending`, which outlives the process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from backupng.engine.backuppath.store import Writer
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.model import (
    FOLDER_LIKE,
    AccountId,
    ItemId,
    ItemKind,
    ItemState,
    Mailbox,
    from_ms,
    to_ms,
)
from backupng.engine.scan.blobs import BlobKeeper
from backupng.engine.scan.effects import Effect, Operation
from backupng.engine.scan.known import Known, parent_of
from backupng.engine.scan.table import effect_of

_MOST_PENDING: Final = 20_000
"""Beyond so many items an account is compared as a whole instead."""


@dataclass(frozen=True, slots=True)
class Doom:
    """The record that may have deleted an item."""

    mod: int
    start: datetime
    is_weak: bool = False
    """Whether it only counts if no other record names the item."""


@dataclass(slots=True)
class Pending:
    """What of one account waits for later records.

    `stale` are deleted items whose last content was not settled: no copy is made of it. `joined`
    are the conversations of items that are ahead, `marked` says of them whether IMAP will purge
    them, where a record told.
    """

    ahead: set[ItemId] = field(default_factory=set)
    doomed: dict[ItemId, Doom] = field(default_factory=dict)
    stale: set[ItemId] = field(default_factory=set)
    joined: dict[ItemId, ItemId] = field(default_factory=dict)
    marked: dict[ItemId, bool] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        doomed = {
            str(item): [doom.mod, to_ms(doom.start), doom.is_weak]
            for item, doom in self.doomed.items()
        }
        return {
            "ahead": sorted(self.ahead),
            "doomed": doomed,
            "stale": sorted(self.stale),
            "marked": {str(item): each for item, each in self.marked.items()},
            "joined": {str(item): parent for item, parent in self.joined.items()},
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Pending:
        """Read what `as_json` spelled."""
        return cls(
            ahead={ItemId(item) for item in said["ahead"]},
            stale={ItemId(item) for item in said["stale"]},
            marked={ItemId(int(item)): bool(each) for item, each in said["marked"].items()},
            joined={ItemId(int(item)): ItemId(each) for item, each in said["joined"].items()},
            doomed={
                ItemId(int(item)): Doom(mod, from_ms(start), weak)
                for item, (mod, start, weak) in said["doomed"].items()
            },
        )

    def __bool__(self) -> bool:
        return bool(self.ahead or self.doomed or self.stale)

    def __len__(self) -> int:
        return len(self.ahead) + len(self.doomed) + len(self.stale)


@dataclass(slots=True)
class Replay:
    """One account while records are applied to it; states go to the writer's group."""

    source: Source
    writer: Writer
    keeper: BlobKeeper
    known: Known
    account: AccountId
    pending: Pending
    uncertain: Callable[[str], None]
    """Told why the account has to be compared as a whole."""

    def apply(self, mailbox: Mailbox | None, operations: Sequence[Operation]) -> None:
        """Apply records in their order; the caller holds a snapshot taken after they were read.

        Of a mailbox that is gone only the records tell.
        """
        self.known.refresh()
        self._share()
        numbers = {op.mod for op in operations if op.mod > 0}
        rows = self._rows(mailbox, numbers) if mailbox and numbers else {}
        gone = self._told_gone(mailbox, numbers) if mailbox and numbers else {}
        for op in operations:
            self._apply(mailbox, op, rows.pop(op.mod, {}), gone.pop(op.mod, {}))
        if len(self.pending) > _MOST_PENDING:
            self.pending.ahead.clear()
            self.pending.doomed.clear()
            self.pending.stale.clear()
            self.pending.joined.clear()
            self.pending.marked.clear()
            self.uncertain("too much of it waits for later records")

    def _share(self) -> None:
        self.known.ahead, self.known.stale = self.pending.ahead, self.pending.stale
        self.known.joined, self.known.marked = self.pending.joined, self.pending.marked

    def living(self, mailbox: Mailbox) -> set[ItemId]:
        """Ask which of the items that wait are there, before the log is read on."""
        self.known.refresh()
        self._share()
        asked = {*self.pending.ahead, *self.pending.doomed}
        for item in self.pending.doomed:
            asked |= self._with(item)
        return self.source.living(mailbox, asked)

    def settle(self, alive: set[ItemId]) -> bool:
        """Decide what waits: `alive` was asked before the log was read, and nothing came since.

        Says whether there was anything to decide.
        """
        dooms, self.pending.doomed = self.pending.doomed, {}
        for item, doom in list(dooms.items()):
            for inside in self._with(item) if item not in alive else ():
                dooms.setdefault(inside, doom)
        for item, doom in dooms.items():
            last = self.known.living(item)
            if item not in alive and last is not None:
                self._add(_deletion(last, doom))
        lost = {item for item in self.pending.ahead - alive if self.known.living(item)}
        self.pending.ahead &= alive
        if lost:
            self.uncertain(f"{len(lost)} items went, and no record tells when")
        return bool(dooms or lost)

    def _with(self, item: ItemId) -> Set[ItemId]:
        """Return what goes with an item: all below a folder, the comments of a document."""
        last = self.known.living(item)
        if last is not None and last.kind in FOLDER_LIKE:
            return self.known.below(item)
        if last is not None and last.kind is ItemKind.DOCUMENT:
            return self.known.index.children(item)
        return frozenset()

    def _apply(
        self,
        mailbox: Mailbox | None,
        op: Operation,
        rows: dict[ItemId, ItemState],
        gone: Mapping[ItemId, ItemState | None],
    ) -> None:
        effect = self._effect_of(op)
        told = set(rows)
        for state in effect.exact:
            row = rows.pop(state.item_id, None)
            if row is None or state.deleted or not self._add_row(mailbox, op, row):
                self._add_exact(state)
        for row in rows.values():
            self._add_row(mailbox, op, row)
        for item, content in gone.items():
            self._add_gone(mailbox, op, item, content)
        self._look_ahead(mailbox, op, effect.touched - told)
        self.pending.ahead |= effect.guessed - told
        self._note_dooms(op, effect)
        if effect.whole and not gone:
            self.uncertain(effect.whole)

    def _note_dooms(self, op: Operation, effect: Effect) -> None:
        for item in effect.seen:
            self.pending.doomed.pop(item, None)
        for item in effect.doomed:
            self._doom(item, Doom(op.mod, op.start))
        for item in effect.maybe:
            self.pending.doomed.setdefault(item, Doom(op.mod, op.start, is_weak=True))

    def _doom(self, item: ItemId, doom: Doom) -> None:
        """Note a possible deletion: of a folder the last one counts, of anything else the first.

        A record that names a folder begins its deletion; another one, later, ends it.
        """
        last, before = self.known.living(item), self.pending.doomed.get(item)
        is_last = last is not None and last.kind in FOLDER_LIKE | {ItemKind.CONVERSATION}
        if is_last or before is None or before.is_weak:
            self.pending.doomed[item] = doom

    def _effect_of(self, op: Operation) -> Effect:
        """Return what a record does; one that no server writes must not end the capture of all."""
        try:
            return effect_of(op, self.known)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            what = f"a record {op.name} of change {op.mod} cannot be applied: {error!r}"
            return Effect(whole=what)

    def _rows(self, mailbox: Mailbox, numbers: set[int]) -> dict[int, dict[ItemId, ItemState]]:
        """Return the rows that still bear one of these numbers, by number."""
        found: dict[int, dict[ItemId, ItemState]] = defaultdict(dict)
        changed = self.source.changed(mailbox, min(numbers), max(numbers))
        for item, state in self.source.states(mailbox, changed):
            if isinstance(state, ItemError):
                self.uncertain(f"item {item} cannot be read: {state}")
            elif state.mod in numbers:
                found[state.mod][item] = state
        return found

    def _told_gone(
        self, mailbox: Mailbox, numbers: set[int]
    ) -> dict[int, dict[ItemId, ItemState | None]]:
        """Return the deletions that tombstones and the dumpster tell, by number."""
        found: dict[int, dict[ItemId, ItemState | None]] = defaultdict(dict)
        for item, number in self.source.buried(mailbox, min(numbers), max(numbers)).items():
            if number in numbers:
                found[number][item] = None
        for item, state in self.source.dumped(mailbox, min(numbers), max(numbers)):
            if isinstance(state, ItemState) and state.mod in numbers:
                found[state.mod][item] = state
        return found

    def _add_exact(self, state: ItemState) -> None:
        item = state.item_id
        if not state.deleted and item in self.pending.ahead:
            # Named by its own id, it was still there.
            self.pending.doomed.pop(item, None)
            if parent := parent_of(state):
                self.known.join(item, parent)
            self._note_mark(state)
            return
        self._add(state)

    def _note_mark(self, state: ItemState) -> None:
        """Note whether IMAP will purge an item that is ahead, if this state can tell."""
        item, is_marked = state.item_id, "x" in state.flags
        last = self.known.living(item)
        if item in self.pending.marked or (last and is_marked != ("x" in last.flags)):
            self.pending.marked[item] = is_marked

    def _add_row(self, mailbox: Mailbox | None, op: Operation, row: ItemState) -> bool:
        """Write a row as the state of an item; False if its blob could not be kept."""
        kept = self._kept(mailbox, row)
        if kept is not None:
            self._add(replace(kept, start=op.start, source=op.source))
        return kept is not None

    def _add_gone(
        self, mailbox: Mailbox | None, op: Operation, item: ItemId, content: ItemState | None
    ) -> None:
        """Write a deletion the database itself tells of, its last content if we never saw it."""
        last = self.known.last(item)
        if last is None and content is not None:
            last = self._kept(mailbox, content)
            if last is not None:
                before = max(op.mod - 1, 0)
                self._add(replace(last, mod=before, start=op.start, source=op.source))
        if last is not None and not last.deleted:
            self._add(_deletion(last, Doom(op.mod, op.start)))

    def _kept(self, mailbox: Mailbox | None, state: ItemState) -> ItemState | None:
        """Keep the blobs of a state of the database; None, and uncertain, where that fails."""
        if mailbox is None:
            return None
        try:
            return self.keeper.keep(mailbox, state)
        except ItemError as error:
            self.uncertain(f"item {state.item_id} cannot be saved: {error}")
            return None

    def _look_ahead(
        self, mailbox: Mailbox | None, op: Operation, touched: Iterable[ItemId]
    ) -> None:
        """Hold back what of the touched items is not told by a row of this number."""
        waiting = [item for item in touched if self._is_older(item, op)]
        if not waiting:
            return
        now = dict(self.source.states(mailbox, waiting)) if mailbox else {}
        for item in waiting:
            state = now.get(item)
            # A row with a lower number was not changed after all.
            if not isinstance(state, ItemState) or state.mod > op.mod:
                self.pending.ahead.add(item)

    def _is_older(self, item: ItemId, op: Operation) -> bool:
        last = self.known.living(item)
        return last is not None and last.mod < op.mod

    def _add(self, state: ItemState) -> None:
        """Queue a state, unless it was written before; what vanishes with it is doomed."""
        item, last = state.item_id, self.known.last(state.item_id)
        if last is not None and last.mod >= state.mod and not (last.mod == state.mod and state.row):
            return
        if last is not None:
            self._doom_conversation(last, state)
        self.pending.doomed.pop(item, None)
        if state.deleted and item in self.pending.ahead:
            self.pending.stale.add(item)
        if state.row or state.deleted:
            self.pending.ahead.discard(item)
            self.pending.joined.pop(item, None)
            self.pending.marked.pop(item, None)
        self.writer.add_states(self.account, [state])
        self.known.note(state)

    def _doom_conversation(self, last: ItemState, state: ItemState) -> None:
        """A conversation goes with its last message, and no record names it."""
        parent = parent_of(last) if last.kind is ItemKind.MESSAGE else None
        if parent is None:
            return
        if state.deleted or parent_of(state) != parent:
            self._doom(parent, Doom(state.mod, state.start))


def _deletion(last: ItemState, doom: Doom) -> ItemState:
    return ItemState(
        item_id=last.item_id,
        kind=last.kind,
        mod=doom.mod,
        start=doom.start,
        source=last.source,
        deleted=True,
    )
