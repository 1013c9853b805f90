"""The reader of the mailbox database: rows to states, also where rows are old, odd or broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import BrokenItem, ItemError, ReadError
from backupng.engine.mailserver.sandbox import arrivals, edits
from backupng.engine.mailserver.sandbox.database import SqliteDatabase
from backupng.engine.mailserver.zimbra.changes import ChangeReader
from backupng.engine.mailserver.zimbra.metadata import encode, encode_column
from backupng.engine.mailserver.zimbra.rows import (
    MailboxReader,
    blob_references,
    item_state,
    tag_state,
)
from backupng.engine.model import AccountId, ItemId, ItemKind, ItemState, Mailbox
from tests.engine.mailserver.mailboxes import CARD, EVENT, Box, message, open_box, thread

DIGEST = "Jv4DBbe5eDcCRb1G+wk357fe00C1KBn5Y47tVQpHWxY="
SHA1 = "ALseqyFLo5AeXw57SFDX05qKu2o="
NUMBERS = (
    *("type", "parent_id", "folder_id", "index_id", "imap_id", "date", "size", "unread"),
    *("flags", "tags", "mod_metadata", "change_date", "mod_content"),
)
TEXTS = (
    *("prev_folders", "locator", "blob_digest", "tag_names", "sender", "recipients", "subject"),
    *("name", "metadata", "uuid"),
)
NEVER_NULL = ("type", "date", "size", "flags", "tags", "mod_metadata", "mod_content")
NEVER_NEGATIVE = tuple(column for column in NUMBERS if column not in ("flags", "tags"))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


def row(**columns: Any) -> dict[str, Any]:
    """Return the row of a message as the driver gives it."""
    numbers = dict.fromkeys(NUMBERS, 0) | {"parent_id": None}
    texts = dict.fromkeys(TEXTS)
    message = {"id": 300, "type": 5, "folder_id": 2, "change_date": 60, "mod_metadata": 9}
    return numbers | texts | message | {"blob_digest": DIGEST, "locator": "1"} | columns


def state(**columns: Any) -> ItemState:
    return item_state(row(**columns), {})


def reader_of(box: Box) -> tuple[MailboxReader, Mailbox]:
    return MailboxReader(box.sandbox.database), box.sandbox.mailbox(box.account)


# --- what a row says


def test_a_row_is_read_into_words() -> None:
    found = state(unread=1, flags=32 + 4, tag_names="\0Work\0Büro\0", date=100, size=5)

    assert (found.kind, found.folder_id, found.mod) == (ItemKind.MESSAGE, 2, 9)
    assert found.start == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    assert (found.flags, found.unread, found.tags) == ("rf", True, ("Work", "Büro"))
    assert (found.date, found.size, found.digest) == (100, 5, DIGEST)
    assert found.row["flags"] == 36
    assert "parent_id" not in found.row


@pytest.mark.parametrize("kind", [1, 2, 13])
def test_a_folder_is_never_unread_and_has_no_size(kind: int) -> None:
    found = state(type=kind, unread=7, size=12, name="Work")

    assert (found.unread, found.size, found.name) == (False, None, "Work")


def test_a_link_to_a_file_is_a_mountpoint() -> None:
    assert state(type=18, name="x").kind is ItemKind.MOUNTPOINT


def test_sender_and_recipients_are_those_of_the_header_in_clear() -> None:
    values = {"s": "=?utf-8?Q?Z=C3=B6?= <z@example.org>", "t": "=?no-such-charset?q?x?="}

    found = state(metadata=encode_column(values), sender="zo", recipients="x")

    assert found.sender == "Zö <z@example.org>"
    assert found.recipients == "=?no-such-charset?q?x?="


@pytest.mark.parametrize("word", ["=?utf-7?q?+2AA-?=", "=?unicode_escape?q?=5Cud800?="])
def test_half_a_character_in_a_header_becomes_a_question_mark(word: str) -> None:
    found = state(metadata=encode_column({"s": word}))

    assert found.sender == "?"


@pytest.mark.parametrize("word", ["=?base64?q?x?=", "=?utf-8?b?A?=", "=?punycode?q?=FF?=", "=??="])
def test_a_header_that_does_not_decode_stays_as_it_is(word: str) -> None:
    assert state(metadata=encode_column({"s": word})).sender == word


def test_a_header_of_any_length_is_shown_in_part() -> None:
    assert len(state(metadata=encode_column({"s": "x" * 5000})).sender or "") == 1024


# --- old rows


def test_a_row_without_change_date_began_at_the_beginning() -> None:
    assert state(change_date=None).start == datetime(1970, 1, 1, tzinfo=UTC)


def test_old_digests_are_kept() -> None:
    assert state(blob_digest=SHA1).digest == SHA1


def test_fields_of_old_contacts_lie_at_the_top() -> None:
    new = encode_column({"fld": {"email": "z@example.org"}, "c": 3})
    old = encode_column({"email": "z@example.org", "c": 3})

    assert state(type=6, metadata=new).fields == state(type=6, metadata=old).fields
    assert state(type=6, metadata=old).fields == {"email": "z@example.org"}


def test_old_grants_are_kept_in_the_row() -> None:
    metadata = encode_column({"acl": [{"g": "x", "r": 1}]})

    assert state(type=1, name="x", metadata=metadata).row["metadata"] == metadata


def test_metadata_of_before_bencode_is_read() -> None:
    assert state(metadata="p=4:Re: ;c=1:3;", subject="Lunch").subject == "Re: Lunch"


# --- impossible values


@pytest.mark.parametrize("column", NUMBERS)
@pytest.mark.parametrize("value", ["many", 1.5, 2**63, b"1"])
def test_a_number_that_is_none_is_a_broken_item(column: str, value: Any) -> None:
    with pytest.raises(BrokenItem, match=column):
        state(**{column: value})


@pytest.mark.parametrize("column", NEVER_NULL)
def test_a_null_where_none_can_be_is_a_broken_item(column: str) -> None:
    with pytest.raises(BrokenItem, match=column):
        state(**{column: None})


@pytest.mark.parametrize("column", NEVER_NEGATIVE)
def test_a_negative_number_is_a_broken_item(column: str) -> None:
    with pytest.raises(BrokenItem, match=column):
        state(**{column: -1})


@pytest.mark.parametrize("column", TEXTS)
@pytest.mark.parametrize("value", [1, b"bytes", 1.5])
def test_a_text_that_is_none_is_a_broken_item(column: str, value: Any) -> None:
    with pytest.raises(BrokenItem, match=column):
        state(**{column: value})


@pytest.mark.parametrize("kind", [0, 7, 10, 12, 19, 127])
def test_an_unknown_type_is_a_broken_item(kind: int) -> None:
    with pytest.raises(BrokenItem, match="type"):
        state(type=kind)


@pytest.mark.parametrize("column", ["date", "change_date"])
def test_a_year_that_no_calendar_has_is_a_broken_item(column: str) -> None:
    with pytest.raises(BrokenItem, match=column):
        state(**{column: 253_402_300_800})


@pytest.mark.parametrize(
    "metadata", ["d", "d1:ci3e", "garbage", "=?UTF-8?B?!!?=", "l1:ae", encode({"c": "blue"})]
)
def test_metadata_that_cannot_be_read_is_a_broken_item(metadata: str) -> None:
    with pytest.raises(BrokenItem):
        state(metadata=metadata)


@pytest.mark.parametrize(
    "digest", ["", "x" * 44, "../" * 14 + "x=", DIGEST.replace("+", "/"), DIGEST + "\n"]
)
def test_a_digest_that_is_none_is_a_broken_item(digest: str) -> None:
    with pytest.raises(BrokenItem, match="blob_digest"):
        state(blob_digest=digest)


@pytest.mark.parametrize("changes", [{"sequence": -1}, {"name": 1}, {"color": "red"}, {"id": 0}])
def test_an_impossible_tag_is_a_broken_item(changes: dict[str, Any]) -> None:
    tag = {"id": 300, "name": "Work", "color": None, "sequence": 1}

    with pytest.raises(BrokenItem):
        tag_state({**tag, **changes}, {})


# --- blobs


@pytest.mark.parametrize("half", [{"locator": None}, {"blob_digest": None}])
def test_a_blob_named_by_half_is_a_broken_item(half: dict[str, Any]) -> None:
    with pytest.raises(BrokenItem, match="incompletely"):
        list(blob_references(state(**half)))


def test_an_item_without_a_blob_needs_none() -> None:
    assert list(blob_references(state(locator=None, blob_digest=None))) == []


def test_older_versions_need_their_blobs_too() -> None:
    older = {"item_id": 300, "mod_content": 4, "size": 7, "locator": "2", "blob_digest": SHA1}
    found = item_state(row(mod_content=9, size=5), {"revision": (older,)})

    references = list(blob_references(found))

    assert [(each.mod_content, each.locator, each.size) for each in references] == [
        (9, "1", 5),
        (4, "2", 7),
    ]


@pytest.mark.parametrize("column", ["mod_content", "size"])
def test_an_impossible_older_version_is_a_broken_item(column: str) -> None:
    older = {"item_id": 300, "mod_content": 4, "size": 7, "locator": "2", "blob_digest": SHA1}
    found = item_state(row(), {"revision": (older | {column: -1},)})

    with pytest.raises(BrokenItem, match=f"item 300: {column}"):
        list(blob_references(found))


@pytest.mark.parametrize("locator", ["", "x", "-1", "0", "256", "9", "9@@key", "1\n", "²"])
def test_a_strange_locator_is_a_read_error(box: Box, locator: str) -> None:
    item = box.deliver()
    box.set_row(item, locator=locator)
    source, mailbox = box.sandbox.source(), box.sandbox.mailbox(box.account)
    ((_, found),) = source.states(mailbox, [item])
    assert isinstance(found, ItemState)

    with pytest.raises(ReadError):
        [b"".join(source.blob(mailbox, each)) for each in source.blobs_of(found)]


# --- one broken item never stops the others


def test_a_broken_item_is_one_error_among_states(box: Box) -> None:
    items = [box.deliver() for _ in range(4)]
    box.set_row(items[0], size=-1)
    box.set_row(items[1], mod_metadata="last")
    box.set_row(items[2], metadata="d")
    reader, mailbox = reader_of(box)

    found = dict(reader.states(mailbox, reader.heads(mailbox)))

    broken = {item for item, each in found.items() if isinstance(each, ItemError)}
    assert broken == set(items[:3])
    assert set(found) == set(reader.heads(mailbox))


def test_a_change_number_that_is_none_counts_as_none_yet(box: Box) -> None:
    item = box.deliver()
    box.set_row(item, mod_metadata="last")
    reader, mailbox = reader_of(box)

    assert reader.heads(mailbox)[item] == 0


def test_a_mailbox_row_with_impossible_values_is_broken(box: Box) -> None:
    box.set_mailbox(group_id="first")

    with pytest.raises(BrokenItem, match="group_id"):
        MailboxReader(box.sandbox.database).mailbox(AccountId(box.account.entry_id))


def test_an_account_id_is_found_in_any_case(box: Box) -> None:
    reader = MailboxReader(box.sandbox.database)

    assert reader.mailbox(AccountId(box.account.entry_id.upper())) is not None


# --- queries


@dataclass
class Watched:
    """A database that keeps the statements it was asked."""

    database: SqliteDatabase
    statements: list[str] = field(default_factory=list)

    def table(self, schema: str, name: str) -> str:
        return self.database.table(schema, name)

    def rows(self, sql: str, *parameters: Any) -> Iterator[dict[str, Any]]:
        assert sql.count("?") == len(parameters)
        self.statements.append(sql)
        return self.database.rows(sql, *parameters)

    def snapshot(self) -> AbstractContextManager[None]:
        return self.database.snapshot()


def read_all(box: Box) -> list[str]:
    """Read everything of the mailbox; return the statements it took."""
    watched = Watched(box.sandbox.database)
    reader = MailboxReader(watched)
    mailbox = reader.mailbox(AccountId(box.account.entry_id))
    assert mailbox
    list(reader.states(mailbox, sorted(reader.heads(mailbox))))
    changes = ChangeReader(watched)
    changes.mailbox_of(mailbox.mailbox_id)
    changes.changed(mailbox, 1, 9)
    changes.buried(replace(mailbox, row={**mailbox.row, "tracking_sync": 1}), 1, 9)
    list(changes.dumped(mailbox, 0, 9))
    changes.living(mailbox, [ItemId(2)])
    reader.volume_rows()
    return watched.statements


def test_more_items_take_no_more_queries(box: Box) -> None:
    few = len(read_all(box))
    box.save(b"first")
    box.save(b"second")
    box.do(edits.tag, box.deliver(thread("Lunch", "1")), "Work")
    box.deliver(thread("Re: Lunch", "2", "1"))
    box.do(arrivals.add_contact, CARD)

    assert len(read_all(box)) == few


def test_the_statements_are_plain_enough_for_every_database(box: Box) -> None:
    plain = re.compile(
        r'SELECT (\*|[a-z_]+(, [a-z_]+)?) FROM "[a-z0-9_]+"'
        r"( WHERE [a-z_]+ = \?( AND [a-z_]+ (> 0|[<>]= \?|IS NOT NULL|IN \(\?(, \?)*\)))*)?"
        r"( ORDER BY [a-z_]+)?"
    )

    assert [each for each in read_all(box) if not plain.fullmatch(each)] == []


def test_more_items_than_a_statement_can_name_are_read_in_turns(box: Box) -> None:
    asked = [ItemId(number) for number in range(1, 40_000)]
    reader, mailbox = reader_of(box)

    found = [item for item, _ in reader.states(mailbox, asked)]

    assert sorted(found) == sorted(reader.heads(mailbox))


# --- side rows


def test_a_state_has_the_side_rows_of_its_item(box: Box) -> None:
    raw = EVENT.format(kind="VEVENT", uid="lunch-1").encode()
    options = {"address": box.account.name, "kind": ItemKind.APPOINTMENT}
    event = box.do(arrivals.add_calendar_item, raw, **options)
    mail = box.deliver(message("Fetched"))
    with box.change() as change:
        change.insert_side("pop3_message", data_source_id="d", uid="u1", item_id=mail)
        change.log("SetPop3Uid", id=mail, type=5, uid="u1")
    reader, mailbox = reader_of(box)

    found = dict(reader.states(mailbox, [ItemId(event), mail]))

    assert isinstance(found[ItemId(event)], ItemState)
    assert isinstance(found[mail], ItemState)
    assert [row["uid"] for row in found[ItemId(event)].side_rows["appointment"]] == ["lunch-1"]  # type: ignore[union-attr]
    assert [row["uid"] for row in found[mail].side_rows["pop3_message"]] == ["u1"]  # type: ignore[union-attr]
