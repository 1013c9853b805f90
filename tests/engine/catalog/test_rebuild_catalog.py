"""rebuildCatalog, and what scans and lookups do with the catalog."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from backupng.engine.catalog.catalog import Catalog
from backupng.engine.catalog.reading import AccountReading
from backupng.engine.errors import BadRequest, OperationError
from backupng.engine.operations.base import Operation
from backupng.engine.operations.do_coherency_check import DoCoherencyCheck
from backupng.engine.operations.get_available_accounts import GetAvailableAccounts
from backupng.engine.operations.get_backup_info import GetBackupInfo
from backupng.engine.operations.rebuild_catalog import RebuildCatalog
from backupng.engine.operations.words import AccountNames
from tests.cast import ALICE, BOB, Office, message


@pytest.fixture
def office(mail: Office) -> Office:
    """Return the office, two messages in its backup, its catalog told of all."""
    mail.catalog_file = mail.folder / "catalog" / "mail1.sqlite3"
    for subject in ("Offer", "Answer"):
        mail.client.deliver(ALICE, message(subject), folder="/Inbox")
    mail.scan()
    return mail


def accounts_here(file: Path) -> dict[str, int]:
    """Return the accounts of a catalog and their stamps."""
    with sqlite3.connect(file) as connection:
        found = dict(connection.execute("SELECT id, stamp FROM account").fetchall())
    connection.close()
    return found


def damage(office: Office) -> int:
    """Damage the history of the first message; return its id."""
    account = office.account_id(ALICE)
    with office.path as path:
        file = max((path.tree.root / "accounts" / account / "items").glob("*/*"), key=_number)
    file.write_bytes(b"{} #00000000\n")
    return _number(file)


def _number(file: Path) -> int:
    return int(file.name)


def test_a_rebuild_makes_all_of_it_anew_and_counts(office: Office) -> None:
    assert office.catalog_file
    office.opened.close()
    office.catalog_file.unlink()

    report = office.run(RebuildCatalog())

    info = GetBackupInfo().answer(office)
    assert set(accounts_here(office.catalog_file)) == set(office.path.accounts())
    assert 0 not in accounts_here(office.catalog_file).values()
    assert report.counters["accounts"] == 3
    assert report.counters["states"] == info["states"] >= info["items"] > 0
    assert not report.losses


def test_a_history_that_cannot_be_read_is_counted_and_named(office: Office) -> None:
    item = damage(office)

    report = office.run(RebuildCatalog())

    assert report.counters["read_errors"] == 1
    assert dict(report.unreadable) == {ALICE: [(item, "history not readable")]}
    assert any(f"{ALICE}, item {item}" in line for line in office.log_lines)


def test_of_some_accounts_only_those_are_read(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(office)
    before = GetBackupInfo().answer(office)["items_unreadable"]

    report = office.run(RebuildCatalog(accounts=AccountNames((ALICE,))))

    after = GetBackupInfo().answer(office)["items_unreadable"]
    assert (before, after) == (0, 1)
    assert report.counters["accounts"] == 1


@pytest.mark.parametrize("some", [AccountNames(()), AccountNames((ALICE, BOB))])
def test_an_account_that_is_a_link_is_named_and_the_others_are_read(
    office: Office, some: AccountNames
) -> None:
    bob = office.backup_path / "accounts" / office.account_id(BOB)
    entry = (bob / "account").read_bytes()
    bob.rename(office.folder / "elsewhere")
    items = GetBackupInfo().answer(office)["items"]
    if not some:
        bob.symlink_to(office.folder / "elsewhere")
    else:
        bob.mkdir()
        (bob / "account").write_bytes(entry)
        (bob / "items").symlink_to(office.folder / "elsewhere" / "items")

    report = office.run(RebuildCatalog(accounts=some))

    assert report.counters["read_errors"] == 1
    assert report.counters["accounts"] == (2 if some else 3)
    assert 0 < report.counters["items"] <= items
    (warning,) = report.warnings
    assert f"{bob}{'/items' if some else ''} cannot be read" in warning


def test_a_stray_file_among_the_accounts_is_no_account(office: Office) -> None:
    before = GetBackupInfo().answer(office)
    (office.backup_path / "accounts" / "README").write_text("Do not touch\n", encoding="ascii")

    report = office.run(RebuildCatalog())

    assert (report.counters["accounts"], report.warnings) == (3, [])
    assert len(GetAvailableAccounts().answer(office)["accounts"]) == 3
    assert GetBackupInfo().answer(office) | {"free_bytes": 0} == before | {"free_bytes": 0}


def test_an_account_that_is_not_in_the_backup_is_refused(office: Office) -> None:
    with pytest.raises(BadRequest) as refused:
        office.run(RebuildCatalog(accounts=AccountNames(("nobody@example.com",))))
    assert refused.value.code == "no_such_account"


@pytest.mark.parametrize("command", ["check", "check of some", "rebuild"])
def test_what_other_hands_did_is_known_after_a_check_or_a_rebuild(
    office: Office, command: str
) -> None:
    some = AccountNames((ALICE,)) if "some" in command else AccountNames(())
    operation: Operation = DoCoherencyCheck(backup_path=office.backup_path, accounts=some)
    if command == "rebuild":
        operation = RebuildCatalog()
    account = office.account_id(ALICE)
    file = max((office.backup_path / "accounts" / account / "items").glob("*/*"), key=_number)
    before = GetBackupInfo().answer(office)["items"]

    file.rename(office.folder / "away")
    office.run(operation)
    without = GetBackupInfo().answer(office)["items"]
    (office.folder / "away").rename(file)
    office.run(operation)

    assert (without, GetBackupInfo().answer(office)["items"]) == (before - 1, before)


def test_a_folder_that_cannot_be_written_is_told(office: Office) -> None:
    office.catalog_file = office.backup_path / "format" / "mail1.sqlite3"

    with pytest.raises(OperationError, match="catalog cannot be written"):
        office.run(RebuildCatalog())


def test_a_smartscan_reads_what_the_catalog_lacks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert office.catalog_file
    office.opened.close()
    office.catalog_file.unlink()
    office.scan()
    stamps = accounts_here(office.catalog_file)
    monkeypatch.setattr(AccountReading, "run", lambda _: pytest.fail("it is read once more"))
    office.scan()

    assert len(stamps) == 3
    assert 0 not in stamps.values()


def test_a_list_of_accounts_reads_no_items(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.client.delete_account(BOB)
    office.scan()
    with_catalog = GetAvailableAccounts().answer(office)
    monkeypatch.setattr(AccountReading, "run", lambda _: pytest.fail("items are read"))
    without = GetAvailableAccounts(backup_path=office.backup_path).answer(office)

    assert with_catalog == without
    assert len(without["accounts"]) == 3


def test_a_copy_elsewhere_needs_no_catalog(office: Office, tmp_path: Path) -> None:
    mine = GetBackupInfo().answer(office)
    other = GetBackupInfo(backup_path=office.backup_path).answer(office)
    changing = {"free_bytes": None}

    assert mine | changing == other | changing
    assert not list(tmp_path.glob("**/*.sqlite3.new"))
    with office.path as path, Catalog(path) as temporary:
        assert temporary.totals(office.account_id(ALICE)).content_bytes > 0
