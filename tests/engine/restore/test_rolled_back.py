"""A server set back to a snapshot gets what it lacks from its own later Backup Path."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backupng.engine.mailserver.port import Grant
from backupng.engine.mailserver.zimbra.grants import Grantee, target_of
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.operations.do_check_shares import DoCheckShares
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.words import LAST, AccountName, Moment
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.engine.restore.migrating import (
    account,
    bring,
    fill,
    mount,
    mounted_in,
    seen,
)

SCANNED = Moment(at=datetime(2026, 3, 2, 14, 0, 5, tzinfo=UTC))
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:%s\r\nEND:VCARD"


@pytest.fixture
def mail(mail: Office) -> Office:
    fill(mail)
    mail.scan()
    return mail


def roll_back(mail: Office, snapshot: Path) -> None:
    """Set the server back; its Backup Path stays as it is."""
    mail.sandbox.close()
    shutil.rmtree(mail.sandbox.folder)
    shutil.copytree(snapshot, mail.sandbox.folder)
    mail.sandbox = type(mail.sandbox).open(mail.sandbox.folder)


def contacts(mail: Office) -> list[ItemState]:
    """Return alice's contacts."""
    mailbox = mail.source.mailbox(mail.account_id(ALICE))
    found = mail.source.states(mailbox, mail.source.heads(mailbox))
    return [state for _, state in found if state.kind is ItemKind.CONTACT]


def test_after_a_rollback_only_what_is_missing_comes_from_its_own_later_path(
    mail: Office, tmp_path: Path
) -> None:
    snapshot = tmp_path / "snapshot"
    shutil.copytree(mail.sandbox.folder, snapshot)
    mail.client.deliver(ALICE, message("later"), folder="/Inbox")
    mail.scan()
    before = seen(mail, ALICE)
    shutil.copytree(mail.backup_path, tmp_path / "untampered")
    roll_back(mail, snapshot)

    report = mail.run(
        ExternalRestore(source_path=tmp_path / "untampered", force_as_external_restore=True)
    )

    assert seen(mail, ALICE) == before
    assert (report.counters["restored"], report.counters["unrestored"]) == (1, 0)


def test_an_unchanged_server_keeps_its_shares_and_gets_back_those_made_since(
    mail: Office, tmp_path: Path
) -> None:
    mount(mail, ALICE, DAVE, "/Shared")
    snapshot = tmp_path / "snapshot"
    shutil.copytree(mail.sandbox.folder, snapshot)
    mount(mail, BOB, DAVE, "/Shared")
    grant = Grant(grantee=mail.account_id(BOB), type=Grantee.USER, rights=1)
    mail.destination.shares(account(mail, DAVE)).put_grant(_shared(mail), grant)
    mail.scan()
    shutil.copytree(mail.backup_path, tmp_path / "untampered")
    again = ExternalRestore(source_path=tmp_path / "untampered", force_as_external_restore=True)

    unchanged = mail.run(again)
    roll_back(mail, snapshot)
    dry = mail.run(replace(again, dryrun=True))
    report = mail.run(again)

    same = ("planned", "skipped", "unrestored")
    assert [dry.counters[name] for name in same] == [report.counters[name] for name in same]
    names = ("mountpoints", "mountpoints_to_nowhere", "grants", "grants_lost", "shares_to_mend")
    assert [unchanged.counters.get(name, 0) for name in names] == [0, 0, 0, 0, 0]
    assert [report.counters.get(name, 0) for name in names] == [1, 0, 1, 0, 0]
    assert [target_of(each).folder for each in mounted_in(mail, BOB)] == [_shared(mail)]
    assert not mail.run(DoCheckShares()).losses


def _shared(mail: Office) -> ItemId:
    listed = mail.client.list(DAVE)["items"]
    return ItemId(next(each["id"] for each in listed if each["name"] == "Shared"))


def test_after_a_smartscan_the_restore_brings_nothing_and_undelete_does(
    mail: Office, tmp_path: Path
) -> None:
    shutil.copytree(mail.sandbox.folder, tmp_path / "snapshot")
    mail.later(hours=1)
    mail.client.deliver(ALICE, message("later"), folder="/Inbox")
    mail.scan()
    before = seen(mail, ALICE)
    roll_back(mail, tmp_path / "snapshot")
    mail.later(hours=1)
    mail.scan()
    undelete = DoUndelete(
        account=AccountName(ALICE), start_date=SCANNED, end_date=LAST, target_original_folder=True
    )

    report = mail.run(ExternalRestore(source_path=mail.backup_path, force_as_external_restore=True))
    undeleted = mail.run(undelete)

    assert (report.counters["restored"], undeleted.counters["restored"]) == (0, 1)
    assert report.warnings[0].startswith(
        "1 item is deleted in the backup since 02/03/2026 14:00:05 UTC, when a scan found"
    )
    assert 'doUndelete alice@example.com "02/03/2026 14:00:05" last' in report.warnings[0]
    assert len(seen(mail, ALICE)) == len(before)


def test_a_second_rollback_is_mended_as_the_first_one_was(mail: Office, tmp_path: Path) -> None:
    kept = mail.client.deliver(ALICE, message("kept"), folder="/Inbox")
    shutil.copytree(mail.sandbox.folder, tmp_path / "snapshot")
    for subject in ("four", "five"):
        mail.client.deliver(ALICE, message(subject), folder="/Inbox")
    mail.client.move(ALICE, kept, "/Trash")
    mail.scan()
    before = seen(mail, ALICE)
    shutil.copytree(mail.backup_path, tmp_path / "untampered")
    again = ExternalRestore(source_path=tmp_path / "untampered", force_as_external_restore=True)

    counts = []
    for _ in range(2):
        roll_back(mail, tmp_path / "snapshot")
        counts.append(mail.run(again).counters)

    assert [each["restored"] for each in counts] == [2, 2]
    assert "deleted_there" not in counts[1]
    assert len(seen(mail, ALICE)) == len(before)


def test_an_id_given_out_again_after_a_rollback_hides_nothing(mail: Office, tmp_path: Path) -> None:
    shutil.copytree(mail.sandbox.folder, tmp_path / "snapshot")
    old = [
        mail.client.create_folder(ALICE, "/ProjectX"),
        mail.client.add_contact(ALICE, CARD % b"Alice"),
    ]
    mail.client.deliver(ALICE, message("Plan"), folder="/ProjectX")
    mail.scan()
    shutil.copytree(mail.backup_path, tmp_path / "untampered")
    roll_back(mail, tmp_path / "snapshot")
    mail.later(hours=1)
    new = [
        mail.client.create_folder(ALICE, "/Welcome"),
        mail.client.add_contact(ALICE, CARD % b"Bob"),
    ]

    report = mail.run(
        ExternalRestore(source_path=tmp_path / "untampered", force_as_external_restore=True)
    )

    listed = mail.client.list(ALICE)["items"]
    assert new == old
    assert report.counters["restored"] == 3
    assert {each["name"] for each in listed} >= {"ProjectX", "Welcome"}
    assert [each["folder"] for each in listed if each["subject"] == "Plan"] == ["/ProjectX"]
    names = {state.fields["fullName"] for state in contacts(mail)}
    assert names == {"Alice", "Bob"}


def test_of_two_twins_the_one_that_is_lost_comes_back(mail: Office, tmp_path: Path) -> None:
    mail.client.deliver(ALICE, message("twin"), folder="/Inbox")
    shutil.copytree(mail.sandbox.folder, tmp_path / "snapshot")
    mail.client.deliver(ALICE, message("twin"), folder="/Inbox")
    mail.scan()
    before = seen(mail, ALICE)
    shutil.copytree(mail.backup_path, tmp_path / "untampered")
    roll_back(mail, tmp_path / "snapshot")

    mail.run(ExternalRestore(source_path=tmp_path / "untampered", force_as_external_restore=True))

    assert seen(mail, ALICE) == before


def subjects(mail: Office) -> list[str]:
    """Return the subjects of alice's mail."""
    return sorted(each["subject"] for each in mail.client.list(ALICE)["items"] if each["subject"])


def test_an_account_deleted_here_and_imported_again_is_filled_again(
    mail: Office, to: Office
) -> None:
    date = mail.now
    mail.client.deliver(ALICE, message("three"), folder="/Inbox")
    mail.scan()
    bring(mail, to)
    to.client.delete_account(ALICE)
    bring(mail, to, provisioning_only=True)
    to.now = date
    for subject in ("two", *("new here",) * 8):
        to.client.deliver(ALICE, message(subject), folder="/Inbox")

    report = bring(mail, to)
    again = bring(mail, to)

    assert subjects(to) == sorted([*["new here"] * 8, "one", "three", "two", "two"])
    assert "deleted_there" not in report.counters
    assert again.counters["restored"] == 0


@pytest.mark.parametrize("later", [2, 30])
def test_a_destination_that_was_set_back_is_filled_again(
    mail: Office, to: Office, tmp_path: Path, later: int
) -> None:
    bring(mail, to, provisioning_only=True)
    shutil.copytree(to.sandbox.folder, tmp_path / "snapshot")
    bring(mail, to)
    roll_back(to, tmp_path / "snapshot")
    to.later(hours=1)
    for _ in range(later):
        to.client.deliver(ALICE, message("new here"), folder="/Inbox")

    bring(mail, to)
    again = bring(mail, to)

    assert subjects(to) == [*["new here"] * later, "one", "two"]
    assert {each["folder"] for each in to.client.list(ALICE)["items"]} >= {"/Inbox/Invoices"}
    assert again.counters["restored"] == 0
