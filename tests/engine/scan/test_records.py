"""Records that no client of the sandbox makes, or that only matter to a late scanner.

Each scene is seen by a scanner that looks after every act, and by one that looks at the end only.
"""

from __future__ import annotations

import pytest

from backupng.engine.mailserver.sandbox import arrivals, redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.threads import follow_members
from backupng.engine.mailserver.zimbra.codes import Flag
from backupng.engine.model import Digest, EntryKind, ItemId, ItemKind
from tests.cast import ALICE, BOB, message
from tests.engine.scan.scenes import (
    CONVERSATION,
    MESSAGE,
    NOTE,
    TAG,
    Scene,
    ends,
    log_items,
)

# Conversations


def test_the_messages_of_a_conversation_go_with_it(scene: Scene) -> None:
    first = scene.deliver("Lunch")
    reply = scene.deliver("Re: Lunch", answers="Lunch")

    def delete_conversation(change: Change) -> None:
        conversation = change.row(reply)["parent_id"]
        rows = change.rows("parent_id = ? AND type = 5", conversation)
        log_items(change, "DeleteItem", [conversation], CONVERSATION)
        change.delete(rows)
        follow_members(change, rows)

    scene.change(delete_conversation)
    scene.end()

    for item in (first, reply):
        assert scene.history(item)[-1] == scene.history(item, of=scene.live)[-1]
        assert scene.history(item)[-1][2]


def test_a_flag_on_a_conversation_is_on_its_messages(scene: Scene) -> None:
    first = scene.deliver("Lunch")
    reply = scene.deliver("Re: Lunch", answers="Lunch")

    def flag_conversation(change: Change) -> None:
        conversation = change.row(reply)["parent_id"]
        for item in (first, reply):
            change.update(item, flags=int(Flag.FLAGGED))
        fields = {"tagName": "\\Flagged", "tagged": True, "hasConstraint": False}
        log_items(change, "AlterItemTag", [conversation], CONVERSATION, **fields)

    scene.change(flag_conversation)
    scene.act(lambda: scene.mail.client.move(ALICE, first, "/Trash"))
    scene.end()

    for item in (first, reply):
        told = scene.history(item, of=scene.live)
        assert [state for state in scene.history(item) if state not in told] == []
        assert scene.history(item)[-1] == told[-1]


def test_a_virtual_conversation_is_its_only_message(scene: Scene) -> None:
    item = scene.deliver("Alone")

    def delete_virtual(change: Change) -> None:
        log_items(change, "DeleteItem", [-item], CONVERSATION)
        change.delete([change.row(item)])

    scene.change(delete_virtual)
    scene.end()

    assert ends(scene, item) == [(2, False), (3, True)]


# What a constraint left alone, and what nobody can tell


def test_what_a_constraint_left_alone_stays_as_it_was(scene: Scene) -> None:
    kept, gone = scene.deliver("Kept"), scene.deliver("Gone")

    def delete_some(change: Change) -> None:
        fields = {"hasConstraint": True, "constraint": "j"}
        log_items(change, "DeleteItem", [kept, gone], MESSAGE, **fields)
        change.delete([change.row(gone)])

    scene.change(delete_some)
    scene.act(lambda: scene.mail.client.flag(ALICE, kept, ["+flagged"]))
    scene.end()

    assert [state[2] for state in scene.history(kept)] == [False, False]
    assert [state[2] for state in scene.history(gone)] == [False, True]


def test_an_imap_purge_takes_what_was_marked_and_what_may_have_been(scene: Scene) -> None:
    marked, hinted = scene.deliver("Marked"), scene.deliver("Hinted")
    scene.act(lambda: scene.mail.client.flag(ALICE, marked, ["+deleted"]))

    def mark(change: Change) -> None:
        change.update(hinted, flags=int(Flag.DELETED))
        fields = {"tagName": "\\Deleted", "tagged": True, "constraint": "t"}
        log_items(change, "AlterItemTag", [hinted], MESSAGE, hasConstraint=True, **fields)

    def purge(change: Change) -> None:
        change.delete([change.row(marked), change.row(hinted)])
        change.log("PurgeImapDeleted")

    scene.change(mark)
    scene.change(purge)
    scene.end()

    assert [scene.history(item)[-1][2] for item in (marked, hinted)] == [True, True]


def test_a_purge_by_age_leaves_the_account_uncertain(scene: Scene) -> None:
    old = scene.deliver("Old")

    def purge(change: Change) -> None:
        change.delete([change.row(old)])
        change.log("PurgeOldMessages")

    scene.change(purge)
    scene.end()

    assert set(scene.doubts(scene.late)) == {scene.mail.account_id(ALICE)}


def test_a_purge_that_tombstones_tell_of_leaves_nothing_uncertain(scene: Scene) -> None:
    database, mailbox = scene.mail.sandbox.database, scene.mail.sandbox.mailbox
    number = mailbox(scene.mail.sandbox.account(ALICE)).mailbox_id
    database.update(database.table("zimbra", "mailbox"), {"tracking_sync": 1}, id=number)
    old = scene.deliver("Old")

    def purge(change: Change) -> None:
        change.delete([change.row(old)])
        change.log("PurgeOldMessages")

    scene.change(purge)
    scene.end()

    assert [state[2] for state in scene.history(old)] == [False, True]
    assert scene.doubts(scene.late) == {}


def test_the_dumpster_has_the_last_content_of_what_nobody_saw(scene: Scene) -> None:
    note = scene.change(lambda change: arrivals.add_note(change, "Buy milk", folder=2))

    def dump(change: Change) -> None:
        row = change.row(note)
        columns = row | {"mod_metadata": change.number, "change_date": change.date}
        del columns["mailbox_id"]
        change.insert_side("mail_item_dumpster", **columns)
        log_items(change, "DeleteItem", [note], NOTE)
        change.delete([row])

    scene.change(dump)
    scene.end()

    assert [(state[5], state[2]) for state in scene.history(note)] == [
        ("Buy milk", False),
        (None, True),
    ]
    assert scene.history(note) == scene.history(note, of=scene.live)


# Tags


def test_what_came_went_and_was_recovered_unseen_is_told_exactly(scene: Scene) -> None:
    item = scene.deliver("Lunch")
    (row,) = scene.rows(f"id = {item}")

    def recover(change: Change) -> ItemId:
        taken = ("date", "unread", "sender", "subject", "metadata")
        columns = {name: row[name] for name in taken} | {"flags": 0}
        new = change.new_id()
        columns |= change.put_blob(new, message("Lunch"))
        change.insert(ItemKind.MESSAGE, id=new, folder=2, **columns)
        fields = {"copies": redo.copies([(item, new, None)]), "fromDumpster": True}
        change.log("RecoverItem", type=MESSAGE, destFolderId=2, **fields)
        return new

    scene.act(lambda: scene.mail.client.delete(ALICE, item))
    new = scene.change(recover)
    scene.act(lambda: scene.mail.client.flag(ALICE, new, ["+flagged"]))
    scene.act(lambda: scene.mail.client.delete(ALICE, new))
    scene.end()

    assert scene.history(new) == scene.history(new, of=scene.live)


def test_a_tag_is_found_in_any_case(scene: Scene) -> None:
    item = scene.deliver("Lunch")
    scene.act(lambda: scene.mail.client.tag(ALICE, item, "Work"))

    def untag(change: Change) -> None:
        change.update(item, tag_names=None)
        fields = {"tagName": "WORK", "tagged": False, "hasConstraint": False}
        log_items(change, "AlterItemTag", [item], MESSAGE, **fields)

    scene.change(untag)
    scene.act(lambda: scene.mail.client.flag(ALICE, item, ["+flagged"]))
    scene.end()

    told = [state[8] for state in scene.history(item)]
    assert told == [state[8] for state in scene.history(item, of=scene.live)]
    assert told[-2:] == [(), ()]


def test_a_copy_of_what_is_not_settled_waits_for_its_row(scene: Scene) -> None:
    item = scene.deliver("Lunch")
    scene.act(lambda: scene.mail.client.tag(ALICE, item, "Old"))

    def rename(change: Change) -> None:
        tag = change.tag_id("Old", listed=False)
        change.rename_tag(tag, "New")
        change.log("RenameItem", id=tag, folderId=-1, name="New", type=TAG)

    def copy(change: Change) -> ItemId:
        row = change.row(item)
        taken = ("date", "unread", "tag_names", "sender", "subject", "metadata")
        new = change.new_id()
        columns = {name: row[name] for name in taken}
        columns |= change.put_blob(new, change.blobs.read(item, row))
        change.insert(ItemKind.MESSAGE, id=new, folder=2, flags=0, **columns)
        copies = redo.copies([(item, new, None)])
        change.log("CopyItem", type=MESSAGE, destFolderId=2, copies=copies, fromDumpster=False)
        return new

    scene.change(rename)
    new = scene.change(copy)
    scene.act(lambda: scene.mail.client.flag(ALICE, new, ["+flagged"]))
    scene.end()

    told = scene.history(new, of=scene.live)
    assert [state[8] for state in told] == [("New",), ("New",)]
    assert [state for state in scene.history(new) if state not in told] == []
    assert scene.history(new)[-1] == told[-1]


# Records that no server writes


@pytest.mark.parametrize("name", [None, ""])
def test_a_record_that_makes_no_sense_ends_the_capture_of_nobody(
    scene: Scene, name: str | None
) -> None:
    def nonsense(change: Change) -> None:
        fields = {"parentId": 1, "attrs": 0, "view": 0, "flags": 0, "color": 0, "url": ""}
        fields |= {"uuid": None, "hasDate": False, "customKey": None}
        change.log("CreateFolder", name=name, folderId=change.new_id(), **fields)

    scene.is_faithful = False
    scene.change(nonsense)
    item = scene.deliver("Still there", to=BOB)
    scene.end()

    states = scene.late.states()[scene.mail.account_id(BOB), item]
    assert [state.subject for state in states] == ["Still there"]


def test_a_mailbox_that_is_gone_is_saved_to_its_last_change(scene: Scene) -> None:
    item = scene.deliver("Last words", to=BOB)
    scene.act(lambda: scene.mail.client.flag(BOB, item, ["+flagged"]))
    bob = scene.mail.account_id(BOB)
    scene.mail.later(seconds=1)
    gone = scene.mail.now
    scene.mail.client.delete_account(BOB)
    scene.mail.later(seconds=30)
    scene.end()

    states = scene.late.states()[bob, item]
    assert [state.flags for state in states] == ["", "f"]
    with scene.late.path() as path:
        assert b"".join(path.blob(states[-1].digest or Digest(""))) == message("Last words")
        entry = path.entry_history(EntryKind.ACCOUNT, bob)
    assert [(each.deleted, each.start == gone) for each in entry][-1] == (True, True)


def test_an_account_that_came_and_went_unseen_is_in_the_backup(scene: Scene) -> None:
    client = scene.mail.client
    scene.mail.later(seconds=1)
    born = scene.mail.now
    client.create_account("erin@example.com")
    erin = scene.mail.account_id("erin@example.com")
    item = client.deliver("erin@example.com", message("Short"), folder="/Inbox")
    scene.mail.later(seconds=1)
    died = scene.mail.now
    client.delete_account("erin@example.com")
    scene.end()

    with scene.late.path() as path:
        entries = path.entry_history(EntryKind.ACCOUNT, erin)
        (state,) = path.history(erin, item)
    assert [(each.entry.name, each.start, each.deleted) for each in entries] == [
        ("erin@example.com", born, False),
        ("erin@example.com", died, True),
    ]
    assert state.subject == "Short"


def test_a_class_of_service_switched_on_again_makes_its_accounts_uncertain(scene: Scene) -> None:
    client = scene.mail.client
    client.set_cos_notes("default", "${ZxBackup_Disabled}")
    scene.end()
    unseen = client.deliver(ALICE, message("Unseen"), folder="/Inbox")
    scene.end()
    client.set_cos_notes("default", "")
    scene.end()

    assert scene.history(unseen) == []
    for scanner in (scene.live, scene.late):
        assert {scene.mail.account_id(ALICE), scene.mail.account_id(BOB)} <= set(
            scene.doubts(scanner)
        )


def test_more_changes_than_fit_in_memory_at_once_lose_none(scene: Scene) -> None:
    # States that wait are kept however many there are; those that can be read again are not.
    items = [
        scene.mail.client.deliver(ALICE, message(f"No {n}"), folder="/Inbox") for n in range(4)
    ]
    many = [*items, *range(10_000, 12_500)]

    def move_all(change: Change) -> None:
        for item in items:
            change.update(item, folder_id=3, unread=0)
        fields = {"destFolderId": 3, "hasConstraint": False, "uidNext": -1}
        log_items(change, "MoveItem", many, MESSAGE, **fields)

    scene.change(move_all)
    scene.act(lambda: scene.mail.client.flag(ALICE, items[0], ["+flagged"]))
    scene.end()

    assert [(state[3], state[6]) for state in scene.history(items[0])] == [
        (2, ""),
        (3, ""),
        (3, "f"),
    ]
