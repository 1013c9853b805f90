"""Where deleted items belong: by the folders that they lay in, and the names of those then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.restore.origins import Origins
from tests.engine.backuppath.samples import ACCOUNT, NOON, new_path

TOP, INBOX, TRASH = 1, 2, 3
A, B, NAMED, BINNED, INNER, MAIL, DAMAGED, NEVER = range(260, 268)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def folder(item: int, mod: int, parent: int, name: str, **more: Any) -> ItemState:
    return state(item, mod, parent, kind=ItemKind.FOLDER, name=name, **more)


def state(item: int, mod: int, parent: int, **more: Any) -> ItemState:
    kind = more.pop("kind", ItemKind.MESSAGE)
    return ItemState(
        item_id=ItemId(item),
        kind=kind,
        mod=mod,
        start=at(mod),
        folder_id=ItemId(parent),
        row={"id": item},
        **more,
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupPath]:
    """Return a backup of folders that were renamed, moved to the Trash, damaged."""
    with new_path(tmp_path_factory.mktemp("origins") / "backup") as found:
        with found.writer("scan") as writer:
            writer.add_states(
                ACCOUNT,
                [
                    *(folder(INBOX, 1, TOP, "Inbox"), folder(7, 1, TOP, "Contacts")),
                    folder(13, 1, 7, "Emailed"),
                    *(folder(A, 1, TOP, "A", color=3, flags="*"), folder(B, 1, TOP, "B")),
                    *(folder(NAMED, 2, A, "Old"), folder(NAMED, 20, A, "New")),
                    *(folder(BINNED, 1, B, "Binned"), folder(BINNED, 10, TRASH, "Binned")),
                    *(folder(INNER, 1, BINNED, "Inner"), state(MAIL, 1, INBOX)),
                    folder(DAMAGED, 1, TOP, "Damaged"),
                ],
            )
            writer.commit()
        for item in (DAMAGED, INBOX):
            file = found.tree.root / layout.item_file(ACCOUNT, ItemId(item))
            file.write_bytes(file.read_bytes().replace(b"a", b"b"))
        yield found


def spelled(origins: Origins, place: ItemId | None) -> str:
    """Return the path of a folder in the frame; ids of those that are not in it."""
    frame = {each.item_id: each for each in origins.frame}
    names: list[str] = []
    while place is not None and place != TOP:
        names.insert(0, str(frame[place].name if place in frame else place))
        place = frame[place].folder_id if place in frame else None
    return "/".join(names)


@pytest.mark.parametrize(
    ("places", "moment", "where"),
    [
        ([(1, A), (5, B), (8, TRASH)], 12, "B"),
        ([(1, TRASH)], 12, "3"),
        ([(1, NAMED)], 15, "A/Old"),
        ([(1, NAMED)], 20, "A/New"),
        ([(1, NAMED)], 1, "A/Old"),
        ([(1, A), (5, BINNED)], 12, "B/Binned"),
        ([(1, INNER), (11, TRASH)], 12, "B/Binned/Inner"),
        ([(1, 13)], 12, "Contacts/Emailed"),
        ([(1, INBOX)], 12, "Inbox"),
        ([(1, MAIL)], 12, str(MAIL)),
        ([(1, DAMAGED)], 12, str(DAMAGED)),
        ([(1, NEVER)], 12, str(NEVER)),
    ],
)
def test_what_was_deleted_belongs_where_it_lay_last_outside_the_trash(
    path: BackupPath, places: list[tuple[int, int]], moment: int, where: str
) -> None:
    history = [state(300, mod, parent) for mod, parent in places]
    origins = Origins(path, ACCOUNT)

    found = origins.folder_of(history, history[-1], at(moment))

    assert spelled(origins, found).replace("Trash", str(TRASH)) == where


def test_an_earlier_state_belongs_where_the_item_lay_before_that(path: BackupPath) -> None:
    history = [state(300, 1, A), state(300, 8, TRASH), state(300, 15, B)]
    origins = Origins(path, ACCOUNT)

    assert spelled(origins, origins.folder_of(history, history[1], at(12))) == "A"


def test_a_folder_that_had_two_names_is_two_and_keeps_its_look(path: BackupPath) -> None:
    origins = Origins(path, ACCOUNT)
    item = state(300, 1, NAMED)

    found = [origins.folder_of([item], item, at(moment)) for moment in (15, 25, 15)]

    assert [spelled(origins, each) for each in found] == ["A/Old", "A/New", "A/Old"]
    assert len(origins.frame) == 3
    (above,) = (each for each in origins.frame if each.name == "A")
    assert (above.color, above.flags) == (3, "*")
