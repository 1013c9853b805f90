"""What comes into a sandbox mailbox: rows, side rows and blobs as the real server makes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals, removal
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder
from backupng.engine.mailserver.zimbra.metadata import as_int, decode
from backupng.engine.model import ItemKind
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import ADDRESS, CARD, EVENT, Box, message, open_box, thread

INBOX, JUNK = SystemFolder.INBOX, SystemFolder.JUNK
PHOTO = CARD.replace(b"END:", b"PHOTO;ENCODING=b;TYPE=PNG:iVBORw0KGgo=\r\nEND:")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


def conversations(box: Box) -> list[dict[str, Any]]:
    return box.rows("mail_item", "type = 4")


def event(uid: str, kind: str = "VEVENT") -> bytes:
    return EVENT.format(kind=kind, uid=uid).encode()


def invite_id(box: Box, item: int) -> int:
    invite = box.values(item)["inv0"]
    assert isinstance(invite, dict)
    return as_int(invite["mid"])


def add_event(box: Box, raw: bytes, kind: ItemKind = ItemKind.APPOINTMENT) -> int:
    return box.do(arrivals.add_calendar_item, raw, address=ADDRESS, kind=kind)


# --- mail


def test_a_message_has_the_look_it_came_with(box: Box) -> None:
    look = Look(unread=True, flags="fs", tags=("Work", "Büro"))

    item = box.deliver(message("Hello"), look=look)

    row = box.row(item)
    assert (row["unread"], row["flags"]) == (1, Flag.FLAGGED | Flag.SENT)
    assert row["tag_names"] == "\0Work\0Büro\0"
    assert row["imap_id"] == row["index_id"] == item
    assert row["uuid"] is None
    assert_consistent(box.sandbox)


def test_a_tag_that_mail_brings_is_not_listed(box: Box) -> None:
    box.deliver(look=Look(tags=("Work",)))

    assert box.rows("tag", "name = 'Work'")[0]["listed"] == 0


def test_two_spellings_of_a_tag_are_one(box: Box) -> None:
    item = box.deliver(look=Look(tags=("Büro", "BURO", "büro ")))

    assert box.row(item)["tag_names"] == "\0Büro\0"


@pytest.mark.parametrize("date", [-1, 10**11])
def test_a_message_is_never_of_the_future_nor_of_before_all_time(box: Box, date: int) -> None:
    item = box.do(arrivals.deliver, message("Hello"), folder=INBOX, date=date)

    assert box.row(item)["date"] == box.now_ms // 1000


def test_any_bytes_are_a_message(box: Box) -> None:
    item = box.deliver(b"\x00\xff\n\n")

    assert box.row(item)["size"] == 4
    assert_consistent(box.sandbox)


# --- conversations


def test_a_message_alone_has_no_conversation(box: Box) -> None:
    item = box.deliver(thread("Lunch", "1"))

    assert box.row(item)["parent_id"] is None
    assert conversations(box) == []


def test_an_answer_makes_a_conversation_of_both(box: Box) -> None:
    first = box.deliver(thread("Lunch", "1"))

    answer = box.deliver(thread("Re: Lunch", "2", "1"))

    (row,) = conversations(box)
    assert box.row(first)["parent_id"] == box.row(answer)["parent_id"] == row["id"]
    assert box.row(first)["mod_metadata"] == row["mod_content"] == row["mod_metadata"]
    assert (row["size"], row["unread"], row["subject"]) == (2, None, "Lunch")
    assert decode(str(box.values(row["id"])["prt"]))["no"] == 2


def test_later_messages_join_and_change_the_content_of_the_conversation(box: Box) -> None:
    box.deliver(thread("Lunch", "1"))
    box.deliver(thread("Re: Lunch", "2", "1"))

    third = box.deliver(thread("Re: Lunch", "3", "1", "2"))

    (row,) = conversations(box)
    assert row["size"] == 3
    assert row["mod_content"] == box.row(third)["mod_metadata"]


def test_an_answer_to_something_unknown_stays_alone_until_a_sister_comes(box: Box) -> None:
    first = box.deliver(thread("Re: Lunch", "2", "1"))
    assert box.row(first)["parent_id"] is None

    box.deliver(thread("Re: Lunch", "3", "1"))

    assert len(conversations(box)) == 1


def test_the_same_message_twice_is_no_conversation(box: Box) -> None:
    answered = [str(number) for number in range(100, 130)]
    box.deliver(thread("Lunch", "1", *answered[:1]))

    box.deliver(thread("Other", "1", *answered[10:]))

    assert conversations(box) == []


def test_junk_is_never_threaded(box: Box) -> None:
    box.deliver(thread("Lunch", "1"))

    box.deliver(thread("Re: Lunch", "2", "1"), folder=JUNK)

    assert conversations(box) == []


def test_the_thread_of_a_deleted_message_is_forgotten(box: Box) -> None:
    removal.delete(box, box.deliver(thread("Lunch", "1")))

    box.deliver(thread("Re: Lunch", "2", "1"))

    assert conversations(box) == []
    assert_consistent(box.sandbox)


# --- folders


def test_a_folder_comes_with_the_parents_it_lacks(box: Box) -> None:
    folder = box.do(arrivals.make_folder, "/Work/2026/Büro", color=3, view=ItemKind.MESSAGE)

    parent = box.row(box.row(folder)["folder_id"])
    assert (parent["name"], box.row(parent["folder_id"])["name"]) == ("2026", "Work")
    assert box.values(folder)["c"] == 3
    assert box.values(folder)["vt"] == 5
    assert box.values(folder)["unxt"] == folder + 1


@pytest.mark.parametrize("again", ["/Büro", "/BURO", "/büro", "/Büro "])
def test_a_name_is_taken_in_any_case_and_with_any_accent(box: Box, again: str) -> None:
    box.do(arrivals.make_folder, "/Büro")

    with pytest.raises(InvalidItem) as caught:
        box.do(arrivals.make_folder, again)

    assert caught.value.code == "already_exists"


@pytest.mark.parametrize("pair", [("ß", "ss"), ("Йод", "Иод"), ("がく", "かく"), ("각", "가")])
def test_what_the_database_tells_apart_are_two_names(box: Box, pair: tuple[str, str]) -> None:
    folders = {box.do(arrivals.make_folder, f"/{name}") for name in pair}

    assert len(folders) == 2


@pytest.mark.parametrize("pair", [("ß", "S"), ("ёж", "ЕЖ"), ("σίσυφος", "ΣΙΣΥΦΟΣ"), ("ǆ", "Ǆ")])
def test_what_the_database_takes_for_the_same_is_one_name(box: Box, pair: tuple[str, str]) -> None:
    box.do(arrivals.make_folder, f"/{pair[0]}")

    with pytest.raises(InvalidItem):
        box.do(arrivals.make_folder, f"/{pair[1]}")


@pytest.mark.parametrize(
    "path", ["/", "Inbox", "/.", "/..", "/a:b", '/a"b', "/a\nb", "/ ", f"/{'x' * 256}", "/a\ud800"]
)
def test_a_name_that_the_server_would_not_take_is_refused(box: Box, path: str) -> None:
    with pytest.raises(InvalidItem) as caught:
        box.do(arrivals.make_folder, path)

    assert caught.value.code == "bad_value"


@pytest.mark.parametrize("name", ["a/b", "a:b", "..", " ", "a\tb"])
def test_a_document_has_a_name_that_a_folder_could_have(box: Box, name: str) -> None:
    with pytest.raises(InvalidItem) as caught:
        box.save(b"x", name)

    assert caught.value.code == "bad_value"
    assert box.blob_files() == set()


def test_a_name_counts_in_utf16_and_loses_trailing_blanks(box: Box) -> None:
    longest = "x" * 253 + "🍕"

    folder = box.do(arrivals.make_folder, f"/{longest}  ")

    assert box.row(folder)["name"] == "x" * 253 + "?"
    assert box.ask(arrivals.folder_id, f"/{longest} ") == folder
    with pytest.raises(InvalidItem):
        box.do(arrivals.make_folder, f"/x{longest}")


def test_a_folder_that_is_not_there_is_no_such_item(box: Box) -> None:
    with pytest.raises(InvalidItem) as caught:
        box.ask(arrivals.folder_id, "/Inbox/Nowhere")

    assert caught.value.code == "no_such_item"


# --- contacts, calendar


def test_a_contact_has_a_blob_only_with_an_attachment(box: Box) -> None:
    plain = box.do(arrivals.add_contact, CARD)
    pictured = box.do(arrivals.add_contact, PHOTO)

    assert (box.row(plain)["locator"], box.row(plain)["size"]) == (None, 0)
    assert box.row(pictured)["flags"] == Flag.ATTACHED
    assert_consistent(box.sandbox)


@pytest.mark.parametrize(
    ("kind", "word", "folder", "start"),
    [
        (ItemKind.APPOINTMENT, "VEVENT", 10, "2026-01-02 09:00:00"),
        (ItemKind.TASK, "VTODO", 15, "1970-01-01 00:00:00"),
    ],
)
def test_a_calendar_item_has_a_row_in_the_appointment_table(
    box: Box, kind: ItemKind, word: str, folder: int, start: str
) -> None:
    item = add_event(box, event("lunch-1", word), kind)

    (row,) = box.rows("appointment", "item_id = ?", item)
    assert (row["uid"], row["start_time"]) == ("lunch-1", start)
    assert box.row(item)["folder_id"] == folder


def test_an_invite_id_is_no_id_of_an_item(box: Box) -> None:
    item = add_event(box, event("lunch-1"))

    other = box.deliver()

    assert item < invite_id(box, item) < other


def test_a_uid_is_taken_once(box: Box) -> None:
    add_event(box, event("lunch-1"))

    with pytest.raises(InvalidItem) as caught:
        add_event(box, event("lunch-1"))

    assert caught.value.code == "already_exists"
    assert_consistent(box.sandbox)


def test_a_to_do_is_no_event(box: Box) -> None:
    with pytest.raises(InvalidItem, match="holds no appointment"):
        add_event(box, event("lunch-1", "VTODO"))


# --- documents, comments, notes


def test_saving_again_keeps_the_old_version(box: Box) -> None:
    item = box.save(b"first")
    first = box.row(item)

    assert box.save(b"second!") == item

    (revision,) = box.rows("revision")
    kept = ("date", "size", "locator", "blob_digest", "name", "metadata", "mod_metadata")
    assert {name: revision[name] for name in kept} == {name: first[name] for name in kept}
    assert (revision["version"], box.values(item)["ver"]) == (1, 2)
    row = box.row(item)
    assert (row["size"], row["flags"]) == (7, Flag.VERSIONED)
    assert row["mod_content"] == row["mod_metadata"] == box.mailbox["change_checkpoint"]
    assert_consistent(box.sandbox)


def test_a_document_is_found_by_its_name_in_any_case(box: Box) -> None:
    item = box.save(b"first", "Café.txt")

    assert box.save(b"second", "CAFE.TXT") == item
    assert box.row(item)["name"] == "CAFE.TXT"


def test_a_comment_belongs_to_a_document(box: Box) -> None:
    document, item = box.save(b"x"), box.deliver()

    comment = box.do(arrivals.add_comment, "Fine è", document=document, creator_id="x")

    assert (box.row(comment)["parent_id"], box.row(comment)["size"]) == (document, 6)
    with pytest.raises(InvalidItem, match="no document"):
        box.do(arrivals.add_comment, "Fine", document=item, creator_id="x")
    assert_consistent(box.sandbox)


def test_a_note_has_its_text_and_no_blob(box: Box) -> None:
    note = box.do(arrivals.add_note, "Milk", folder=SystemFolder.BRIEFCASE)

    assert (box.row(note)["subject"], box.row(note)["locator"]) == ("Milk", None)
