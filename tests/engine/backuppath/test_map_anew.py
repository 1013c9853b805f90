"""A map of items that begins anew: after a kill anywhere it says what it said, or what it must."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout, mapfile
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import MOST_ITEMS, ItemMap
from backupng.engine.model import AccountId, ItemId
from tests.engine.backuppath.test_mapfile import ALICE, SERVER, sealed

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEPT = {ItemId(old): ItemId(old + 1) for old in range(300, 301 + MOST_ITEMS)}
LOST = {ItemId(9000): ItemId(9001)}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    found = Tree(tmp_path)
    yield found
    found.close()


def item_map(tree: Tree, source: str = ALICE) -> ItemMap:
    return ItemMap(tree, ALICE, server_id=SERVER, source=AccountId(source), mailbox="first")


def test_after_a_kill_anywhere_a_map_that_begins_anew_says_all_or_what_is_kept(tree: Tree) -> None:
    item_map(tree).note(KEPT | LOST, NOW)
    item_map(tree, "another").note({ItemId(5): ItemId(9500)}, NOW)
    file = tree.root / layout.id_mapper(ALICE)
    before = len(file.read_bytes())
    item_map(tree).begin_anew(KEPT, NOW)
    whole = file.read_bytes()
    ends = [at + 1 for at in range(before, len(whole)) if whole[at : at + 1] == b"\n"]
    said = []

    for end in sorted({before, before + 1, *ends, *(at - 1 for at in ends)}):
        file.write_bytes(whole[:end])
        again = item_map(tree)
        said.append((again.items == KEPT, again.items == KEPT | LOST, again.above(9100)))
    item_map(tree).note(LOST, NOW)

    assert said == [(False, True, [9500])] * (len(said) - 1) + [(True, False, [])]
    assert len(ends) == 3
    assert item_map(tree).items == KEPT | LOST
    assert sum(len(each.items) for each in mapfile.read_items(file)) == len(KEPT | LOST)


def test_a_map_that_was_begun_anew_before_it_said_what_stays_is_read_as_it_was_meant(
    tree: Tree,
) -> None:
    place = layout.id_mapper(ALICE)
    head: dict[str, object] = {"server": SERVER, "account": ALICE, "mailbox": "first"}
    lines: list[dict[str, object]] = [
        {"items": {"1": 301, "2": 302}},
        {"items": {}, "anew": True},
        {"items": {"2": 302}},
    ]
    (tree.root / place).parent.mkdir(parents=True)

    (tree.root / place).write_bytes(sealed(place, *(head | each for each in lines)))

    assert item_map(tree).items == {2: 302}


def test_nothing_stays_of_a_map_that_keeps_nothing(tree: Tree) -> None:
    item_map(tree).note(LOST, NOW)

    item_map(tree).begin_anew({}, NOW)

    assert (item_map(tree).items, item_map(tree).above(0)) == ({}, [])
