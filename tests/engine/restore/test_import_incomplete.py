"""Imports of which a part is wanted, or a part can be had: what is said of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backupng.engine.backuppath.layout import blob_file
from backupng.engine.errors import BadRequest
from backupng.engine.mailserver.sandbox.directory import dn_of
from backupng.engine.model import EntryKind
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.words import AccountNames
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.engine.restore.migrating import (
    TEAM,
    account,
    bring,
    entry,
    fill,
    modify,
)
from tests.engine.restore.restoring import subjects


@pytest.fixture
def mail(mail: Office) -> Office:
    fill(mail)
    mail.scan()
    return mail


def test_an_account_that_fails_is_a_loss_even_where_no_items_are_wanted(
    mail: Office, to: Office
) -> None:
    bring(mail, to, provisioning_only=True, accounts=AccountNames((BOB,)))
    to.sandbox.add_list(ALICE, "11111111-2222-4333-8444-555555555555", [])

    report = bring(mail, to, provisioning_only=True)

    assert (report.losses, report.counters["accounts_failed"]) == (True, 1)


def test_a_dry_run_after_an_import_skips_what_that_brought(mail: Office, to: Office) -> None:
    bring(mail, to)
    mail.client.deliver(ALICE, message("four"), folder="/Inbox")
    mail.scan()

    counters = bring(mail, to, dryrun=True).counters

    assert counters["planned"] - counters["skipped"] == 1


def test_an_account_whose_map_is_damaged_is_lost_and_the_file_to_move_away_is_named(
    mail: Office, to: Office
) -> None:
    bring(mail, to)
    map_file = to.backup_path / "accounts" / to.account_id(ALICE) / "id_mapper"
    map_file.write_bytes(b"damaged\n" + map_file.read_bytes())

    dry = bring(mail, to, dryrun=True)
    wet = bring(mail, to)

    assert (dry.counters["skipped"], dry.unrestored) == (wet.counters["skipped"], wet.unrestored)
    assert {cause for _, cause in wet.unrestored[ALICE]} == {"its map is damaged"}
    for report in (dry, wet):
        (warning,) = (each for each in report.warnings if str(map_file) in each)
        assert "Move it away" in warning


def test_an_account_whose_id_is_another_ones_here_gets_one_of_its_own(
    mail: Office, to: Office
) -> None:
    theirs = mail.account_id(BOB)
    to.destination.create_account("other@example.net", {}, account_id=theirs)

    report = bring(mail, to, provisioning_only=True, accounts=AccountNames((BOB,)))

    assert not report.losses
    assert account(to, theirs).name == "other@example.net"
    assert to.account_id(BOB) not in ("", theirs)


def test_a_list_gets_only_the_members_that_are_asked_for_until_the_others_come(
    mail: Office, to: Office
) -> None:
    mail.sandbox.add_list(TEAM, "11111111-2222-4333-8444-555555555555", [ALICE, BOB])
    mail.scan()

    report = bring(mail, to, accounts=AccountNames((BOB,)))
    members = entry(to, EntryKind.LIST, TEAM).values("zimbraMailForwardingAddress")
    bring(mail, to, accounts=AccountNames((ALICE,)))

    assert members == (BOB,)
    assert any(note.startswith("1 member of a list was left out") for note in report.notes)
    assert entry(to, EntryKind.LIST, TEAM).values("zimbraMailForwardingAddress") == (BOB, ALICE)


def test_a_missing_domain_that_may_not_be_made_is_refused_before_anything_runs(
    mail: Office, to: Office
) -> None:
    with pytest.raises(BadRequest) as refused:
        ExternalRestore(source_path=mail.backup_path, skip_domain_provisioning=True).check(to)

    assert refused.value.code == "no_such_domain"


def test_what_was_here_before_the_first_import_keeps_what_it_says(mail: Office, to: Office) -> None:
    mail.sandbox.add_list(TEAM, "11111111-2222-4333-8444-555555555555", [ALICE])
    named = {EntryKind.DOMAIN: "example.com", EntryKind.LIST: TEAM}
    for kind, name in named.items():
        mail.destination.modify(entry(mail, kind, name), {"zimbraNotes": (b"theirs",)})
        to.destination.create(kind, name, {"zimbraNotes": (b"ours",)})
    mail.scan()

    bring(mail, to)
    bring(mail, to)

    assert [entry(to, *each).first("zimbraNotes") for each in named.items()] == ["ours", "ours"]


def test_what_an_import_made_is_brought_up_to_date_by_the_next_one_but_a_class(
    mail: Office, to: Office
) -> None:
    mail.client.set_cos(ALICE, "sales")
    named = {EntryKind.DOMAIN: "example.com", EntryKind.LIST: TEAM, EntryKind.COS: "sales"}
    mail.sandbox.add_list(TEAM, "11111111-2222-4333-8444-555555555555", [ALICE])
    found = []
    for said in (b"1", b"2"):
        for kind, name in named.items():
            values = {"zimbraNotes": (said,), "zimbraMailQuota": (said,)}
            mail.destination.modify(entry(mail, kind, name), values)
        mail.scan()
        bring(mail, to, provisioning_only=True)
        there = [entry(to, *each) for each in named.items()]
        found += [[each.first(name) for each in there] for name in values]

    assert found == [["1"] * 3] * 2 + [["2", "2", "1"]] * 2


def test_a_list_whose_address_is_an_account_here_is_told_and_left_out(
    mail: Office, to: Office
) -> None:
    bring(mail, to, provisioning_only=True)
    mail.sandbox.add_list(TEAM, "11111111-2222-4333-8444-555555555555", [ALICE])
    mail.scan()
    to.client.create_account(TEAM)

    report = bring(mail, to, provisioning_only=True)

    assert report.counters["lists_failed"] == 1
    assert f"list {TEAM}: its address is taken by the account {TEAM}." in report.warnings


def test_an_account_that_was_renamed_here_is_filled_and_not_made_again(
    mail: Office, to: Office
) -> None:
    bring(mail, to, provisioning_only=True)
    for server in (to, mail):
        rename(server, DAVE, "david@example.com")

    there = bring(mail, to)
    at_home = bring(mail, mail, force_as_external_restore=True)

    for server, report in ((to, there), (mail, at_home)):
        assert f"The account {DAVE} is called david@example.com here." in report.notes
        assert server.destination.entry(EntryKind.ACCOUNT, DAVE) is None
        assert "three" in subjects(server, "david@example.com")


def rename(server: Office, address: str, name: str) -> None:
    """Give an account another address, as an administrator does."""
    old, directory = account(server, address), server.sandbox.directory
    directory.remove(old)
    addresses = dict.fromkeys(("mail", "zimbraMailDeliveryAddress"), (name.encode(),))
    attributes = {**old.attributes, **addresses}
    dn = dn_of(EntryKind.ACCOUNT, name)
    directory.add(replace(old, name=name, dn=dn, attributes=attributes))


def test_accounts_keep_what_they_say_here_if_they_are_not_to_be_provisioned(
    mail: Office, to: Office
) -> None:
    modify(mail, ALICE, zimbraPrefLocale=b"it")
    mail.scan()
    bring(mail, to)
    modify(to, ALICE, zimbraPrefLocale=b"de")
    found = []
    for skip in (True, False):
        bring(mail, to, skip_account_provisioning=skip)
        found.append(account(to, ALICE).first("zimbraPrefLocale"))

    assert found == ["de", "it"]


def test_what_forwards_and_filters_goes_when_it_has_gone_at_the_source(
    mail: Office, to: Office
) -> None:
    names = ("zimbraPrefMailForwardingAddress", "zimbraMailSieveScript")
    modify(mail, ALICE, **dict.fromkeys(names, b"x"))
    mail.scan()
    bring(mail, to)
    before = [account(to, ALICE).values(name) for name in names]
    modify(mail, ALICE, **dict.fromkeys(names, ()))
    mail.scan()

    bring(mail, to)

    assert before == [("x",), ("x",)]
    assert not account(to, ALICE).attributes.keys() & set(names)


def test_a_retry_leaves_out_nothing_that_somebody_asked_for(mail: Office, to: Office) -> None:
    blobs = (mail.backup_path / "items").rename(mail.backup_path / "away")
    bring(mail, to)
    blobs.rename(mail.backup_path / "items")

    report = bring(mail, to, retry=True)

    assert report.counters["restored"]
    assert not [note for note in report.notes if "left out" in note]


def test_a_missing_input_file_is_told_with_what_writes_one(mail: Office, to: Office) -> None:
    missing = to.folder / "nowhere" / "names"

    with pytest.raises(BadRequest) as refused:
        ExternalRestore(source_path=mail.backup_path, input_file=missing).check(to)

    assert (refused.value.code, str(missing) in str(refused.value)) == ("path_missing", True)
    assert "getAvailableAccounts" in refused.value.hint


def test_settings_that_are_there_already_are_not_told_as_made(mail: Office, to: Office) -> None:
    bring(mail, to, provisioning_only=True)
    to.announced.clear()

    bring(mail, to, provisioning_only=True)

    (said,) = to.announced
    assert said["table"]["attributes"]["created"] == 0


def test_messages_with_lines_that_delivery_refuses_are_told_of_all_accounts_together(
    mail: Office, to: Office
) -> None:
    for each in (ALICE, BOB):
        mail.client.deliver(each, message("Long", body="x" * 20_000), folder="/Inbox")
    mail.scan()

    dry = bring(mail, to, dryrun=True)
    wet = bring(mail, to)

    for report in (dry, wet):
        (note,) = (each for each in report.notes if "LMTP" in each)
        assert note.startswith("2 messages have lines of more than 10240 bytes")


def test_damage_of_the_source_is_told_with_the_check_of_the_source_and_not_suspected_here(
    mail: Office, to: Office
) -> None:
    item = mail.client.deliver(ALICE, message("Damaged"), folder="/Inbox")
    mail.scan()
    digest = mail.history(ALICE, item)[-1].digest
    assert digest is not None
    (mail.backup_path / str(blob_file(digest))).unlink()

    report = bring(mail, to)

    assert report.unrestored == {ALICE: [(item, "missing blob")]}
    assert not report.suspected
    (warning,) = report.warnings
    assert warning.startswith(f"The backup in {mail.backup_path} is damaged.")
    assert warning.endswith(f": backupng backup doCoherencyCheck {mail.backup_path}")
