"""The Real-Time Scanner on the sandbox: what is captured, when, and what it does when it cannot."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from backupng.engine.errors import MailServerUnreachable
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.model import BACKUP_DISABLED, AccountId, EntryKind, ItemKind
from backupng.engine.redolog.header import SIZE, FileHeader
from backupng.engine.scan import realtime
from backupng.engine.scan.realtime import RealTimeScanner
from tests.cast import ALICE, BOB, CAROL, Office, message
from tests.engine.scan.scanners import Scanner
from tests.engine.scan.scenes import FOLDER, log_items

EVENT = b"""BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:VEVENT\r
UID:one@example.com\r
DTSTAMP:20260101T000000Z\r
DTSTART:20260302T090000Z\r
SUMMARY:Meeting\r
END:VEVENT\r
END:VCALENDAR\r
"""


@pytest.fixture
def running(follower: Scanner) -> Iterator[RealTimeScanner]:
    with ExitStack() as stack:
        yield stack.enter_context(follower.running())


def settle(scanner: RealTimeScanner) -> None:
    while scanner.turn(0):
        pass


def test_a_message_is_saved_with_the_time_of_its_record(mail: Office, follower: Scanner) -> None:
    mail.later(milliseconds=250)
    arrived = mail.now
    item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    mail.later(seconds=9)

    follower.catch_up()

    (state,) = mail.history(ALICE, item)
    assert (state.subject, state.unread, state.start) == ("Lunch", True, arrived)
    assert state.row["subject"] == "Lunch"
    with mail.path as path:
        assert b"".join(path.blob(state.digest)) == message("Lunch")


def test_every_change_is_a_state_of_its_own(mail: Office, running: RealTimeScanner) -> None:
    item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    for act in (
        lambda: mail.client.flag(ALICE, item, ["-unread"]),
        lambda: mail.client.tag(ALICE, item, "Work"),
        lambda: mail.client.move(ALICE, item, "/Trash"),
        lambda: mail.client.delete(ALICE, item),
    ):
        mail.later(seconds=1)
        act()
    settle(running)

    states = mail.history(ALICE, item)
    assert [(s.folder_id, s.unread, s.tags, s.deleted) for s in states] == [
        (2, True, (), False),
        (2, False, (), False),
        (2, False, ("Work",), False),
        (3, False, ("Work",), False),
        (None, False, (), True),
    ]
    assert [(s.start - states[0].start).total_seconds() for s in states] == [0, 1, 2, 3, 4]


def test_what_came_and_went_while_it_was_off_is_saved_with_its_content(
    mail: Office, follower: Scanner
) -> None:
    item = mail.client.deliver(ALICE, message("Short life"), folder="/Inbox")
    mail.later(seconds=1)
    mail.client.delete(ALICE, item)
    mail.later(seconds=1)

    follower.catch_up()

    before, after = mail.history(ALICE, item)
    assert (before.subject, before.row, after.deleted) == ("Short life", {}, True)
    with mail.path as path:
        assert b"".join(path.blob(before.digest)) == message("Short life")


def test_a_delivery_to_many_is_kept_once_and_is_in_every_history(
    mail: Office, follower: Scanner
) -> None:
    mail.client.deliver_to_all([ALICE, BOB], message("To all"))
    for address in (ALICE, BOB):
        for item in newest(mail, address):
            mail.client.delete(address, item)
    mail.later(seconds=1)

    follower.catch_up()

    found = {
        account: states[0].subject
        for (account, _), states in follower.states().items()
        if states[0].kind is ItemKind.MESSAGE
    }
    assert found == {mail.account_id(ALICE): "To all", mail.account_id(BOB): "To all"}
    with mail.path as path:
        assert path.measure_blobs()[0] == 1


def test_a_calendar_item_is_its_row_and_a_conversation_goes_with_its_last_message(
    mail: Office, running: RealTimeScanner
) -> None:
    event = mail.client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT)
    first = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
    answer = message("Re: Lunch").replace(b"\r\n\r\n", b"\r\nIn-Reply-To: <%s>\r\n\r\n", 1)
    reply = mail.client.deliver(
        ALICE, answer.replace(b"%s", message_id(message("Lunch"))), folder="/Inbox"
    )
    settle(running)
    (event_state,) = mail.history(ALICE, event)
    conversation = mail.history(ALICE, reply)[-1].row["parent_id"]
    mail.later(seconds=1)
    mail.client.delete(ALICE, first)
    mail.client.delete(ALICE, reply)
    settle(running)

    assert (event_state.subject, event_state.row["type"]) == ("Meeting", 11)
    assert [state.deleted for state in mail.history(ALICE, conversation)][-2:] == [False, True]


def test_an_emptied_folder_leaves_no_item_uncertain(mail: Office, running: RealTimeScanner) -> None:
    items = [mail.client.deliver(ALICE, message(f"No {n}"), folder="/Inbox") for n in range(3)]
    mail.client.create_folder(ALICE, "/Inbox/Below")
    below = mail.client.deliver(ALICE, message("Below"), folder="/Inbox/Below")
    mail.later(seconds=1)
    mail.client.empty_folder(ALICE, "/Inbox")
    settle(running)

    ends = [mail.history(ALICE, item)[-1] for item in (*items, below)]
    assert [(state.deleted, state.start) for state in ends] == [(True, mail.now)] * 4
    assert running.standing.uncertain == 0


def test_an_account_whose_class_has_backup_off_is_left_alone_within_a_minute(
    mail: Office, running: RealTimeScanner
) -> None:
    mail.client.deliver(CAROL, message("Private"), folder="/Inbox")
    settle(running)
    assert not folder_of(mail, CAROL).exists()

    mail.client.set_cos_notes("default", BACKUP_DISABLED)
    mail.later(seconds=61)
    settle(running)
    item = mail.client.deliver(ALICE, message("Unseen"), folder="/Inbox")
    settle(running)

    assert mail.history(ALICE, item) == ()
    with mail.path as path:
        entry = path.entry_history(EntryKind.ACCOUNT, mail.account_id(ALICE))[-1]
    assert (entry.deleted, entry.start) == (True, mail.now)


def test_a_new_account_is_known_at_once(mail: Office, running: RealTimeScanner) -> None:
    mail.later(seconds=1)
    mail.client.create_account("erin@example.com")
    mail.client.deliver("erin@example.com", message("Welcome"), folder="/Inbox")
    settle(running)

    account = mail.account_id("erin@example.com")
    with mail.path as path:
        assert not path.entry_history(EntryKind.ACCOUNT, account)[-1].deleted
        assert len(list(path.items(account))) == len(codes.SYSTEM_FOLDERS)


def test_a_directory_that_does_not_answer_stops_no_capture(
    mail: Office, follower: Scanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with follower.running() as running:
        settle(running)

        def unplugged(kind: EntryKind) -> Iterator[None]:
            raise MailServerUnreachable("The directory is away.")

        monkeypatch.setattr(follower.source, "entries", unplugged)
        mail.later(seconds=61)
        item = mail.client.deliver(ALICE, message("Lunch"), folder="/Inbox")
        settle(running)

    assert len(mail.history(ALICE, item)) == 1
    assert follower.said == ["The directory does not answer: The directory is away."]


def test_a_lost_log_is_told_and_makes_every_account_uncertain(
    mail: Office, follower: Scanner
) -> None:
    log = mail.sandbox.redo_log.current
    header = FileHeader.decode(log.read_bytes()[:SIZE], name="redo.log")
    later = replace(header, sequence=header.sequence + 5, created=header.created + 10_000)
    shutil.rmtree(log.parent / "backup-ng")
    log.unlink()
    log.write_bytes(later.encode())
    mail.later(seconds=1)

    follower.catch_up()

    with mail.path as path:
        said = path.scanner()
    assert len(follower.gaps) == 1
    assert set(said["uncertain"]) == {"*"}
    follower.catch_up()
    assert len(follower.gaps) == 1


def test_a_state_names_the_log_that_told_it_even_before_a_rollover(
    mail: Office, follower: Scanner
) -> None:
    with mail.sandbox.locked():
        limits = {"RolloverHardMaxFileSizeKB": b"1", "DeleteOnRollover": b"FALSE"}
        values = {f"zimbraRedoLog{name}": (value,) for name, value in limits.items()}
        mail.sandbox.directory.modify(mail.sandbox.server(), values)
    items = [
        mail.client.deliver(ALICE, message(subject, body="B" * 2000), folder="/Inbox")
        for subject in ("Lunch", "Dinner")
    ]

    follower.catch_up()

    told = [mail.history(ALICE, item)[-1].source.split(":") for item in items]
    assert [int(sequence) for _, sequence, _ in told] == [0, 1]


def test_a_record_whose_bytes_are_damaged_gives_way_to_the_row(
    mail: Office, follower: Scanner
) -> None:
    item = mail.client.deliver(ALICE, message("Lunch", body="B" * 60), folder="/Inbox")
    log = mail.sandbox.redo_log.current
    log.write_bytes(log.read_bytes().replace(b"B" * 60, b"C" * 60))

    follower.catch_up()

    (state,) = mail.history(ALICE, item)
    with mail.path as path:
        assert b"".join(path.blob(state.digest)) == message("Lunch", body="B" * 60)


def test_an_unreadable_blob_makes_its_account_uncertain(mail: Office, follower: Scanner) -> None:
    item = mail.client.add_calendar_item(ALICE, EVENT + b"\n" * 9, kind=ItemKind.APPOINTMENT)
    document = mail.client.save_document(ALICE, b"first", name="a.txt")
    log = mail.sandbox.redo_log.current
    log.write_bytes(log.read_bytes().replace(b"first", b"worse"))
    for blob in (mail.sandbox.folder / "store").rglob(f"{document}-*.msg"):
        blob.unlink()

    follower.catch_up()

    with mail.path as path:
        noted = path.scanner()["uncertain"]
    assert set(noted) == {mail.account_id(ALICE)}
    assert f"item {document}" in noted[mail.account_id(ALICE)]["reason"]
    assert len(mail.history(ALICE, item)) == 1


def test_what_a_scan_has_found_meanwhile_goes_with_its_folder(
    mail: Office, running: RealTimeScanner
) -> None:
    for path in ("/First", "/Second"):
        mail.client.create_folder(ALICE, path)
    delete_with_content(mail, "/First")
    settle(running)
    switch_log(mail, b"FALSE")
    item = mail.client.deliver(ALICE, message("Unlogged"), folder="/Second")
    switch_log(mail, b"TRUE")
    mail.scan()
    delete_with_content(mail, "/Second")
    settle(running)

    assert [state.deleted for state in mail.history(ALICE, item)] == [False, True]


def switch_log(mail: Office, value: bytes) -> None:
    """Let the server write a redo log, or not."""
    directory = mail.sandbox.directory
    directory.modify(mail.sandbox.server(), {"zimbraRedoLogEnabled": (value,)})


def delete_with_content(mail: Office, path: str) -> None:
    """Delete a folder with all that is in it by one record, which names it alone."""
    with mail.client._on(ALICE).change() as change:
        folder = arrivals.folder_id(change, path)
        log_items(change, "DeleteItem", [folder], FOLDER)
        change.delete([*change.rows("folder_id = ?", folder), change.row(folder)])


def newest(mail: Office, address: str) -> list[int]:
    """Return the ids of the messages of an account."""
    items = mail.client.list(address)["items"]
    return [item["id"] for item in items if item["type"] == "message"]


def message_id(raw: bytes) -> bytes:
    """Return a message's id without its brackets."""
    return raw.partition(b"Message-ID: <")[2].partition(b">")[0]


def folder_of(mail: Office, address: str) -> Path:
    """Return where the histories of an account lie."""
    return mail.backup_path / "accounts" / AccountId(mail.account_id(address))


def test_a_change_alone_is_saved_at_once_and_one_right_after_it_waits_for_others(
    mail: Office, running: RealTimeScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(running)
    running._begun_s = -1e9  # as if the last change had been long ago
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(realtime, "_APART_S", 60.0)  # no machine is so slow

    mail.client.deliver(ALICE, message("One"), folder="/Inbox")
    assert running.turn(5)
    alone = list(pauses)
    running._begun_s = time.monotonic()
    mail.client.deliver(ALICE, message("Two"), folder="/Inbox")
    assert running.turn(90)

    assert alone == []
    assert len(pauses) == 1
    assert 0 < pauses[0] <= 60


def test_a_mailbox_made_anew_for_an_account_goes_on_in_its_histories(
    mail: Office, follower: Scanner
) -> None:
    old = mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.scan()
    account = mail.sandbox.account(ALICE)
    mail.client.delete_account(ALICE)
    mail.later(seconds=1)
    mail.sandbox.create_account(
        ALICE, account.entry_id, now_ms=int(mail.now.timestamp() * 1000), attributes={}
    )
    new = mail.client.deliver(ALICE, message("New"), folder="/Inbox")
    mail.later(seconds=61)

    follower.catch_up()

    states = mail.history(ALICE, new)
    assert new == old
    assert [state.subject for state in states if not state.deleted] == ["Old", "New"]
    assert states[-1].mod > states[0].mod
    mail.client.flag(ALICE, new, ["+flagged"])
    follower.catch_up()
    assert mail.history(ALICE, new)[-1].flags == "f"
