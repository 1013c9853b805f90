"""doExternalRestore on two sandbox servers: everything comes, once, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from backupng.engine.errors import BackupError, BadRequest
from backupng.engine.mailserver.port import Target
from backupng.engine.mailserver.zimbra.grants import target_of
from backupng.engine.model import (
    EntryKind,
    ItemId,
)
from backupng.engine.operations.base import Report
from backupng.engine.operations.do_check_shares import DoCheckShares
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.get_map import GetMap
from backupng.engine.operations.words import AccountNames, Domains
from tests.cast import ALICE, BOB, DAVE, Office, message, office
from tests.engine.restore.migrating import (
    HASH,
    SIGNATURE,
    TEAM,
    account,
    bring,
    empty_office,
    entry,
    fill,
    furnish,
    is_killed,
    modify,
    mounted_in,
    seen,
)


@dataclass
class World:
    """A server with a bit of everything, imported into another one, changed there, and again."""

    mail: Office
    to: Office
    first: Report
    again: Report
    rights_before: Mapping[str, tuple[bytes, ...]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    (folder / "a").mkdir()
    with office(folder / "a") as mail, empty_office(folder) as to:
        furnish(mail)
        to.client.set_cos_notes("press", "theirs")
        to.client.create_account("first@example.net")
        bring(mail, to, provisioning_only=True, accounts=AccountNames((BOB,)))
        to.client.create_account(DAVE)
        to.client.create_folder(DAVE, "/One/Two")
        to.announced.clear()
        first = bring(mail, to)
        before = account(to, ALICE).attributes
        modify(to, ALICE, userPassword=b"{SSHA}other", zimbraPrefLocale=b"de")
        again = bring(mail, to, restore_admin_rights=True)
        yield World(mail, to, first, again, before)


@pytest.fixture
def mail(mail: Office) -> Office:
    fill(mail)
    mail.scan()
    return mail


def test_everything_a_user_can_see_comes_and_only_once(world: World) -> None:
    assert seen(world.to, ALICE) == seen(world.mail, ALICE)
    assert seen(world.to, BOB) == seen(world.mail, BOB)
    assert not world.first.losses
    counters = world.again.counters
    assert (counters["restored"], counters["skipped"]) == (0, world.first.counters["planned"])


def test_accounts_keep_their_ids_passwords_and_settings_and_each_import_resets_them(
    world: World,
) -> None:
    found = account(world.to, ALICE)

    assert found.entry_id == world.mail.account_id(ALICE)
    assert found.attributes["userPassword"] == (HASH,)
    assert (found.first("zimbraPrefLocale"), found.first("zimbraMailHost")) == ("it", "mail2")


def test_what_gives_rights_comes_only_when_that_is_asked_for(world: World) -> None:
    rights = {"zimbraIsAdminAccount", "zimbraACE"}

    assert not rights & world.rights_before.keys()
    assert any("zimbraACE, zimbraIsAdminAccount" in note for note in world.first.notes)
    found = account(world.to, ALICE)
    assert found.first("zimbraIsAdminAccount") == "TRUE"
    assert found.first("zimbraACE") == f"{world.to.account_id(BOB)} usr adminLoginAs"


def test_one_refused_attribute_keeps_no_other_away(world: World) -> None:
    said = [each.split(": ", 1) for each in world.first.warnings]

    assert [(who, what.split()[1]) for who, what in said] == [
        (f"account {ALICE}", "odd"),
        (f"account {DAVE}", "zimbraCOSId"),
    ]
    assert account(world.to, DAVE).first("zimbraPrefLocale") == "fr"


def test_what_names_items_comes_last_with_their_new_ids(world: World) -> None:
    found = account(world.to, ALICE)
    children = {child.kind: child for child in found.children}
    fetched = next(e["id"] for e in world.to.client.list(ALICE)["items"] if e["name"] == "Fetched")

    assert children[EntryKind.SIGNATURE].entry_id == SIGNATURE
    assert children[EntryKind.DATA_SOURCE].first("zimbraDataSourceFolderId") == f"{fetched}"
    assert found.first("zimbraPrefMailFoldersCheckedForNewMsgIndicator") == f"2,{fetched}"
    assert found.first("zimbraPrefDefaultSignatureId") == SIGNATURE
    assert found.first("zimbraMailSieveScript") == "keep;"


def test_only_classes_in_use_come_and_one_of_that_name_is_kept(world: World) -> None:
    sales, press = (entry(world.to, EntryKind.COS, name) for name in ("sales", "press"))

    assert (sales.first("zimbraNotes"), press.first("zimbraNotes")) == ("ours", "theirs")
    assert world.to.destination.entry(EntryKind.COS, "unused") is None
    assert account(world.to, ALICE).first("zimbraCOSId") == sales.entry_id
    assert account(world.to, BOB).first("zimbraCOSId") == press.entry_id


def test_an_alias_domain_stands_for_the_domain_here(world: World) -> None:
    alias, domain = (
        entry(world.to, EntryKind.DOMAIN, name) for name in ("alias.example", "example.com")
    )

    assert alias.first("zimbraDomainType") == "alias"
    assert alias.first("zimbraDomainAliasTargetId") == domain.entry_id
    assert alias.first("zimbraMailCatchAllAddress") == "@alias.example"
    assert alias.first("zimbraMailCatchAllForwardingAddress") == "@example.com"
    assert domain.entry_id != entry(world.mail, EntryKind.DOMAIN, "example.com").entry_id


def test_lists_aliases_and_members_come(world: World) -> None:
    members = entry(world.to, EntryKind.LIST, TEAM).values("zimbraMailForwardingAddress")

    assert set(members) == {ALICE, "x@example.org"}
    assert account(world.to, "al@example.com").name == ALICE


def test_an_account_of_the_same_name_is_filled_and_shares_lead_to_its_new_folders(
    world: World,
) -> None:
    (mounted,) = mounted_in(world.to, ALICE)
    shared = next(e["id"] for e in world.to.client.list(DAVE)["items"] if e["name"] == "Shared")

    assert world.to.account_id(DAVE) != world.mail.account_id(DAVE)
    assert target_of(mounted) == Target(world.to.account_id(DAVE), ItemId(shared))
    assert mounted.date == mounted_in(world.mail, ALICE)[0].date
    assert world.first.counters["mountpoints"] == world.first.counters["grants"] == 1
    assert world.again.counters["mountpoints_there"] == 1
    assert world.first.counters["mail"] > 0
    assert not {"mail", "folders", "contacts", "tags"} & world.again.counters.keys()
    assert not world.to.run(DoCheckShares()).losses


def test_phase_1_is_told_once_of_each_import_before_any_item_comes(world: World) -> None:
    said, _ = world.to.announced

    assert said["table"]["account"] == {"created": 1, "already there": 2, "failed": 0}
    assert said["items"] == world.first.counters["planned"]
    assert said["map"] == f"map_{world.mail.source.server_id}"


def test_getmap_shows_what_became_of_which_id(world: World) -> None:
    maps = world.to.backup_path
    entries = GetMap(file_path=maps / f"map_{world.mail.source.server_id}").answer(world.to)
    alice = maps / "accounts" / world.to.account_id(ALICE) / "id_mapper"
    (items,) = GetMap(file_path=alice).answer(world.to)["items"]

    found = {each["old"]: each["new"] for each in entries["entries"]}
    assert found[world.mail.account_id(DAVE)] == world.to.account_id(DAVE)
    assert items["server"] == world.mail.source.server_id
    assert {each["old"] for each in items["items"]} >= {2, 10}


def test_getmap_of_a_file_that_is_not_there_names_the_maps_that_are(world: World) -> None:
    with pytest.raises(BadRequest) as refused:
        GetMap(file_path=world.to.backup_path / "map_x").answer(world.to)

    assert f"map_{world.mail.source.server_id}" in refused.value.hint


def test_large_items_are_left_out_and_counted(world: World, to: Office) -> None:
    report = bring(world.mail, to, max_file_size=4000)

    assert report.counters["too_large"] == 1
    assert "large" not in {each["subject"] for each in to.client.list(BOB)["items"]}


def test_a_later_import_brings_what_is_new_and_repeats_no_move_and_no_deletion(
    mail: Office, to: Office
) -> None:
    kept = mail.client.deliver(ALICE, message("kept"), folder="/Inbox")
    mail.scan()
    bring(mail, to)
    here = {each["subject"]: each["id"] for each in to.client.list(ALICE)["items"]}
    to.client.delete(ALICE, here["two"])
    to.client.move(ALICE, here["one"], "/Trash")
    to.client.deliver(ALICE, message("new here"), folder="/Inbox")
    mail.client.delete(ALICE, kept)
    mail.client.deliver(ALICE, message("four"), folder="/Inbox")
    mail.scan()

    report = bring(mail, to)

    places = {each["subject"]: each["folder"] for each in to.client.list(ALICE)["items"]}
    places.pop(None)
    assert places == {
        "one": "/Trash",
        "kept": "/Inbox",
        "new here": "/Inbox",
        "four": "/Inbox",
    }
    assert (report.counters["restored"], report.counters["deleted_there"]) == (1, 1)


def test_accounts_of_a_class_without_backup_and_deleted_ones_stay_out_until_asked_for(
    mail: Office, to: Office
) -> None:
    mail.client.delete_account(DAVE)
    mail.scan()

    report = bring(mail, to)
    names = {each.name for each in to.source.entries(EntryKind.ACCOUNT)}
    bring(mail, to, filter_deleted=False)

    assert names == {ALICE, BOB}
    assert any("deleted at the source" in note for note in report.notes)
    assert {each["subject"] for each in to.client.list(DAVE)["items"]} >= {"three"}


def test_provisioning_only_makes_accounts_that_can_be_used_and_no_items(
    mail: Office, to: Office
) -> None:
    modify(mail, BOB, zimbraAccountStatus=b"locked", zimbraMailSieveScript=b"discard;")
    mail.scan()

    report = bring(mail, to, provisioning_only=True)
    to.client.deliver(ALICE, message("meanwhile"), folder="/Inbox")

    assert report.counters["planned"] == 0
    assert account(to, BOB).first("zimbraAccountStatus") == "locked"
    assert account(to, BOB).first("zimbraMailSieveScript") == "discard;"
    assert len(to.announced) == 1
    bring(mail, to)
    assert {"one", "two", "meanwhile"} <= {e["subject"] for e in to.client.list(ALICE)["items"]}


def test_the_path_of_this_very_server_is_refused_with_the_way_to_go(mail: Office) -> None:
    with pytest.raises(BadRequest) as refused:
        mail.run(ExternalRestore(source_path=mail.backup_path))

    assert refused.value.code == "path_in_use"
    assert "doRestoreOnNewAccount" in refused.value.hint


def test_an_account_whose_address_is_taken_is_named_and_its_items_are_losses(
    mail: Office, to: Office
) -> None:
    bring(mail, to, provisioning_only=True, accounts=AccountNames((BOB,)))
    to.sandbox.add_list(ALICE, "11111111-2222-4333-8444-555555555555", [])

    report = bring(mail, to)

    foretold = bring(mail, to, dryrun=True)
    assert f"account {ALICE}: its address is taken by the list {ALICE}." in report.warnings
    assert [each.counters["unrestored"] for each in (report, foretold)] == [4, 4]
    assert foretold.losses
    assert {cause for _, cause in report.unrestored[ALICE]} == {"the account does not exist here"}
    assert [seen(to, DAVE)] == [seen(mail, DAVE)]


def test_unknown_names_and_accounts_outside_the_domains_are_refused(
    mail: Office, to: Office
) -> None:
    for parameters, code in (
        ({"domains": Domains(("nowhere.org",))}, "no_such_domain"),
        ({"accounts": AccountNames(("nobody@example.com",))}, "no_such_account"),
        ({"concurrent_accounts": 0}, "bad_value"),
        ({"blobs_archive": "x"}, "bad_value"),
        ({"source_path": mail.folder}, "path_not_a_backup"),
    ):
        wanted = {"source_path": mail.backup_path} | parameters
        with pytest.raises(BackupError) as refused:
            to.run(ExternalRestore(**wanted))
        assert refused.value.code == code


def test_a_dry_run_changes_nothing(mail: Office, to: Office) -> None:

    report = bring(mail, to, dryrun=True)

    assert (report.counters["planned"], report.counters["restored"]) == (6, 0)
    assert report.counters["accounts_created"] == 3
    assert list(to.source.entries(EntryKind.ACCOUNT)) == []
    assert list(to.backup_path.iterdir()) == []


def test_a_killed_import_goes_on_where_it_was(mail: Office, to: Office) -> None:
    operation = ExternalRestore(source_path=mail.backup_path)

    killed = [is_killed(to, operation, looks=looks) for looks in (9, 30)]
    bring(mail, to)

    assert killed == [True, True]
    assert [seen(to, each) for each in (ALICE, DAVE)] == [
        seen(mail, each) for each in (ALICE, DAVE)
    ]


def test_an_administrator_here_keeps_the_password_unless_rights_are_asked_for(
    mail: Office, to: Office
) -> None:
    modify(mail, ALICE, userPassword=HASH)
    mail.scan()
    bring(mail, to, provisioning_only=True)
    modify(to, ALICE, zimbraIsAdminAccount=b"TRUE", userPassword=b"{SSHA}own")

    report = bring(mail, to)

    assert account(to, ALICE).attributes["userPassword"] == (b"{SSHA}own",)
    assert f"The administrator {ALICE} keeps the password it has here." in report.notes


def test_a_retry_brings_what_is_missing_and_leaves_phase_1_out(mail: Office, to: Office) -> None:
    blobs = (mail.backup_path / "items").rename(mail.backup_path / "away")
    lost = bring(mail, to).unrestored
    blobs.rename(mail.backup_path / "items")
    modify(to, ALICE, zimbraPrefLocale=b"de")

    report = bring(mail, to, retry=True)

    assert seen(to, ALICE) == seen(mail, ALICE)
    assert report.counters["planned"] == sum(map(len, lost.values())) > 1
    assert account(to, ALICE).first("zimbraPrefLocale") == "de"
    assert "accounts_created" not in report.counters
