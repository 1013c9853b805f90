"""doCheckShares and doFixShares: shares that lead nowhere are found, and mended by a map."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backupng.engine.backuppath.fsio import Tree
from backupng.engine.backuppath.mapfile import IdMap, ItemMap, Mapped
from backupng.engine.errors import BackupError
from backupng.engine.mailserver.port import Grant, Target
from backupng.engine.mailserver.zimbra.grants import Grantee, grants_of, target_of
from backupng.engine.model import AccountId, EntryKind, ItemId, ItemKind, ItemState
from backupng.engine.operations import share_maps
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
    name = f"map_{mail.source.server_id}"
    shutil.copy(to.backup_path / name, to.backup_path / "idmap_file")

    found = to.run(DoCheckShares())
    dry = to.run(DoFixShares(dryrun=True))
    mended = to.run(DoFixShares(import_idmap_file="idmap_file"))
    again = to.run(DoFixShares(import_idmap_file=name))

    assert found.counters["wrong_ids"] == dry.counters["would_be_repaired"] == 2
    assert all("says" in each for each in found.warnings)
    assert (mended.counters["repaired"], mended.counters["not_repairable"]) == (2, 0)
    assert (again.counters["repaired"], again.losses) == (0, False)
    assert to.run(DoCheckShares()).notes == ["All grants and mountpoints lead to what is there."]
    assert found.notes == [f"doFixShares mends by a map: {name}."]
    shared = folders(to, DAVE)
    target = Target(to.account_id(DAVE), shared["Shared"].item_id)
    assert target_of(folders(to, ALICE)["Theirs"]) == target
    assert [grant.grantee for grant in grants_of(shared["One"])] == [to.account_id(ALICE)]


def test_what_is_gone_when_its_turn_comes_is_not_counted_as_mended(
    offices: tuple[Office, Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    mail, to = offices
    break_shares(mail, to)
    gone = folders(to, ALICE)["Theirs"].item_id

    def tick(done: int, _total: int, *, phase: str) -> None:
        if (done, phase) == (0, "mending shares"):
            to.client.delete(ALICE, gone)

    monkeypatch.setattr(to, "tick", tick)

    mended = to.run(DoFixShares())

    assert (mended.counters["repaired"], mended.counters["not_repairable"]) == (1, 1)
    assert mended.unreadable == {ALICE: [(gone, "wrong id after import")]}


def test_what_no_map_knows_is_told_by_its_kind(
    offices: tuple[Office, Office], monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert (report.losses, len(report.warnings)) == (True, 4)
    monkeypatch.setattr(share_maps, "_NAMED", 3)
    fixed = to.run(DoFixShares())
    assert fixed.counters["not_repairable"] == 4
    assert fixed.warnings == [*report.warnings[:3], "And 1 more: the log has all."]


def test_an_account_on_another_server_is_no_dangling_id(offices: tuple[Office, Office]) -> None:
    _, to = offices
    shares, far = to.destination.shares(to.sandbox.account(ALICE)), STRANGER
    to.sandbox.add_account("far@example.com", far, zimbraMailHost="mail9")
    shares.put_grant(ItemId(2), Grant(grantee=far, type=Grantee.USER, rights=1))
    state = ItemState(
        item_id=ItemId(300), kind=ItemKind.MOUNTPOINT, mod=1, start=to.now, name="Far"
    )
    shares.put_mountpoint(state, ItemId(1), Target(far, ItemId(300)))

    report = to.run(DoCheckShares())

    assert not report.losses
    assert report.notes[-1].startswith("1 mountpoint leads to accounts of other servers")


def test_the_map_of_another_server_mends_what_leads_there_once(
    offices: tuple[Office, Office], tmp_path: Path
) -> None:
    _, to = offices
    to.sandbox.add_account("far@example.com", STRANGER, zimbraMailHost="mail9")
    state = ItemState(
        item_id=ItemId(300), kind=ItemKind.MOUNTPOINT, mod=1, start=to.now, name="Far"
    )
    target = Target(STRANGER, ItemId(300), "uuid of the folder there")
    to.destination.shares(to.sandbox.account(ALICE)).put_mountpoint(state, ItemId(1), target)
    (tmp_path / "theirs").mkdir()
    with closing(Tree(tmp_path / "theirs")) as tree:
        entry = Mapped(kind=EntryKind.ACCOUNT, old=STRANGER, new=STRANGER, name="f", here="f")
        IdMap(tree, "old").note(entry, to.now)
        moved = ItemMap(tree, STRANGER, server_id="old", source=STRANGER, mailbox="m")
        moved.note({ItemId(300): ItemId(301), ItemId(301): ItemId(302)}, to.now)
        tree.sync()
    mend = DoFixShares(import_idmap_file=str(tmp_path / "theirs" / "map_old"))

    mended, again = to.run(mend), to.run(mend)

    assert (mended.counters["repaired"], again.counters["repaired"]) == (1, 0)
    assert target_of(folders(to, ALICE)["Far"]) == Target(STRANGER, ItemId(301))


def test_a_damaged_map_hides_no_broken_share(offices: tuple[Office, Office]) -> None:
    mail, to = offices
    break_shares(mail, to)
    (to.backup_path / "map_other").write_bytes(b'{"n":1} #00000000\n')

    report = to.run(DoCheckShares())

    assert report.counters["wrong_ids"] == 2
    assert report.warnings[-1].startswith(f"The map {to.backup_path / 'map_other'} is damaged")


def test_which_map_is_meant_has_to_be_said_where_there_are_several(
    offices: tuple[Office, Office],
) -> None:
    _, to = offices
    (to.backup_path / "map_other").write_bytes(b"")

    with pytest.raises(BackupError, match="map_other") as refused:
        to.run(DoFixShares())

    assert refused.value.code == "usage"


def test_what_is_no_map_is_refused_with_the_maps_that_are_there(
    offices: tuple[Office, Office],
) -> None:
    _, to = offices
    (to.backup_path / "folder").mkdir()
    (to.backup_path / "binary").write_bytes(b"\xac\xed\x00\x05" * 9)
    (to.backup_path / "text").write_bytes(b'{"n":1} #00000000\n')
    (to.backup_path / "empty").touch()
    codes = {
        "idmap_file": "path_missing",
        "/nowhere/idmap_file": "path_missing",
        "folder": "path_not_readable",
        "binary": "unsupported_format",
        "format": "unsupported_format",
        "text": "path_damaged",
        "empty": "bad_value",
        "../map_x": "bad_value",
        "/etc/passwd": "unsupported_format",
    }
    for name, code in codes.items():
        with pytest.raises(BackupError) as refused:
            to.run(DoFixShares(import_idmap_file=name))

        assert refused.value.code == code, name
        assert (code != "path_missing") or "there are: map_" in refused.value.hint
