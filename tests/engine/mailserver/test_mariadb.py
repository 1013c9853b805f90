"""A real MariaDB: what one moment is, what is lost on the way, and rows that no server writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from backupng.engine.errors import (
    BrokenItem,
    MailServerError,
    MailServerUnreachable,
)
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.zimbra.changes import ChangeReader
from backupng.engine.mailserver.zimbra.mariadb import Login, MariaDatabase
from backupng.engine.mailserver.zimbra.rows import MailboxReader
from backupng.engine.model import AccountId, ItemId, ItemKind, ItemState, Mailbox
from tests.engine.mailserver.mailboxes import ADDRESS, EVENT, open_box
from tests.mariadb import MariaDB
from tests.processes import own_port

pytestmark = pytest.mark.services

ITEMS, TAGS, APPOINTMENTS = (f"mboxgroup1.{name}" for name in ("mail_item", "tag", "appointment"))
KEYS = {ITEMS: "id", TAGS: "id", APPOINTMENTS: "item_id"}
EXTRA = 5000
ROW = {"mailbox_id": 1, "id": EXTRA, "type": 5, "folder_id": 2, "date": 60, "size": 0}
ROW |= {"flags": 0, "tags": 0, "mod_metadata": 900, "mod_content": 900}


@pytest.fixture(scope="module")
def account(mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> AccountId:
    """Load the mailbox of an account with two messages and an appointment."""
    with open_box(tmp_path_factory.mktemp("box")) as box:
        box.deliver()
        box.deliver()
        event = EVENT.format(kind="VEVENT", uid="meeting").encode()
        box.do(arrivals.add_calendar_item, event, address=ADDRESS, kind=ItemKind.APPOINTMENT)
        mariadb.load(box.sandbox.database)
        return AccountId(box.account.entry_id)


@pytest.fixture
def database(mariadb: MariaDB, account: AccountId) -> Iterator[MariaDatabase]:
    """Log in; rows that the test adds from `EXTRA` on are deleted after it."""
    opened = MariaDatabase(mariadb.login)
    yield opened
    opened.close()
    clean(mariadb)


@pytest.fixture
def mailbox(database: MariaDatabase, account: AccountId) -> Mailbox:
    found = MailboxReader(database).mailbox(account)
    assert found
    return found


def put(mariadb: MariaDB, **columns: Any) -> None:
    """Write the row of an item past the server."""
    mariadb.put(ITEMS, **(ROW | columns))


def clean(mariadb: MariaDB) -> None:
    """Delete what tests put."""
    for table, key in KEYS.items():
        mariadb.delete(table, key, EXTRA)


def kill(mariadb: MariaDB, database: MariaDatabase) -> None:
    """Let the server end the connection, as it does when it restarts."""
    (row,) = database.rows("SELECT CONNECTION_ID() AS id")
    mariadb.ask("KILL %s", row["id"])


@contextmanager
def altered(mariadb: MariaDB, table: str, there: str, back: str) -> Iterator[None]:
    """Change a table for a while."""
    mariadb.ask(f"ALTER TABLE {table} {there}")
    try:
        yield
    finally:
        clean(mariadb)
        mariadb.ask(f"ALTER TABLE {table} {back}")


def all_states(database: MariaDatabase, mailbox: Mailbox) -> dict[ItemId, Any]:
    reader = MailboxReader(database)
    return dict(reader.states(mailbox, reader.heads(mailbox)))


# --- nothing is written


def test_even_one_with_all_rights_writes_nothing(mariadb: MariaDB, account: AccountId) -> None:
    database = MariaDatabase(Login(user="root", password="", socket=str(mariadb.socket)))
    empty = "DELETE FROM mboxgroup1.mail_item"

    with pytest.raises(MailServerError, match="READ ONLY"):
        next(database.rows(empty))
    with pytest.raises(MailServerError, match="READ ONLY"), database.snapshot():
        next(database.rows(empty))

    database.close()
    assert mariadb.ask("SELECT id FROM mboxgroup1.mail_item WHERE id = 2")


# --- one moment


def test_what_is_written_meanwhile_is_not_in_a_snapshot(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    reader = MailboxReader(database)
    with database.snapshot():
        put(mariadb)
        before = reader.heads(mailbox)
        put(mariadb, id=EXTRA + 1)
        again = reader.heads(mailbox)

    assert before == again
    assert EXTRA not in before


def test_every_snapshot_is_of_its_own_moment(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    changes = ChangeReader(database)
    found = []
    for number in range(3):
        put(mariadb, id=EXTRA + number)
        with database.snapshot():
            found.append(changes.changed(mailbox, 900, 900))

    assert list(map(len, found)) == [1, 2, 3]


def test_outside_of_a_snapshot_every_question_sees_what_is_there(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    with database.snapshot():
        MailboxReader(database).heads(mailbox)
    before = MailboxReader(database).heads(mailbox)
    put(mariadb)

    assert MailboxReader(database).heads(mailbox) == before | {EXTRA: 900}


def test_a_snapshot_ends_with_what_fails_inside(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    def fail() -> None:
        with database.snapshot():
            MailboxReader(database).heads(mailbox)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    running = "SELECT COUNT(*) FROM information_schema.innodb_trx"
    assert mariadb.ask(running) == [(0,)]


def test_a_question_may_be_asked_while_rows_are_read(
    database: MariaDatabase, mailbox: Mailbox
) -> None:
    reader = MailboxReader(database)
    heads = reader.heads(mailbox)

    both = [(item, reader.volume_rows()[0]["id"]) for item, _ in reader.states(mailbox, heads)]

    assert [item for item, _ in both] == list(all_states(database, mailbox))
    assert {volume for _, volume in both} == {1}


# --- a connection lost


def test_a_connection_lost_between_two_questions_is_made_anew(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    before = all_states(database, mailbox)

    kill(mariadb, database)
    assert all_states(database, mailbox) == before

    kill(mariadb, database)
    with database.snapshot():
        assert all_states(database, mailbox) == before


def test_one_lost_in_mid_scan_is_transient_and_no_other_moment_is_seen(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    reader = MailboxReader(database)
    asked = [ItemId(item) for item in range(1, 1200)]

    with database.snapshot():
        states = reader.states(mailbox, asked)
        first, _ = next(states)
        kill(mariadb, database)
        with pytest.raises(MailServerUnreachable) as caught:
            list(states)
        with pytest.raises(MailServerUnreachable, match="is lost"):
            reader.heads(mailbox)

    assert first == 1
    assert caught.value.transient
    assert reader.heads(mailbox)


def test_a_server_gone_for_good_is_told(mariadb: MariaDB, account: AccountId) -> None:
    database = MariaDatabase(replace(mariadb.login))
    assert MailboxReader(database).mailbox(account)
    kill(mariadb, database)
    database.login = replace(mariadb.login, port=own_port())

    with pytest.raises(MailServerUnreachable, match="Connection refused"):
        MailboxReader(database).mailbox(account)


# --- rows that no server writes


def test_values_are_numbers_and_texts(database: MariaDatabase, mailbox: Mailbox) -> None:
    (found,) = (each for each in all_states(database, mailbox).values() if each.side_rows)
    (appointment,) = found.side_rows["appointment"]

    assert {type(value) for value in (*found.row.values(), *appointment.values())} == {int, str}
    assert appointment["start_time"] == "2026-01-02 09:00:00"


@pytest.mark.parametrize(
    "columns",
    [
        {"type": -3},
        {"type": 99},
        {"folder_id": 2**32 - 1},
        {"size": 2**64 - 1},
        {"blob_digest": "short", "locator": "1"},
        {"metadata": "d1:"},
    ],
)
def test_a_row_with_impossible_values_is_one_broken_item(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox, columns: dict[str, Any]
) -> None:
    put(mariadb, **columns)

    found = all_states(database, mailbox)

    assert isinstance(found.pop(ItemId(EXTRA)), BrokenItem)
    assert all(isinstance(state, ItemState) for state in found.values())


def bad_item(mariadb: MariaDB) -> None:
    put(mariadb, subject=b"caf\xe9")


def foreign_item(mariadb: MariaDB) -> None:
    put(mariadb, subject="café")


def bad_tag(mariadb: MariaDB) -> None:
    counts = {"item_count": 0, "unread": 0, "listed": 1, "sequence": 9}
    mariadb.put(TAGS, mailbox_id=1, id=EXTRA, name=b"caf\xe9", **counts)


def bad_appointment(mariadb: MariaDB) -> None:
    put(mariadb)
    start = "2026-01-01 00:00:00"
    mariadb.put(APPOINTMENTS, mailbox_id=1, uid=b"caf\xe9", item_id=EXTRA, start_time=start)


@pytest.mark.parametrize(
    ("table", "raw", "text", "spoil"),
    [
        (ITEMS, "subject BLOB", "subject TEXT", bad_item),
        (ITEMS, "subject TEXT CHARACTER SET latin1", "subject TEXT", foreign_item),
        (TAGS, "name VARBINARY(255) NOT NULL", "name VARCHAR(255) NOT NULL", bad_tag),
        (APPOINTMENTS, "uid VARBINARY(255)", "uid VARCHAR(255)", bad_appointment),
    ],
)
def test_bytes_that_are_no_text_are_one_broken_item(
    mariadb: MariaDB,
    database: MariaDatabase,
    mailbox: Mailbox,
    table: str,
    raw: str,
    text: str,
    spoil: Callable[[MariaDB], None],
) -> None:
    with altered(mariadb, table, f"MODIFY {raw}", f"MODIFY {text}"):
        spoil(mariadb)
        found = all_states(database, mailbox)

    assert isinstance(found.pop(ItemId(EXTRA)), BrokenItem)
    assert all(isinstance(state, ItemState) for state in found.values())


def test_columns_of_a_later_version_are_kept_if_they_are_text(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    there = "ADD seen DATETIME, ADD share DECIMAL(5,2), ADD print BLOB"
    with altered(mariadb, ITEMS, there, "DROP seen, DROP share, DROP print"):
        put(mariadb, seen="2026-02-10 09:00:00", share="1.50", print=b"\xff\xfe")
        found = all_states(database, mailbox)[ItemId(EXTRA)]

    assert found.row["seen"] == "2026-02-10 09:00:00"
    assert found.row["share"] == "1.50"
    assert "print" not in found.row


def test_a_mailbox_without_its_tables_is_no_empty_one(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    elsewhere = replace(mailbox, group_id=77)

    with pytest.raises(MailServerError, match="mboxgroup77") as caught:
        MailboxReader(database).heads(elsewhere)

    assert not caught.value.transient
    assert caught.value.hint


def test_a_table_gone_in_mid_scan_is_told(
    mariadb: MariaDB, database: MariaDatabase, mailbox: Mailbox
) -> None:
    heads = MailboxReader(database).heads(mailbox)
    mariadb.ask("RENAME TABLE mboxgroup1.revision TO mboxgroup1.away")

    try:
        with pytest.raises(MailServerError, match=r"mboxgroup1\.revision"):
            dict(MailboxReader(database).states(mailbox, heads))
    finally:
        mariadb.ask("RENAME TABLE mboxgroup1.away TO mboxgroup1.revision")
