"""A change of a sandbox mailbox: one number, everything derived in step, all of it or nothing."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.errors import InvalidItem, MailServerError
from backupng.engine.mailserver.sandbox import arrivals, edits, redo, removal
from backupng.engine.mailserver.sandbox.arrivals import Look
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.play import Play
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from tests.conftest import ROOT
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import (
    ADDRESS,
    NOW_MS,
    Box,
    message,
    open_box,
    thread,
)
from tests.processes import DEADLINE_S

INBOX, TRASH = SystemFolder.INBOX, SystemFolder.TRASH


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


def everything(sandbox: Sandbox) -> list[object]:
    """Return all rows and all blob files of a server."""
    database = sandbox.database
    found = database.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    tables = [row["name"] for row in found]
    rows = [list(database.rows(f'SELECT * FROM "{name}"')) for name in tables]  # noqa: S608
    files = sorted(path for path in sandbox.folder.rglob("*.msg"))
    return [*rows, *files]


# --- change numbers


def test_everything_one_change_touches_gets_its_number(box: Box) -> None:
    before = box.mailbox["change_checkpoint"]

    first = box.deliver(thread("Hello", "1"))

    item = box.deliver(thread("Hello", "2", "1"), look=Look(tags=("Blue",)))

    whole = box.row(item)["parent_id"]
    touched = [box.row(each)["mod_metadata"] for each in (first, item, whole)]
    assert touched == [before + 2] * 3
    assert box.rows("tag", "name = 'Blue'")[0]["sequence"] == before + 2
    assert box.mailbox["change_checkpoint"] == before + 2


def test_a_changed_row_has_the_change_number_and_the_second_and_keeps_its_content_number(
    box: Box,
) -> None:
    item = box.deliver()
    content = box.row(item)["mod_content"]

    edits.flag(box, item, ["+flagged"])

    row = box.row(item)
    assert (row["mod_metadata"], row["mod_content"]) == (content + 1, content)
    assert row["change_date"] == box.now_ms // 1000


def test_counters_change_without_a_change_number_of_the_folder(box: Box) -> None:
    number = box.row(INBOX)["mod_metadata"]

    item = box.deliver()

    assert box.row(INBOX)["mod_metadata"] == number
    assert box.values(INBOX)["mseq"] == box.row(item)["mod_metadata"]


def test_a_folder_expects_the_id_after_the_newest_that_came(box: Box) -> None:
    item = box.deliver()
    box.do(arrivals.make_folder, "/Work")

    edits.flag(box, item, ["+flagged"])

    assert box.values(INBOX)["unxt"] == item + 1


def test_what_imap_marked_as_deleted_counts_in_the_folder_and_not_in_the_tag(box: Box) -> None:
    item = box.deliver()
    box.do(edits.tag, item, "Work")

    edits.flag(box, item, ["+deleted"])

    (tag,) = box.rows("tag", "name = 'Work'")
    assert (tag["item_count"], tag["unread"]) == (0, 0)
    assert box.row(INBOX)["size"] == box.values(INBOX)["i4d"] == box.values(INBOX)["i4du"] == 1


def test_folders_that_do_not_track_counts_are_left_alone(box: Box) -> None:
    document = box.save(b"x")
    before = box.row(SystemFolder.COMMENTS)

    box.do(arrivals.add_comment, "Fine", document=document, creator_id="x")

    assert box.row(SystemFolder.COMMENTS) == before


def test_older_versions_count_in_quota_and_folder(box: Box) -> None:
    box.save(b"x" * 100)

    box.save(b"y" * 10)

    assert box.mailbox["size_checkpoint"] == box.values(SystemFolder.BRIEFCASE)["sz"] == 110


def test_contacts_are_counted(box: Box) -> None:
    item = box.do(arrivals.add_contact, b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zo\r\nEND:VCARD\r\n")
    assert box.mailbox["contact_count"] == 1

    removal.delete(box, item)

    assert box.mailbox["contact_count"] == 0


# --- tombstones


def test_tombstones_are_written_only_for_mailboxes_that_are_synced(box: Box) -> None:
    removal.delete(box, box.deliver())
    assert box.rows("tombstone") == []
    box.set_mailbox(tracking_sync=1)
    item = box.deliver()

    removal.delete(box, item)

    (stone,) = box.rows("tombstone")
    assert (stone["ids"], stone["type"]) == (str(item), 5)
    assert stone["sequence"] == box.mailbox["change_checkpoint"]


def test_tombstones_of_folders_name_the_uuid(box: Box) -> None:
    box.set_mailbox(tracking_sync=1)
    folder = box.do(arrivals.make_folder, "/Work")
    uuid = box.row(folder)["uuid"]

    removal.delete(box, folder)

    assert [stone["ids"] for stone in box.rows("tombstone")] == [f"{folder}:{uuid}"]


def test_a_long_list_of_tombstones_takes_several_rows(box: Box) -> None:
    rows = [{**box.row(INBOX), "id": 10**9 + number, "uuid": None} for number in range(7000)]
    box.set_mailbox(tracking_sync=1)

    with box.change() as change:
        change.delete(rows)
        change.log("DeleteItem", **redo.items([]))

    texts = [stone["ids"] for stone in box.rows("tombstone")]
    assert [len(text) < 65_535 for text in texts] == [True, True]
    assert ",".join(texts) == ",".join(str(row["id"]) for row in rows)


# --- limits


def test_what_three_bytes_cannot_hold_becomes_a_question_mark(box: Box) -> None:
    folder = box.do(arrivals.make_folder, "/Pizza 🍕")
    item = box.deliver(message("Lunch 🍕"), folder=folder)

    box.do(edits.tag, item, "🍕")

    assert box.row(folder)["name"] == "Pizza ?"
    assert "🍕" not in box.row(item)["subject"]
    assert box.do(edits.tag, item, "🍕") == 0
    assert box.ask(arrivals.folder_id, "/Pizza 🍕") == folder


def test_the_quota_is_kept(box: Box) -> None:
    with box.sandbox.locked():
        quota = {"zimbraMailQuota": (b"1000",)}
        box.sandbox.directory.modify(box.account, quota)
    box.account = box.sandbox.account(ADDRESS)
    item = box.deliver(message("Small"))
    before = everything(box.sandbox)

    with pytest.raises(InvalidItem, match="quota is 1000 bytes") as caught:
        box.deliver(message("Big", body="x" * 1000))

    assert caught.value.code == "quota_exceeded"
    assert everything(box.sandbox) == before
    edits.flag(box, item, ["+flagged"])


def test_the_quota_counts_new_versions_too(box: Box) -> None:
    with box.sandbox.locked():
        box.sandbox.directory.modify(box.account, {"zimbraMailQuota": (b"1000",)})
    box.account = box.sandbox.account(ADDRESS)
    box.save(b"x" * 600)

    with pytest.raises(InvalidItem, match="quota"):
        box.save(b"y" * 500)


@pytest.mark.parametrize("container", [9999, SystemFolder.INBOX + 10_000])
def test_nothing_lies_in_a_folder_that_is_not_there(box: Box, container: int) -> None:
    with pytest.raises(InvalidItem) as caught:
        box.deliver(folder=container)

    assert caught.value.code == "no_such_item"


def test_nothing_lies_in_what_is_no_folder(box: Box) -> None:
    search = box.do(arrivals.make_search, "Unread", "is:unread")

    with pytest.raises(InvalidItem, match="no folder"):
        box.deliver(folder=search)


# --- all or nothing


def deliver_and_fail(change: Change) -> None:
    arrivals.deliver(change, message("Lost"), folder=INBOX, date=1)
    change.delete(change.rows("type = 8"))
    raise RuntimeError("the power is gone")


def test_a_change_that_fails_leaves_nothing_behind(box: Box) -> None:
    box.save(b"x" * 100)
    before = everything(box.sandbox)

    with pytest.raises(RuntimeError):
        box.do(deliver_and_fail)

    assert everything(box.sandbox) == before


def test_the_server_goes_on_after_a_change_that_failed(box: Box) -> None:
    with pytest.raises(RuntimeError):
        box.do(deliver_and_fail)

    box.deliver()

    assert_consistent(box.sandbox)


def test_a_disk_that_refuses_a_blob_ends_the_change_with_one_sentence(box: Box) -> None:
    before = everything(box.sandbox)
    (box.sandbox.folder / "store" / "0").write_text("in the way")

    with pytest.raises(MailServerError, match="cannot be written"):
        box.deliver()

    assert everything(box.sandbox) == before


def test_a_blob_goes_only_after_the_commit(box: Box) -> None:
    box.deliver()

    with box.change() as change:
        change.delete(change.rows("type = 5"))
        change.log("DeleteItem", **redo.items([]))
        before_commit = box.blob_files()

    assert len(before_commit) == 1
    assert box.blob_files() == set()


def test_an_item_whose_blob_is_out_of_reach_can_be_deleted(box: Box) -> None:
    item = box.deliver()
    other = box.deliver(message("Other"))
    box.set_row(item, locator="99@@somewhere/else")
    box.set_row(other, locator="77")

    removal.delete(box, item)
    removal.delete(box, other)

    assert box.rows("mail_item", "type = 5") == []


def test_a_change_holds_the_lock_of_the_server(box: Box) -> None:
    with box.change() as change:
        arrivals.make_folder(change, "/Work")
        with (box.sandbox.folder / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- a kill at any moment, several processes at once

CHILD = """
import os, signal, sys
from pathlib import Path
from backupng.engine.mailserver.sandbox import arrivals
from backupng.engine.mailserver.sandbox.server import Sandbox

sandbox = Sandbox.open(Path(sys.argv[1]))
account = sandbox.account(sys.argv[2])
raw = b"Subject: from a child\\r\\n\\r\\n"

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
"""
BEFORE_THE_COMMIT = """
with sandbox.change(account, now_ms=1_800_000_000_000) as change:
    arrivals.deliver(change, raw, folder=2, date=1)
    change.delete(change.rows("type = 8"))
    die()
"""
BEFORE_BLOBS_GO = """
with sandbox.change(account, now_ms=1_800_000_000_000) as change:
    change.delete(change.rows("type = 8"))
    change.log("DeleteItem", type=-1, ids=[])
    change.blobs.settle = die
"""
TEN_DELIVERIES = """
for number in range(10):
    with sandbox.change(account, now_ms=1_800_000_000_000) as change:
        arrivals.deliver(change, raw, folder=2, date=1)
"""


def child(folder: Path, script: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", CHILD + script, str(folder), ADDRESS]
    return subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize(
    ("script", "documents"), [(BEFORE_THE_COMMIT, 1), (BEFORE_BLOBS_GO, 0)], ids=["before", "after"]
)
def test_a_kill_leaves_a_whole_server_and_at_most_orphan_files(
    box: Box, script: str, documents: int
) -> None:
    box.save(b"x" * 100)

    with child(box.sandbox.folder, script) as process:
        assert process.wait(DEADLINE_S) == -signal.SIGKILL

    assert len(box.rows("mail_item", "type = 8")) == documents
    assert len(box.blob_files()) == documents + 1
    assert_consistent(box.sandbox, orphans=True)


def test_a_number_that_a_killed_change_had_taken_is_used_by_the_next(box: Box) -> None:
    with child(box.sandbox.folder, BEFORE_THE_COMMIT) as process:
        process.wait(DEADLINE_S)
    (orphan,) = box.blob_files()

    item = box.deliver()

    assert orphan == f"{item}-{box.row(item)['mod_content']}.msg"
    assert_consistent(box.sandbox)


def test_several_processes_can_change_one_server(box: Box) -> None:
    children = [child(box.sandbox.folder, TEN_DELIVERIES) for _ in range(2)]
    for _ in range(10):
        box.deliver()

    assert [each.wait(DEADLINE_S) for each in children] == [0, 0]
    assert box.row(INBOX)["size"] == 30
    assert len({row["mod_metadata"] for row in box.rows("mail_item", "type = 5")}) == 30
    assert_consistent(box.sandbox)


# --- all of it together


@pytest.mark.parametrize("tracked", [0, 1], ids=["plain", "synced"])
def test_a_long_random_play_leaves_everything_in_step(box: Box, tracked: int) -> None:
    box.set_mailbox(tracking_sync=tracked, tracking_imap=tracked)
    seed = secrets.randbits(32)
    print(f"the play has the seed {seed}")  # noqa: T201  # shown when the test fails

    done = Play(box.sandbox, seed=seed)
    steps = [done.step(now_ms=NOW_MS + number * 1000) for number in range(150)]

    assert done.changes >= len([step for step in steps if step]) > 75
    assert_consistent(box.sandbox)
