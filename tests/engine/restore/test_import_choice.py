"""Who and what of a source is imported, whatever its tree says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.store import BackupPath, Owner
from backupng.engine.errors import BadRequest
from backupng.engine.model import AccountId, DirectoryEntry, EntryKind, EntryState
from backupng.engine.restore.importing.attributes import carry
from backupng.engine.restore.importing.choice import Choice, Chooser, Wanted

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[BackupPath]:
    owner = Owner(server_id=str(uuid.uuid4()), server_name="mail1")
    with BackupPath.open_or_create(tmp_path, owner, now=NOW) as made:
        yield made


def put(path: BackupPath, kind: EntryKind, name: str, *, deleted_at: int = 0, **more: str) -> str:
    """Save an entry, and its deletion so many days later; return its id."""
    entry_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name} {deleted_at}"))
    attributes = {key: (value.encode(),) for key, value in more.items()}
    entry = DirectoryEntry(kind=kind, entry_id=entry_id, name=name, dn="", attributes=attributes)
    with path.writer("test") as writer:
        writer.add_entry(EntryState(start=NOW, entry=entry))
        if deleted_at:
            gone = NOW + timedelta(days=deleted_at)
            writer.add_entry(EntryState(start=gone, entry=entry, deleted=True))
        writer.commit()
    return entry_id


def choose(path: BackupPath, **wanted: object) -> Choice:
    return Chooser(path, Wanted(**wanted)).run()  # type: ignore[arg-type]


def names(entries: list[DirectoryEntry]) -> list[str]:
    return [each.name for each in entries]


def test_system_accounts_and_deleted_ones_stay_out_unless_asked_for(path: BackupPath) -> None:
    put(path, EntryKind.DOMAIN, "a.org")
    put(path, EntryKind.ACCOUNT, "x@a.org")
    put(path, EntryKind.ACCOUNT, "spam.x@a.org", zimbraIsSystemResource="TRUE")
    put(path, EntryKind.ACCOUNT, "gone@a.org", deleted_at=1)

    chosen, everybody = (
        choose(path),
        choose(path, with_deleted=True, with_system_accounts=True),
    )

    assert names(chosen.accounts) == ["x@a.org"]
    assert sorted(why for _, why in chosen.left_out) == ["deleted at the source", "system account"]
    assert names(everybody.accounts) == ["gone@a.org", "spam.x@a.org", "x@a.org"]


def test_domains_decide_and_listed_accounts_come_in_their_order(path: BackupPath) -> None:
    for domain in ("a.org", "b.org"):
        put(path, EntryKind.DOMAIN, domain)
        for name in ("x", "y"):
            put(path, EntryKind.ACCOUNT, f"{name}@{domain}")
        put(path, EntryKind.LIST, f"all@{domain}")

    one = choose(path, domains=("A.org",))
    listed = choose(path, accounts=("y@a.org", "x@a.org"))

    assert (names(one.domains), names(one.accounts)) == (["a.org"], ["x@a.org", "y@a.org"])
    assert names(one.lists) == ["all@a.org"]
    assert (names(listed.domains), names(listed.accounts)) == (["a.org"], ["y@a.org", "x@a.org"])
    assert names(listed.lists) == ["all@a.org"]
    with pytest.raises(BadRequest, match=r"x@b\.org lies outside"):
        choose(path, domains=("a.org",), accounts=("x@b.org",))


def test_of_several_accounts_of_one_name_the_living_one_comes(path: BackupPath) -> None:
    put(path, EntryKind.ACCOUNT, "x@a.org", deleted_at=1)
    put(path, EntryKind.ACCOUNT, "x@a.org", deleted_at=2)
    living = put(path, EntryKind.ACCOUNT, "x@a.org")

    chosen = choose(path, with_deleted=True)

    assert [each.entry_id for each in chosen.accounts] == [living]
    assert len(chosen.lost) == 2
    assert all(living in each.why for each in chosen.lost)
    assert all(f"doRestoreOnNewAccount {each.entry_id} " in each.why for each in chosen.lost)


def test_a_deleted_account_that_is_named_is_refused_and_a_listed_one_left_out(
    path: BackupPath,
) -> None:
    put(path, EntryKind.ACCOUNT, "gone@a.org", deleted_at=1)
    put(path, EntryKind.ACCOUNT, "x@a.org")

    with pytest.raises(BadRequest) as refused:
        choose(path, accounts=("gone@a.org",))
    listed = choose(path, listed=("gone@a.org", "x@a.org"))

    assert "filter_deleted false" in refused.value.hint
    assert (names(listed.accounts), listed.left_out.total()) == (["x@a.org"], 1)


def test_a_bare_name_means_the_account_of_the_default_domain(path: BackupPath) -> None:
    for domain in ("a.org", "b.org"):
        put(path, EntryKind.ACCOUNT, f"x@{domain}")
    put(path, EntryKind.ACCOUNT, "y@b.org")
    with pytest.raises(BadRequest) as refused:
        choose(path, accounts=("x",))
    put(path, EntryKind.CONFIG, "config", zimbraDefaultDomainName="a.org")

    chosen = choose(path, accounts=("x", "y"))

    assert refused.value.code == "ambiguous_account"
    assert names(chosen.accounts) == ["x@a.org", "y@b.org"]


def test_domains_come_before_their_aliases_and_deleted_ones_stay_out(path: BackupPath) -> None:
    put(path, EntryKind.DOMAIN, "a.org", zimbraDomainType="alias")
    put(path, EntryKind.DOMAIN, "z.org")
    put(path, EntryKind.DOMAIN, "old.org", deleted_at=1)
    put(path, EntryKind.ACCOUNT, "x@none.org")

    chosen, everything = choose(path), choose(path, with_deleted=True)

    assert names(chosen.domains) == ["z.org", "a.org"]
    assert chosen.left_out == {(EntryKind.DOMAIN, "deleted at the source"): 1}
    assert names(everything.domains) == ["old.org", "z.org", "a.org"]
    assert names(choose(path, domains=("none.org",)).accounts) == ["x@none.org"]


def test_classes_come_that_are_used_and_lists_that_live(path: BackupPath) -> None:
    coses = {name: put(path, EntryKind.COS, name) for name in ("own", "of domain", "default", "no")}
    put(path, EntryKind.DOMAIN, "a.org", zimbraDomainDefaultCOSId=coses["of domain"])
    put(path, EntryKind.DOMAIN, "b.org")
    put(path, EntryKind.ACCOUNT, "x@a.org", zimbraCOSId=coses["own"])
    put(path, EntryKind.ACCOUNT, "y@a.org")
    put(path, EntryKind.ACCOUNT, "z@b.org")
    put(path, EntryKind.LIST, "all@a.org")
    put(path, EntryKind.LIST, "old@a.org", deleted_at=1)

    chosen, of_domain = choose(path), choose(path, domains=("a.org",))
    bare = choose(path, with_coses=False, with_lists=False)

    assert names(chosen.coses) == ["default", "of domain", "own"]
    assert (names(of_domain.coses), names(of_domain.lists)) == (["of domain", "own"], ["all@a.org"])
    assert {name for (kind, _), name in bare.names.items() if kind is EntryKind.COS} == {*coses}
    assert (bare.coses, bare.lists) == ([], [])
    assert sorted(bare.left_out.items()) == [
        ((EntryKind.COS, "skip_coses"), 3),
        ((EntryKind.LIST, "skip_distribution_lists"), 1),
    ]


def test_who_is_asked_for_by_any_name_comes_once_and_the_others_are_strangers(
    path: BackupPath,
) -> None:
    put(path, EntryKind.ACCOUNT, "x@a.org", zimbraMailAlias="alias@a.org")
    put(path, EntryKind.ACCOUNT, "x@a.org", deleted_at=1)
    put(path, EntryKind.ACCOUNT, "y@a.org", zimbraMailAlias="other@a.org")
    spam = put(path, EntryKind.ACCOUNT, "spam@a.org", zimbraIsSystemResource="TRUE")
    put(path, EntryKind.ACCOUNT, "ham@a.org", zimbraIsSystemResource="TRUE")

    chosen = choose(path, accounts=(spam, "Alias@a.org", "x@a.org", spam))
    everybody = choose(path, accounts=("x@a.org",), with_system_accounts=True)

    assert names(chosen.accounts) == ["spam@a.org", "x@a.org"]
    assert chosen.strangers == {"y@a.org", "other@a.org", "ham@a.org"}
    assert names(everybody.accounts) == ["x@a.org", "ham@a.org", "spam@a.org"]


def test_of_deleted_accounts_of_one_name_the_one_deleted_last_comes(path: BackupPath) -> None:
    late, _ = (put(path, EntryKind.ACCOUNT, "x@a.org", deleted_at=days) for days in (4, 2))

    chosen = choose(path, with_deleted=True)

    assert [each.entry_id for each in chosen.accounts] == [late]


@pytest.mark.parametrize(
    "name",
    ["", "x", "x@", "@a.org", "x y@a.org", "x\n@a.org", 'x"@a.org', "x@a.org,y@a.org", "x@../a"],
)
def test_a_name_that_no_server_takes_is_told_and_left_out(path: BackupPath, name: str) -> None:
    put(path, EntryKind.ACCOUNT, name)
    put(path, EntryKind.ACCOUNT, "good@a.org")

    chosen = choose(path)

    assert names(chosen.accounts) == ["good@a.org"]
    assert [each.name for each in chosen.lost] == [name]


def test_a_damaged_entry_is_told_and_hides_no_other(path: BackupPath) -> None:
    broken = put(path, EntryKind.ACCOUNT, "x@a.org")
    put(path, EntryKind.ACCOUNT, "good@a.org")
    (path.tree.root / layout.account_file(AccountId(broken))).write_bytes(b"{} #00000000\n{}\n")

    chosen = choose(path)

    assert names(chosen.accounts) == ["good@a.org"]
    assert [each.entry_id for each in chosen.lost] == [broken]
    assert choose(path, accounts=("good@a.org",)).lost == []
    listed = choose(path, accounts=("good@a.org", broken))
    assert [names(listed.accounts), [each.entry_id for each in listed.lost]] == [
        ["good@a.org"],
        [broken],
    ]


@pytest.mark.parametrize(
    ("attribute", "value", "where"),
    [
        ("zimbraPrefLocale", "it", "now"),
        ("zimbraPrefMailForwardingAddress", "x@b.org", "later"),
        ("zimbraMailSieveScript", "redirect", "later"),
        ("zimbraAccountStatus", "closed", "later"),
        ("zimbraPrefDefaultCalendarId", "10", "of_items"),
        ("zimbraIsAdminAccount", "TRUE", "rights"),
        ("zimbraIsDelegatedAdminAccount", "TRUE", "rights"),
        ("zimbraACE", "x usr adminLoginAs", "rights"),
        ("zimbraACE", "x usr loginAs", "rights"),
        ("zimbraACE", "x usr +sendAs", "rights"),
        ("zimbraACE", "00000000-0000-0000-0000-000000000000 all viewFreeBusy", "now"),
        ("zimbraACE", "unknown usr -sendAs", "dropped"),
        ("zimbraAuthLdapExternalDn", "cn=x", "rights"),
        ("zimbraForeignPrincipal", "kerberos5:x", "rights"),
        ("zimbraMailHost", "evil.org", ""),
        ("zimbraMailTransport", "smtp:evil.org", ""),
        ("zimbraSshPublicKey", "ssh-rsa", ""),
        ("zimbraId", "x", ""),
        ("zimbraLastLogonTimestamp", "20260302120000Z", ""),
        ("userPassword", "{SSHA512}abc", "now"),
        ("userPassword", "plain", "dropped"),
        ("userPassword", "{SASL}x", "dropped"),
        ("zimbraCOSId", "unknown", "dropped"),
        ("authorizedService", "x", "dropped"),
        ("zimbraPref Locale", "x", "dropped"),
    ],
)
def test_each_attribute_goes_where_its_class_says(attribute: str, value: str, where: str) -> None:
    entry = DirectoryEntry(
        kind=EntryKind.ACCOUNT,
        entry_id="x",
        name="x@a.org",
        dn="",
        attributes={attribute: (value.encode(),)},
    )

    found = carry(entry, lambda _kind, _old: None, with_rights=False)

    places = ("now", "later", "of_items", "rights", "dropped")
    assert [place for place in places if getattr(found, place)] == ([where] if where else [])
