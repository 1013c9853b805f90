"""What waits for a later record, or for the end of the log, and when it is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pytest

from backupng.engine.mailserver.sandbox import (
    arrivals,
    conversations,
    edits,
    redo,
    removal,
    tags,
)
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra.codes import SystemFolder
from backupng.engine.model import ItemId, ItemKind, Mailbox
from backupng.engine.redolog.writer import COMMIT_BYTES
from tests.cast import ALICE, message
from tests.engine.scan.scenes import FOLDER, MESSAGE, TAG, Scene, log_items
from tests.engine.scan.test_realtime import EVENT


def test_what_was_ahead_is_told_exactly_again_once_it_is_settled(scene: Scene) -> None:
    first = scene.deliver("Lunch")
    reply = scene.deliver("Re: Lunch", answers="Lunch")
    conversation = scene.rows(f"id = {reply}")[0]["parent_id"]
    scene.change(lambda change: conversations.flag_conversation(change, conversation, on=True))
    scene.act(lambda: scene.mail.client.flag(ALICE, first, ["-unread"]))
    scene.end()
    scene.act(lambda: scene.mail.client.flag(ALICE, first, ["+unread"]))
    scene.act(lambda: scene.mail.client.delete(ALICE, first))
    scene.end()

    # It was away when both happened, and has them both.
    told = scene.history(first)
    assert [(state[2], state[7]) for state in told[-3:]] == [
        (False, False),
        (False, True),
        (True, False),
    ]


def test_a_copy_of_what_is_ahead_waits_for_its_row(scene: Scene) -> None:
    item = scene.deliver("Lunch")
    scene.act(lambda: scene.mail.client.tag(ALICE, item, "Old"))

    def rename(change: Change) -> None:
        tag = change.tag_id("Old", listed=False)
        change.rename_tag(tag, "New")
        change.log("RenameItem", id=tag, folderId=-1, name="New", type=TAG)

    scene.change(rename)
    scene.change(lambda change: edits.copy(change, item, 3))
    (copy,) = [row["id"] for row in scene.rows("folder_id = 3")]
    scene.act(lambda: scene.mail.client.flag(ALICE, item, ["+flagged"]))
    scene.act(lambda: scene.mail.client.flag(ALICE, copy, ["+flagged"]))
    scene.end()

    told = scene.history(copy, of=scene.live)
    assert {state[8] for state in told} == {("New",)}
    assert [state for state in scene.history(copy) if state not in told] == []


def test_what_happens_between_the_question_and_the_log_settles_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = scene.deliver("Kept")
    hint_at_a_deletion(scene, kept)
    source = scene.late.source
    ask = source.living
    moved: list[int] = []

    def living(mailbox: Mailbox, items: Iterable[ItemId]) -> set[ItemId]:
        if not moved:
            with Sandbox.open(scene.mail.sandbox.folder) as other:
                client = SandboxClient(other, lambda: scene.mail.now)
                moved.append(client.move(ALICE, kept, "/Trash"))
            return set()
        found: set[ItemId] = ask(mailbox, items)
        return found

    monkeypatch.setattr(source, "living", living)
    scene.late.catch_up()

    assert [state[2] for state in scene.history(kept)] == [False, False]
    scene.live.catch_up()


def test_nothing_is_settled_of_a_mailbox_that_the_log_has_news_of(scene: Scene) -> None:
    first, second = scene.deliver("First"), scene.deliver("Second")
    with scene.live.running() as scanner:
        hint_at_a_deletion(scene, first)
        scanner.turn(0)
        # It asks for the first alone, and then reads of the second, which is as alive.
        hint_at_a_deletion(scene, second)
        scanner.turn(0)

    told = scene.history(second, of=scene.live)
    assert [state[2] for state in told] == [False]


def test_nothing_is_settled_while_an_operation_is_under_way(scene: Scene) -> None:
    item = scene.deliver("Gone")
    hint_at_a_deletion(scene, item)
    with scene.live.running() as scanner:
        scanner.turn(0)
    scene.mail.later(seconds=1)
    scene.mail.client.delete(ALICE, item)
    log = scene.mail.sandbox.redo_log.current
    whole = log.read_bytes()
    log.write_bytes(whole[:-COMMIT_BYTES])
    scene.live.catch_up()
    log.write_bytes(whole)
    scene.end()

    # The record that did it tells when, not the one that might have.
    told = scene.history(item, of=scene.live)
    assert told == scene.history(item)
    assert [state[1] - told[0][1] for state in told] == [0, 2]


def test_what_lies_in_a_deleted_folder_goes_with_the_last_record_of_the_folder(
    scene: Scene,
) -> None:
    client = scene.mail.client
    folder = scene.act(lambda: client.create_folder(ALICE, "/Work"))
    item = scene.act(lambda: client.deliver(ALICE, message("Lunch"), folder="/Work"))

    def delete(change: Change) -> None:
        log_items(change, "DeleteItem", [folder], FOLDER)
        change.delete([*change.rows("folder_id = ?", folder), change.row(folder)])

    scene.change(delete)
    scene.end()

    for scanner in (scene.live, scene.late):
        told = [scene.history(each, of=scanner)[-1] for each in (item, folder)]
        assert [state[2] for state in told] == [True, True]
        assert told[0][1] == told[1][1]


def test_a_record_that_only_repeats_what_is_so_shows_that_an_item_was_not_deleted_before_it(
    scene: Scene,
) -> None:
    client = scene.mail.client
    folder = scene.act(lambda: client.create_folder(ALICE, "/Work"))
    item = scene.act(lambda: client.deliver(ALICE, message("Lunch"), folder="/Work"))
    hint_at_a_deletion(scene, item)
    scene.live.catch_up()

    def repeat(change: Change) -> None:
        fields = {"tagName": "\\Flagged", "tagged": False, "hasConstraint": False}
        log_items(change, "AlterItemTag", [item], MESSAGE, **fields)

    def delete(change: Change) -> None:
        log_items(change, "DeleteItem", [folder], FOLDER)
        change.delete([*change.rows("folder_id = ?", folder), change.row(folder)])

    scene.change(repeat)
    scene.change(delete)
    scene.end()

    assert scene.history(item) == scene.history(item, of=scene.live)


def test_a_message_that_answers_an_invitation_has_the_folder_of_its_row(scene: Scene) -> None:
    client = scene.mail.client
    event = scene.act(lambda: client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT))

    def invite(change: Change) -> ItemId:
        raw, folder = message("Invitation"), SystemFolder.SENT
        item = arrivals.deliver(change, raw, folder=folder, date=change.date)
        change.done.fields.update(calItemId=event, folderId=SystemFolder.CALENDAR)
        return item

    item = scene.change(invite)
    for flag in ("+flagged", "-unread"):
        scene.act(partial(client.flag, ALICE, item, [flag]))
    scene.end()

    # No record tells it: the first state guesses, and none that follows goes by the guess.
    told = scene.history(item, of=scene.live)
    assert [state for state in scene.history(item)[1:] if state not in told] == []
    assert scene.history(item)[-1] == told[-1]


@pytest.mark.parametrize("what", [tags.delete_tag, partial(tags.rename_tag, name="New")])
def test_the_bearers_of_a_tag_that_never_was_seen_wait_for_their_rows(
    scene: Scene, what: Callable[..., int]
) -> None:
    item = scene.deliver("Lunch")
    scene.act(lambda: scene.mail.client.tag(ALICE, item, "Old"))
    scene.change(lambda change: what(change, change.tag_id("Old")))
    for flag in ("+flagged", "-unread"):
        scene.act(partial(scene.mail.client.flag, ALICE, item, [flag]))
    scene.end()

    told = scene.history(item, of=scene.live)
    assert [state for state in scene.history(item) if state not in told] == []
    assert scene.history(item)[-1] == told[-1]


def test_what_was_deleted_while_it_was_ahead_is_not_recovered_as_it_was_before(
    scene: Scene,
) -> None:
    item = scene.deliver("Lunch")
    scene.act(lambda: scene.mail.client.tag(ALICE, item, "Old"))
    (row,) = scene.rows(f"id = {item}")

    def recover(change: Change) -> ItemId:
        taken = ("date", "unread", "sender", "subject", "metadata")
        columns = {name: row[name] for name in taken} | {"tag_names": "\0New\0", "flags": 0}
        new = change.new_id()
        columns |= change.put_blob(new, message("Lunch"))
        change.insert(ItemKind.MESSAGE, id=new, folder=2, **columns)
        fields = {"copies": redo.copies([(item, new, None)]), "fromDumpster": True}
        change.log("RecoverItem", type=MESSAGE, destFolderId=2, **fields)
        return new

    scene.change(lambda change: tags.rename_tag(change, change.tag_id("Old"), "New"))
    scene.act(lambda: scene.mail.client.delete(ALICE, item))
    scene.late.catch_up()
    new = scene.change(recover)
    scene.act(lambda: scene.mail.client.flag(ALICE, new, ["+flagged"]))
    scene.end()

    told = scene.history(new, of=scene.live)
    assert {state[8] for state in told} == {("New",)}
    assert [state for state in scene.history(new) if state not in told] == []


def test_the_comments_of_a_document_go_with_it_in_an_imap_purge(scene: Scene) -> None:
    client = scene.mail.client
    document = scene.act(lambda: client.save_document(ALICE, b"plan", name="plan.txt"))
    owner = scene.mail.account_id(ALICE)
    comment = scene.change(
        lambda change: arrivals.add_comment(change, "Yes.", document=document, creator_id=owner)
    )
    scene.act(lambda: client.flag(ALICE, document, ["+deleted"]))
    scene.change(removal.expunge)
    scene.end()

    assert [scene.history(item, of=scene.live)[-1][2] for item in (document, comment)] == [True] * 2


def test_a_conversation_goes_when_its_last_message_is_junk(scene: Scene) -> None:
    first = scene.deliver("Lunch")
    reply = scene.deliver("Re: Lunch", answers="Lunch")
    conversation = scene.rows(f"id = {reply}")[0]["parent_id"]
    scene.end()
    for item in (first, reply):
        scene.act(partial(scene.mail.client.move, ALICE, item, "/Junk"))
        scene.act(partial(scene.mail.client.flag, ALICE, item, ["+flagged"]))
    scene.mail.later(seconds=61)
    scene.late.catch_up()

    told = scene.history(conversation, of=scene.live)
    assert [state[2] for state in told][-2:] == [False, True]
    assert scene.history(conversation)[-1] == told[-1]


def hint_at_a_deletion(scene: Scene, item: int) -> None:
    """Log a deletion that a constraint kept from happening; nobody looks yet."""
    scene.mail.later(seconds=1)
    with scene.mail.client._on(ALICE).change() as change:
        fields = {"hasConstraint": True, "constraint": "j"}
        log_items(change, "DeleteItem", [item], MESSAGE, **fields)


@pytest.mark.parametrize("second", ["+replied", "-deleted"])
def test_a_mark_of_imap_set_while_an_item_was_ahead_is_neither_lost_nor_invented(
    scene: Scene, second: str
) -> None:
    first, conversation = ahead_in_conversation(scene)
    for flag in ("+deleted", second):
        scene.act(partial(scene.mail.client.flag, ALICE, first, [flag]))
    scene.change(removal.expunge)
    scene.change(lambda change: conversations.delete_conversation(change, conversation))
    scene.end()

    assert scene.history(first)[-1] == scene.history(first, of=scene.live)[-1]


def test_a_mark_of_imap_taken_off_while_an_item_was_ahead_purges_nothing(scene: Scene) -> None:
    first = scene.deliver("Lunch")
    reply = scene.deliver("Re: Lunch", answers="Lunch")
    conversation = scene.rows(f"id = {reply}")[0]["parent_id"]
    scene.act(partial(scene.mail.client.flag, ALICE, first, ["+deleted"]))
    scene.change(lambda change: conversations.flag_conversation(change, conversation, on=True))
    scene.act(partial(scene.mail.client.flag, ALICE, first, ["-deleted"]))
    scene.change(removal.expunge)
    scene.change(lambda change: conversations.delete_conversation(change, conversation))
    scene.end()

    assert scene.history(first)[-1] == scene.history(first, of=scene.live)[-1]


def test_new_content_and_an_answer_leave_a_mark_of_imap_set_while_items_were_ahead(
    scene: Scene,
) -> None:
    client, look = scene.mail.client, arrivals.Look(flags="d")
    deliver = partial(arrivals.deliver, raw=message("Draft"), folder=6, date=0, look=look)
    letter, draft = scene.deliver("Lunch"), scene.change(deliver)
    for item in (letter, draft):
        scene.act(partial(client.tag, ALICE, item, "Old"))
    scene.change(lambda change: tags.rename_tag(change, change.tag_id("Old"), "New"))
    for item in (letter, draft):
        scene.act(partial(client.flag, ALICE, item, ["+deleted"]))
    scene.deliver("Re: Lunch", answers="Lunch")
    scene.change(partial(edits.save_draft, item=draft, raw=message("Draft again")))
    scene.change(removal.expunge)
    scene.end()

    assert scene.doubts(scene.late) == {}
    for item in (letter, draft):
        assert scene.history(item)[-1] == scene.history(item, of=scene.live)[-1]
        assert scene.history(item)[-1][2]


def ahead_in_conversation(scene: Scene) -> tuple[ItemId, int]:
    """Put a message ahead by a flag on its conversation; return both ids."""
    first = scene.deliver("Lunch")
    reply = scene.deliver("Re: Lunch", answers="Lunch")
    conversation = scene.rows(f"id = {reply}")[0]["parent_id"]
    scene.change(lambda change: conversations.flag_conversation(change, conversation, on=True))
    return ItemId(first), conversation
