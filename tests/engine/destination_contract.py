"""ProvisioningContract: what every `port.Destination` keeps when entries are created and changed.

A subclass gives the fixture `destination`: a server with the domain `example.com` and the class of
service `default`; all tests may share it.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass

import pytest

from backupng.engine.errors import BackupError, MailServerRefused
from backupng.engine.mailserver.port import Destination
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind

DOMAIN = "example.com"
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Names:
    """Addresses and an id that no other test has: all tests may share one server."""

    number: int

    @property
    def alice(self) -> str:
        return f"alice{self.number}@{DOMAIN}"

    @property
    def team(self) -> str:
        return f"team{self.number}@{DOMAIN}"

    @property
    def al(self) -> str:
        return f"al{self.number}@{DOMAIN}"

    @property
    def chosen(self) -> AccountId:
        return AccountId(str(uuid.uuid5(uuid.NAMESPACE_DNS, self.alice)))


def now(destination: Destination, entry: DirectoryEntry) -> DirectoryEntry:
    found = destination.entry(entry.kind, entry.entry_id)
    assert found is not None
    return found


class ProvisioningContract:
    """Run by every implementation."""

    @pytest.fixture
    def names(self) -> Names:
        """Return names of the test's own."""
        return Names(next(NUMBERS))

    def test_an_account_gets_the_chosen_id_its_host_and_its_attributes(
        self, destination: Destination, names: Names
    ) -> None:
        made = destination.create_account(names.alice, {"cn": (b"Alice",)}, account_id=names.chosen)

        found = now(destination, made)
        assert (found.entry_id, found.name, found.first("cn")) == (
            names.chosen,
            names.alice,
            "Alice",
        )
        assert found.first("zimbraMailHost") == destination.mail_host
        assert destination.entry(EntryKind.ACCOUNT, names.alice) == found

    def test_an_id_or_a_name_in_use_is_refused_and_nothing_is_made(
        self, destination: Destination, names: Names
    ) -> None:
        destination.create_account(names.alice, {}, account_id=names.chosen)

        for name, account_id in ((f"other-{names.alice}", names.chosen), (names.alice, None)):
            with pytest.raises(BackupError, match=name):
                destination.create_account(name, {}, account_id=account_id)

        assert destination.entry(EntryKind.ACCOUNT, f"other-{names.alice}") is None

    def test_names_are_unique_over_accounts_lists_and_aliases(
        self, destination: Destination, names: Names
    ) -> None:
        alice = destination.create_account(names.alice, {})
        destination.create(EntryKind.LIST, names.team, {})
        destination.add_alias(alice, names.al)

        with pytest.raises(BackupError, match=names.team):
            destination.create_account(names.team, {})
        for name in (names.alice, names.al):
            with pytest.raises(MailServerRefused, match=name):
                destination.create(EntryKind.LIST, name, {})
        with pytest.raises(MailServerRefused, match=names.team):
            destination.add_alias(alice, names.team)

    @pytest.mark.parametrize(
        "attributes",
        [
            {"zimbraId": (b"2190ef42-2b83-40ca-aabb-56cebe98f934",)},
            {"zimbraMailAlias": (b"x@example.com",)},
            {"zimbraHideInGal": (b"true",)},
            {"zimbraCOSId": (b"default",)},
            {"zimbraAccountStatus": (b"active", b"closed")},
        ],
    )
    def test_one_refused_attribute_fails_the_whole(
        self, destination: Destination, names: Names, attributes: dict[str, tuple[bytes, ...]]
    ) -> None:
        alice = destination.create_account(names.alice, {})
        before = now(destination, alice)

        with pytest.raises(MailServerRefused, match=names.alice):
            destination.modify(alice, {"zimbraPrefLocale": (b"it",)} | attributes)

        assert now(destination, alice) == before

    def test_attributes_are_replaced_and_removed(
        self, destination: Destination, names: Names
    ) -> None:
        alice = destination.create_account(names.alice, {"zimbraPrefLocale": (b"it",)})

        destination.modify(alice, {"zimbraPrefLocale": (), "zimbraPrefSkin": (b"a", b"b")})

        found = now(destination, alice)
        assert (found.values("zimbraPrefLocale"), found.values("zimbraPrefSkin")) == (
            (),
            ("a", "b"),
        )

    def test_an_alias_leads_to_its_account_and_is_added_once(
        self, destination: Destination, names: Names
    ) -> None:
        alice = destination.create_account(names.alice, {})

        added = [destination.add_alias(alice, names.al) for _ in range(2)]

        assert added == [True, False]
        assert destination.entry(EntryKind.ACCOUNT, names.al) == now(destination, alice)

    def test_members_are_added_once_and_a_closed_account_leaves(
        self, destination: Destination, names: Names
    ) -> None:
        alice = destination.create_account(names.alice, {})
        team = destination.create(EntryKind.LIST, names.team, {})

        added = [destination.add_members(team, [names.alice, "x@example.org"]) for _ in range(2)]
        destination.modify(alice, {"zimbraAccountStatus": (b"closed",)})

        assert added == [2, 0]
        assert now(destination, team).values("zimbraMailForwardingAddress") == ("x@example.org",)

    def test_a_dynamic_group_knows_accounts_and_others(
        self, destination: Destination, names: Names
    ) -> None:
        alice = destination.create_account(names.alice, {})
        team = destination.create(EntryKind.LIST, names.team, {}, dynamic=True)

        added = [destination.add_members(team, [names.alice, "x@example.org"]) for _ in range(2)]

        assert added == [2, 0]
        assert now(destination, alice).values("zimbraMemberOf") == (team.entry_id,)

    def test_no_address_comes_into_a_domain_that_takes_none(
        self, destination: Destination, names: Names
    ) -> None:
        alias = {"zimbraDomainType": (b"alias",)}
        destination.create(EntryKind.DOMAIN, "alias.example", alias)
        full = destination.create(EntryKind.DOMAIN, "full.example", {})
        destination.modify(full, {"zimbraDomainMaxAccounts": (b"1",)})
        closed = destination.create(EntryKind.DOMAIN, "closed.example", {})
        destination.modify(closed, {"zimbraDomainStatus": (b"suspended",)})
        destination.create_account("one@full.example", {})

        for name in ("alias.example", "full.example", "closed.example", "nowhere.example"):
            with pytest.raises(BackupError, match=name):
                destination.create_account(f"two@{name}", {})

    def test_a_child_is_put_under_its_own_id_and_replaced_by_name(
        self, destination: Destination, names: Names
    ) -> None:
        alice = destination.create_account(names.alice, {})
        child = DirectoryEntry(
            kind=EntryKind.DATA_SOURCE,
            entry_id="5a62fc0b-ff85-4ce8-b97d-14fe3897f178",
            name="old mail",
            dn="",
            attributes={
                "zimbraDataSourceId": (b"5a62fc0b-ff85-4ce8-b97d-14fe3897f178",),
                "zimbraDataSourceName": (b"old mail",),
            },
        )

        for _ in range(2):
            destination.put_child(alice, child)

        (found,) = now(destination, alice).children
        assert (found.kind, found.entry_id, found.name) == (
            child.kind,
            child.entry_id,
            child.name,
        )
