"""Whether an id still is the item that it was: what another one got is never taken for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import ItemMap
from backupng.engine.model import AccountId, Digest, ItemId, ItemKind, ItemState
from backupng.engine.restore.compare import is_another, is_itself
from backupng.engine.restore.importing.phase2 import SameMailbox
from backupng.engine.restore.known import is_set_back
from tests.cast import NOON


def item(kind: ItemKind, **words: Any) -> ItemState:
    return ItemState(item_id=ItemId(300), kind=kind, mod=7, start=NOON, **words)


MAIL = item(ItemKind.MESSAGE, digest=Digest("a"), date=1, row={"blob_digest": "sha1"})
FOLDER = item(ItemKind.FOLDER, name="One", row={"uuid": "u"})
NOTE = item(ItemKind.NOTE, subject="Milk", date=1)
EVENT = item(ItemKind.APPOINTMENT, side_rows={"appointment": ({"uid": "x"},)})


@pytest.mark.parametrize(
    ("then", "now", "is_same"),
    [
        (MAIL, replace(MAIL, flags="f", folder_id=ItemId(5), digest=Digest("sha1")), True),
        (MAIL, replace(MAIL, date=2), False),
        (MAIL, replace(MAIL, digest=Digest("b")), False),
        (MAIL, replace(MAIL, kind=ItemKind.CHAT), False),
        (FOLDER, replace(FOLDER, name="Two"), True),
        (FOLDER, replace(FOLDER, row={"uuid": "v"}), False),
        (replace(FOLDER, row={}), replace(FOLDER, row={"uuid": "v"}), True),
        (replace(FOLDER, row={}), replace(FOLDER, name="Two"), False),
        (item(ItemKind.TAG, name="red"), item(ItemKind.TAG, name="blue"), False),
        (item(ItemKind.CONTACT, fields={"n": "A"}), item(ItemKind.CONTACT), False),
        (NOTE, replace(NOTE, folder_id=ItemId(5)), True),
        (NOTE, replace(NOTE, color=2), False),
        (NOTE, replace(NOTE, date=2), False),
        (EVENT, replace(EVENT, side_rows={"appointment": ({"uid": "y"},)}), False),
    ],
)
def test_an_id_is_the_item_it_was_only_without_a_doubt(
    then: ItemState, now: ItemState, *, is_same: bool
) -> None:
    assert is_itself(then, now, at_home=True) is is_same


DRAFT = replace(MAIL, flags="d")
CARD = item(ItemKind.CONTACT, fields={"n": "A", "m": "a@x.org", "fileAs": "1"})
PAPER = item(ItemKind.DOCUMENT, name="plan.txt", digest=Digest("a"))


@pytest.mark.parametrize(
    ("then", "now", "is_sure"),
    [
        (MAIL, replace(MAIL, kind=ItemKind.CONVERSATION), True),
        (MAIL, replace(MAIL, date=2, digest=Digest("b")), True),
        (MAIL, replace(MAIL, date=2), False),
        (MAIL, replace(MAIL, digest=Digest("b")), False),
        (DRAFT, replace(DRAFT, date=2, digest=Digest("b")), False),
        (replace(MAIL, digest=None), replace(MAIL, date=2, digest=Digest("b")), False),
        (EVENT, replace(EVENT, side_rows={"appointment": ({"uid": "y"},)}), True),
        (EVENT, replace(EVENT, side_rows={}), False),
        (CARD, replace(CARD, fields={"n": "B", "m": "a@x.org"}), False),
        (CARD, replace(CARD, fields={"n": "B", "fileAs": "1"}), False),
        (PAPER, replace(PAPER, name="new.txt"), False),
        (PAPER, replace(PAPER, name="new.txt", digest=Digest("b")), False),
        (PAPER, replace(CARD, name="new.txt"), True),
        (FOLDER, replace(FOLDER, name="Two", row={"uuid": "v"}), False),
    ],
)
def test_an_id_is_another_item_only_if_its_owner_cannot_have_made_it_so(
    then: ItemState, now: ItemState, *, is_sure: bool
) -> None:
    assert is_another(then, now) is is_sure


OTHER = replace(MAIL, date=2, digest=Digest("b"))


@pytest.mark.parametrize(
    ("there", "is_lost"),
    [
        ({301: OTHER, 302: MAIL}, False),
        ({301: MAIL, 302: OTHER}, True),
        ({301: OTHER}, True),
        ({301: MAIL, 302: replace(MAIL, date=2)}, False),
        ({}, False),
    ],
)
def test_the_highest_id_that_can_be_told_says_if_a_mailbox_was_set_back(
    there: dict[int, ItemState], *, is_lost: bool
) -> None:
    brought = {ItemId(1): ItemId(301), ItemId(2): ItemId(302), ItemId(3): ItemId(303)}
    living = {ItemId(item): replace(state, item_id=ItemId(item)) for item, state in there.items()}

    said = is_set_back(
        brought,
        lambda _old: [MAIL, replace(MAIL, deleted=True)],
        lambda ids: {item: living[item] for item in ids if item in living},
    )

    assert said is is_lost


@pytest.mark.parametrize("below", [MAIL, OTHER])
def test_an_id_whose_history_cannot_be_read_says_nothing_of_a_mailbox(below: ItemState) -> None:
    living = {ItemId(301): below, ItemId(302): OTHER}

    said = is_set_back(
        {ItemId(1): ItemId(301), ItemId(2): ItemId(302)},
        lambda old: [MAIL] if old == 1 else [],
        lambda ids: {item: living[item] for item in ids},
    )

    assert said is (below is OTHER)


def test_what_another_item_is_known_to_be_is_not_free(tmp_path: Path) -> None:
    tree, account = Tree(tmp_path), AccountId("a")
    brought = ItemMap(tree, account, server_id="s", source=account, mailbox="m")
    brought.note({ItemId(300): ItemId(301)}, NOON)
    known = SameMailbox(brought, lambda: NOON, {ItemId(5)})

    free = [known.is_free(MAIL, ItemId(found)) for found in (5, 301, 302)]

    tree.close()
    assert free == [False, False, True]
