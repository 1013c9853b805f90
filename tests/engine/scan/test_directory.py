"""The directory's way into the Backup Path: what is new, changed, gone, left out, back again."""

from __future__ import annotations

from backupng.engine.backuppath import layout
from backupng.engine.model import BACKUP_DISABLED, EntryKind
from backupng.engine.scan.directory import (
    DirectoryReading,
    DirectoryResult,
    DirectoryScan,
    is_left_out,
    read_directory,
)
from tests.cast import ALICE, BOB, CAROL, Office


def save(mail: Office, since: DirectoryReading | None = None) -> DirectoryResult:
    """Read the directory a second later and save it."""
    mail.later(seconds=1)
    with mail.path as path, path.writer("scan") as writer:
        scan = DirectoryScan(mail.source, path, writer, started=mail.now)
        result = scan.save(scan.read(), since=since)
        writer.commit()
    return result


def states(mail: Office, address: str) -> list[bool]:
    """Return for each state of an account's entry whether it is a deletion."""
    history = mail.path.entry_history(EntryKind.ACCOUNT, mail.account_id(address))
    return [state.deleted for state in history]


def test_reading_changes_nothing(mail: Office) -> None:
    mail.scan()
    before = {file: file.read_bytes() for file in mail.backup_path.rglob("*") if file.is_file()}

    reading = read_directory(mail.source)

    assert {file: file.read_bytes() for file in before} == before
    assert [entry.name for entry in reading.accounts if entry.name == CAROL] == []
    assert reading.left_out == {mail.account_id(CAROL)}


def test_a_class_switched_off_drops_its_accounts_and_switched_on_brings_them_back(
    mail: Office,
) -> None:
    mail.scan()
    mail.client.set_cos_notes("default", BACKUP_DISABLED)
    off = save(mail)
    history = mail.path.entry_history(EntryKind.ACCOUNT, mail.account_id(ALICE))
    mail.client.set_cos_notes("default", "")

    on = save(mail)

    assert (off.switched_off, off.switched_on) == (["default"], [])
    assert ALICE in off.accounts_dropped
    assert is_left_out(history[-1])
    assert (on.switched_off, on.switched_on) == ([], ["default"])
    assert ALICE in on.accounts_returned
    assert states(mail, ALICE) == [False, True, False]


def test_what_is_equal_to_an_earlier_reading_is_not_looked_up(mail: Office) -> None:
    mail.scan()
    reading = read_directory(mail.source)
    alice = layout.entry_file(EntryKind.ACCOUNT, mail.account_id(ALICE))
    (mail.backup_path / alice).unlink()

    equal = save(mail, since=reading)
    whole = save(mail)

    assert equal.changed == 0
    assert whole.changed == 1


def test_a_change_and_a_deletion_since_an_earlier_reading_are_saved(mail: Office) -> None:
    mail.scan()
    reading = read_directory(mail.source)
    bob = mail.account_id(BOB)
    mail.client.delete_account(BOB)
    mail.client.create_account("erin@example.com")

    result = save(mail, since=reading)

    assert (result.changed, result.accounts_deleted) == (2, 1)
    assert mail.path.entry_history(EntryKind.ACCOUNT, bob)[-1].deleted
    assert states(mail, "erin@example.com") == [False]
