"""The sandbox's directory under the rules of a real one; accounts and their mailboxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backupng.engine.errors import BadRequest, InvalidItem, MailServerError
from backupng.engine.mailserver.sandbox.directory import SandboxDirectory, dn_of
from backupng.engine.mailserver.sandbox.server import Sandbox
from backupng.engine.mailserver.zimbra import codes
from backupng.engine.model import DirectoryEntry, EntryKind
from tests.engine.mailserver.consistency import assert_consistent
from tests.engine.mailserver.mailboxes import ADDRESS, NOW_MS, Box, open_box

BOB = "bob@example.com"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path) as opened:
        yield opened


@pytest.fixture
def directory(box: Box) -> SandboxDirectory:
    return box.sandbox.directory


def add_bob(sandbox: Sandbox, address: str = BOB, **attributes: str) -> DirectoryEntry:
    return sandbox.create_account(address, f"id of {address}", now_ms=NOW_MS, attributes=attributes)


def identity(account: DirectoryEntry, name: str, **attributes: tuple[bytes, ...]) -> DirectoryEntry:
    return DirectoryEntry(
        kind=EntryKind.IDENTITY,
        entry_id=f"identity {name}",
        name=name,
        dn=dn_of(EntryKind.IDENTITY, name, parent=account.dn),
        attributes={"zimbraPrefIdentityName": (name.encode(),), **attributes},
    )


# --- entries


def test_an_entry_comes_back_as_it_was_written(box: Box, directory: SandboxDirectory) -> None:
    values = {"description": ("über 🍕".encode(), b"\xff\xfe"), "zimbraNotes": (b"",)}

    directory.modify(box.account, values)

    found = directory.find(EntryKind.ACCOUNT, ADDRESS)
    assert found == replace(box.account, attributes={**box.account.attributes, **values})


def test_an_attribute_without_values_is_gone(box: Box, directory: SandboxDirectory) -> None:
    directory.modify(box.account, {"description": (b"x",)})

    directory.modify(box.sandbox.account(ADDRESS), {"description": ()})

    assert "description" not in box.sandbox.account(ADDRESS).attributes


def test_an_account_is_found_by_address_alias_id_and_bare_name(
    box: Box, directory: SandboxDirectory
) -> None:
    directory.modify(box.account, {"zimbraMailAlias": (b"Ally@example.com",)})

    names = [ADDRESS, "ALICE@Example.com", "ally@example.com", box.account.entry_id, "alice"]
    found = {box.sandbox.account(name).entry_id for name in names}

    assert found == {box.account.entry_id}


def test_a_bare_name_means_nothing_on_a_server_with_two_domains(box: Box) -> None:
    box.sandbox.add_domain("example.org", "id of example.org")

    with pytest.raises(BadRequest) as caught:
        box.sandbox.account("alice")

    assert caught.value.code == "no_such_account"


@pytest.mark.parametrize(
    "name", ["nobody", "nobody@example.com", "", "\udcff", pytest.param("x" * 10_000, id="long")]
)
def test_an_account_that_is_not_there_is_refused(box: Box, name: str) -> None:
    with pytest.raises((BadRequest, InvalidItem)) as caught:
        box.sandbox.account(name)

    assert caught.value.code in ("no_such_account", "bad_value")


def test_the_name_of_a_class_of_service_has_no_case(directory: SandboxDirectory) -> None:
    default = directory.find(EntryKind.COS, "default")

    assert default is not None
    assert directory.find(EntryKind.COS, "DEFAULT") == default


def test_children_come_with_their_account_whatever_their_names(
    box: Box, directory: SandboxDirectory
) -> None:
    names = ["#1, at work\\", "Büro 🍕", "a=b+c"]
    for name in names:
        directory.add(identity(box.account, name))

    found = box.sandbox.account(ADDRESS)

    assert sorted(child.name for child in found.children) == sorted(names)
    directory.remove(found)
    assert list(directory.entries(EntryKind.IDENTITY)) == []


# --- rules


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": ()},
        {"sn": (b"",)},
        {"zimbraCOSId": (b"one", b"two")},
        {"zimbraHideInGal": (b"true",)},
        {"zimbraMailQuota": (b"1 GB",)},
        {"zimbraMailQuota": (b"-1",)},
        {"zimbraNotes": (b"x" * 1025,)},
    ],
    ids=str,
)
def test_a_rule_of_the_directory_stops_a_change(
    box: Box, directory: SandboxDirectory, changes: dict[str, tuple[bytes, ...]]
) -> None:
    with pytest.raises(InvalidItem) as caught:
        directory.modify(box.account, changes)

    assert caught.value.code == "bad_value"
    assert box.sandbox.account(ADDRESS) == box.account


def test_no_two_entries_share_an_id(directory: SandboxDirectory) -> None:
    (cos,) = directory.entries(EntryKind.COS)

    with pytest.raises(InvalidItem):
        directory.add(replace(cos, name="other", dn="cn=other,cn=cos,cn=zimbra"))


def test_no_two_entries_share_a_dn_in_any_case(directory: SandboxDirectory) -> None:
    (cos,) = directory.entries(EntryKind.COS)

    with pytest.raises(InvalidItem):
        directory.add(replace(cos, entry_id="other", dn=cos.dn.upper()))


# --- accounts


def test_a_new_account_has_a_mailbox_with_the_system_folders(box: Box) -> None:
    names = {row["id"]: row["name"] for row in box.rows("mail_item")}

    expected = {
        int(folder): spec.name
        for folder, spec in codes.SYSTEM_FOLDERS.items()
        if folder not in codes.OPTIONAL_FOLDERS
    }
    assert names == expected
    assert {tag["id"] for tag in box.rows("tag")} == set(codes.MIRRORED_FLAGS)
    assert box.mailbox["item_id_checkpoint"] == codes.FIRST_USER_ID - 1
    assert_consistent(box.sandbox)


def test_each_mailbox_gets_the_next_id_and_its_group(box: Box) -> None:
    bob = add_bob(box.sandbox)

    mailbox = box.sandbox.mailbox(bob)

    assert (mailbox.mailbox_id, mailbox.group_id) == (2, 2)
    assert_consistent(box.sandbox)


def test_an_account_whose_mail_lies_elsewhere_is_not_of_this_server(box: Box) -> None:
    add_bob(box.sandbox, zimbraMailHost="mail2")

    accounts = [entry.name for entry in box.sandbox.source().entries(EntryKind.ACCOUNT)]

    assert accounts == [ADDRESS]


@pytest.mark.parametrize("taken", [ADDRESS, "ALICE@example.com", "ally@example.com"])
def test_an_address_is_given_once(box: Box, directory: SandboxDirectory, taken: str) -> None:
    directory.modify(box.account, {"zimbraMailAlias": (b"ally@example.com",)})

    with pytest.raises(BadRequest) as caught:
        add_bob(box.sandbox, taken)

    assert caught.value.code == "already_exists"
    assert_consistent(box.sandbox)


@pytest.mark.parametrize("address", ["bob@elsewhere.org", "bob", "@example.com", "b@c@example.com"])
def test_an_account_needs_a_domain_of_the_server(box: Box, address: str) -> None:
    with pytest.raises(BadRequest) as caught:
        add_bob(box.sandbox, address)

    assert caught.value.code == "no_such_domain"


def test_an_account_that_the_directory_refuses_gets_no_mailbox(box: Box) -> None:
    with pytest.raises(InvalidItem):
        add_bob(box.sandbox, zimbraHideInGal="maybe")

    assert_consistent(box.sandbox)
    assert box.sandbox.mailbox(add_bob(box.sandbox)).mailbox_id == 2


def test_a_deleted_account_leaves_only_a_line_that_says_so(box: Box) -> None:
    bob = add_bob(box.sandbox)
    other = Box(box.sandbox, bob)
    other.deliver()
    other.save(b"x")

    box.sandbox.delete_account(bob, now_ms=NOW_MS)

    (row,) = box.select("zimbra", "deleted_account", "1")
    assert row == {
        "email": BOB,
        "account_id": bob.entry_id,
        "mailbox_id": 2,
        "deleted_at": NOW_MS // 1000,
    }
    assert_consistent(box.sandbox)


def test_an_address_can_be_used_again_and_its_mailbox_has_a_new_id(box: Box) -> None:
    box.sandbox.delete_account(add_bob(box.sandbox), now_ms=NOW_MS)

    again = add_bob(box.sandbox)

    assert box.sandbox.mailbox(again).mailbox_id == 3
    assert box.select("zimbra", "deleted_account", "1") == []


def test_an_account_is_deleted_once(box: Box) -> None:
    bob = add_bob(box.sandbox)
    box.sandbox.delete_account(bob, now_ms=NOW_MS)

    with pytest.raises(MailServerError, match="no mailbox"):
        box.sandbox.delete_account(bob, now_ms=NOW_MS)


# --- servers


def test_name_and_seed_decide_the_ids_of_a_server(tmp_path: Path) -> None:
    made = [
        Sandbox.create(tmp_path / f"{number}", name="mail1", domain="example.com", seed=seed)
        for number, seed in enumerate((1, 1, 2))
    ]

    first, same, other = (list(server.directory.entries(EntryKind.COS)) for server in made)
    for server in made:
        server.close()

    assert first == same != other


def test_a_folder_that_is_there_becomes_no_server(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")

    with pytest.raises(BadRequest) as caught:
        Sandbox.create(tmp_path, name="mail1", domain="example.com", seed=1)

    assert caught.value.code == "already_exists"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_server_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InvalidItem):
        Sandbox.create(tmp_path / "new", name="", domain="example.com", seed=1)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["%41?mode=memory", "a#b", "with space", "ü"])
def test_a_server_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    Sandbox.create(tmp_path / name, name="mail1", domain="example.com", seed=1).close()

    with Sandbox.open(tmp_path / name) as sandbox:
        assert sandbox.server().name == "mail1"
    assert (tmp_path / name / "mail.sqlite3").is_file()


def test_a_folder_without_a_server_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MailServerError, match="no sandbox server") as caught:
        Sandbox.open(tmp_path)

    assert "createServer" in caught.value.hint


def test_a_database_that_is_none_is_a_server_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "mail.sqlite3").write_bytes(b"no database" * 1000)

    with pytest.raises(MailServerError, match="does not answer"):
        Sandbox.open(tmp_path)
