"""Imports of several servers: shares from one to another are broken, told, and mended by maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backupng.engine.mailserver.port import Grant, Target
from backupng.engine.mailserver.zimbra.grants import Grantee, grants_of, target_of
from backupng.engine.model import ItemId, ItemKind, ItemState
from backupng.engine.operations.do_check_shares import DoCheckShares
from backupng.engine.operations.do_fix_shares import DoFixShares
from backupng.engine.restore.importing.shares import folders_there
from tests.cast import ALICE, Office, message, office
from tests.engine.restore.migrating import bring, empty_office, seen

ERIN = "erin@example.org"


@dataclass
class Sources:
    """Two servers: alice of the first has mounted a folder of erin, who is on the second."""

    first: Office
    second: Office


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "a").mkdir()
    with (
        office(folder / "a") as first,
        empty_office(folder, name="mail3", domain="example.org") as second,
    ):
        second.client.create_account(ERIN)
        for number in range(3):
            second.client.create_folder(ERIN, f"/Folder {number}")
        second.client.deliver(ERIN, message("plan"), folder="/Folder 2")
        plans = folders(second, ERIN)["Folder 2"]
        grant = Grant(grantee=first.account_id(ALICE), type=Grantee.USER, rights=1)
        second.destination.shares(second.sandbox.account(ERIN)).put_grant(plans.item_id, grant)
        target = Target(second.account_id(ERIN), plans.item_id, plans.row["uuid"])
        state = ItemState(
            item_id=ItemId(300), kind=ItemKind.MOUNTPOINT, mod=1, start=first.now, name="Plans"
        )
        shares = first.destination.shares(first.sandbox.account(ALICE))
        shares.put_mountpoint(state, ItemId(1), target)
        first.scan()
        second.scan()
        yield Sources(first, second)


def folders(mail: Office, address: str) -> dict[str | None, ItemState]:
    found = folders_there(mail.source, mail.source.mailbox(mail.account_id(address)))
    return {state.name: state for state in found.values()}


def assert_mended(sources: Sources, to: Office) -> None:
    plans = folders(to, ERIN)["Folder 2"]
    assert target_of(folders(to, ALICE)["Plans"]) == Target(to.account_id(ERIN), plans.item_id)
    assert [grant.grantee for grant in grants_of(plans)] == [to.account_id(ALICE)]
    assert seen(to, ALICE) == seen(sources.first, ALICE)
    assert seen(to, ERIN) == seen(sources.second, ERIN)
    assert not to.run(DoCheckShares()).losses


def test_a_composite_import_is_mended_by_the_map_of_the_other_server(
    sources: Sources, tmp_path: Path
) -> None:
    with empty_office(tmp_path) as to:
        report, again = bring(sources.first, to), bring(sources.first, to)
        before = to.run(DoCheckShares())
        bring(sources.second, to)
        broken = to.run(DoCheckShares())
        to.run(DoFixShares(import_idmap_file=f"map_{sources.second.source.server_id}"))

        assert (report.counters["mountpoints"], report.counters["shares_to_mend"]) == (1, 1)
        assert (again.counters["mountpoints_there"], again.counters["shares_to_mend"]) == (1, 1)
        assert before.counters["dangling_ids"] == broken.counters["wrong_ids"] == 1
        assert_mended(sources, to)


@pytest.mark.proofs
def test_an_import_that_finds_the_others_there_mends_by_itself(
    sources: Sources, tmp_path: Path
) -> None:
    with empty_office(tmp_path) as to:
        bring(sources.first, to)
        bring(sources.second, to)

        bring(sources.first, to)

        assert_mended(sources, to)


@pytest.mark.proofs
def test_a_mirror_import_tells_of_shares_that_lead_to_another_server(
    sources: Sources, tmp_path: Path
) -> None:
    with empty_office(tmp_path) as one, empty_office(tmp_path, name="mail4") as other:
        bring(sources.first, one)
        bring(sources.second, other)

        found, missing = (each.run(DoCheckShares()) for each in (one, other))

        assert (found.counters["dangling_ids"], missing.counters["dangling_ids"]) == (1, 1)
        assert one.run(DoFixShares()).counters["not_repairable"] == 1
