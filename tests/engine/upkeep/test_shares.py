"""doCheckShares and doFixShares: shares that lead nowhere are found, and mended by a map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.errors import BackupError
from backupng.engine.mailserver.port import Grant, Target
from backupng.engine.mailserver.zimbra.grants import Grantee, grants_of, target_of
from backupng.engine.model import AccountId, ItemId, ItemKind, ItemState
from backupng.engine.operations.do_check_shares import DoCheckShares
from backupng.engine.operations.do_fix_shares import DoFixShares
from backupng.engine.operations.words import AccountNames
from backupng.engine.restore.importing.shares import folders_there
from tests.cast import ALICE, BOB, DAVE, Office, office
from tests.engine.restore.migrating import bring, empty_office

STRANGER = AccountId("99999999-9999-4999-8999-999999999999")


@pytest.fixture
def offices(tmp_path: Path) -> Iterator[tuple[Office, Office]]:
    """Return a source and a server with its accounts, of which dave and alice have other ids."""
    (tmp_path / "a").mkdir()
    with office(tmp_path / "a") as mail, empty_office(tmp_path) as to:
        mail.scan()
        bring(mail, to, provisioning_only=True, accounts=AccountNames((BOB,)))
        for address in (ALICE, DAVE):
            to.client.create_account(address)
        to.client.create_folder(DAVE, "/One/Two")
        bring(mail, to)
        yield mail, to


def folders(mail: Office, address: str) -> dict[str | None, ItemState]:
    found = folders_there(mail.source, mail.source.mailbox(mail.account_id(address)))
    return {state.name: state for state in found.values()}


def break_shares(mail: Office, to: Office) -> None:
    """Let a mountpoint and a grant name the ids that the other server had."""
    old = folders(mail, DAVE)["Shared"].item_id
    state = ItemState(
        item_id=ItemId(300), kind=ItemKind.MOUNTPOINT, mod=1, start=to.now, name="Theirs"
    )
    to.destination.shares(to.sandbox.account(ALICE)).put_mountpoint(
        state, ItemId(1), Target(mail.account_id(DAVE), old)
    )
    grant = Grant(grantee=mail.account_id(ALICE), type=Grantee.USER, rights=1)
    shares = to.destination.shares(to.sandbox.account(DAVE))
    shares.put_grant(folders(to, DAVE)["One"].item_id, grant)


def test_shares_with_ids_of_the_old_server_are_found_and_mended_once(
    offices: tuple[Office, Office],
) -> None:
    mail, to = offices
    break_shares(mail, to)

    found = to.run(DoCheckShares())
    dry = to.run(DoFixShares(dryrun=True))
    mended = to.run(DoFixShares())
    again = to.run(DoFixShares(import_idmap_file=f"map_{mail.source.server_id}"))

    assert found.counters["wrong_ids"] == dry.counters["would_be_repaired"] == 2
    assert all("says" in each for each in found.warnings)
    assert (mended.counters["repaired"], mended.counters["not_repairable"]) == (2, 0)
    assert (again.counters["repaired"], again.losses) == (0, False)
    shared = folders(to, DAVE)
    target = Target(to.account_id(DAVE), shared["Shared"].item_id)
    assert target_of(folders(to, ALICE)["Theirs"]) == target
    assert [grant.grantee for grant in grants_of(shared["One"])] == [to.account_id(ALICE)]


def test_what_no_map_knows_is_told_by_its_kind(offices: tuple[Office, Office]) -> None:
    _, to = offices
    shares, dave = to.destination.shares(to.sandbox.account(ALICE)), to.account_id(DAVE)
    shares.put_grant(ItemId(2), Grant(grantee=STRANGER, type=Grantee.USER, rights=1))
    targets = {
        "a": Target(STRANGER, ItemId(2)),
        "b": Target(dave, ItemId(999)),
        "c": Target(dave, folders(to, DAVE)["One"].item_id),
    }
    for name, target in targets.items():
        state = ItemState(
            item_id=ItemId(300), kind=ItemKind.MOUNTPOINT, mod=1, start=to.now, name=name
        )
        shares.put_mountpoint(state, ItemId(1), target)

    report = to.run(DoCheckShares())

    named = {name: report.counters[name] for name in report.counters if report.counters[name]}
    assert (named["dangling_ids"], named["missing_targets"], named["missing_grants"]) == (2, 1, 1)
    assert report.losses
    assert to.run(DoFixShares()).counters["not_repairable"] == 4


def test_which_map_is_meant_has_to_be_said_where_there_are_several(
    offices: tuple[Office, Office],
) -> None:
    _, to = offices
    (to.backup_path / "map_other").write_bytes(b"")

    with pytest.raises(BackupError, match="map_other") as refused:
        to.run(DoFixShares())

    assert refused.value.code == "usage"


@pytest.mark.parametrize("name", ["map_nowhere", "../map_x", "format", "/etc/passwd"])
def test_what_is_no_map_is_refused(offices: tuple[Office, Office], name: str) -> None:
    with pytest.raises(BackupError, match=r"map|no file"):
        offices[1].run(DoFixShares(import_idmap_file=name))
