"""An account on the mail server beside the same account in the backup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backupng.engine.backuppath.histories import digests_of
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.errors import ItemError
from backupng.engine.mailserver.port import Census, Source, paired
from backupng.engine.model import (
    AccountId,
    ItemId,
    ItemState,
    Mailbox,
    MailboxState,
    Row,
)
from backupng.engine.scan.sound import SoundBlobs

_TRAITS: Final = ("type", "change_date", "blob_digest", "name")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The last states in the backup, the items to read, and the histories that are unreadable."""

    known: dict[ItemId, ItemState]
    news: list[ItemId]
    unreadable: list[tuple[ItemId, ItemError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A snapshot of a mailbox: the number of every item, its mark, and the dates of what is new.

    `fresh` is the sum of (id, date) paired of the items with a number above the last scan's.
    """

    heads: Mapping[ItemId, int]
    mark: str
    fresh: int


@dataclass(frozen=True, slots=True)
class Comparer:
    """Compares one mailbox with what the backup has of it."""

    source: Source
    path: BackupPath
    blobs: SoundBlobs
    mailbox: Mailbox

    def compare_changed(
        self, last: MailboxState, counted: Counted, *, is_told: bool
    ) -> Comparison | None:
        """Compare what can have changed since the last scan, which has compared all the rest.

        `is_told`: nothing that was saved since that scan can be gone by now, and nobody tell of it.
        None if what was compared does not tell why the account has another mark now.
        """
        account, heads = self.mailbox.account_id, counted.heads
        suspects = {item for item, mod in heads.items() if mod > last.mod} | set(last.unread)
        known, unreadable = last_states(self.path, account, sorted(suspects))
        is_alone = is_told and all(state.mod <= last.mod for state in known.values())
        if not (is_alone and adds_up(self.path, last, counted, known.values())):
            # Something went, which the names of all histories tell, or there is more to it; or the
            # scanner has been here, which may have saved what is lost by now.
            others = (set(self.path.items(account)) ^ heads.keys()) - suspects
            more, damaged = last_states(self.path, account, sorted(others))
            known, unreadable, suspects = known | more, unreadable + damaged, suspects | others
            if not adds_up(self.path, last, counted, known.values()):
                return None
        present = {item: heads[item] for item in suspects if item in heads}
        met = [item for item, mod in present.items() if item in known and known[item].mod >= mod]
        if met and self.went_back(known, last.base, items=met):
            return None
        return self._news(present, known, unreadable, deep=False)

    def compare(self, heads: Mapping[ItemId, int], *, deep: bool) -> Comparison:
        """Say which items are to be read: newer than the backup's, without row, without blob."""
        account = self.mailbox.account_id
        known, unreadable = last_states(self.path, account, self.path.items(account))
        return self._news(heads, known, unreadable, deep=deep)

    def went_back(
        self,
        known: Mapping[ItemId, ItemState],
        base: int,
        *,
        items: Iterable[ItemId] | None = None,
    ) -> bool:
        """Say whether the rows of these items, or of all, prove that an older copy was put back."""
        with self.source.snapshot():
            return went_back(self.source.traits(self.mailbox, items), known, base)

    def _news(
        self,
        heads: Mapping[ItemId, int],
        known: dict[ItemId, ItemState],
        unreadable: list[tuple[ItemId, ItemError]],
        *,
        deep: bool,
    ) -> Comparison:
        unscanned = {item for item, _ in unreadable}
        news = sorted(
            item
            for item, mod in heads.items()
            if item not in unscanned and self._is_wanted(known.get(item), mod, deep=deep)
        )
        return Comparison(known, news, unreadable)

    def _is_wanted(self, last: ItemState | None, mod: int, *, deep: bool) -> bool:
        if last is None or last.mod < mod:
            return True
        if last.deleted or last.mod > mod:
            return False
        return not last.row or (deep and self._lacks_blob(last))

    def _lacks_blob(self, state: ItemState) -> bool:
        return not all(map(self.blobs.has, digests_of(state)))


def last_states(
    path: BackupPath, account: AccountId, items: Iterable[ItemId]
) -> tuple[dict[ItemId, ItemState], list[tuple[ItemId, ItemError]]]:
    """Return the last states of those items that are in the backup, and what is not readable."""
    known: dict[ItemId, ItemState] = {}
    failures: list[tuple[ItemId, ItemError]] = []
    for item in items:
        try:
            state = path.last_state(account, item)
        except ItemError as error:
            failures.append((item, error))
        else:
            if state is not None:
                known[item] = state
    return known, failures


def adds_up(
    path: BackupPath, last: MailboxState, counted: Counted, known: Iterable[ItemState]
) -> bool:
    """Say whether what the last scan counted is what is left of it, and what `known` tells of.

    What has no higher number now is left as it was: its id, number and date count as they are now.
    What has, or is gone, counts as the backup has it from then. The sums are equal if nothing else
    came, went or is another one under the id and number of before.
    """
    noted, now = Census.sums_of(last.mark), Census.sums_of(counted.mark)
    if noted is None or now is None:
        return False
    left = {item: mod for item, mod in counted.heads.items() if mod <= last.mod}
    count, ids, dates = len(left), sum(map(int, left)), now[3] - counted.fresh
    pairs = sum(paired(item, mod - last.base) for item, mod in left.items())
    for state in known:
        then = None if state.item_id in left else _as_of(path, last, state)
        if then is not None and not then.deleted:
            count, ids = count + 1, ids + then.item_id
            pairs += paired(then.item_id, then.mod - last.base)
            dates += paired(then.item_id, then.date)
    return (count, ids, pairs, dates) == noted


def _as_of(path: BackupPath, last: MailboxState, state: ItemState) -> ItemState | None:
    """Return what a scan knew of an item, of which this is the last state now."""
    if state.mod <= last.mod:
        return state
    try:
        history = path.history(last.mailbox.account_id, state.item_id)
    except ItemError:
        return None
    return next((each for each in reversed(history) if each.mod <= last.mod), None)


def went_back(traits: Iterable[Row], known: Mapping[ItemId, ItemState], base: int) -> bool:
    """Say whether rows prove that the mailbox was put back from an older copy.

    They are to be read after `known`: an item of which the backup has a later change then, or at
    the same number another row, has lost what the backup knows. `base` is that of its numbers here.
    """
    return any(
        row["id"] in known and _is_other(row, known[ItemId(row["id"])], base) for row in traits
    )


def _is_other(row: Row, state: ItemState, base: int) -> bool:
    column = "sequence" if "sequence" in row else "mod_metadata"
    number: Any = row[column]
    if not isinstance(number, int) or number <= 0:
        # An impossible one proves nothing.
        return False
    if number + base != state.mod or state.deleted:
        return number + base <= state.mod
    own = state.row
    # A state from the log may bear a row of another moment, or none.
    return own.get(column) == number and any(
        own.get(trait) != row[trait] for trait in _TRAITS if trait in row
    )


def essence(state: ItemState) -> ItemState:
    """Return what `went_back` needs of a state: for many of them at once."""
    columns = ("sequence", "mod_metadata", *_TRAITS)
    return ItemState(
        item_id=state.item_id,
        kind=state.kind,
        mod=state.mod,
        start=state.start,
        deleted=state.deleted,
        row={column: state.row[column] for column in columns if column in state.row},
    )
