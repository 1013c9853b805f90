"""Maps of imports: what was noted is there again, torn tails are cut, hostile files refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout, mapfile, metadata, values
from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.layout import Place
from backupng.engine.backuppath.mapfile import IdMap, ItemMap, Mapped
from backupng.engine.errors import BackupError, BackupPathBroken, NotABackupPath
from backupng.engine.model import AccountId, EntryKind, ItemId
from tests.engine.backuppath.calls import Ledger, inode, watched

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SERVER = "544d94c6-aaef-4736-8964-56a667f1fe12"
ALICE = AccountId("2190ef42-2b83-40ca-aabb-56cebe98f934")
MAPPED = Mapped(
    kind=EntryKind.ACCOUNT, old="a", new="b", name="x@example.com", here="y@example.com"
)
GOOD: dict[str, object] = {"kind": "account", "old": "a", "new": "b", "name": "x"}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    found = Tree(tmp_path)
    yield found
    found.close()


def sealed(place: Place, *bodies: dict[str, object]) -> bytes:
    """Spell lines that check."""
    digits, data = metadata.first_digits(layout.chain_seed(place)), b""
    for number, body in enumerate(bodies, 1):
        line, digits = metadata.seal(digits, values.dump_body({"n": number, "t": 1} | body))
        data += line
    return data


def item_map(tree: Tree, mailbox: str | None = "first", *, server: str = SERVER) -> ItemMap:
    return ItemMap(tree, ALICE, server_id=server, source=ALICE, mailbox=mailbox)


def test_what_was_noted_is_there_again_and_the_last_word_counts(tree: Tree) -> None:
    known, items = IdMap(tree, SERVER), item_map(tree)
    last = replace(MAPPED, new="c")
    for mapped in (MAPPED, MAPPED, last):
        known.note(mapped, NOW)
    items.note({ItemId(old): ItemId(old + 1) for old in range(300, 1400)}, NOW)
    items.note({ItemId(300): ItemId(7)}, NOW)

    again = IdMap(tree, SERVER)

    assert list(again) == [last]
    assert again.new_id(EntryKind.ACCOUNT, "a") == "c"
    assert item_map(tree).items == items.items
    assert (item_map(tree).items[ItemId(300)], item_map(tree).holds(ItemId(7))) == (7, True)
    assert len((tree.root / layout.id_mapper(ALICE)).read_bytes().splitlines()) == 4


def test_what_was_noted_of_items_is_durable_at_once_and_of_entries_once_it_is_asked_for(
    tree: Tree,
) -> None:
    known, items, ledger = IdMap(tree, SERVER), item_map(tree), Ledger()
    with watched(ledger.before, ledger.after):
        items.note({ItemId(300): ItemId(301)}, NOW)
        of_items = ledger.files | ledger.folders
        known.note(MAPPED, NOW)
        of_entries = ledger.files | ledger.folders
        known.sync()

    assert not of_items
    assert of_entries == {inode(tree.root), inode(tree.root / layout.map_file(SERVER))}
    assert not ledger.files | ledger.folders


def test_a_map_of_another_server_or_account_says_nothing(tree: Tree) -> None:
    item_map(tree).note({ItemId(300): ItemId(301)}, NOW)

    other = item_map(tree, server="another")
    his = ItemMap(tree, ALICE, server_id=SERVER, source=AccountId("bob"), mailbox="first")

    assert (dict(other.items), dict(his.items), list(IdMap(tree, "another"))) == ({}, {}, [])


def test_only_lines_of_the_present_mailbox_count(tree: Tree) -> None:
    old, new = {ItemId(300): ItemId(301)}, {ItemId(400): ItemId(257)}
    item_map(tree).note(old, NOW)
    item_map(tree, "second").note(new, NOW)

    listed = mapfile.read_items(tree.root / layout.id_mapper(ALICE))

    assert item_map(tree, "second").items == item_map(tree, None).items == new
    assert [item_map(tree, name).items for name in ("first", "third")] == [{}, {}]
    assert [each.items for each in listed] == [new]


def test_what_the_last_import_left_is_noted_until_another_leaves_something_else(tree: Tree) -> None:
    known = item_map(tree)
    known.leave([], NOW)
    known.leave([ItemId(300), ItemId(0)], NOW)
    known.note({ItemId(301): ItemId(302)}, NOW)
    first, his = item_map(tree).left, item_map(tree, server="another").left
    known.begin_anew({}, NOW)
    second, elsewhere = item_map(tree).left, item_map(tree, "second").left

    known.leave([], NOW)
    known.leave([], NOW)
    third = item_map(tree).left
    known.leave(map(ItemId, range(300, 60_300)), NOW)

    said = [sorted(each) for each in (first, his, second, elsewhere, third, item_map(tree).left)]
    assert said == [[0, 300], [], [0, 300], [], [], [0]]
    assert not known.items
    assert len((tree.root / layout.id_mapper(ALICE)).read_bytes().splitlines()) == 5


def test_an_account_without_a_mailbox_has_nothing_noted(tree: Tree) -> None:
    item_map(tree, "").leave([ItemId(300)], NOW)

    assert not (tree.root / layout.id_mapper(ALICE)).exists()


def test_what_a_mailbox_has_lost_counts_no_more_for_any_source(tree: Tree) -> None:
    item_map(tree, server="another").note({ItemId(5): ItemId(400)}, NOW)
    item_map(tree).note({ItemId(old): ItemId(old + 1) for old in (300, 310)}, NOW)
    above = item_map(tree).above(301)

    item_map(tree).begin_anew({ItemId(300): ItemId(301)}, NOW)

    assert above == [311, 400]
    assert item_map(tree).items == item_map(tree, None).items == {300: 301}
    assert (item_map(tree).above(0), item_map(tree, server="another").items) == ([301], {})


def test_a_torn_last_line_is_cut_by_who_notes_next(tree: Tree) -> None:
    IdMap(tree, SERVER).note(MAPPED, NOW)
    file = tree.root / layout.map_file(SERVER)
    whole = file.read_bytes()
    for tail in (b'{"n":2,"t', b"\0" * 90, b'{"n":2} #00000000\n'):
        file.write_bytes(whole + tail)
        known = IdMap(tree, SERVER)
        known.note(Mapped(kind=EntryKind.COS, old="c", new="d", name="n", here="n"), NOW)

        assert [each.old for each in IdMap(tree, SERVER)] == ["a", "c"]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "account", "old": "a", "new": "b"},
        GOOD | {"kind": "server"},
        GOOD | {"kind": ["account"]},
        GOOD | {"old": ""},
        GOOD | {"new": "b\n"},
        GOOD | {"new": "b" * 128},
        GOOD | {"name": 7},
        GOOD | {"here": None},
        GOOD | {"own": 1},
        GOOD | {"n": 7},
    ],
)
def test_a_line_that_no_import_wrote_is_refused_in_one_sentence(
    tree: Tree, body: dict[str, object]
) -> None:
    place = layout.map_file(SERVER)
    (tree.root / place).write_bytes(sealed(place, body))

    with pytest.raises(BackupPathBroken, match=r"^The map .+ is damaged: .+\.$"):
        IdMap(tree, SERVER)


@pytest.mark.parametrize(
    "said",
    [
        *[{"items": []}, {"items": {"0": 1}}, {"items": {"1": 0}}, {"items": {"-1": 1}}],
        *[{"items": {"1": True}}, {"items": {"1": "2"}}, {"items": {"01": 1}}],
        {"items": {"2147483648": 1}},
        *[{"mailbox": None}, {"mailbox": ""}, {"mailbox": 7}, {"mailbox": "m" * 128}],
        {"anew": 1},
    ],
)
def test_an_item_that_cannot_be_is_refused(tree: Tree, said: dict[str, object]) -> None:
    place = layout.id_mapper(ALICE)
    file = tree.root / place
    file.parent.mkdir(parents=True)
    good: dict[str, object] = {"server": SERVER, "account": ALICE, "mailbox": "m", "items": {}}
    file.write_bytes(sealed(place, good))
    item_map(tree)
    file.write_bytes(sealed(place, good | said))

    with pytest.raises(BackupPathBroken):
        item_map(tree)


def test_damage_before_the_end_is_no_torn_tail(tree: Tree) -> None:
    known = IdMap(tree, SERVER)
    for number in range(3):
        known.note(Mapped(kind=EntryKind.COS, old=f"{number}", new="d", name="n", here="n"), NOW)
    file = tree.root / layout.map_file(SERVER)
    file.write_bytes(file.read_bytes().replace(b'"old":"1"', b'"old":"9"'))

    with pytest.raises(BackupPathBroken, match="line 2 fails its checksum"):
        IdMap(tree, SERVER)


@pytest.mark.parametrize("make", ["link", "folder", "fifo", "missing", "binary", "other name"])
def test_what_is_no_map_of_ours_is_told_so(tmp_path: Path, make: str) -> None:
    file = tmp_path / layout.map_file(SERVER)
    {
        "link": lambda: file.symlink_to("/etc/passwd"),
        "folder": file.mkdir,
        "fifo": lambda: os.mkfifo(file),
        "missing": lambda: None,
        "binary": lambda: file.write_bytes(b"\x01\x00map"),
        "other name": lambda: file.write_bytes(sealed(Place("map_another"), GOOD)),
    }[make]()

    with pytest.raises(BackupError):
        mapfile.read_entries(file)


def test_a_binary_map_is_explained(tmp_path: Path) -> None:
    (tmp_path / "id_mapper").write_bytes(b"\x01\x00\xff")

    with pytest.raises(NotABackupPath, match="Zextras"):
        mapfile.read_items(tmp_path / "id_mapper")
