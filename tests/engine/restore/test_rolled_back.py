"""A server set back to a snapshot gets what it lacks from its own later Backup Path."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.mailserver.port import Grant
from backupng.engine.mailserver.zimbra.grants import Grantee, target_of
from backupng.engine.model import ItemId
from backupng.engine.operations.do_check_shares import DoCheckShares
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.words import FIRST, LAST, AccountName
from tests.cast import ALICE, BOB, DAVE, Office, message, office
from tests.engine.restore.migrating import account, fill, mount, mounted_in, seen


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[Office]:
    (tmp_path / "a").mkdir()
    with office(tmp_path / "a") as made:
        fill(made)
        made.scan()
        yield made


def roll_back(mail: Office, snapshot: Path) -> None:
    """Set the server back; its Backup Path stays as it is."""
    mail.sandbox.close()
    shutil.rmtree(mail.sandbox.folder)
    shutil.copytree(snapshot, mail.sandbox.folder)
    mail.sandbox = type(mail.sandbox).open(mail.sandbox.folder)


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
    report = mail.run(again)

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
        account=AccountName(ALICE), start_date=FIRST, end_date=LAST, target_original_folder=True
    )

    report = mail.run(ExternalRestore(source_path=mail.backup_path, force_as_external_restore=True))
    undeleted = mail.run(undelete)

    assert (report.counters["restored"], undeleted.counters["restored"]) == (0, 1)
    assert len(seen(mail, ALICE)) == len(before)
