"""Injection while people work in the mailbox: only what a server does to an item is a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from backupng.engine.mailserver.sandbox import arrivals, redo
from backupng.engine.mailserver.sandbox.change import Change
from backupng.engine.mailserver.sandbox.conversations import delete_conversation
from backupng.engine.mailserver.sandbox.destination import SandboxDestination, SandboxInjection
from backupng.engine.mailserver.sandbox.edits import color
from backupng.engine.mailserver.sandbox.removal import expunge
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.mailserver.sandbox.tree import subtree
from backupng.engine.model import DirectoryEntry, ItemId, to_ms
from tests.cast import ALICE, BOB, Office, message
from tests.engine.restore.injecting import Killed, Map, inject, mortal

SIDES = [pytest.param(True, id="server"), pytest.param(False, id="user")]
DIFFERS, NOT_FOUND = "differs after writing", "not found after writing"


class Busy(SandboxDestination):
    """A sandbox on which somebody acts before every put of an item, or once all are written."""

    def __init__(
        self,
        mail: Office,
        *,
        before_put: Callable[[int], object] = lambda _: None,
        once_written: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(mail.sandbox, lambda: mail.now)
        self.before_put, self.once_written = before_put, once_written

    @contextmanager
    def open(self, account: DirectoryEntry) -> Iterator[SandboxInjection]:
        with super().open(account) as writer:
            yield _Busy(writer, self)  # type: ignore[misc]


@dataclass
class _Busy:
    writer: SandboxInjection
    server: Busy
    puts: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.writer, name)

    def put_item(self, *words: Any, **more: Any) -> ItemId:
        self.puts += 1
        self.server.before_put(self.puts)
        return self.writer.put_item(*words, **more)

    def read_back(self, items: Iterable[ItemId]) -> Any:
        asked = list(items)
        if asked and self.puts:
            self.server.once_written()
        return self.writer.read_back(asked)


def found(mail: Office, subject: str) -> int:
    """Return the id of what bob has of that subject or name."""
    listed = mail.client.list(BOB)["items"]
    (item,) = (i["id"] for i in listed if subject in (i["subject"], i["name"]))
    return int(item)


def subjects(mail: Office) -> dict[str, str]:
    """Return where what bob has lies, by subject."""
    listed = mail.client.list(BOB)["items"]
    return {i["subject"]: i["folder"] for i in listed if i["subject"]}


def deliver(mail: Office, *names: str, folder: str = "/Inbox") -> list[ItemId]:
    ids = [mail.client.deliver(ALICE, message(each), folder=folder) for each in names]
    mail.scan()
    return ids


def once(act: Callable[[], object]) -> Callable[[], object]:
    """Return what acts when it is called first."""
    left = iter((act,))
    return lambda: next(left, lambda: None)()


def test_what_users_change_before_it_is_read_back_is_restored(mail: Office) -> None:
    deliver(mail, "Read", "Moved", "Tagged", "Left")

    def work() -> None:
        mail.client.flag(BOB, found(mail, "Read"), ["-unread", "+flagged"])
        mail.client.move(BOB, found(mail, "Moved"), "/Trash")
        mail.client.tag(BOB, found(mail, "Tagged"), "Mine")

    known = Map()
    busy = inject(mail, ALICE, BOB, known, destination=Busy(mail, once_written=once(work)))
    again = inject(mail, ALICE, BOB, known)

    assert (busy.restored, busy.unrestored, busy.deleted_since) == (4, [], 0)
    assert (again.restored, again.skipped, subjects(mail)["Moved"]) == (0, 4, "/Trash")


def delete(mail: Office) -> None:
    mail.client.delete(BOB, found(mail, "Gone"))


def delete_by_imap(mail: Office) -> None:
    mail.client.flag(BOB, found(mail, "Gone"), ["+deleted"])
    with changing(mail) as change:
        expunge(change)


def delete_what_came_marked(mail: Office) -> None:
    with changing(mail) as change:
        expunge(change)


def delete_before_the_log_rolls_over(mail: Office) -> None:
    limits = {"RolloverHardMaxFileSizeKB": b"1", "DeleteOnRollover": b"FALSE"}
    values = {f"zimbraRedoLog{name}": (value,) for name, value in limits.items()}
    with mail.sandbox.locked():
        mail.sandbox.directory.modify(mail.sandbox.server(), values)
    delete(mail)
    mail.client.flag(BOB, found(mail, "Left"), ["+flagged"])


def changing(mail: Office, address: str = BOB) -> AbstractContextManager[Change]:
    """Make one change of a mailbox."""
    account = mail.sandbox.account(address)
    return MailboxSeries(mail.sandbox, account, lambda: to_ms(mail.now)).change()


@pytest.mark.parametrize(
    "act",
    [delete, delete_by_imap, delete_what_came_marked, delete_before_the_log_rolls_over],
)
def test_what_users_delete_before_it_is_read_back_stays_deleted(
    mail: Office, act: Callable[[Office], None]
) -> None:
    gone, _ = deliver(mail, "Gone", "Left")
    if act is delete_what_came_marked:
        mail.client.flag(ALICE, gone, ["+deleted"])
        mail.scan()
    work = once(lambda: act(mail))

    known = Map()
    busy = inject(mail, ALICE, BOB, known, destination=Busy(mail, once_written=work))
    again = inject(mail, ALICE, BOB, known)

    assert (busy.restored, busy.unrestored, busy.deleted_since) == (2, [], 1)
    assert len([each for each in busy.moved if each > 255]) == 1
    assert (again.restored, again.deleted_there, set(subjects(mail))) == (0, 1, {"Left"})


def test_an_item_deleted_while_it_is_being_made_is_no_loss(mail: Office) -> None:
    mail.client.add_contact(ALICE, b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann\r\nEND:VCARD")
    mail.later(days=1)
    mail.scan()
    left = [1]

    def clock() -> datetime:
        contacts = [i for i in mail.client.list(BOB)["items"] if i["type"] == "contact"]
        if contacts and left:
            left.pop()
            mail.client.delete(BOB, contacts[0]["id"])
        return mail.now

    busy = inject(mail, ALICE, BOB, Map(), destination=SandboxDestination(mail.sandbox, clock))

    assert (left, busy.unrestored, busy.deleted_since) == ([], [], 1)


def test_a_folder_that_users_delete_is_made_again_with_those_above_it(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Work/2026")
    deliver(mail, "One", "Two", "Three", folder="/Work/2026")

    def work(number: int) -> None:
        if number == 2:
            mail.client.delete(BOB, found(mail, "Work"))

    known = Map()
    busy = inject(mail, ALICE, BOB, known, destination=Busy(mail, before_put=work))
    again = inject(mail, ALICE, BOB, known)

    assert (busy.restored, busy.unrestored, busy.deleted_since) == (5, [], 1)
    assert (again.restored, again.deleted_there) == (0, 1)
    assert subjects(mail) == {"Two": "/Work/2026", "Three": "/Work/2026"}


def test_a_folder_deleted_with_what_has_just_come_is_a_users_act_too(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Work")
    deliver(mail, "One", folder="/Work")

    def work() -> None:
        # The record of what came when all else was deleted names the folder alone.
        folder = found(mail, "Work")
        with changing(mail) as change:
            change.log("DeleteItem", **redo.items([folder]))
            change.delete(subtree(change, folder))

    busy = inject(mail, ALICE, BOB, Map(), destination=Busy(mail, once_written=once(work)))

    assert (busy.restored, busy.unrestored, busy.deleted_since) == (2, [], 1)


def test_what_a_server_loses_is_found_out_whatever_users_do_beside(mail: Office) -> None:
    lost, _ = deliver(mail, "Lost", "Gone")

    def work() -> None:
        mailbox = mail.sandbox.mailbox(mail.sandbox.account(BOB))
        table = mail.sandbox.database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
        row = found(mail, "Lost")
        for mark in ("+deleted", "-deleted"):
            mail.client.flag(BOB, row, [mark])
        delete_by_imap(mail)
        with changing(mail, ALICE) as change:
            change.log("DeleteItem", **redo.items([row]))
        mail.sandbox.database.run(f"DELETE FROM {table} WHERE id = ?", row)  # noqa: S608

    known = Map()
    busy = inject(mail, ALICE, BOB, known, destination=Busy(mail, once_written=once(work)))
    again = inject(mail, ALICE, BOB, known)

    assert (busy.restored, busy.unrestored) == (1, [(lost, NOT_FOUND)])
    assert (again.restored, set(subjects(mail))) == (1, {"Lost"})


def test_what_a_server_spoils_is_found_out_although_a_user_marked_it(mail: Office) -> None:
    deliver(mail, "Good", "Bad")
    bad = next(i["id"] for i in mail.client.list(ALICE)["items"] if i["subject"] == "Bad")

    def work() -> None:
        mail.set_column(BOB, found(mail, "Bad"), blob_digest="A" * 43 + "=")
        for each in ("Good", "Bad"):
            mail.client.flag(BOB, found(mail, each), ["+flagged"])

    busy = inject(mail, ALICE, BOB, Map(), destination=Busy(mail, once_written=once(work)))

    assert (busy.restored, busy.unrestored) == (1, [(bad, DIFFERS)])


def test_what_a_server_spoils_of_what_a_kill_left_begun_is_found_out(mail: Office) -> None:
    known = Map()
    mail.scan()
    inject(mail, ALICE, BOB, known)
    contact = mail.client.add_contact(ALICE, b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann\r\nEND:VCARD")
    mail.client.flag(ALICE, contact, ["+flagged"])
    mail.later(days=1)
    mail.scan()
    with pytest.raises(Killed):
        inject(mail, ALICE, BOB, known, destination=mortal(mail, 1))

    def work() -> None:
        (begun,) = (i["id"] for i in mail.client.list(BOB)["items"] if i["type"] == "contact")
        mail.set_column(BOB, begun, flags=0)

    busy = inject(mail, ALICE, BOB, known, destination=Busy(mail, once_written=once(work)))

    assert (busy.restored, busy.unrestored) == (0, [(contact, DIFFERS)])


def _answered(mail: Office) -> ItemId:
    """Give alice a message and an answer to it; return the first."""
    first = mail.client.deliver(ALICE, message("First"), folder="/Inbox")
    name = next(
        line for line in message("First").split(b"\r\n") if line.startswith(b"Message-ID: ")
    )
    answer = b"References: " + name.partition(b" ")[2] + b"\r\n" + message("Answer")
    mail.client.deliver(ALICE, answer, folder="/Inbox")
    with changing(mail, ALICE) as change:
        color(change, first, 3)
    mail.scan()
    return first


@pytest.mark.parametrize("is_server", SIDES)
def test_what_happens_to_a_message_is_told_although_an_answer_joins_it_later(
    mail: Office, *, is_server: bool
) -> None:
    first = _answered(mail)

    def work(number: int) -> None:
        if number == 2 and is_server:
            mail.set_column(BOB, found(mail, "First"), folder_id=5)
        elif number == 2:
            mail.client.move(BOB, found(mail, "First"), "/Sent")

    busy = inject(mail, ALICE, BOB, Map(), destination=Busy(mail, before_put=work))

    assert busy.unrestored == ([(first, DIFFERS)] if is_server else [])
    assert subjects(mail) == {"First": "/Sent", "Answer": "/Inbox"}


def test_a_document_that_its_owner_goes_on_writing_is_restored(mail: Office) -> None:
    mail.client.save_document(ALICE, b"one", name="plan.txt")
    mail.scan()

    def work() -> None:
        mail.client.save_document(BOB, b"two", name="plan.txt")

    busy = inject(mail, ALICE, BOB, Map(), destination=Busy(mail, once_written=once(work)))

    assert (busy.restored, busy.unrestored) == (1, [])


def test_the_comments_on_a_document_that_users_delete_are_gone_with_it(mail: Office) -> None:
    document = mail.client.save_document(ALICE, b"x", name="plan.txt")
    account = mail.sandbox.account(ALICE)
    with MailboxSeries(mail.sandbox, account, lambda: to_ms(mail.now)).change() as change:
        arrivals.add_comment(change, "Fine", document=document, creator_id=account.entry_id)
    mail.scan()
    work = once(lambda: mail.client.delete(BOB, found(mail, "plan.txt")))

    known = Map()
    busy = inject(mail, ALICE, BOB, known, destination=Busy(mail, once_written=work))
    again = inject(mail, ALICE, BOB, known)

    assert (busy.unrestored, busy.deleted_since, busy.deleted_there) == ([], 1, 1)
    assert (again.unrestored, again.restored, again.deleted_there) == ([], 0, 2)


def test_a_conversation_that_users_delete_takes_its_messages_with_it(mail: Office) -> None:
    _answered(mail)

    def work() -> None:
        with changing(mail) as change:
            (conversation,) = change.rows("type = 4")
            delete_conversation(change, conversation["id"])

    busy = inject(mail, ALICE, BOB, Map(), destination=Busy(mail, once_written=once(work)))

    assert (busy.restored, busy.unrestored, busy.deleted_since) == (2, [], 2)
