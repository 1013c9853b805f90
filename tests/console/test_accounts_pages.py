"""The list of accounts and the page of one: what they tell, whom they let in, what they escape."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from backupng.engine.mailserver.sandbox.server import Sandbox
from console import browse, connect, roles
from console.connect import SandboxRequest
from console.models import QueuedOperation, Server, State
from tests.console.prototypes import Prototype, smart_scan

A1, A2 = "a1@example.com", "a2@example.com"
MARKER = "${ZxBackup_Disabled}"
HOSTILE = "<script>alert(1)</script>\"'&{{ x }}"


def as_role(client: Client, role: str) -> Client:
    user = User.objects.create_user("anna")
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    client.force_login(user)
    return client


@pytest.fixture
def server(prototype: Prototype, data: Path, db: None) -> Server:
    """Return a server that never was scanned; no process but this one looks at its row."""
    return prototype.copied(data)


@pytest.fixture
def operator(client: Client, server: Server) -> Client:
    """Return a browser of an operator."""
    roles.keep()
    return as_role(client, roles.OPERATOR)


@pytest.fixture
def scanned(server: Server, scanned_prototype: Prototype, data: Path) -> Server:
    """Return the server after a SmartScan that its queue knows of."""
    shutil.copytree(scanned_prototype.folder, data, dirs_exist_ok=True)
    note_scan(server)
    return server


def scan(server: Server) -> None:
    smart_scan(server)
    note_scan(server)


def note_scan(server: Server) -> None:
    seq = QueuedOperation.objects.count() + 1
    QueuedOperation.objects.create(
        server=server, seq=seq, command="doSmartScan", state=State.SUCCESSFUL
    )


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    text = response.content.decode()
    assert text.count("<h1>") == 1
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'<label for="([^"]*)"', text)) <= set(ids)
    return text


def verdict(text: str) -> str:
    found = re.search(r'<p class="verdict">(.*?)</p>', text, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]*>", "", found[1]).split())


def account(client: Client, address: str) -> str:
    return page(client, f"/accounts/{id_of(address)}/")


def id_of(address: str) -> str:
    lines = [line for server in Server.objects.all() for line in browse.accounts(server).lines]
    return next(line.account_id for line in lines if line.name == address)


def listed(text: str) -> list[str]:
    """Return the addresses of the list, in its order."""
    return re.findall(r'<td><a href="/accounts/[^"]*">([^<]*)</a>', text)


# The list


def test_the_list_tells_how_many_are_saved(operator: Client, scanned: Server) -> None:
    text = page(operator, "/accounts/")

    assert verdict(text) == "2 accounts with backup on."
    assert listed(text) == [A1, A2]


def test_the_list_tells_what_is_not_saved(operator: Client, scanned: Server) -> None:
    with connect.sandbox("mail1") as client:
        client.create_account("carol@example.com", cos="staff")
        client.set_cos_notes("staff", MARKER)
        client.create_account("new@example.com")
        client.delete_account(A2)

    text = page(operator, "/accounts/")

    assert verdict(text) == (
        "2 accounts with backup on, 1 of them with nothing saved yet;"
        " 1 without backup by their class of service; 1 deleted from the mail server."
    )
    assert listed(page(operator, "/accounts/?state=deleted")) == [A2]
    assert listed(page(operator, "/accounts/?state=disabled")) == ["carol@example.com"]
    assert listed(page(operator, "/accounts/?state=unsaved")) == ["new@example.com"]
    assert listed(page(operator, "/accounts/?state=active")) == [A1, "new@example.com"]
    assert listed(page(operator, "/accounts/?cos=staff")) == ["carol@example.com"]


def test_a_search_finds_address_name_and_id(operator: Client, scanned: Server) -> None:
    assert listed(page(operator, "/accounts/?q=A2%40exam")) == [A2]
    assert listed(page(operator, f"/accounts/?q={id_of(A1)[:13]}")) == [A1]
    name = browse.find_account(id_of(A1))[1].display_name
    assert A1 in listed(page(operator, f"/accounts/?q={name.upper()}"))


def test_a_link_in_a_heading_sorts_and_keeps_the_filters(operator: Client, scanned: Server) -> None:
    text = page(operator, "/accounts/?q=example&sort=-name")

    assert listed(text) == [A2, A1]
    assert 'aria-sort="descending"' in text
    assert 'href="?q=example&amp;sort=status"' in text


def test_an_unknown_sort_and_a_page_too_far_do_no_harm(operator: Client, scanned: Server) -> None:
    text = page(operator, "/accounts/?sort=nothing&page=99&state=nothing&domain=")

    assert "No account fits" in text
    assert listed(page(operator, "/accounts/?sort=__class__&page=-1")) == [A1, A2]


def test_fifty_accounts_are_a_page(operator: Client, data: Path, server: Server) -> None:
    with Sandbox.open(data / "servers" / "mail1") as sandbox, sandbox.locked():
        for number in range(60):
            sandbox.add_account(f"x{number:02}@example.com", f"id-{number}")

    first, second = page(operator, "/accounts/"), page(operator, "/accounts/?page=2")

    assert (len(listed(first)), len(listed(second))) == (50, 12)
    assert "1 to 50 of 62" in first
    assert 'rel="next" href="?page=2"' in first
    assert 'rel="prev" href="?page=1"' in second


def test_an_empty_result_names_the_filters_and_the_deleted_account(
    operator: Client, scanned: Server
) -> None:
    with connect.sandbox("mail1") as client:
        client.delete_account(A2)

    text = page(operator, "/accounts/?q=a2&state=active&page=2")

    assert "No account fits the filters that are on" in text
    assert 'href="?state=active"' in text
    assert 'href="?q=a2"' in text
    assert f"hide a deleted account {A2}" in text
    assert f'href="/accounts/{id_of(A2)}/"' in text


def test_without_any_account_the_page_says_where_they_come_from(client: Client, db: None) -> None:
    roles.keep()

    text = page(as_role(client, roles.OPERATOR), "/accounts/")

    assert verdict(text) == "No account is known."
    assert "Accounts appear here as soon as" in text


def test_two_servers_are_one_list(operator: Client, scanned: Server) -> None:
    connect.create_sandbox(
        SandboxRequest(name="mail2", domain="example.org", accounts=1, items=0, seed=2)
    )

    assert listed(page(operator, "/accounts/")) == [A1, "a1@example.org", A2]
    assert listed(page(operator, "/accounts/?server=mail2")) == ["a1@example.org"]
    assert listed(page(operator, "/accounts/?domain=example.com")) == [A1, A2]


def test_without_the_directory_the_list_is_the_backups_and_says_so(
    operator: Client, scanned: Server, data: Path
) -> None:
    shutil.rmtree(data / "servers" / "mail1")

    text = page(operator, "/accounts/")

    assert "The directory of mail1 does not answer" in text
    assert listed(text) == [A1, A2]


def test_a_server_of_another_host_is_named(operator: Client, scanned: Server) -> None:
    Server.objects.update(identity="another")

    text = page(operator, "/accounts/")

    assert "The accounts of mail1 are shown by the console of its own host." in text


def test_the_list_asks_the_database_little(
    operator: Client, scanned: Server, django_assert_max_num_queries: object
) -> None:
    with django_assert_max_num_queries(25):  # type: ignore[operator]
        operator.get("/accounts/")


# The wheel


def test_the_wheel_of_an_account_that_is_saved_restores(operator: Client, scanned: Server) -> None:
    text = account(operator, A1)

    assert f"Actions for {A1}" in text
    form = re.search(
        rf'<form method="post" action="/accounts/{id_of(A1)}/restore/">(.*?)</form>', text
    )
    assert form
    assert "csrfmiddlewaretoken" in form[1]
    assert ">Restore</button>" in form[1]
    assert '<form method="post" action="/accounts/' in page(operator, "/accounts/")


def test_nothing_is_to_be_restored_of_an_account_that_is_not_saved(
    operator: Client, server: Server
) -> None:
    assert "/restore/" not in account(operator, A1)
    assert "/restore/" not in page(operator, "/accounts/")


def test_who_may_not_restore_sees_no_restore(client: Client, scanned: Server) -> None:
    roles.keep()
    group = Group.objects.create(name="readers")
    group.permissions.set(Group.objects.get(name=roles.OPERATOR).permissions.all())
    group.permissions.remove(group.permissions.get(codename="restore"))
    as_role(client, "readers")

    assert "/restore/" not in account(client, A1)
    assert f"Actions for {A1}" in account(client, A1)


# One account


def test_an_account_tells_what_is_saved_since_when(operator: Client, scanned: Server) -> None:
    with connect.sandbox("mail1") as client:
        client.deliver(A1, b"Subject: One\r\n\r\nHello\r\n", folder="/Inbox")
    scan(scanned)
    line = browse.find_account(id_of(A1))[1]
    assert line.protected_since
    assert line.last_change

    text = account(operator, A1)

    since, last = (f"{at:%d/%m/%Y %H:%M:%S} UTC" for at in (line.protected_since, line.last_change))
    assert verdict(text) == f"1 item, saved since {since}; last change captured {last}."
    assert "<dt>Messages</dt><dd>1</dd>" in text


def test_before_the_first_scan_an_account_says_what_to_do(operator: Client, server: Server) -> None:
    text = account(operator, A1)

    assert verdict(text) == "Nothing of this account is saved yet."
    assert "No SmartScan of mail1 has ended yet" in text
    assert 'href="/servers/mail1/smartscan/"' in text


def test_an_account_newer_than_the_last_scan_says_so(operator: Client, scanned: Server) -> None:
    with connect.sandbox("mail1") as client:
        client.create_account("new@example.com")

    assert "made after the last SmartScan began" in account(operator, "new@example.com")


def test_an_account_without_backup_by_its_class_says_so(operator: Client, scanned: Server) -> None:
    with connect.sandbox("mail1") as client:
        client.set_cos("a1@example.com", "staff")
        client.set_cos_notes("staff", MARKER)
        client.create_account("new@example.com")
        client.set_cos("new@example.com", "staff")

    text, new = account(operator, A1), account(operator, "new@example.com")

    assert "Backup is off for the class of service staff" in text
    assert 'href="/cos/"' in text
    assert new.count("Backup is off") == 1


def test_a_deleted_account_says_so_and_what_can_be_done(operator: Client, scanned: Server) -> None:
    with connect.sandbox("mail1") as client:
        client.delete_account(A1)

    text = account(operator, A1)

    assert "The mail server no longer has this account" in text
    assert text.count('action="/servers/mail1/wizards/deleted/"') == 2  # in the wheel, on the page
    assert f"/accounts/{id_of(A1)}/restore/" not in text


def test_a_damaged_backup_is_named(operator: Client, scanned: Server) -> None:
    (scanned.path / "accounts" / id_of(A1) / "account").write_bytes(b"x\n")

    text = account(operator, A1)

    assert verdict(text) == "What is saved of this account cannot be told."
    assert "is damaged" in text


def test_operations_that_name_the_account_are_listed_with_what_they_lost(
    operator: Client, scanned: Server
) -> None:
    lost = {"unrestored": {A1: [[5, "read error"], [6, "broken item"], [7, "read error"]]}}
    for seq, source in enumerate(("A1@example.com", id_of(A1), A2), 5):
        row = QueuedOperation.objects.create(
            server=scanned,
            seq=seq,
            command="doRestoreOnNewAccount",
            parameters={"source_account": source, "destination_account": f"n{seq}@example.com"},
            state=State.SUCCESSFUL,
            outcome={"report": lost | {"losses": True}} if seq == 5 else {},
        )

    text = account(operator, A1)

    assert "n5@example.com" in text
    assert "n6@example.com" in text
    assert "n7@example.com" not in text
    assert "3 items not restored</a> – broken item 1, read error 2" in text
    assert str(row.pk) not in text


def test_the_commands_are_those_that_work(operator: Client, scanned: Server) -> None:
    text = account(operator, A1)

    assert "backupng backup doRestoreOnNewAccount a1@example.com a1-restored@example.com last" in (
        text
    )


# Who may, and what is refused


def test_a_viewer_sees_no_accounts(client: Client, scanned: Server) -> None:
    roles.keep()
    as_role(client, roles.VIEWER)

    assert client.get("/accounts/").status_code == 403
    assert client.get(f"/accounts/{id_of(A1)}/").status_code == 403


def test_nothing_is_changed_by_a_post(operator: Client, scanned: Server) -> None:
    assert operator.post("/accounts/").status_code == 405
    assert operator.post(f"/accounts/{id_of(A1)}/").status_code == 405


NO_IDS = (
    *("nobody", A1, "..", "%2e%2e", "%00", "%22%3E%3Cscript%3E"),
    *("x" * 3000, "%F0%9F%8E%89", "%FF"),
)


def test_an_id_that_is_none_is_no_page(operator: Client, scanned: Server) -> None:
    answers = {each: operator.get(f"/accounts/{each}/").status_code for each in NO_IDS}
    assert answers == dict.fromkeys(NO_IDS, 404)


def test_hostile_names_are_shown_and_never_run(
    operator: Client, server: Server, data: Path
) -> None:
    with Sandbox.open(data / "servers" / "mail1") as sandbox, sandbox.locked():
        sandbox.add_account(
            '"><img@example.com', "quote'\"<b>", displayName=HOSTILE, zimbraAccountStatus="<i>"
        )
        sandbox.add_account("long@example.com", "y" * 2000, displayName="ü" * 2000)
        sandbox.add_account("slash@example.com", "a/b")

    for text in (
        page(operator, "/accounts/"),
        page(operator, "/accounts/?q=%3Cscript%3E&domain=%3Cb%3E&sort=%22%3E%3Cb%3E"),
        page(operator, "/accounts/quote'%22%3Cb%3E/"),
    ):
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "<b>" not in text
        assert "<i>" not in text
    assert "&lt;script&gt;alert" in page(operator, "/accounts/")
    assert "slash@example.com" in page(operator, "/accounts/")
