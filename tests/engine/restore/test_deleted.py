"""What an Undelete chooses, and which of it is one and the same: read from a tree, no server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.mailserver.zimbra.metadata import encode_column
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.restore.origins import Origins
from backupng.engine.restore.rename import Plan, order
from backupng.engine.restore.single import Single
from backupng.engine.restore.undelete import Deleted, Gone, visible
from tests.engine.backuppath.samples import ACCOUNT, new_path
from tests.engine.restore.test_origins import A, at, folder, state

TOP = 1


def gone(item: int, mod: int) -> ItemState:
    return ItemState(
        item_id=ItemId(item), kind=ItemKind.MESSAGE, mod=mod, start=at(mod), deleted=True
    )


def chosen(root: Path, states: Sequence[ItemState], **more: Any) -> tuple[Plan, Deleted]:
    """Return the plan of an Undelete of all that was deleted from minute 2 to before minute 50."""
    with new_path(root / "backup") as path:
        with path.writer("scan") as writer:
            writer.add_states(ACCOUNT, states)
            writer.commit()
        deleted = Deleted.of(path, ACCOUNT, at(2), at(50))
        for name, value in more.items():
            setattr(deleted, name, value)
        plan = deleted.plan(order(deleted.selection().states()), top="")
    return plan, deleted


def place(plan: Plan, item: int) -> str:
    """Return the path of the folder that an item goes to."""
    frame = {each.item_id: each for each in plan.frame}
    at_id = next(each.folder_id for each in plan.items if each.item_id == item)
    names: list[str] = []
    while at_id in frame:
        names.insert(0, str(frame[at_id].name))
        at_id = frame[at_id].folder_id
    return "/".join(names)


def test_of_several_deletions_of_one_item_the_last_in_the_period_counts(tmp_path: Path) -> None:
    lives = [(1, 5), (10, 15), (40, 60)]
    states = [each for born, died in lives for each in (state(300, born, A), gone(300, died))]

    plan, deleted = chosen(tmp_path, states)

    assert [(each.item_id, each.mod) for each in plan.items] == [(300, 10)]
    assert deleted.gone.moments == {300: at(15)}


def test_what_lived_at_a_moment_can_be_left_out(tmp_path: Path) -> None:
    states = [state(300, 1, A), gone(300, 5), state(301, 1, A), gone(301, 20)]

    plan, _ = chosen(tmp_path, states, but_living=at(10))

    assert [each.item_id for each in plan.items] == [300]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (ItemKind.MESSAGE, {"subject": "a"}, {"subject": "b"}),
        (ItemKind.MESSAGE, {"date": 1}, {"date": 2}),
        (ItemKind.DOCUMENT, {"name": "a"}, {"name": "b"}),
        (ItemKind.CONTACT, {"fields": {"n": "a"}}, {"fields": {"n": "b"}}),
        (ItemKind.NOTE, {"metadata": "a"}, {"metadata": "b"}),
    ],
)
def test_only_what_holds_the_same_is_a_copy(
    tmp_path: Path, kind: ItemKind, first: dict[str, Any], second: dict[str, Any]
) -> None:
    states: list[ItemState] = []
    for item, content in ((300, first), (301, second), (302, second)):
        more = dict(content)
        born = state(item, (item - 299) * 3, A, kind=kind)
        row = {"id": item, "metadata": encode_column({"x": more.pop("metadata", "")})}
        states += [replace(born, row=row, **more), gone(item, born.mod + 1)]

    plan, deleted = chosen(tmp_path, states)

    assert [each.item_id for each in plan.items] == [300, 301]
    assert deleted.copies == {302: 301}


def test_what_an_earlier_undelete_brought_belongs_where_that_had_it_from(tmp_path: Path) -> None:
    states = [
        *(folder(400, 1, TOP, "undelete_02_03_26_2"), folder(401, 1, 400, "Work")),
        *(folder(402, 1, TOP, "Mine"), folder(403, 1, 402, "undelete_02_03_26")),
        *(folder(404, 1, 403, "Deep"), folder(405, 1, TOP, "undelete me")),
        *(state(300, 1, 401, subject="a"), gone(300, 5)),
        *(state(301, 1, 404, subject="b"), gone(301, 5)),
        *(state(302, 1, 405, subject="c"), gone(302, 5)),
    ]

    plan, _ = chosen(tmp_path, states)

    assert [place(plan, item) for item in (300, 301, 302)] == [
        *("Work", "Mine/undelete_02_03_26/Deep", "undelete me")
    ]


def test_only_what_came_after_an_item_had_gone_may_be_its_return(tmp_path: Path) -> None:
    with new_path(tmp_path / "backup") as path:
        with path.writer("scan") as writer:
            writer.add_states(ACCOUNT, [state(item, item - 300, A) for item in (305, 310, 315)])
            writer.commit()
        known = Gone(path, ACCOUNT, {ItemId(305): at(10)}, {ItemId(305)})

        free = [known.is_free(state(305, 5, A), ItemId(item)) for item in (305, 306, 310, 315)]
        unknown = known.is_free(state(310, 10, A), ItemId(315))

    assert (free, unknown) == ([False, True, True, True], False)
    assert [known.find(ItemId(item)) for item in (305, 310)] == [305, None]


def test_what_comes_back_is_visible_and_bears_its_tag_once() -> None:
    hidden = replace(state(300, 1, A), flags="xf", tags=("Red",), row={"flags": 128 | 2})

    found = [visible(hidden, tag=tag) for tag in ("Red", "Blue", "")]

    assert [each.tags for each in found] == [("Red",), ("Red", "Blue"), ("Red",)]
    assert {(each.flags, each.row["flags"]) for each in found} == {("f", 2)}
    assert visible(folder(400, 1, TOP, "x"), tag="Red").tags == ()


def test_a_single_item_is_in_place_only_as_and_where_it_was(tmp_path: Path) -> None:
    item = state(300, 1, A, subject="a")
    with new_path(tmp_path / "backup") as path:
        single = Single(
            gone=Gone(path, ACCOUNT),
            origins=Origins(path, ACCOUNT),
            items=[item.item_id],
            now=at(9),
        )
        single.pick([item])

        present = [item, replace(item, mod=7), replace(item, folder_id=ItemId(2))]
        present += [replace(item, flags="f"), state(301, 1, A, subject="a")]
        found = [single.is_in_place(each) for each in present]
        single.folder = ()

    assert found == [True, True, False, False, False]
    assert not single.is_in_place(item)
    plan = single.plan(Plan(system=[folder(10, 1, TOP, "Calendar")]))
    assert ([each.name for each in plan.folders], plan.system) == (["Calendar"], [])
