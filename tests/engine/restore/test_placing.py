"""Placing: what a server refuses is put once more only where its folder is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.port import NO_SUCH_ITEM
from backupng.engine.model import ItemId, ItemState
from backupng.engine.restore.dry_mailbox import DryMailbox
from backupng.engine.restore.placing import Placing
from backupng.engine.restore.rename import ROOTS, Plan, folder_named

A, B, GONE = ItemId(300), ItemId(301), ItemId(900)


def folder(item: ItemId, parent: ItemId) -> ItemState:
    return replace(folder_named(f"n{item}"), item_id=item, folder_id=parent)


def placing(*frame: ItemState) -> Placing:
    """Return where folders go in an empty mailbox, of which nothing but what is made lives."""
    return Placing(
        plan=Plan(frame=list(frame)),
        writer=DryMailbox(None),
        at_home=False,
        beside=False,
        record=lambda _: None,
    )


@pytest.mark.parametrize(
    ("code", "is_gone", "times"),
    [(NO_SUCH_ITEM, True, 2), (NO_SUCH_ITEM, False, 1), ("already_exists", True, 1)],
)
def test_only_what_is_refused_for_its_folder_is_put_once_more(
    code: str, times: int, *, is_gone: bool
) -> None:
    places, asked = placing(folder(A, ROOTS[0])), list[ItemId]()
    made = places.place(A)
    if is_gone:
        places.places[A] = GONE

    def put(place: ItemId) -> None:
        asked.append(place)
        raise InvalidItem("no", code=code)

    with pytest.raises(InvalidItem):
        places.put(A, put)

    assert asked == [GONE if is_gone else made, places.place(A)][:times]


def test_folders_within_each_other_are_made_below_one_that_nobody_knows() -> None:
    places = placing(folder(A, B), folder(B, A))

    made = places.place(A)

    assert (places.unknown, places.place(A)) == (1, made)


def test_folders_within_each_other_that_are_gone_are_made_again() -> None:
    places, asked = placing(folder(A, B), folder(B, A)), list[ItemId]()
    places.places |= {A: GONE, B: ItemId(GONE + 1)}

    def put(place: ItemId) -> None:
        asked.append(place)
        if place == GONE:
            raise InvalidItem("gone", code=NO_SUCH_ITEM)

    places.put(A, put)

    assert asked == [GONE, places.place(A)]
    assert places.writer.living(asked) == {places.place(A)}
