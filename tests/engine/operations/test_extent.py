"""What of a directory an export of some domains or classes of service takes."""

from __future__ import annotations

import pytest

from backupng.engine.errors import BadRequest
from backupng.engine.model import DirectoryEntry, EntryKind
from backupng.engine.operations.extent import Extent, named


def entry(kind: EntryKind, name: str, **values: str) -> DirectoryEntry:
    attributes = {key: (value.encode(),) for key, value in values.items()}
    return DirectoryEntry(kind=kind, entry_id=f"id {name}", name=name, dn="", attributes=attributes)


DOMAINS = [
    entry(EntryKind.DOMAIN, "a.org", zimbraDomainDefaultCOSId="id gold"),
    entry(EntryKind.DOMAIN, "b.org"),
    entry(EntryKind.DOMAIN, "alias.org", zimbraDomainAliasTargetId="id a.org"),
]
COSES = [entry(EntryKind.COS, name) for name in ("default", "gold", "sales", "unused")]
ACCOUNTS = [
    entry(EntryKind.ACCOUNT, "x@a.org", zimbraCOSId="id sales"),
    entry(EntryKind.ACCOUNT, "y@a.org"),
    entry(EntryKind.ACCOUNT, "z@b.org"),
]
LISTS = [entry(EntryKind.LIST, f"all@{domain}") for domain in ("a.org", "b.org", "alias.org")]
SERVER = [entry(EntryKind.SERVER, "mail1")]


@pytest.mark.parametrize(
    ("domains", "coses", "taken"),
    [
        ("", "", "x@a y@a z@b a b alias default gold sales unused all@a all@b all@alias mail1"),
        ("a.org", "", "x@a y@a a alias default gold sales all@a all@alias mail1"),
        ("b.org", "", "z@b b default all@b mail1"),
        ("", "sales", "x@a a b alias default gold sales all@a all@b all@alias mail1"),
        ("a.org", "gold", "y@a a alias default gold all@a all@alias mail1"),
    ],
)
def test_what_is_chosen_comes_with_all_that_it_needs(domains: str, coses: str, taken: str) -> None:
    extent = Extent(
        domains=DOMAINS,
        coses=COSES,
        chosen_domains=named(DOMAINS, domains.split(), code="x", what="domain"),
        chosen_coses=named(COSES, coses.split(), code="x", what="class"),
    )

    everything = [*ACCOUNTS, *DOMAINS, *COSES, *LISTS, *SERVER]
    found = [each.name for each in everything if extent.takes(each)]

    assert " ".join(name.removesuffix(".org") for name in found) == taken


def test_a_name_or_an_id_is_taken_and_what_there_is_is_named() -> None:
    assert named(DOMAINS, ["A.ORG", "id b.org"], code="x", what="domain") == {
        "id a.org",
        "id b.org",
    }

    with pytest.raises(BadRequest, match=r"There is no domain c\.org") as raised:
        named(DOMAINS, ["c.org"], code="no_such_domain", what="domain")

    assert raised.value.hint == "There are: a.org, alias.org, b.org."
