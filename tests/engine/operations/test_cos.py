"""The switch of a class of service: its marker, and nothing else of its Notes."""

from __future__ import annotations

import pytest

from backupng.engine.errors import BadRequest, MailServerRefused
from backupng.engine.model import BACKUP_DISABLED, EntryKind
from backupng.engine.operations import cos
from tests.cast import CAROL, Office


def notes(mail: Office, name: str) -> str:
    entry = mail.sandbox.directory.find(EntryKind.COS, name)
    assert entry is not None
    return entry.first("zimbraNotes")


@pytest.mark.parametrize("text", ["", "our staff", "two\nlines\n", " spaces ", "Größe 🎉 <b>"])
def test_on_after_off_leaves_the_notes_as_they_were(text: str) -> None:
    off = cos.marked(text, disabled=True)

    assert BACKUP_DISABLED in off
    assert cos.marked(off, disabled=False) == text


def test_a_marker_anywhere_in_the_notes_is_taken_out_and_never_doubled() -> None:
    text = f"before {BACKUP_DISABLED} after"

    assert cos.marked(text, disabled=True) == text
    assert cos.marked(text, disabled=False) == "before  after"


def test_classes_are_listed_with_their_accounts_and_their_switch(mail: Office) -> None:
    found = {each.name: (each.disabled, each.accounts) for each in cos.list_classes(mail)}

    assert found == {"default": (False, 3), "staff": (True, 1)}


def test_a_switched_off_class_is_left_out_by_the_next_scan(mail: Office) -> None:
    mail.client.set_cos_notes("staff", "our staff")

    switched = cos.switch(mail, "staff", disabled=True)
    mail.scan()

    assert switched.changed
    assert notes(mail, "staff") == f"our staff\n{BACKUP_DISABLED}"
    assert mail.path.mailbox_history(mail.account_id(CAROL)) == ()


def test_a_switched_on_class_is_saved_by_the_next_scan(mail: Office) -> None:
    switched = cos.switch(mail, "staff", disabled=False)
    mail.scan()

    assert switched.changed
    assert notes(mail, "staff") == f"no backup {BACKUP_DISABLED}".replace(BACKUP_DISABLED, "")
    assert len(mail.path.mailbox_history(mail.account_id(CAROL))) == 1


def test_a_switch_to_what_is_so_already_changes_nothing(mail: Office) -> None:
    before = notes(mail, "staff")

    switched = cos.switch(mail, "staff", disabled=True)

    assert not switched.changed
    assert notes(mail, "staff") == before


def test_an_unknown_class_is_refused_and_the_known_ones_named(mail: Office) -> None:
    with pytest.raises(BadRequest) as refusal:
        cos.switch(mail, "nobody", disabled=True)

    assert refusal.value.code == "no_such_cos"
    assert refusal.value.hint == "There are: default, staff."


def test_notes_without_room_for_the_marker_are_refused_and_stay(mail: Office) -> None:
    full = "x" * 1020
    mail.client.set_cos_notes("staff", full)

    with pytest.raises(MailServerRefused):
        cos.switch(mail, "staff", disabled=True)

    assert notes(mail, "staff") == full


def test_writing_notes_keeps_what_else_changed_meanwhile(mail: Office) -> None:
    read = mail.destination.entry(EntryKind.COS, "staff")
    assert read is not None
    with mail.sandbox.locked():
        mail.sandbox.directory.modify(read, {"zimbraMailQuota": (b"5",)})

    mail.destination.set_notes(read, "new")

    entry = mail.destination.entry(EntryKind.COS, "staff")
    assert entry is not None
    assert (entry.first("zimbraMailQuota"), entry.first("zimbraNotes")) == ("5", "new")


def test_notes_of_a_class_that_is_gone_are_refused(mail: Office) -> None:
    read = mail.destination.entry(EntryKind.COS, "staff")
    assert read is not None
    with mail.sandbox.locked():
        mail.sandbox.directory.remove(read)

    with pytest.raises(MailServerRefused):
        mail.destination.set_notes(read, "new")
