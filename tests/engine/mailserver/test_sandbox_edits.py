"""What happens to items of a sandbox mailbox afterwards, and what the server refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals, edits, removal
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import CARD, Box, open_box, thread

INBOX, TRASH, JUNK = SystemFolder.INBOX, SystemFolder.TRASH, SystemFolder.JUNK
CONTACTS, BRIEFCASE = SystemFolder.CONTACTS, SystemFolder.BRIEFCASE


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


def conversation(box: Box) -> tuple[int, int, int]:
    """Make a conversation; return its id and those of its two messages."""
    first = box.deliver(thread("Lunch", "1"))
    second = box.deliver(thread("Re: Lunch", "2", "1"))
    return box.row(first)["parent_id"], first, second


def folder(box: Box, path: str = "/Work") -> int:
    return box.do(arrivals.make_folder, path)


SERIES = (edits.flag, removal.delete, removal.empty_folder)


def take(box: Box, step: Callable[..., object], *arguments: Any) -> object:
    """Take a step that is one change, or several."""
    return step(box, *arguments) if step in SERIES else box.do(step, *arguments)


# --- move


def test_a_moved_item_remembers_where_it_was(box: Box) -> None:
    item, target = box.deliver(), folder(box)

    assert box.do(edits.move, item, target) == 1

    row = box.row(item)
    assert row["prev_folders"] == f"{row['mod_metadata']}:{INBOX}"
    assert row["folder_id"] == target
    assert_consistent(box.sandbox)


def test_an_item_remembers_the_last_ten_folders(box: Box) -> None:
    item, places = box.deliver(), [folder(box), INBOX]

    moved = [box.do(edits.move, item, place) for place in places * 6]

    assert moved == [1] * 12
    remembered = box.row(item)["prev_folders"].split(";")
    assert len(remembered) == 10
    assert remembered[-1] == f"{box.row(item)['mod_metadata']}:{places[0]}"


@pytest.mark.parametrize(("tracked", "left"), [(0, False), (1, True)])
def test_a_move_takes_the_imap_id_away_only_where_imap_is_used(
    box: Box, tracked: int, *, left: bool
) -> None:
    item, target = box.deliver(), folder(box)
    box.set_mailbox(tracking_imap=tracked)

    box.do(edits.move, item, target)

    assert box.row(item)["imap_id"] == (0 if left else item)


def test_a_move_to_where_it_is_changes_nothing(box: Box) -> None:
    item = box.deliver()
    before = box.row(item)

    assert box.do(edits.move, item, INBOX) == 0
    assert box.row(item) == before


def test_a_document_takes_its_older_versions_along(box: Box) -> None:
    box.save(b"x" * 100)
    item, target = box.save(b"y" * 10), folder(box)

    box.do(edits.move, item, target)

    assert box.values(target)["sz"] == 110
    assert_consistent(box.sandbox)


def test_what_goes_to_the_trash_is_read(box: Box) -> None:
    work = folder(box)
    items = [box.deliver(), box.deliver(folder=work), box.deliver(folder=TRASH)]

    box.do(edits.move, items[0], TRASH)
    box.do(edits.move, work, TRASH)
    box.do(edits.move, items[2], work)

    assert [box.row(item)["unread"] for item in items] == [0, 0, 1]
    assert_consistent(box.sandbox)


def test_junk_takes_a_message_out_of_its_conversation(box: Box) -> None:
    whole, first, second = conversation(box)

    box.do(edits.move, first, JUNK)

    assert box.row(first)["parent_id"] is None
    assert (box.row(whole)["size"], box.row(whole)["metadata"]) == (1, None)
    box.do(edits.move, second, JUNK)
    assert box.rows("mail_item", "type = 4") == []
    assert_consistent(box.sandbox)


def test_a_folder_moves_with_all_below_it(box: Box) -> None:
    target, inner = folder(box), folder(box, "/Work/2026")

    box.do(edits.move, target, INBOX)

    row = box.row(target)
    assert row["parent_id"] == row["folder_id"] == INBOX
    assert row["prev_folders"] == f"{row['mod_metadata']}:{SystemFolder.USER_ROOT}"
    assert box.row(inner)["folder_id"] == target


def test_a_folder_does_not_move_into_itself(box: Box) -> None:
    outer, inner = folder(box), folder(box, "/Work/2026")

    with pytest.raises(InvalidItem, match="into itself"):
        box.do(edits.move, outer, inner)


def test_a_name_that_is_taken_there_stops_a_move(box: Box) -> None:
    item, target = box.save(b"x"), folder(box)
    box.do(edits.move, item, target)

    with pytest.raises(InvalidItem) as caught:
        box.do(edits.move, box.save(b"y"), target)

    assert caught.value.code == "already_exists"


# --- flags and tags


def test_flags_are_set_and_cleared(box: Box) -> None:
    item = box.deliver()

    assert edits.flag(box, item, ["+flagged", "+replied", "-unread"]) == 1
    assert edits.flag(box, item, ["-replied"]) == 1

    assert (box.row(item)["flags"], box.row(item)["unread"]) == (Flag.FLAGGED, 0)
    assert_consistent(box.sandbox)


def test_flags_that_are_as_wanted_change_nothing(box: Box) -> None:
    item = box.deliver()
    before = box.row(item)

    assert edits.flag(box, item, ["+unread", "-flagged"]) == 0
    assert box.row(item) == before


@pytest.mark.parametrize("word", ["flagged", "+", "+blue", "*flagged", ""])
def test_a_word_that_is_no_flag_is_refused_with_those_there_are(box: Box, word: str) -> None:
    with pytest.raises(InvalidItem, match="no flag") as caught:
        edits.flag(box, box.deliver(), [word])

    assert "unread flagged replied" in caught.value.hint


def test_items_that_are_no_messages_have_only_some_flags(box: Box) -> None:
    item = box.do(arrivals.add_contact, CARD)

    assert edits.flag(box, item, ["+flagged"]) == 1
    with pytest.raises(InvalidItem, match="no message"):
        edits.flag(box, item, ["+unread"])


def test_a_tag_is_made_unlisted_and_put_once(box: Box) -> None:
    item = box.deliver()

    assert [box.do(edits.tag, item, name) for name in ("Büro", "BURO", " Work ")] == [1, 0, 1]

    assert box.row(item)["tag_names"] == "\0Büro\0Work\0"
    assert box.rows("tag", "name = 'büro'")[0]["listed"] == 0
    assert_consistent(box.sandbox)


@pytest.mark.parametrize("name", ["", " ", "a:b", "\\Seen", "a\0b", "x" * 129])
def test_a_name_that_no_tag_can_have_is_refused(box: Box, name: str) -> None:
    with pytest.raises(InvalidItem) as caught:
        box.do(edits.tag, box.deliver(), name)

    assert caught.value.code == "bad_value"


def test_a_tag_may_have_a_slash(box: Box) -> None:
    item = box.deliver()

    box.do(edits.tag, item, "Work/2026")

    assert box.row(item)["tag_names"] == "\0Work/2026\0"


# --- delete


def test_a_deleted_item_takes_side_rows_and_versions_along(box: Box) -> None:
    box.save(b"first")
    item = box.save(b"second")
    box.do(arrivals.add_comment, "Fine", document=item, creator_id="x")
    box.do(edits.tag, item, "Work")

    assert removal.delete(box, item) == 2

    assert box.rows("revision") == []
    assert box.blob_files() == set()
    assert box.rows("tag", "name = 'Work'")[0]["item_count"] == 0
    assert_consistent(box.sandbox)


def test_a_deleted_folder_takes_everything_below_it_along(box: Box) -> None:
    outer, inner = folder(box), folder(box, "/Work/2026")
    items = [box.deliver(folder=outer), box.deliver(folder=inner)]

    assert removal.delete(box, outer) == 4

    assert box.rows("mail_item", f"id IN ({items[0]}, {items[1]}, {outer}, {inner})") == []
    assert_consistent(box.sandbox)


def test_a_conversation_shrinks_with_its_members_and_goes_with_the_last(box: Box) -> None:
    whole, first, second = conversation(box)

    removal.delete(box, first)

    assert (box.row(whole)["size"], box.row(whole)["metadata"]) == (1, None)
    removal.delete(box, second)
    assert box.rows("mail_item", "type = 4") == []
    assert_consistent(box.sandbox)


def test_an_emptied_folder_stays(box: Box) -> None:
    box.deliver()
    folder(box, "/Inbox/Work")
    box.deliver(folder=folder(box, "/Inbox/Work/2026"))

    assert removal.empty_folder(box, INBOX) == 4

    assert box.row(INBOX)["size"] == 0
    assert_consistent(box.sandbox)


def test_a_comment_thrown_away_beside_its_document_goes_once(box: Box) -> None:
    document = box.save(b"plan")
    comment = box.do(arrivals.add_comment, "Fine", document=document, creator_id="x")
    for item in (document, comment):
        box.do(edits.move, item, TRASH)

    assert removal.empty_folder(box, TRASH) == 2

    assert_consistent(box.sandbox)


def test_rows_that_keep_external_mail_from_coming_back_stay(box: Box) -> None:
    item = box.deliver()
    with box.change() as change:
        change.insert_side("pop3_message", data_source_id="d", uid="u", item_id=item)
        change.log("SetPop3Uid", id=item, type=5, uid="u")

    removal.delete(box, item)

    assert len(box.rows("pop3_message")) == 1


def test_a_loop_of_folders_ends_somewhere(box: Box) -> None:
    outer, inner = folder(box), folder(box, "/Work/2026")
    box.set_row(outer, folder_id=inner, parent_id=inner)
    item = box.deliver()

    assert box.do(edits.move, item, outer) == 1
    assert removal.delete(box, inner) == 3


# --- shares


def test_a_grant_replaces_the_earlier_one_to_the_same_account(box: Box) -> None:
    box.do(edits.share, INBOX, "bob", "r")
    box.do(edits.share, INBOX, "carol", "rwidx")

    box.do(edits.share, INBOX, "bob", "rw")

    grants = [{"g": "carol", "r": 31, "t": 1}, {"g": "bob", "r": 3, "t": 1}]
    assert box.values(INBOX)["aclm"] == {"g": grants, "ge": 0, "ie": 0}
    assert box.row(INBOX)["mod_metadata"] == box.mailbox["change_checkpoint"]


def test_a_mountpoint_shows_what_the_folder_shows(box: Box) -> None:
    shared = box.row(SystemFolder.CALENDAR)

    item = box.do(edits.mount, "Team", owner_id="bob", folder=shared)

    values = box.values(item)
    assert (values["aid"], values["id"], values["ruuid"]) == ("bob", 10, shared["uuid"])
    assert values["vt"] == 11
    assert_consistent(box.sandbox)


# --- what is refused

REFUSED: list[tuple[Callable[..., object], tuple[Any, ...]]] = [
    (edits.move, (INBOX, TRASH)),
    (removal.delete, (INBOX,)),
    (removal.empty_folder, (SystemFolder.USER_ROOT,)),
    (removal.empty_folder, (SystemFolder.ROOT,)),
    (edits.flag, (INBOX, ["+unread"])),
    (edits.tag, (INBOX, "Work")),
    (edits.share, (INBOX, "bob", "rq")),
]


@pytest.mark.parametrize(("step", "arguments"), REFUSED)
def test_the_server_refuses_what_would_break_its_own_folders(
    box: Box, step: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    before = box.rows("mail_item")

    with pytest.raises(InvalidItem) as caught:
        take(box, step, *arguments)

    assert caught.value.code == "bad_value"
    assert box.rows("mail_item") == before


@pytest.mark.parametrize("step", [edits.move, removal.delete, edits.flag, edits.tag])
def test_a_conversation_follows_its_messages_only(box: Box, step: Callable[..., object]) -> None:
    whole, _, _ = conversation(box)
    rest = {edits.move: (TRASH,), edits.flag: (["+flagged"],), edits.tag: ("Work",)}

    with pytest.raises(InvalidItem, match="conversation"):
        take(box, step, whole, *rest.get(step, ()))


@pytest.mark.parametrize("step", [removal.empty_folder, edits.share])
def test_an_item_is_no_folder(box: Box, step: Callable[..., object]) -> None:
    rest = ("bob", "r") if step is edits.share else ()

    with pytest.raises(InvalidItem, match="no folder"):
        take(box, step, box.deliver(), *rest)


@pytest.mark.parametrize("item", [0, -1, 9999, 2**63])
def test_an_item_that_is_not_there_is_refused(box: Box, item: int) -> None:
    with pytest.raises(InvalidItem) as caught:
        removal.delete(box, item)

    assert caught.value.code in ("no_such_item", "bad_value")
