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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from backupng.engine.backuppath.store import Writer
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Source
from backupng.engine.mailserver.zimbra.codes import SystemFolder
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
from backupng.engine.scan.effects import Operation
from backupng.engine.scan.known import Known
from backupng.engine.scan.table import effect_of


@dataclass(frozen=True, slots=True)
class Doom:
    """The record that may have deleted an item."""

    mod: int
    start: datetime


@dataclass(slots=True)
class Pending:
    """What of one account waits for later records."""

    ahead: set[ItemId] = field(default_factory=set)
    doomed: dict[ItemId, Doom] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        doomed = {str(item): [doom.mod, to_ms(doom.start)] for item, doom in self.doomed.items()}
        return {"ahead": sorted(self.ahead), "doomed": doomed}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Pending:
        """Read what `as_json` spelled."""
        return cls(
            ahead={ItemId(item) for item in said["ahead"]},
            doomed={
                ItemId(int(item)): Doom(mod, from_ms(start))
                for item, (mod, start) in said["doomed"].items()
            },
        )

    def __bool__(self) -> bool:
        return bool(self.ahead or self.doomed)


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

    def apply(self, mailbox: Mailbox, operations: Sequence[Operation]) -> None:
        """Apply records in their order; the caller holds a snapshot taken after they were read."""
        self.known.refresh()
        self.known.ahead = self.pending.ahead
        numbers = {op.mod for op in operations if op.mod > 0}
        rows = self._rows(mailbox, numbers)
        gone = self._told_gone(mailbox, numbers)
        for op in operations:
            self._apply(mailbox, op, rows.pop(op.mod, {}), gone.pop(op.mod, {}))

    def settle(self, mailbox: Mailbox) -> None:
        """Decide what is doomed; only where a snapshot holds no change that is not applied yet."""
        dooms, self.pending.doomed = self.pending.doomed, {}
        for item, doom in list(dooms.items()):
            last = self.known.living(item)
            if last is None:
                del dooms[item]
            elif last.kind in FOLDER_LIKE:
                for inside in self.known.below(item):
                    dooms.setdefault(inside, doom)
        alive = dict(self.source.states(mailbox, dooms))
        for item, doom in dooms.items():
            last = self.known.living(item)
            if item not in alive and last is not None:
                self._add(_deletion(last, doom))

    def _apply(
        self,
        mailbox: Mailbox,
        op: Operation,
        rows: dict[ItemId, ItemState],
        gone: Mapping[ItemId, ItemState | None],
    ) -> None:
        effect = effect_of(op, self.known)
        for state in effect.exact:
            row = rows.pop(state.item_id, None)
            if row is None or state.deleted or not self._add_row(mailbox, op, row):
                self._add_exact(state)
        for row in rows.values():
            self._add_row(mailbox, op, row)
        for item, content in gone.items():
            self._add_gone(mailbox, op, item, content)
        self._look_ahead(mailbox, op, effect.touched - rows.keys())
        self.pending.doomed |= dict.fromkeys(effect.doomed, Doom(op.mod, op.start))
        if effect.whole and not gone:
            self.uncertain(effect.whole)

    def _rows(self, mailbox: Mailbox, numbers: set[int]) -> dict[int, dict[ItemId, ItemState]]:
        """Return the rows that still bear one of these numbers, by number."""
        found: dict[int, dict[ItemId, ItemState]] = defaultdict(dict)
        if not numbers:
            return found
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
        if not numbers:
            return found
        for item, number in self.source.buried(mailbox, min(numbers)).items():
            if number in numbers:
                found[number][item] = None
        for item, state in self.source.dumped(mailbox, min(numbers)):
            if isinstance(state, ItemState) and state.mod in numbers:
                found[state.mod][item] = state
        return found

    def _add_exact(self, state: ItemState) -> None:
        item = state.item_id
        if not state.deleted and item in self.pending.ahead:
            return
        self._add(state)

    def _add_row(self, mailbox: Mailbox, op: Operation, row: ItemState) -> bool:
        """Write a row as the state of an item; False if its blob could not be kept."""
        try:
            kept = self.keeper.keep(mailbox, row)
        except ItemError as error:
            self.uncertain(f"item {row.item_id} cannot be saved: {error}")
            return False
        self._add(replace(kept, start=op.start, source=op.source))
        return True

    def _add_gone(
        self, mailbox: Mailbox, op: Operation, item: ItemId, content: ItemState | None
    ) -> None:
        """Write a deletion the database itself tells of, its last content if we never saw it."""
        last = self.known.last(item)
        if last is None and content is not None:
            before = replace(content, mod=max(op.mod - 1, 0), start=op.start, source=op.source)
            try:
                self._add(self.keeper.keep(mailbox, before))
            except ItemError as error:
                self.uncertain(f"item {item} cannot be saved: {error}")
                return
            last = before
        if last is not None and not last.deleted:
            self._add(_deletion(last, Doom(op.mod, op.start)))

    def _look_ahead(self, mailbox: Mailbox, op: Operation, touched: Iterable[ItemId]) -> None:
        """Hold back what of the touched items is not told by a row of this number."""
        waiting = [item for item in touched if self._is_older(item, op)]
        if not waiting:
            return
        now = dict(self.source.states(mailbox, waiting))
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
        if state.row or state.deleted:
            self.pending.ahead.discard(item)
        self.writer.add_states(self.account, [state])
        self.known.note(state)

    def _doom_conversation(self, last: ItemState, state: ItemState) -> None:
        """A conversation goes with its last message, and no record names it."""
        if last.kind is not ItemKind.MESSAGE or last.deleted:
            return
        parent = last.row.get("parent_id")
        leaves = state.deleted or state.folder_id == ItemId(SystemFolder.JUNK)
        leaves = leaves or bool(state.row and state.row.get("parent_id") != parent)
        if not leaves:
            return
        doom = Doom(state.mod, state.start)
        if last.row:
            conversations = [ItemId(parent)] if parent else []
        else:
            living = self.known.all_living().items()
            conversations = [each for each, brief in living if brief.kind is ItemKind.CONVERSATION]
        self.pending.doomed |= dict.fromkeys(conversations, doom)


def _deletion(last: ItemState, doom: Doom) -> ItemState:
    return ItemState(
        item_id=last.item_id,
        kind=last.kind,
        mod=doom.mod,
        start=doom.start,
        source=last.source,
        deleted=True,
    )
