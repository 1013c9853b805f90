"""The contract of a Source, on what a real server wrote and on a seeded sandbox.

Each time as a sandbox has it, and in the database and directory servers of a real one; what both
tell is equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupng.engine.mailserver.port import Source
from backupng.engine.mailserver.sandbox.content.fill import fill
from backupng.engine.mailserver.sandbox.load import load
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.model import EntryKind
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.realserver import real_server
from tests.engine.mailserver_contract import SourceContract, all_states, mailboxes
from tests.mariadb import MariaDB
from tests.slapd import Slapd, plain

MANY = 2**31


@pytest.fixture(scope="module")
def zimbra(genuine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("genuine") / "zimbra1"
    with load(folder, name="zimbra1", directory=genuine / "history") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("seeded") / "mail1"
    with Sandbox.create(folder, name="mail1", domain="example.com", seed=7) as sandbox:
        fill(sandbox, seed=7, accounts=2, items=60)
        yield sandbox


@pytest.fixture(scope="module", params=["zimbra", "seeded"])
def copied(request: pytest.FixtureRequest) -> Sandbox:
    found: Sandbox = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def real(copied: Sandbox, mariadb: MariaDB, slapd: Slapd) -> Iterator[Source]:
    with real_server(copied, mariadb, slapd) as server:
        yield server.source()


class TestGenuine(SourceContract):
    @pytest.fixture
    def source(self, zimbra: Sandbox) -> Source:
        return zimbra.source()


class TestSeeded(SourceContract):
    @pytest.fixture
    def source(self, seeded: Sandbox) -> Source:
        return seeded.source()


@pytest.mark.services
class TestReal(SourceContract):
    """On the servers of a real mail server, loaded with what the sandbox `copied` holds."""

    @pytest.fixture
    def source(self, real: Source) -> Source:
        return real

    def test_it_tells_what_the_sandbox_tells(self, source: Source, copied: Sandbox) -> None:
        twin = copied.source()
        found = mailboxes(twin)

        assert (source.server_id, source.server_name) == (twin.server_id, twin.server_name)
        assert sorted(mailboxes(source), key=str) == sorted(found, key=str)
        assert [source.mailbox_of(each.mailbox_id) for each in found] == found
        assert list(map(source.heads, found)) == list(map(twin.heads, found))
        assert list(all_states(source)) == list(all_states(twin))

    @pytest.mark.parametrize(("since", "until"), [(0, MANY), (150, MANY), (0, 150), (MANY, MANY)])
    def test_it_tells_the_changes_that_the_sandbox_tells(
        self, source: Source, copied: Sandbox, since: int, until: int
    ) -> None:
        twin = copied.source()

        for mailbox in mailboxes(twin):
            assert source.changed(mailbox, since, until) == twin.changed(mailbox, since, until)
            assert source.buried(mailbox, since, until) == twin.buried(mailbox, since, until)
            found = list(source.dumped(mailbox, since, until))
            assert found == list(twin.dumped(mailbox, since, until))

    @pytest.mark.parametrize("kind", [EntryKind.ACCOUNT, EntryKind.DOMAIN, EntryKind.LIST])
    def test_its_directory_holds_what_the_sandbox_holds(
        self, source: Source, copied: Sandbox, kind: EntryKind
    ) -> None:
        found = {entry.name: plain(entry) for entry in source.entries(kind)}

        assert found == {entry.name: entry for entry in copied.source().entries(kind)}


def test_what_fills_a_sandbox_keeps_everything_in_step(seeded: Sandbox) -> None:
    assert_consistent(seeded)
