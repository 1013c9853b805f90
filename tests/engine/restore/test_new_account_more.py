"""Restore on New Account: what comes along, from where, and how one that was cut off goes on."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

import pytest

from backupng.engine.errors import BackupError, MailServerUnreachable
from backupng.engine.model import DirectoryEntry, EntryKind
from backupng.engine.operations.base import Report
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import LAST, AccountName, AccountNameOrId
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.commandline import comparable
from tests.engine.restore.injecting import Hostile, Killed, mortal
from tests.engine.restore.migrating import SIGNATURE, add_child
from tests.engine.restore.restoring import COPY, assert_balanced, at, subjects


class Elsewhere(Office):
    """The office with another destination."""

    server: Any

    @property
    def destination(self) -> Any:
        return self.server


def restore(mail: Office, source: str = ALICE, to: str = COPY, **words: Any) -> Report:
    words = {"date": LAST, **words}
    return mail.run(
        RestoreOnNewAccount(
            source_account=AccountNameOrId(source), destination_account=AccountName(to), **words
        )
    )


def at_server(mail: Office, server: Any) -> Elsewhere:
    """Return the office as it restores to a server that misbehaves."""
    other = Elsewhere(mail.folder, mail.sandbox, now=mail.now, opened=mail.opened)
    other.server = server
    return other


def data_source(folder: int) -> DirectoryEntry:
    attributes = {
        "zimbraDataSourceId": "11111111-2222-3333-4444-555555555555",
        "zimbraDataSourceName": "old provider",
        "zimbraDataSourceFolderId": str(folder),
        "zimbraDataSourceHost": "pop.example.org",
        "zimbraDataSourcePassword": "secret",
    }
    return DirectoryEntry(
        kind=EntryKind.DATA_SOURCE,
        entry_id=attributes["zimbraDataSourceId"],
        name="old provider",
        dn="",
        attributes={name: (value.encode(),) for name, value in attributes.items()},
    )


def carried(mail: Office, address: str) -> list[DirectoryEntry]:
    children = mail.sandbox.account(address).children
    return [child for child in children if child.kind is EntryKind.DATA_SOURCE]


def test_data_sources_come_along_led_to_their_folders(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Before"), folder="/Inbox")
    folder = mail.client.create_folder(ALICE, "/Fetched")
    mail.destination.put_child(mail.sandbox.account(ALICE), data_source(folder))
    mail.scan()

    report = restore(mail)
    restore(mail, to="without@example.com", restore_datasource=False)

    (child,) = carried(mail, COPY)
    new = next(i["id"] for i in mail.client.list(COPY)["items"] if i["name"] == "Fetched")
    assert child.first("zimbraDataSourceFolderId") == str(new) != str(folder)
    assert child.entry_id != data_source(folder).entry_id
    assert "zimbraDataSourcePassword" not in child.attributes
    assert any("password" in note for note in report.notes)
    assert report.counters["data_sources"] == 1
    assert not carried(mail, "without@example.com")


def test_a_data_source_of_a_deleted_account_keeps_its_password_and_gets_a_folder(
    mail: Office,
) -> None:
    mail.destination.put_child(mail.sandbox.account(BOB), data_source(9999))
    mail.scan()
    mail.client.delete_account(BOB)
    mail.scan()

    restore(mail, BOB, BOB)

    (child,) = carried(mail, BOB)
    assert child.attributes == data_source(2).attributes


def test_settings_that_name_folders_name_the_new_ones(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Before"), folder="/Inbox")
    folder = mail.client.create_folder(ALICE, "/Team")
    name = "zimbraPrefMailFoldersCheckedForNewMsgIndicator"
    mail.destination.modify(mail.sandbox.account(ALICE), {name: (f"2,19,{folder},9999".encode(),)})
    mail.client.create_folder(ALICE, "/Other")
    mail.scan()
    mail.client.delete(ALICE, 256)
    mail.scan()

    restore(mail)

    new = next(i["id"] for i in mail.client.list(COPY)["items"] if i["name"] == "Team")
    assert mail.sandbox.account(COPY).first(name) == f"2,19,{new}"


def test_deleted_items_come_along_into_a_folder_of_their_own(mail: Office) -> None:
    early = mail.client.deliver(ALICE, message("Early"), folder="/Inbox")
    late = mail.client.deliver(ALICE, message("Late"), folder="/Inbox")
    mail.client.deliver(ALICE, message("There"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, early)
    mail.scan()
    mail.later(hours=1)
    start = at(mail.now)
    mail.client.delete(ALICE, late)
    mail.scan()

    report = restore(mail, undelete=True, undelete_start_date=start)

    found = {subject: item["folder"] for subject, item in subjects(mail, COPY).items()}
    assert found == {"There": "/Inbox", "Late": "/undelete_02_03_26/Inbox"}
    assert report.counters["restored"] == 2
    assert_balanced(report)


@pytest.mark.parametrize(
    ("words", "code"),
    [({}, "bad_value"), ({"undelete": True}, "date_in_future")],
)
def test_a_start_of_the_deletions_that_would_mean_nothing_is_refused(
    mail: Office, words: Any, code: str
) -> None:
    mail.scan()
    start = at(mail.now - timedelta(hours=1) if not words else mail.now + timedelta(days=9))

    with pytest.raises(BackupError) as refused:
        restore(mail, undelete_start_date=start, **words)

    assert refused.value.code == code


def test_another_backup_path_can_be_restored_from(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    mail.scan()
    copy = mail.folder / "copy"
    mail.backup_path.rename(copy)
    mail.backup_path.mkdir()
    mail.scan()

    restore(mail, backup_path=copy)

    assert set(subjects(mail, COPY)) == {"Kept"}


def test_damage_is_suspected_of_the_own_backup_path_and_told_of_another(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    mail.scan()
    digest = mail.history(ALICE, item)[-1].digest
    (mail.backup_path / "items" / digest[:2] / digest).unlink()
    copy = mail.folder / "a copy"
    shutil.copytree(mail.backup_path, copy)

    own = restore(mail, dryrun=True)
    other = restore(mail, backup_path=copy, dryrun=True)

    assert (own.suspected, own.warnings, other.suspected) == ({ALICE: [item]}, [], {})
    (said,) = other.warnings
    assert said.endswith(f": backupng backup doCoherencyCheck '{copy}'")


def test_a_dry_run_makes_no_account(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Mail"), folder="/Inbox")
    mail.scan()

    report = restore(mail, dryrun=True)

    assert mail.destination.entry(EntryKind.ACCOUNT, COPY) is None
    assert report.counters["planned"] == report.counters["items"] == 1
    assert "/Inbox: 1 item, " in " ".join(report.notes)


def test_one_that_was_killed_goes_on_and_one_that_is_whole_does_not(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Work")
    for subject in ("One", "Two", "Two"):
        mail.client.deliver(ALICE, message(subject), folder="/Work")
    add_child(mail, EntryKind.SIGNATURE, "short", SIGNATURE)
    mail.scan()
    with pytest.raises(Killed):
        restore(at_server(mail, mortal(mail, 20)))

    with pytest.raises(BackupError, match="unfinished") as other:
        restore(mail, BOB)
    report = restore(mail)
    with pytest.raises(BackupError) as refused:
        restore(mail)

    assert comparable(mail.client.list(COPY)) == comparable(mail.client.list(ALICE))
    made = mail.sandbox.account(COPY)
    assert "zimbraNotes" not in made.attributes
    assert [child.name for child in made.children if child.kind is EntryKind.SIGNATURE] == ["short"]
    assert not any("was not carried" in note for note in report.notes)
    assert (other.value.code, refused.value.code) == ("already_exists", "already_exists")
    assert_balanced(report)


def test_a_server_that_dies_fails_it_and_the_hint_says_to_run_it_again(mail: Office) -> None:
    for subject in ("One", "Two"):
        mail.client.deliver(ALICE, message(subject), folder="/Inbox")
    mail.scan()
    dying = Hostile(mail, answers={2: MailServerUnreachable("gone")})

    with pytest.raises(MailServerUnreachable) as failed:
        restore(at_server(mail, dying))
    restore(mail)

    assert "again" in failed.value.hint
    assert set(subjects(mail, COPY)) == {"One", "Two"}


def test_a_last_state_without_most_of_the_mail_is_warned_of(mail: Office) -> None:
    items = [mail.client.deliver(ALICE, message(str(n)), folder="/Inbox") for n in range(5)]
    mail.scan()
    for item in items[:4]:
        mail.client.delete(ALICE, item)
    mail.scan()

    report = restore(mail)

    assert any("more than half of the mailbox" in each for each in report.warnings)


def test_a_last_state_without_its_only_item_is_warned_of_in_the_singular(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Only"), folder="/Inbox")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    report = restore(mail)

    assert any("1 item, more than half of the mailbox, was deleted" in w for w in report.warnings)


def test_shares_that_stay_behind_are_named(mail: Office) -> None:
    mail.scan()

    report = restore(mail, DAVE)

    told = next(note for note in report.notes if "1 grant on Shared" in note)
    assert told.startswith("1 share names the old account and was not carried over: ")
