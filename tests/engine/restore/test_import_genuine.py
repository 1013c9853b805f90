"""The mailboxes that a real Zimbra server wrote come whole, every type, by whatever way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.model import EntryKind
from backupng.engine.operations.do_export import DoExport
from backupng.engine.operations.do_external_restore import ExternalRestore
from tests.cast import Office
from tests.commandline import comparable
from tests.engine.restore.migrating import bring, empty_office


@pytest.fixture(scope="module")
def zimbra1(genuine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("genuine")
    (folder / "backup").mkdir()
    server = folder / "zimbra1"
    with (
        load(server, name="zimbra1", directory=genuine / "history") as sandbox,
        ExitStack() as stack,
    ):
        made = Office(folder, sandbox, opened=stack)
        made.later(days=365)
        made.scan()
        yield made


@pytest.mark.proofs
def test_genuine_mailboxes_are_imported_whole(zimbra1: Office, tmp_path: Path) -> None:
    with empty_office(tmp_path) as to:
        to.now = zimbra1.now
        report = bring(zimbra1, to, concurrent_accounts=2)
        again = bring(zimbra1, to).counters

        assert not report.losses
        assert (again["restored"], again["skipped"]) == (0, report.counters["planned"])
        assert_same(zimbra1, to)


def test_genuine_mailboxes_come_whole_out_of_an_export(zimbra1: Office, tmp_path: Path) -> None:
    exported = tmp_path / "export"
    exported.mkdir()
    zimbra1.run(DoExport(destination_path=exported))
    with empty_office(tmp_path) as to:
        to.now = zimbra1.now
        report = to.run(ExternalRestore(source_path=exported))

        assert not report.losses
        assert_same(zimbra1, to)


def assert_same(mail: Office, to: Office) -> None:
    for account in mail.source.entries(EntryKind.ACCOUNT):
        before, after = (each.client.list(account.name) for each in (mail, to))
        assert comparable(after) == comparable(before), account.name
        assert kinds(after) == kinds(before)


def kinds(listing: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return the kinds of all items, mountpoints among them."""
    return sorted(each["type"] for each in listing["items"])
