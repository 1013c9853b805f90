"""A real directory server: the same entries as a sandbox's, and what only such a one does wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest

from backupng.engine.errors import MailServerError, MailServerRefused, MailServerUnreachable
from backupng.engine.mailserver.sandbox.directory import SandboxDirectory, dn_of
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra import ldap
from backupng.engine.mailserver.zimbra.ldap import LdapDirectory
from backupng.engine.mailserver.zimbra.ldapclient import LdapClient, Search
from backupng.engine.model import BACKUP_DISABLED, DirectoryEntry, EntryKind
from tests.processes import open_port
from tests.slapd import ADMIN, OUTSIDER, PASSWORD, READER, Slapd, plain

pytestmark = pytest.mark.services

HOST = "mail1.example.com"
LATER = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LONG_AGO = "20260302110000Z"
SHARED = (EntryKind.ACCOUNT, EntryKind.DOMAIN, EntryKind.COS, EntryKind.LIST, EntryKind.SERVER)
ANNA = dn_of(EntryKind.ACCOUNT, "anna@example.com")
GROUP = "cn=team,cn=groups,dc=example,dc=com"


def child(kind: EntryKind, name: str, **attributes: bytes) -> DirectoryEntry:
    named = {
        EntryKind.IDENTITY: "zimbraPrefIdentity",
        EntryKind.SIGNATURE: "zimbraSignature",
        EntryKind.DATA_SOURCE: "zimbraDataSource",
    }[kind]
    values = {f"{named}Name": name.encode(), f"{named}Id": f"id of {name}".encode(), **attributes}
    return DirectoryEntry(
        kind=kind,
        entry_id=f"id of {name}",
        name=name,
        dn=dn_of(kind, name, parent=ANNA),
        attributes={each: (value,) for each, value in values.items()},
    )


def fill(sandbox: Sandbox) -> None:
    """Make one of everything that the directory of a company holds."""
    with sandbox.database.transaction():
        sandbox.add_entry(EntryKind.COS, "staff", "id-staff", zimbraNotes=f"x {BACKUP_DISABLED}")
        sandbox.add_domain("example.org", "id-org")
        sandbox.add_list("all@example.com", "id-all", ["anna@example.com", "ben@example.com"])
        sandbox.add_account(
            "anna@example.com",
            "id-anna",
            userPassword=(b"{SSHA512}c2VjcmV0",),
            mail=(b"anna@example.com", b"a.smith@example.com"),
            zimbraMailAlias=(b"a.smith@example.com",),
            zimbraAuthTokens=(b"1|2|10.1", b"3|4|10.1"),
            zimbraPrefMailSignature=("Grüße\n -- \n😀".encode(),),
            jpegPhoto=(b"\xff\xd8\xff\xe0\x00\x10",),
            zimbraSharedItem=(b"granteeId:id-ben;folderId:2;rights:r",),
            zimbraACE=(b"id-ben usr sendAs", b"id-all grp sendOnBehalfOf"),
        )
        sandbox.add_account("ben@example.com", "id-ben", zimbraCOSId="id-staff")
        sandbox.add_account(
            "room@example.com",
            "id-room",
            zimbraAccountCalendarUserType="RESOURCE",
            zimbraCalResType="Location",
        )
        for each in (
            child(EntryKind.IDENTITY, "Work, or so", zimbraPrefFromAddress=b"a@example.com"),
            child(EntryKind.SIGNATURE, "short"),
            child(EntryKind.SIGNATURE, "formal", zimbraPrefMailSignature=b"Anna"),
            child(EntryKind.DATA_SOURCE, "old mail", zimbraDataSourcePassword=b"AQID"),
        ):
            sandbox.directory.add(each)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxDirectory]:
    folder = tmp_path_factory.mktemp("company") / "server"
    with Sandbox.create(folder, name=HOST, domain="example.com", seed=1) as sandbox:
        fill(sandbox)
        yield sandbox.directory


@pytest.fixture
def server(slapd: Slapd, company: SandboxDirectory) -> Slapd:
    """The company's directory, as it was before the noon of `LATER`."""
    if slapd.loaded is not company:
        domains_first = dict.fromkeys((EntryKind.DOMAIN, *SHARED))
        slapd.load(chain.from_iterable(map(company.entries, domains_first)))
        slapd.age(LONG_AGO)
        slapd.loaded = company
    return slapd


Opens = Callable[..., LdapDirectory]


@pytest.fixture
def opens(server: Slapd) -> Iterator[Opens]:
    opened: list[LdapDirectory] = []

    def open_directory(**changes: object) -> LdapDirectory:
        chosen = {"bind_dn": ADMIN, "password": PASSWORD, "mail_host": HOST, **changes}
        opened.append(LdapDirectory(str(chosen.pop("url", server.url)), **chosen))  # type: ignore[arg-type]
        return opened[-1]

    yield open_directory
    for each in opened:
        each.close()


@pytest.fixture
def directory(opens: Opens) -> LdapDirectory:
    return opens()


def group(server: Slapd) -> None:
    """Make a dynamic group whose one member its units name."""
    server.put(
        GROUP,
        {
            "objectClass": ["groupOfURLs", "zimbraGroup", "extensibleObject"],
            "cn": "team",
            "zimbraId": "id-team",
            "memberURL": "ldap:///??sub?(zimbraId=id-anna)",
        },
    )
    unit = {"objectClass": ["zimbraGroupStaticUnit", "extensibleObject"], "cn": "external"}
    server.put(f"cn=external,{GROUP}", {**unit, "zimbraId": "id-unit"})


# What is read


@pytest.mark.parametrize("kind", SHARED)
def test_its_entries_are_those_of_a_sandbox(
    directory: LdapDirectory, company: SandboxDirectory, kind: EntryKind
) -> None:
    found = sorted(map(plain, directory.entries(kind)), key=lambda entry: entry.name)

    assert found == [_as_spelled(entry) for entry in company.entries(kind)]


def _as_spelled(entry: DirectoryEntry) -> DirectoryEntry:
    """Spell a comma in a name as slapd does."""
    return replace(
        entry,
        dn=entry.dn.replace("\\,", "\\2C"),
        children=tuple(_as_spelled(child) for child in entry.children),
    )


@pytest.mark.parametrize("kind", SHARED)
def test_the_ids_are_those_of_the_entries(directory: LdapDirectory, kind: EntryKind) -> None:
    assert directory.ids(kind) == {entry.entry_id for entry in directory.entries(kind)}


def test_accounts_of_other_hosts_are_only_known(server: Slapd, directory: LdapDirectory) -> None:
    server.modify("uid=ben,ou=people,dc=example,dc=com", zimbraMailHost="mail2.example.com")

    assert directory.ids(EntryKind.ACCOUNT) == {"id-anna", "id-room"}
    assert [directory.has_account(each) for each in ("id-ben", "id-*")] == [True, False]


def test_without_a_host_the_accounts_of_all_hosts_are_shown(server: Slapd, opens: Opens) -> None:
    server.modify("uid=ben,ou=people,dc=example,dc=com", zimbraMailHost="mail2.example.com")

    assert opens(mail_host="").ids(EntryKind.ACCOUNT) == {"id-anna", "id-ben", "id-room"}


def test_a_host_that_looks_like_a_pattern_is_none(opens: Opens) -> None:
    assert opens(mail_host="*").ids(EntryKind.ACCOUNT) == set()


def test_a_dynamic_group_is_a_list_with_its_units_and_without_computed_members(
    server: Slapd, directory: LdapDirectory
) -> None:
    group(server)

    (found,) = (each for each in directory.entries(EntryKind.LIST) if each.entry_id == "id-team")

    assert found.name == "team@example.com"
    assert "member" not in found.attributes
    assert found.values("memberURL") == ("ldap:///??sub?(zimbraId=id-anna)",)
    assert [(unit.kind, unit.name, unit.entry_id) for unit in found.children] == [
        (EntryKind.GROUP_UNIT, "external", "id-unit")
    ]


def test_the_global_configuration_is_an_entry(server: Slapd, directory: LdapDirectory) -> None:
    server.put(
        "cn=config,cn=zimbra",
        {"objectClass": ["organizationalRole", "zimbraGlobalConfig"], "cn": "config"},
    )

    found = directory.config()

    assert found is not None
    assert (found.kind, found.entry_id, found.name) == (EntryKind.CONFIG, "config", "config")
    assert list(directory.entries(EntryKind.CONFIG)) == [found]
    assert directory.ids(EntryKind.CONFIG) == {"config"}


@pytest.fixture
def client(server: Slapd) -> Iterator[LdapClient]:
    made = LdapClient(urls=[server.url], bind_dn=ADMIN, password=PASSWORD)
    yield made
    made.close()


def test_entries_of_several_pages_all_come(client: LdapClient) -> None:
    searches = [Search(condition="(zimbraId=*)", page=page) for page in (2, 1000)]

    pages, whole = (list(client.search(each)) for each in searches)

    assert len(pages) > 10
    assert pages == whole


def test_between_two_pages_something_else_can_be_asked(client: LdapClient) -> None:
    wanted = Search(condition="(zimbraId=*)", page=2)
    whole = list(client.search(wanted))

    both = list(zip(client.search(wanted), client.search(wanted), strict=True))

    assert both == list(zip(whole, whole, strict=True))


# What changed


def test_nothing_has_changed_since_a_later_moment(directory: LdapDirectory) -> None:
    assert [list(directory.changed_since(kind, LATER)) for kind in SHARED] == [[]] * len(SHARED)


@pytest.mark.parametrize("few", [0, ldap.FEW])
@pytest.mark.parametrize("kind", SHARED)
def test_everything_has_changed_since_a_moment_before_it_was_made(
    directory: LdapDirectory, kind: EntryKind, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ldap, "FEW", few)
    found = list(directory.changed_since(kind, LATER - timedelta(hours=1)))

    assert found == list(directory.entries(kind))


def test_what_changed_shortly_before_the_moment_is_seen_too(
    server: Slapd, directory: LdapDirectory
) -> None:
    server.age(f"{LATER - timedelta(minutes=1):%Y%m%d%H%M%SZ}")

    assert list(directory.changed_since(EntryKind.DOMAIN, LATER))


@pytest.mark.parametrize("dn", [ANNA, f"zimbraSignatureName=short,{ANNA}"])
def test_a_change_of_an_account_or_below_it_shows_the_whole_account_alone(
    server: Slapd, directory: LdapDirectory, dn: str
) -> None:
    server.modify(dn, zimbraPrefMailSignature="new")

    (found,) = directory.changed_since(EntryKind.ACCOUNT, LATER)

    assert found.entry_id == "id-anna"
    assert [each.name for each in found.children] == ["old mail", "Work, or so", "formal", "short"]


def test_a_change_below_an_account_of_another_host_is_not_shown(
    server: Slapd, directory: LdapDirectory
) -> None:
    server.modify(ANNA, zimbraMailHost="mail2.example.com")
    server.modify(f"zimbraSignatureName=short,{ANNA}", zimbraPrefMailSignature="new")

    assert list(directory.changed_since(EntryKind.ACCOUNT, LATER)) == []


# The server's own entry


@pytest.mark.parametrize("name", [HOST, "imap.example.com"])
def test_a_server_is_found_by_its_name_or_its_service_name(
    server: Slapd, directory: LdapDirectory, name: str
) -> None:
    server.modify(dn_of(EntryKind.SERVER, HOST), zimbraServiceHostname="imap.example.com")

    assert directory.server(name).name == HOST


def test_a_server_that_is_not_there_is_an_error_that_names_those_that_are(
    directory: LdapDirectory,
) -> None:
    with pytest.raises(MailServerError, match=r"knows no server mail9\.") as caught:
        directory.server("mail9")

    assert caught.value.hint == f"It knows: {HOST}."


# Logins


@pytest.mark.parametrize(("login", "shown"), [(ADMIN, True), (READER, False), (OUTSIDER, False)])
def test_whether_passwords_are_shown_depends_on_the_login(
    opens: Opens, login: str, *, shown: bool
) -> None:
    assert opens(bind_dn=login).shows_passwords() is shown


def test_a_login_that_may_see_nothing_sees_no_server(opens: Opens) -> None:
    with pytest.raises(MailServerError, match="knows no server") as caught:
        opens(bind_dn=OUTSIDER).server(HOST)

    assert "zimbra_ldap_userdn" in caught.value.hint


@pytest.mark.parametrize("login", [ADMIN, "uid=nobody,cn=admins,cn=zimbra", "no dn"])
@pytest.mark.parametrize("password", ["wrong horse", ""])
def test_a_login_that_is_refused_is_named_without_its_password(
    opens: Opens, login: str, password: str
) -> None:
    with pytest.raises(MailServerRefused, match="refuses the login") as caught:
        opens(bind_dn=login, password=password).ids(EntryKind.COS)

    whole = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert login in whole
    assert "horse" not in whole


def test_a_directory_never_shows_its_password(directory: LdapDirectory) -> None:
    assert PASSWORD not in repr(vars(directory))


# Connections


def test_a_directory_that_is_away_is_unreachable(opens: Opens) -> None:
    with open_port() as port:
        closed = f"ldap://127.0.0.1:{port}"

    with pytest.raises(MailServerUnreachable, match="does not answer"):
        opens(url=closed).ids(EntryKind.COS)


def test_of_several_directories_one_that_answers_is_enough(opens: Opens, server: Slapd) -> None:
    with open_port() as port:
        closed = f"ldap://127.0.0.1:{port}"

    assert len(opens(url=f"{closed} {server.url}").ids(EntryKind.COS)) == 2


def test_a_directory_that_was_restarted_is_read_on(directory: LdapDirectory, server: Slapd) -> None:
    before = directory.ids(EntryKind.COS)
    server.stop()
    server.start()

    assert directory.ids(EntryKind.COS) == before


def test_a_directory_that_went_away_is_unreachable_until_it_is_back(
    directory: LdapDirectory, server: Slapd
) -> None:
    before = directory.ids(EntryKind.COS)
    server.stop()
    with pytest.raises(MailServerUnreachable):
        directory.ids(EntryKind.COS)
    server.start()

    assert directory.ids(EntryKind.COS) == before


def test_an_encrypted_connection_needs_an_authority_that_is_trusted(
    opens: Opens, server: Slapd, tmp_path: Path
) -> None:
    trusted = opens(starttls=True, ca_file=server.certificate)
    others = [opens(starttls=True), opens(starttls=True, ca_file=tmp_path / "missing")]

    assert len(trusted.ids(EntryKind.COS)) == 2
    for each in others:
        with pytest.raises(MailServerRefused, match="can be trusted"):
            each.ids(EntryKind.COS)


def test_an_encrypted_connection_to_another_name_is_refused(opens: Opens, server: Slapd) -> None:
    url = server.url.replace("127.0.0.1", "localhost")

    with pytest.raises(MailServerRefused, match="can be trusted"):
        opens(url=url, starttls=True, ca_file=server.certificate).ids(EntryKind.COS)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "ldap://127.0.0.1:port", ""])
def test_a_url_that_is_none_is_an_error(opens: Opens, url: str) -> None:
    with pytest.raises(MailServerError):
        opens(url=url).ids(EntryKind.COS)
