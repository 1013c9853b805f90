"""Whether an id still is the item that it was: what another one got is never taken for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import ItemMap
from backupng.engine.model import AccountId, Digest, ItemId, ItemKind, ItemState
from backupng.engine.restore.compare import is_itself
from backupng.engine.restore.importing.phase2 import SameMailbox
from tests.cast import NOON


def item(kind: ItemKind, **words: Any) -> ItemState:
    return ItemState(item_id=ItemId(300), kind=kind, mod=7, start=NOON, **words)


MAIL = item(ItemKind.MESSAGE, digest=Digest("a"), date=1, row={"blob_digest": "sha1"})
FOLDER = item(ItemKind.FOLDER, name="One", row={"uuid": "u"})
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
        (EVENT, replace(EVENT, side_rows={"appointment": ({"uid": "y"},)}), False),
    ],
)
def test_an_id_is_the_item_it_was_only_without_a_doubt(
    then: ItemState, now: ItemState, *, is_same: bool
) -> None:
    assert is_itself(then, now, at_home=True) is is_same


def test_what_another_item_is_known_to_be_is_not_free(tmp_path: Path) -> None:
    tree, account = Tree(tmp_path), AccountId("a")
    brought = ItemMap(tree, account, server_id="s", source=account, mailbox="m")
    brought.note({ItemId(300): ItemId(301)}, NOON)
    known = SameMailbox(brought, lambda: NOON, {ItemId(5)})

    free = [known.is_free(MAIL, ItemId(found)) for found in (5, 301, 302)]

    tree.close()
    assert free == [False, False, True]
