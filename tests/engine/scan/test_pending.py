"""What waits for a later record, or for the end of the log, and when it is settled."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pytest

from backupng.engine.mailserver.sandbox import arrivals, conversations, edits, removal
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.client import SandboxClient
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import ItemId, Mailbox
from tests.cast import ALICE
from tests.engine.scan.scenes import MESSAGE, TAG, Scene, log_items


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

    def hint(change: Change) -> None:
        fields = {"hasConstraint": True, "constraint": "j"}
        log_items(change, "DeleteItem", [kept], MESSAGE, **fields)

    scene.mail.later(seconds=1)
    with scene.mail.client._on(ALICE).change() as change:
        hint(change)
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
