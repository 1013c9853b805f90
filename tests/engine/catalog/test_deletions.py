"""What the catalog says was deleted in a period is what the histories of the tree say."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from backupng.engine.backuppath.store import BackupPath
from backupng.engine.catalog import deletions
from backupng.engine.catalog.answers import Line
from backupng.engine.catalog.catalog import Catalog
from backupng.engine.model import ItemId, ItemKind, ItemState, to_ms
from tests.engine.backuppath.samples import ACCOUNT, SCAN, deletion, message
from tests.engine.catalog.fromtree import FromTree
from tests.proofs.told import new_seed

Span = tuple[int, int]
LAST_MOD = 400


def fill(path: BackupPath, dice: random.Random) -> None:
    """Write items that come, change, go, are found gone once more, and sometimes come again."""
    alive: dict[int, bool] = {}
    with path.writer(SCAN) as writer:
        for mod in range(1, LAST_MOD):
            item = dice.randrange(257, 290)
            if item in alive and dice.random() < (0.5 if alive[item] else 0.2):
                state = deletion(item, mod)
            else:
                kind = ItemKind.CONTACT if item % 3 else ItemKind.MESSAGE
                state = message(item, mod, kind=kind, size=mod, folder_id=ItemId(2))
            alive[item] = not state.deleted
            writer.add_states(ACCOUNT, [state])
        writer.commit()


def gone(histories: dict[ItemId, list[ItemState]], span: Span) -> dict[ItemId, ItemState]:
    """Return the last living state of each item that was deleted in a period."""
    found = {}
    for item, history in histories.items():
        for before, after in pairwise(history):
            if after.deleted and not before.deleted and span[0] <= to_ms(after.start) < span[1]:
                found[item] = before
    return found


def spans(dice: random.Random, times: Sequence[int]) -> list[Span]:
    """Return periods that begin and end at or beside changes, empty and endless ones too."""
    drawn = [sorted(dice.choices(times, k=2)) for _ in range(40)]
    near = [(start + dice.randrange(-1, 2), end + dice.randrange(-1, 2)) for start, end in drawn]
    return [*near, (times[0], times[0]), (-(2**62), 2**62)]


def count_in(
    connection: sqlite3.Connection, number: int, *, span: Span
) -> dict[ItemKind, tuple[int, int]]:
    return deletions.count(connection, number, span)


def page_of(connection: sqlite3.Connection, number: int, *, span: Span) -> list[Line]:
    return deletions.page(connection, number, span, limit=LAST_MOD)


def test_the_deletions_of_a_period_are_those_of_the_tree(
    path: BackupPath, catalog: Catalog
) -> None:
    seed = new_seed()
    dice = random.Random(seed)  # noqa: S311  # a play, no secrets
    fill(path, dice)
    known = FromTree(path).known[ACCOUNT]
    histories = {item: [state for state, _ in history or ()] for item, history in known.items()}
    times = sorted(to_ms(state.start) for history in histories.values() for state in history)
    for span in spans(dice, times):
        expected = gone(histories, span)
        kinds = Counter(state.kind for state in expected.values())
        found = catalog.ask(ACCOUNT, partial(count_in, span=span))
        listed = catalog.ask(ACCOUNT, partial(page_of, span=span))
        assert found is not None
        assert listed is not None
        assert {kind: number for kind, (number, _) in found.items()} == kinds
        assert {line.item: line.mod for line in listed} == {
            item: state.mod for item, state in expected.items()
        }


def test_the_latest_deletions_come_first_and_no_more_than_asked_for(
    path: BackupPath, catalog: Catalog
) -> None:
    with path.writer(SCAN) as writer:
        for item in range(257, 262):
            writer.add_states(ACCOUNT, [message(item, item), deletion(item, item + 100)])
        writer.commit()
    everything = (-(2**62), 2**62)
    listed = catalog.ask(
        ACCOUNT, lambda each, number: deletions.page(each, number, everything, limit=2)
    )
    assert [line.item for line in listed or ()] == [261, 260]
