"""What counts as equal after writing, and what a killed injection has left half made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backupng.engine.model import Digest, ItemId, ItemKind, ItemState
from backupng.engine.restore.compare import is_half_made, is_same
from tests.cast import NOON

MAIL = ItemState(
    item_id=ItemId(300),
    kind=ItemKind.MESSAGE,
    mod=7,
    start=NOON,
    name="a",
    subject="Offer",
    flags="f",
    tags=("Red",),
    color=3,
    size=10,
    date=1,
    digest=Digest("a"),
)
BARE = {"flags": "", "tags": (), "color": 0}


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": ItemKind.CHAT},
        {"name": "b"},
        {"subject": "Offers"},
        {"flags": "fr"},
        {"unread": True},
        {"tags": ("Red", "Blue")},
        {"color": 4},
        {"size": 11},
        {"digest": Digest("b")},
    ],
    ids=str,
)
def test_all_that_a_user_sees_has_to_be_the_same(changed: dict[str, Any]) -> None:
    assert is_same(MAIL, replace(MAIL, item_id=ItemId(9), mod=1, folder_id=ItemId(5)))
    assert not is_same(MAIL, replace(MAIL, **changed))


def test_texts_are_the_same_if_the_database_holds_them_alike() -> None:
    wanted = replace(MAIL, name="😀", subject="😀", tags=("😀",))

    assert is_same(wanted, replace(MAIL, name="?", subject="?", tags=("?",)))


def test_tags_are_the_same_if_the_server_takes_their_names_for_one() -> None:
    wanted = replace(MAIL, tags=(" red ", "Grün", "RED"))

    assert is_same(wanted, replace(MAIL, tags=("Red", "grun")))
    assert not is_same(wanted, replace(MAIL, tags=("Red",)))


@pytest.mark.parametrize(
    ("kind", "found", "is_half"),
    [
        (ItemKind.CONTACT, {}, False),
        (ItemKind.CONTACT, {"flags": ""}, True),
        (ItemKind.CONTACT, {"date": 2}, True),
        (ItemKind.CONTACT, {"tags": (), "flags": "u"}, False),
        (ItemKind.DOCUMENT, {"digest": Digest("older")}, True),
        (ItemKind.MESSAGE, {"color": 0}, True),
        (ItemKind.MESSAGE, {"color": 0, "tags": ("red",)}, True),
        (ItemKind.MESSAGE, {"date": 2}, False),
        (ItemKind.MESSAGE, BARE, False),
    ],
    ids=str,
)
def test_half_made_is_only_what_lacks_what_comes_last_and_has_nothing_else_instead(
    kind: ItemKind, found: dict[str, Any], *, is_half: bool
) -> None:
    wanted = replace(MAIL, kind=kind)

    assert is_half_made(wanted, replace(wanted, **found)) is is_half
