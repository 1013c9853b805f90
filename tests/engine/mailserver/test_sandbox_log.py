"""The sandbox's redo log: what it says is what the rows say, whatever is killed when."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.errors import InvalidItem
from backupng.engine.mailserver.sandbox import arrivals, edits, removal
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.sandbox.journal import Journal
from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import Flag, SystemFolder
from backupng.engine.model import EntryKind, from_ms
from backupng.engine.redolog.header import SIZE
from backupng.engine.redolog.reader import RedoLog
from backupng.engine.redolog.records import Record
from backupng.engine.redolog.writer import LogWriter
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import (
    ADDRESS,
    CARD,
    NOW_MS,
    Box,
    message,
    open_box,
    records,
)

INBOX = SystemFolder.INBOX


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


def log_of(box: Box) -> list[Record]:
    return records(box.sandbox.redo_log.current)


def logged(box: Box) -> list[str | None]:
    """Return the operations since the mailbox was made."""
    return [each.op for each in log_of(box)[2:]]


def set_server(box: Box, **attributes: str) -> None:
    with box.sandbox.locked():
        values = {name: (value.encode(),) for name, value in attributes.items()}
        box.sandbox.directory.modify(box.sandbox.server(), values)


def two_folders(change: Change) -> None:
    arrivals.make_folder(change, "/One")
    arrivals.make_folder(change, "/Two")


# --- what is logged


def test_a_change_is_a_record_and_its_commit(box: Box) -> None:
    item = box.deliver()

    (made, _, record, commit) = log_of(box)

    assert (made.op, made.envelope.change_id) == ("CreateMailbox", 1)
    envelope = record.envelope
    assert record.op == "CreateMessage"
    assert envelope.change_id == box.row(item)["mod_metadata"]
    assert (envelope.mailbox_id, envelope.timestamp) == (box.mailbox["id"], box.now_ms)
    assert (commit.op, commit.envelope.txn) == ("CommitTxn", envelope.txn)
    assert (commit.envelope.change_id, commit.fields["opcode"]) == (-1, envelope.opcode)


def test_the_header_names_the_server_and_the_first_operation(box: Box) -> None:
    with RedoLog(box.sandbox.redo_log.current) as log:
        header = log.header

    assert (header.is_open, header.sequence, header.size) == (True, 0, 0)
    assert header.server_id == box.sandbox.server().entry_id
    assert header.first_op == header.last_op == header.created == NOW_MS


def test_a_change_that_says_nothing_or_twice_is_a_defect(box: Box) -> None:
    before = log_of(box)

    with pytest.raises(RuntimeError, match="nothing was logged"), box.change() as change:
        change.update(INBOX, flags=0)
    with pytest.raises(RuntimeError, match="comes second"):
        box.do(two_folders)

    assert log_of(box) == before


def test_what_is_refused_is_not_logged(box: Box) -> None:
    before = log_of(box)

    with pytest.raises(InvalidItem):
        box.do(edits.move, INBOX, SystemFolder.TRASH)

    assert log_of(box) == before


def test_a_folder_goes_in_several_changes_as_on_the_real_server(box: Box) -> None:
    outer = box.do(arrivals.make_folder, "/Work")
    inner = box.do(arrivals.make_folder, "/Work/2026")
    items = [box.deliver(folder=outer), box.deliver(folder=inner)]

    removal.delete(box, outer)

    deleted = [each.fields for each in log_of(box) if each.op == "DeleteItem"]
    first, second = items
    assert [(each["type"], each["ids"]) for each in deleted] == [
        (1, [outer]),
        (-1, [second, first, -second, -first]),
        (1, [outer, inner]),
    ]
    assert_consistent(box.sandbox)


def test_an_emptied_folder_names_what_was_in_it_and_then_its_folders(box: Box) -> None:
    inner = box.do(arrivals.make_folder, "/Inbox/Work")
    contact = box.do(arrivals.add_contact, CARD, folder=inner)

    removal.empty_folder(box, INBOX)

    deleted = [each.fields for each in log_of(box) if each.op == "DeleteItem"]
    assert [(each["type"], each["ids"]) for each in deleted] == [(-1, [contact]), (1, [inner])]


def test_a_folder_of_many_goes_by_the_thousand(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "BATCH", 2)
    for _ in range(5):
        box.deliver()

    assert removal.empty_folder(box, INBOX) == 5

    deleted = [each.fields["ids"] for each in log_of(box) if each.op == "DeleteItem"]
    assert [len(ids) for ids in deleted] == [4, 4, 2]


def test_missing_parents_make_one_folder_path(box: Box) -> None:
    item = box.do(arrivals.make_folder, "/Inbox/a/b")

    path, _ = log_of(box)[2:]

    assert (path.op, path.fields["path"]) == ("CreateFolderPath", "/Inbox/a/b")
    made = [(each["id"], each["uuid"]) for each in path.fields["folders"]]
    above = box.row(item)["folder_id"]
    assert made == [(each, box.row(each)["uuid"]) for each in (INBOX, above, item)]


def test_several_flags_are_set_at_once_and_draft_by_itself(box: Box) -> None:
    item = box.deliver()

    edits.flag(box, item, ["+flagged", "+draft", "-unread"])

    both, _, draft, _ = log_of(box)[4:]
    assert (both.op, both.fields["flags"], both.fields["tags"]) == ("SetItemTags", 32, None)
    assert (draft.op, draft.fields["tagName"]) == ("AlterItemTag", "\\Draft")
    assert box.row(item)["flags"] == Flag.FLAGGED | Flag.DRAFT


def test_a_deleted_account_is_logged_twice_in_one_transaction(box: Box) -> None:
    box.sandbox.delete_account(box.account, now_ms=NOW_MS + 1)

    first, second, commit = log_of(box)[2:]

    assert [first.op, second.op, commit.op] == ["DeleteMailbox", "DeleteMailbox", "CommitTxn"]
    assert len({each.envelope.txn for each in (first, second, commit)}) == 1


def test_mail_to_several_accounts_is_stored_once(box: Box) -> None:
    client = SandboxClient(box.sandbox, lambda: from_ms(NOW_MS + 5000))
    client.create_account("bob@example.com")
    start = box.sandbox.redo_log.current.stat().st_size

    client.deliver_to_all([ADDRESS, "bob@example.com", "Alice@example.com"], message("Hello"))

    blob, _, *links = records(box.sandbox.redo_log.current, start)
    assert (blob.op, blob.envelope.mailbox_id, blob.envelope.change_id) == (
        "StoreIncomingBlob",
        -1,
        -1,
    )
    assert blob.fields["mailboxIds"] == [1, 2]
    bodies = [link.fields for link in links if link.op == "CreateMessage"]
    assert [(each["bodyType"], each["path"]) for each in bodies] == [(2, blob.fields["path"])] * 2
    assert_consistent(box.sandbox)


# --- killed between record, commit and CommitTxn


def die_at(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Let this process end at a point of its next change."""

    def end(*_arguments: object, **_options: object) -> None:
        os._exit(9)

    def half(self: LogWriter, *arguments: Any) -> int:
        size = self.size
        append(self, *arguments)
        os.ftruncate(self._file, size + (self.size - size) // 2)
        os._exit(9)

    append = LogWriter.append
    points: dict[str, tuple[type, str, Callable[..., Any]]] = {
        "within the record": (LogWriter, "append", half),
        "after the record": (Journal, "_remember", end),
        "after the commit": (Journal, "commit", end),
    }
    place, name, death = points[point]
    monkeypatch.setattr(place, name, death)


def killed(box: Box, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Deliver a message in a process that ends at a point."""
    child = os.fork()
    if not child:
        try:
            die_at(monkeypatch, point)
            with Sandbox.open(box.sandbox.folder) as sandbox:
                Box(sandbox, box.account, box.now_ms).deliver(message("From a child"))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize(
    ("point", "ops_logged", "messages"),
    [
        ("within the record", [], 0),
        ("after the record", ["CreateMessage", "AbortTxn"], 0),
        ("after the commit", ["CreateMessage", "CommitTxn"], 1),
    ],
)
def test_a_kill_is_closed_by_the_next_who_opens_the_server(
    box: Box,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    ops_logged: list[str],
    messages: int,
) -> None:
    killed(box, monkeypatch, point)

    with Sandbox.open(box.sandbox.folder):
        assert logged(box) == ops_logged

    assert len(box.rows("mail_item", "type = 5")) == messages
    box.deliver()
    assert logged(box) == [*ops_logged, "CreateMessage", "CommitTxn"]
    txns = [each.envelope.txn.counter for each in log_of(box)]
    assert txns[::2] == txns[1::2] == [*range(1, len(txns) // 2 + 1)]
    numbers = [each.envelope.change_id for each in log_of(box)[::2]]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert_consistent(box.sandbox, orphans=True)


def test_a_kill_is_closed_by_the_next_change_too(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(box, monkeypatch, "after the commit")

    box.deliver()

    assert logged(box) == ["CreateMessage", "CommitTxn"] * 2


@pytest.mark.parametrize("left_bytes", range(0, 50, 7))
def test_a_torn_or_lost_end_marker_is_written_again(box: Box, left_bytes: int) -> None:
    box.deliver()
    path = box.sandbox.redo_log.current
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 50 + left_bytes)

    Sandbox.open(box.sandbox.folder).close()

    assert path.read_bytes()[SIZE:] == whole[SIZE:]


def test_zeros_where_the_end_marker_was_are_found(box: Box) -> None:
    box.deliver()
    path = box.sandbox.redo_log.current
    with path.open("r+b") as file:
        file.seek(-50, os.SEEK_END)
        file.write(bytes(50))

    box.deliver()

    assert logged(box) == ["CreateMessage", "CommitTxn"] * 2


def test_junk_behind_the_last_record_is_cut(box: Box) -> None:
    path = box.sandbox.redo_log.current
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(4096))

    box.deliver()

    assert logged(box) == ["CreateMessage", "CommitTxn"]


def test_a_log_that_was_taken_away_begins_anew(box: Box) -> None:
    box.sandbox.redo_log.current.unlink()

    box.deliver()

    assert [each.op for each in log_of(box)] == ["CreateMessage", "CommitTxn"]
    with RedoLog(box.sandbox.redo_log.current) as log:
        assert log.header.sequence == 0


# --- settings


@pytest.mark.parametrize(("deletes", "kept"), [("TRUE", 0), ("FALSE", 3)])
def test_a_log_rolls_over_at_its_hard_limit(box: Box, deletes: str, kept: int) -> None:
    set_server(
        box,
        zimbraRedoLogRolloverHardMaxFileSizeKB="1",
        zimbraRedoLogDeleteOnRollover=deletes,
    )

    for _ in range(3):
        box.deliver(message("Hello", body="x" * 600))

    archived = sorted(box.sandbox.redo_log.archive.glob("redo-*-seq*.log"))
    assert len(archived) == kept
    assert [op for path in archived for op in (each.op for each in records(path))][2:] == (
        ["CreateMessage", "CommitTxn"] * kept
    )
    with RedoLog(box.sandbox.redo_log.current) as log:
        assert (log.header.sequence, log.header.is_open, log.size) == (3, True, SIZE)


def test_a_young_log_does_not_roll_over_at_its_soft_limit(box: Box) -> None:
    set_server(box, zimbraRedoLogRolloverFileSizeKB="1", zimbraRedoLogRolloverMinFileAge="1")
    box.deliver(message("Hello", body="x" * 600))
    assert len(log_of(box)) == 4
    box.now_ms += 60_000

    box.deliver()

    assert log_of(box) == []


def test_a_server_may_log_nothing(box: Box) -> None:
    before = log_of(box)
    set_server(box, zimbraRedoLogEnabled="FALSE")

    box.deliver()

    assert log_of(box) == before
    set_server(box, zimbraRedoLogEnabled="TRUE")
    box.deliver()
    assert logged(box) == ["CreateMessage", "CommitTxn"]


@pytest.mark.parametrize(
    "wrong", [{"zimbraRedoLogEnabled": "yes"}, {"zimbraRedoLogRolloverFileSizeKB": "many"}]
)
def test_a_setting_that_makes_no_sense_is_refused(box: Box, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidItem):
        set_server(box, **wrong)


# --- a log from elsewhere


def test_a_loaded_server_goes_on_in_the_log_it_came_with(genuine: Path, tmp_path: Path) -> None:
    with load(tmp_path / "server", name="zimbra1", directory=genuine / "history") as sandbox:
        before = records(sandbox.redo_log.current)
        account = next(sandbox.directory.entries(EntryKind.ACCOUNT))

        Box(sandbox, account, 1_800_000_000_000).deliver()

        *kept, abort, record, commit = records(sandbox.redo_log.current)
        assert (kept, abort.op) == (before, "AbortTxn")
        assert abort.envelope.txn == before[-1].envelope.txn
        assert (record.op, commit.op) == ("CreateMessage", "CommitTxn")
        assert record.envelope.txn.counter == 1
        with RedoLog(sandbox.redo_log.current) as log:
            assert log.header.server_id == sandbox.server().entry_id


def test_what_is_no_redo_log_is_set_aside(box: Box) -> None:
    path = box.sandbox.redo_log.current
    path.write_bytes(b"log")

    box.deliver()

    assert path.with_name("redo.log.bak").read_bytes() == b"log"
    assert [each.op for each in log_of(box)] == ["CreateMessage", "CommitTxn"]
