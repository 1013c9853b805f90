"""Items that are copied, renamed, coloured, written anew; tags that change on all their items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals, edits, tags
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder
from backupng.engine.model import ItemKind
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import CARD, EVENT, Box, message, open_box, thread

DRAFTS, JUNK = SystemFolder.DRAFTS, SystemFolder.JUNK
PHOTO = CARD.replace(b"END:", b"PHOTO;ENCODING=b;TYPE=PNG:iVBORw0KGgo=\r\nEND:")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


def draft(box: Box) -> int:
    return box.deliver(message("First"), folder=DRAFTS, look=Look(flags="sd", tags=("Work",)))


def tag_id(box: Box, name: str) -> int:
    return int(box.rows("tag", "name = ?", name)[0]["id"])


# --- copies


def test_a_copied_message_shares_its_place_in_the_index_and_its_conversation(box: Box) -> None:
    box.deliver(thread("Lunch", "1"))
    item = box.deliver(thread("Re: Lunch", "2", "1"), look=Look(tags=("Work",)))
    before = box.row(item)

    copied = box.do(edits.copy, item, DRAFTS)

    old, new = box.row(item), box.row(copied)
    assert old == before | {"flags": Flag.COPIED}
    same = (
        "index_id",
        "parent_id",
        "date",
        "size",
        "blob_digest",
        "tag_names",
        "metadata",
        "flags",
    )
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert (new["recipients"], new["prev_folders"]) == (None, f"{new['mod_metadata']}:2")
    assert new["mod_content"] == new["mod_metadata"] > old["mod_metadata"]
    assert box.row(new["parent_id"])["size"] == 3
    assert_consistent(box.sandbox)


def test_a_copy_in_the_junk_is_in_no_conversation(box: Box) -> None:
    box.deliver(thread("Lunch", "1"))
    item = box.deliver(thread("Re: Lunch", "2", "1"))

    copied = box.do(edits.copy, item, JUNK)

    assert box.row(copied)["parent_id"] is None
    assert_consistent(box.sandbox)


def test_a_copy_of_what_can_change_has_its_own_place_in_the_index(box: Box) -> None:
    first = box.save(b"x" * 100)
    item, target = box.save(b"y" * 10), box.do(arrivals.make_folder, "/Work")

    copied = box.do(edits.copy, item, target)

    assert first == item
    assert (box.row(item)["flags"], box.row(copied)["flags"]) == (Flag.VERSIONED, 0)
    assert box.row(copied)["name"] == "plan.txt"
    assert_consistent(box.sandbox)


@pytest.mark.parametrize("kind", ["folder", "appointment", "conversation"])
def test_what_there_is_one_of_is_not_copied(box: Box, kind: str) -> None:
    made: dict[str, Callable[[], int]] = {
        "folder": lambda: box.do(arrivals.make_folder, "/Work"),
        "appointment": lambda: box.do(
            arrivals.add_calendar_item,
            EVENT.format(kind="VEVENT", uid="1").encode(),
            address=box.account.name,
            kind=ItemKind.APPOINTMENT,
        ),
        "conversation": lambda: [
            box.row(box.deliver(thread("A", str(n), "1")))["parent_id"] for n in (1, 2)
        ][1],
    }
    item = made[kind]()

    with pytest.raises(InvalidItem) as caught:
        box.do(edits.copy, item, DRAFTS)

    assert caught.value.code == "bad_value"


# --- new content


@pytest.mark.parametrize(("tracked", "imap_id"), [(0, None), (1, 0)])
def test_a_draft_that_is_saved_again_keeps_its_id_and_marks(
    box: Box, tracked: int, imap_id: int | None
) -> None:
    item = draft(box)
    box.set_mailbox(tracking_imap=tracked)
    box.do(edits.color, item, 5)

    box.do(edits.save_draft, item, message("Second"))

    row = box.row(item)
    assert (row["subject"], row["tag_names"]) == ("Second", "\0Work\0")
    assert (row["flags"], box.values(item)["c"]) == (Flag.SENT | Flag.DRAFT, 5)
    assert row["mod_content"] == row["mod_metadata"] == box.mailbox["change_checkpoint"]
    assert row["date"] == box.now_ms // 1000
    assert row["imap_id"] == (item if imap_id is None else imap_id)
    assert box.blob_files() == {f"{item}-{row['mod_content']}.msg"}
    assert_consistent(box.sandbox)


def test_only_a_draft_is_saved_again(box: Box) -> None:
    with pytest.raises(InvalidItem, match="no draft"):
        box.do(edits.save_draft, box.deliver(), message("Second"))


def test_a_contact_gets_all_its_fields_anew(box: Box) -> None:
    item = box.do(arrivals.add_contact, PHOTO)
    box.do(edits.color, item, 5)

    box.do(edits.modify_contact, item, CARD.replace(b"FN:Zo", b"FN:Ann"))

    row = box.row(item)
    fields = {"fullName": "Ann", "lastName": "Zo", "fileAs": "8:Ann"}
    assert box.values(item) == {"c": 5, "fld": fields}
    assert (row["flags"], row["size"], row["blob_digest"]) == (0, 0, None)
    assert row["mod_content"] == row["mod_metadata"]
    assert box.blob_files() == set()
    assert_consistent(box.sandbox)


def test_only_a_contact_is_modified_as_one(box: Box) -> None:
    with pytest.raises(InvalidItem, match="no contact"):
        box.do(edits.modify_contact, box.deliver(), CARD)


def test_a_new_version_of_a_document_keeps_its_colour(box: Box) -> None:
    item = box.save(b"x")
    box.do(edits.color, item, 5)

    box.save(b"y")

    assert (box.values(item)["c"], box.values(item)["ver"]) == (5, 2)


# --- names, colours, dates


def test_a_renamed_folder_and_document_keep_their_content_number(box: Box) -> None:
    items = [box.do(arrivals.make_folder, "/Work"), box.save(b"x")]
    contents = [box.row(item)["mod_content"] for item in items]

    for item in items:
        box.do(edits.rename, item, "Other ")

    rows = [box.row(item) for item in items]
    assert [(row["name"], row["subject"]) for row in rows] == [("Other", "Other")] * 2
    assert [row["mod_content"] for row in rows] == contents
    assert_consistent(box.sandbox)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 256])
def test_a_name_that_no_folder_can_have_is_refused(box: Box, name: str) -> None:
    folder = box.do(arrivals.make_folder, "/Work")

    with pytest.raises(InvalidItem):
        box.do(edits.rename, folder, name)

    assert box.row(folder)["name"] == "Work"


def test_a_message_has_no_name_and_a_system_folder_keeps_its_own(box: Box) -> None:
    for item in (box.deliver(), DRAFTS):
        with pytest.raises(InvalidItem):
            box.do(edits.rename, item, "Other")


@pytest.mark.parametrize(("colour", "kept"), [(3, 3), (0x01FF8000, 0x01FF8000), (0, None)])
def test_a_colour_stands_in_the_metadata_unless_it_is_none(
    box: Box, colour: int, kept: int | None
) -> None:
    item = box.deliver()
    box.do(edits.color, item, 5)

    box.do(edits.color, item, colour)

    assert box.values(item).get("c") == kept


def test_a_date_is_the_items_and_not_that_of_the_change(box: Box) -> None:
    item = box.deliver()

    box.do(edits.date, item, 1_600_000_000)

    assert box.row(item)["date"] == 1_600_000_000
    assert box.row(item)["change_date"] == box.now_ms // 1000


# --- tags


def test_a_renamed_tag_is_renamed_on_all_items_under_one_number(box: Box) -> None:
    items = [box.deliver(look=Look(tags=("Blue", "Work"))) for _ in range(2)]
    other = box.row(box.deliver())

    assert box.do(tags.rename_tag, tag_id(box, "Work"), "Home") == 2

    number = box.mailbox["change_checkpoint"]
    rows = [box.row(item) for item in items]
    assert [row["tag_names"] for row in rows] == ["\0Blue\0Home\0"] * 2
    assert [row["mod_metadata"] for row in rows] == [number] * 2
    assert box.rows("tag", "name = 'Home'")[0]["sequence"] == number
    assert box.row(other["id"]) == other
    assert_consistent(box.sandbox)


def test_a_tag_that_is_there_keeps_its_name_for_itself(box: Box) -> None:
    box.deliver(look=Look(tags=("Blue", "Work")))

    for step, arguments in (
        (tags.rename_tag, (tag_id(box, "Work"), "BLUE")),
        (tags.make_tag, ("blue",)),
    ):
        with pytest.raises(InvalidItem) as caught:
            box.do(step, *arguments)
        assert caught.value.code == "already_exists"


@pytest.mark.parametrize("tracked", [0, 1])
def test_a_deleted_tag_leaves_all_items_under_one_number(box: Box, tracked: int) -> None:
    box.set_mailbox(tracking_sync=tracked)
    item = box.deliver(look=Look(unread=True, tags=("Blue", "Work")))
    tag = tag_id(box, "Work")

    assert box.do(tags.delete_tag, tag) == 1

    assert box.row(item)["tag_names"] == "\0Blue\0"
    assert box.row(item)["mod_metadata"] == box.mailbox["change_checkpoint"]
    assert box.rows("tag", "id = ?", tag) == []
    stones = [(stone["type"], stone["ids"]) for stone in box.rows("tombstone")]
    assert stones == [(3, str(tag))] * tracked
    assert_consistent(box.sandbox)


def test_a_tag_is_made_with_a_colour_and_coloured_again(box: Box) -> None:
    tag = box.do(tags.make_tag, "Work", color=3)

    box.do(tags.color_tag, tag, 5)

    (row,) = box.rows("tag", "id > 0")
    assert (row["color"], row["listed"]) == (5, 1)
    assert row["sequence"] == box.mailbox["change_checkpoint"]


@pytest.mark.parametrize("tag", [-1, 9999])
@pytest.mark.parametrize("step", [tags.delete_tag, tags.color_tag, tags.rename_tag])
def test_a_tag_that_is_not_a_users_is_refused(box: Box, step: Callable[..., Any], tag: int) -> None:
    rest = {tags.color_tag: (1,), tags.rename_tag: ("x",)}.get(step, ())

    with pytest.raises(InvalidItem) as caught:
        box.do(step, tag, *rest)

    assert caught.value.code == "no_such_item"


def test_a_tag_is_taken_off(box: Box) -> None:
    item = box.deliver(look=Look(tags=("Blue", "Work")))

    assert [box.do(edits.untag, item, "Blue") for _ in range(2)] == [1, 0]

    assert box.row(item)["tag_names"] == "\0Work\0"
    assert_consistent(box.sandbox)
