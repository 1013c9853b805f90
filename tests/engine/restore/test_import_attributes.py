"""Which attributes of an entry are imported, when, and with which ids in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from backupng.engine.errors import MailServerRefused
from backupng.engine.mailserver.port import Attributes
from backupng.engine.mailserver.sandbox.destination import SandboxDestination
from backupng.engine.model import DirectoryEntry, EntryKind, ItemId
from backupng.engine.restore.importing.attributes import carry, rights_in, taken_away, translated
from backupng.engine.restore.importing.setting import set_attributes
from tests.cast import ALICE, Office

HERE = {
    (EntryKind.COS, "c1"): "c9",
    (EntryKind.ACCOUNT, "a1"): "a9",
    (EntryKind.LIST, "l1"): "l9",
    (EntryKind.DOMAIN, "d1"): "d9",
}


def entry(
    values: Mapping[str, tuple[bytes, ...]], kind: EntryKind = EntryKind.ACCOUNT
) -> DirectoryEntry:
    return DirectoryEntry(kind=kind, entry_id="a1", name="x@example.com", dn="", attributes=values)


def new_id(kind: EntryKind, old: str) -> str | None:
    return HERE.get((kind, old))


@pytest.mark.parametrize(
    ("name", "values", "kept"),
    [
        ("zimbraCOSId", [b"c1"], [b"c9"]),
        ("zimbraCOSId", [b"c2"], []),
        ("zimbraDomainDefaultCOSId", [b"c1"], [b"c9"]),
        ("zimbraChildAccount", [b"a1", b"a2"], [b"a9"]),
        ("zimbraDomainCOSMaxAccounts", [b"c1:5", b"c2:7"], [b"c9:5"]),
        ("zimbraACE", [b"a1 usr sendAs", b"l1 grp -sendAs"], [b"a9 usr sendAs", b"l9 grp -sendAs"]),
        ("zimbraACE", [b"d1 dom sendAs", b"gone usr sendAs"], [b"d9 dom sendAs"]),
        ("zimbraACE", [b"99 pub viewFreeBusy"], [b"99 pub viewFreeBusy"]),
        ("userPassword", [b"{SSHA512}x", b"{ssha}y", b"{CRYPT}\xff"], None),
        ("userPassword", [b"secret", b"{SSHA}", b"{NONE}x"], []),
        ("zimbraPrefLocale", [b"\xff"], None),
    ],
)
def test_ids_are_those_of_this_server_and_what_has_none_is_left_out_and_told(
    name: str, values: list[bytes], kept: list[bytes] | None
) -> None:
    carried = carry(entry({name: tuple(values)}), new_id, with_rights=True)

    found = list(carried.now.get(name, ()))
    assert found == (values if kept is None else kept)
    assert len(carried.dropped) == len(values) - len(found)
    assert all(name in each for each in carried.dropped)


def test_attributes_are_sorted_by_when_they_come() -> None:
    carried = carry(
        entry(
            {
                "zimbraPrefLocale": (b"it",),
                "zimbraMailQuota": (b"1",),
                "zimbraPrefMailFoldersCheckedForNewMsgIndicator": (b"2",),
            }
        ),
        new_id,
        with_rights=False,
    )

    assert list(carried.now) == ["zimbraPrefLocale"]
    assert list(carried.later) == ["zimbraMailQuota"]
    assert list(carried.of_items) == ["zimbraPrefMailFoldersCheckedForNewMsgIndicator"]


@pytest.mark.parametrize(
    "name",
    ["zimbraId", "zimbraMailHost", "zimbraDomainType", "zimbraDomainAliasTargetId", "memberURL"],
)
def test_what_belongs_to_the_other_server_or_is_made_otherwise_never_comes(name: str) -> None:
    carried = carry(entry({name: (b"a1",)}), new_id, with_rights=True)

    assert [carried.now, carried.later, carried.of_items, carried.dropped] == [{}, {}, {}, []]


def test_only_of_a_list_the_forwarding_addresses_are_its_members() -> None:
    values = {"zimbraMailForwardingAddress": (b"y@example.com",)}
    found = [
        carry(entry(values, kind), new_id, with_rights=False).later
        for kind in (EntryKind.LIST, EntryKind.ACCOUNT)
    ]

    assert found == [{}, values]


def test_what_is_not_known_is_left_out_and_told() -> None:
    values = {"odd": (b"y",), "zimbraFoo;binary": (b"y",), "carbonioFoo": (b"y",)}

    carried = carry(entry(values), new_id, with_rights=False)

    assert list(carried.now) == ["carbonioFoo"]
    assert [each.split()[1] for each in carried.dropped] == ["odd", "zimbraFoo;binary"]


def test_rights_come_only_if_they_are_asked_for_and_one_that_is_not_given_is_none() -> None:
    admin = entry(
        {
            "zimbraIsAdminAccount": (b"TRUE",),
            "zimbraIsDelegatedAdminAccount": (b"FALSE",),
            "zimbraACE": (b"a1 usr adminLoginAs",),
            "zimbraPrefLocale": (b"it",),
        }
    )

    without, with_them = (carry(admin, new_id, with_rights=each) for each in (False, True))

    assert rights_in(admin) == without.rights == ["zimbraIsAdminAccount", "zimbraACE"]
    assert list(without.now) == ["zimbraPrefLocale"]
    assert (with_them.rights, list(with_them.now)) == ([], list(admin.attributes))


def test_ids_of_items_are_translated_and_those_of_system_folders_are_the_same() -> None:
    items = {ItemId(300): ItemId(400)}

    assert translated((b"2,300,301", b"301", b"x,99999999999"), items) == (b"2,400",)


class Picky(SandboxDestination):
    """A sandbox that takes no request in which one of some attributes stands."""

    def modify(self, entry: DirectoryEntry, changes: Attributes) -> None:
        """Refuse, or do it."""
        if BAD & changes.keys():
            raise MailServerRefused("object class violation.")
        super().modify(entry, changes)


BAD = {"zimbraPrefBad", "zimbraPrefWorse"}


def test_what_a_server_refuses_keeps_no_other_attribute_away(mail: Office) -> None:
    names = ["zimbraPrefOne", "zimbraPrefBad", "zimbraPrefTwo", "zimbraPrefWorse", "zimbraPrefLast"]
    picky, alice = Picky(mail.sandbox, lambda: mail.now), mail.sandbox.account(ALICE)

    refused = list(set_attributes(picky, alice, dict.fromkeys(names, (b"x",))))
    nothing = list(set_attributes(picky, alice, {}))

    assert dict(refused) == dict.fromkeys(BAD, "object class violation")
    assert (len(refused), nothing) == (2, [])
    there = mail.sandbox.account(ALICE).attributes
    assert [name for name in names if name in there] == [n for n in names if n not in BAD]


def test_only_what_came_from_the_source_is_taken_away_again() -> None:
    source = DirectoryEntry(
        kind=EntryKind.ACCOUNT, entry_id="1", name=ALICE, dn="uid=alice", attributes={}
    )
    before, here = (
        replace(source, attributes={"zimbraMailForwardingAddress": (each,)})
        for each in (b"then@c.example", b"own@c.example")
    )

    assert taken_away(source, before, [before]) == ["zimbraMailForwardingAddress"]
    assert taken_away(source, here, [before]) == []
