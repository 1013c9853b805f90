"""In which order states are injected, and in which batches."""

from __future__ import annotations

from typing import Any

from backupng.engine.mailserver.zimbra.metadata import encode_column
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.restore.rename import Planned, batches, grant_count, order
from tests.cast import NOON


def state(number: int, kind: ItemKind, folder: int = 2, **more: Any) -> ItemState:
    return ItemState(
        item_id=ItemId(number), kind=kind, mod=1, start=NOON, folder_id=ItemId(folder), **more
    )


def planned(number: int, kind: ItemKind = ItemKind.MESSAGE, size: int = 1) -> Planned:
    return Planned(item_id=ItemId(number), kind=kind, mod=1, folder_id=ItemId(2), size=size)


def test_what_others_name_comes_before_them_whatever_its_id_is() -> None:
    plan = order(
        [
            state(258, ItemKind.COMMENT),
            state(263, ItemKind.MESSAGE),
            state(265, ItemKind.TASK, 15),
            state(262, ItemKind.DOCUMENT),
            state(266, ItemKind.APPOINTMENT, 10),
            state(267, ItemKind.CONVERSATION),
            state(261, ItemKind.FOLDER, 260),
            state(259, ItemKind.FOLDER, 261),
            state(260, ItemKind.FOLDER, 1),
            state(271, ItemKind.TAG),
            state(270, ItemKind.TAG),
            state(280, ItemKind.MOUNTPOINT, 1),
            state(5, ItemKind.FOLDER, 1),
            state(2, ItemKind.FOLDER, 1),
        ]
    )

    ids = [[each.item_id for each in part] for part in (plan.system, plan.tags, plan.shares)]
    assert ids == [[2, 5], [270, 271], [280]]
    assert [each.item_id for each in plan.folders] == [260, 261, 259]
    assert [each.item_id for each in plan.items] == [265, 266, 262, 263, 258]
    assert plan.size == 10


def test_folders_that_lie_within_each_other_or_nowhere_are_not_lost() -> None:
    folders = [state(300, ItemKind.FOLDER, 301), state(301, ItemKind.FOLDER, 300)]
    inner = state(299, ItemKind.FOLDER, 301)

    plan = order([*folders, inner, state(400, ItemKind.FOLDER, 999)])

    assert [each.item_id for each in plan.folders] == [400, 299, 300, 301]


def test_a_batch_ends_by_number_or_by_bytes_and_comments_begin_another() -> None:
    many = [planned(number) for number in range(101)]
    large = [planned(number, size=size) for number, size in enumerate((9 << 20, 8 << 20, 1, 1))]
    mixed = [planned(1, ItemKind.DOCUMENT), *(planned(n, ItemKind.COMMENT) for n in (2, 3))]

    sizes = [[len(batch) for batch in batches(each)] for each in (many, large, mixed, [])]

    assert sizes == [[100, 1], [2, 2], [1, 2], []]


def test_grants_are_counted_and_those_that_cannot_be_read_are_none() -> None:
    two = encode_column({"aclm": {"g": [{"g": "a", "t": 1, "r": 1}, {"g": "b", "t": 1, "r": 1}]}})

    counts = [
        grant_count(state(300, ItemKind.FOLDER, row={"metadata": metadata}))
        for metadata in (two, encode_column({}), "d1:x")
    ]

    assert counts == [2, 0, 0]
