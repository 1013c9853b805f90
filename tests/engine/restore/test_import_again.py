"""Imports that are repeated: what owners did meanwhile stays, and what moved is not doubled."""

from __future__ import annotations

import shutil

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.mailserver.sandbox import edits
from backupng.engine.mailserver.sandbox.series import MailboxSeries
from backupng.engine.model import AccountId, ItemId, to_ms
from backupng.engine.operations.do_external_restore import ExternalRestore
from tests.cast import ALICE, Office, message
from tests.engine.restore.migrating import (
    account,
    bring,
    fill,
    is_killed,
    modify,
    seen,
)
from tests.engine.restore.test_rolled_back import roll_back

CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nEMAIL:%s\r\nEND:VCARD"
SET_BACK = "The mail server seems to have been set back"


@pytest.fixture
def mail(mail: Office) -> Office:
    fill(mail)
    mail.scan()
    return mail


def ids(mail: Office) -> dict[str, ItemId]:
    """Return the ids of alice's items by subject, the last contact's by its kind."""
    listed = sorted(mail.client.list(ALICE)["items"], key=lambda each: int(each["id"]))
    return {each["subject"] or each["type"]: ItemId(each["id"]) for each in listed}


def test_a_contact_that_its_owner_has_changed_is_no_sign_of_a_rollback(
    mail: Office, to: Office
) -> None:
    mail.client.deliver(ALICE, message("unwanted"), folder="/Inbox")
    for address in (b"zed@example.org", b"ann@example.org"):
        mail.client.add_contact(ALICE, CARD % address)
    mail.scan()
    bring(mail, to)
    to.client.delete(ALICE, ids(to)["unwanted"])
    card = ids(to)["contact"]
    series = MailboxSeries(to.sandbox, to.sandbox.account(ALICE), lambda: to_ms(to.now))
    with series.change() as change:
        edits.modify_contact(change, card, CARD % b"new@example.org")
    before = seen(to, ALICE)

    report = bring(mail, to)

    assert seen(to, ALICE) == before
    assert (report.counters["deleted_there"], report.warnings) == (1, [])


def test_a_deleted_item_whose_id_may_not_have_been_saved_is_no_sign_of_a_rollback(
    mail: Office, to: Office
) -> None:
    bring(mail, to)
    for number in range(20):
        mail.client.create_folder(ALICE, f"/{number}")
    mail.scan()
    bring(mail, to)
    last = max(map(int, ids(to).values()))
    to.client.delete(ALICE, last)
    found = []

    for saved in (last - 19, last - 20, last - 21):
        where = to.sandbox.database.table("zimbra", "mailbox")
        box = to.sandbox.mailbox(to.sandbox.account(ALICE)).mailbox_id
        to.sandbox.database.update(where, {"item_id_checkpoint": saved}, id=box)
        report = bring(mail, to, dryrun=True)
        found.append([each[: len(SET_BACK)] for each in report.warnings])

    assert found == [[], [SET_BACK], [SET_BACK]]


def test_mail_above_the_saved_id_is_a_sign_of_a_rollback_at_once(mail: Office, to: Office) -> None:
    bring(mail, to)
    mail.client.deliver(ALICE, message("last"), folder="/Inbox")
    mail.scan()
    snapshot = to.folder / "snapshot"
    shutil.copytree(to.sandbox.folder, snapshot)
    bring(mail, to)
    roll_back(to, snapshot)

    report = bring(mail, to)

    assert "last" in ids(to)
    assert [each[: len(SET_BACK)] for each in report.warnings] == [SET_BACK]


def test_what_its_owner_has_set_is_not_cleared_because_the_source_never_had_it(
    mail: Office, to: Office
) -> None:
    bring(mail, to)
    own = {"zimbraMailSieveScript": b"mine", "zimbraPrefOutOfOfficeReply": b"away"}
    modify(to, ALICE, **own, zimbraPrefDefaultSignatureId=b"his")

    report = bring(mail, to)

    said = account(to, ALICE)
    assert [said.values(name) for name in own] == [("mine",), ("away",)]
    assert said.first("zimbraPrefDefaultSignatureId") == "his"
    assert not [note for note in report.notes if "Cleared" in note]


def test_what_was_imported_is_cleared_once_it_has_gone_at_the_source_and_told(
    mail: Office, to: Office
) -> None:
    script, forward = "zimbraMailSieveScript", "zimbraPrefMailForwardingAddress"
    reply, never = "zimbraPrefOutOfOfficeReply", "zimbraPrefMailLocalDeliveryDisabled"
    modify(mail, ALICE, **{never: b"TRUE"})
    mail.later(hours=1)
    mail.scan()
    to.later(hours=2, minutes=30)
    values = {script: (b"keep;",), forward: (b"x@a", b"y@a"), reply: (b"away",), never: ()}
    modify(mail, ALICE, **values)
    mail.later(hours=1)
    mail.scan()
    bring(mail, to)
    modify(to, ALICE, **{script: (b"mine",), forward: (b"y@a", b"x@a"), never: (b"TRUE",)})
    modify(mail, ALICE, **dict.fromkeys((script, forward, reply), ()))
    mail.later(hours=1)
    mail.scan()

    reports = [bring(mail, to, dryrun=True), bring(mail, to), bring(mail, to)]

    said = account(to, ALICE)
    told = f"Cleared here, as at the source: {ALICE} ({forward}, {reply})."
    there = [name for name in (script, forward, reply, never) if name in said.attributes]
    assert (there, said.first(script)) == ([script, never], "mine")
    assert [told in each.notes for each in reports] == [True, True, False]


def test_after_a_rollback_and_a_kill_what_was_moved_here_is_not_doubled(
    mail: Office, to: Office
) -> None:
    bring(mail, to)
    to.client.create_folder(ALICE, "/Mine")
    to.client.move(ALICE, ids(to)["two"], "/Mine")
    shutil.copytree(to.sandbox.folder, to.folder / "snapshot")
    mail.client.deliver(ALICE, message("three"), folder="/Inbox")
    mail.scan()
    bring(mail, to)
    roll_back(to, to.folder / "snapshot")
    map_file = to.backup_path / layout.id_mapper(AccountId(account(to, ALICE).entry_id))
    operation = ExternalRestore(source_path=mail.backup_path)

    looks = 8
    while b'"anew"' not in map_file.read_bytes():
        assert is_killed(to, operation, looks=looks)
        looks += 1
    bring(mail, to)

    found = [(each["subject"], each["folder"]) for each in to.client.list(ALICE)["items"]]
    assert sorted(each for each in found if each[0])[1:] == [("three", "/Inbox"), ("two", "/Mine")]
