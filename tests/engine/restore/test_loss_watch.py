"""How much of a mailbox went within a day, and which shares stay behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backupng.engine.mailserver.zimbra.metadata import encode_column
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.restore.losses import LossWatch, lost_shares
from backupng.engine.restore.rename import Plan
from backupng.engine.restore.select import ALL_TIME, Selection, living_at
from tests.engine.backuppath.samples import ACCOUNT, NOON, new_path
from tests.engine.restore.test_origins import folder, state

DAY = timedelta(days=1)


def lost(hours: float, kind: ItemKind = ItemKind.MESSAGE) -> Sequence[ItemState]:
    """Return a history that ends by a deletion so many hours before noon."""
    start = NOON - timedelta(hours=hours)
    born = state(300, 1, 2, kind=kind)
    return [born, ItemState(item_id=ItemId(300), kind=kind, mod=2, start=start, deleted=True)]


LIVES = [state(300, 1, 2)]
BINNED = [lost(1, ItemKind.FOLDER), lost(1, ItemKind.TAG), lost(1, ItemKind.CONVERSATION)]


@pytest.mark.parametrize(
    ("histories", "first"),
    [
        ([LIVES, lost(1), lost(24), lost(25)], NOON - DAY),
        ([LIVES, lost(1)], None),
        ([LIVES, lost(1), lost(24.1)], None),
        ([LIVES, lost(1), *BINNED, []], None),
        ([lost(1)], NOON - timedelta(hours=1)),
    ],
)
def test_more_than_half_of_the_items_gone_within_a_day_is_a_loss(
    tmp_path: Path, histories: Sequence[Sequence[ItemState]], first: datetime | None
) -> None:
    with new_path(tmp_path / "backup") as path:
        selection = Selection(
            path=path, account=ACCOUNT, pick=lambda history: living_at(history, ALL_TIME)
        )
        watch = LossWatch(selection, now=NOON)
        for history in histories:
            selection.pick(history)

    assert watch.first_loss == first


def test_shares_are_named_up_to_twenty_those_of_system_folders_too() -> None:
    one, two = (
        {"metadata": encode_column({"aclm": {"g": [{"g": "a", "t": 1, "r": 1}] * number}})}
        for number in (1, 2)
    )
    calendar, work = folder(10, 1, 1, "Calendar"), folder(300, 1, 1, "Work")
    plan = Plan(
        system=[replace(calendar, row=one)],
        folders=[replace(work, row=two), folder(301, 1, 1, "Mine")],
        shares=[folder(400, 1, 1, "Theirs")],
    )

    assert lost_shares(plan) == "the mountpoint Theirs, 1 grant on Calendar, 2 grants on Work"
    plan.shares *= 19
    assert lost_shares(plan).endswith("1 grant on Calendar and 1 more")
    assert lost_shares(Plan()) == ""
