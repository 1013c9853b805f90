"""Imports of which a part is wanted, or a part can be had: what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.errors import BadRequest
from backupng.engine.model import EntryKind
from backupng.engine.operations.do_external_restore import ExternalRestore
from backupng.engine.operations.words import AccountNames
from tests.cast import ALICE, BOB, Office, message, office
from tests.engine.restore.migrating import TEAM, bring, empty_office, entry, fill


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[Office]:
    (tmp_path / "a").mkdir()
    with office(tmp_path / "a") as found:
        fill(found)
        found.scan()
        yield found


@pytest.fixture
def to(tmp_path: Path) -> Iterator[Office]:
    with empty_office(tmp_path) as found:
        yield found


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


def test_a_retry_leaves_out_nothing_that_somebody_asked_for(mail: Office, to: Office) -> None:
    bring(mail, to)

    report = bring(mail, to, retry=True)

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
