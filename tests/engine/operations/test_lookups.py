"""getItem, getAvailableAccounts, getBackupInfo: shapes word for word, and what they refuse."""

from __future__ import annotations

import base64
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.backuppath import layout
from backupng.engine.backuppath.mapfile import IdMap, ItemMap, Mapped
from backupng.engine.errors import BackupError
from backupng.engine.model import AccountId, EntryKind, ItemId, to_ms
from backupng.engine.operations.base import IncompleteAnswer
from backupng.engine.operations.get_account_info import GetAccountInfo
from backupng.engine.operations.get_available_accounts import GetAvailableAccounts
from backupng.engine.operations.get_available_domains import GetAvailableDomains
from backupng.engine.operations.get_backup_info import GetBackupInfo
from backupng.engine.operations.get_item import GetItem
from backupng.engine.operations.get_map import GetMap
from backupng.engine.operations.words import LAST, AccountNameOrId, Moment
from backupng.engine.scan.directory import LEFT_OUT
from tests.cast import ALICE, BOB, DAVE, Office, message
from tests.engine.operations.test_moments import follow

ALL = Moment(keyword="all")
SECOND = timedelta(seconds=1)


def get_item(
    mail: Office, item: int, *, date: Moment = LAST, dump_blob: bool = False
) -> list[dict[str, Any]]:
    lookup = GetItem(account=AccountNameOrId(ALICE), item=item, date=date, dump_blob=dump_blob)
    states: list[dict[str, Any]] = lookup.answer(mail)["itemStates"]
    return states


def test_get_item_shows_the_last_state(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Inbox/Work")
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox/Work")
    mail.client.tag(ALICE, item, "Urgent")
    mail.scan()

    (state,) = get_item(mail, item)

    digest = mail.history(ALICE, item)[0].digest
    blob_path = mail.backup_path / "items" / digest[:2] / digest
    assert state == {
        "start_date": to_ms(mail.now - SECOND),
        "end_date": None,
        "type": "message",
        "deleted": False,
        "folder": "/Inbox/Work",
        "name": None,
        "subject": "Offer",
        "flags": "",
        "unread": True,
        "tags": ["Urgent"],
        "size": len(message("Offer")),
        "digest": digest,
        "blob_path": str(blob_path),
        "unpack": f"zstd -dc '{blob_path}'",
    }


def test_get_item_shows_all_states_oldest_first_and_a_deletion_with_its_last_content(
    mail: Office,
) -> None:
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()
    mail.client.move(ALICE, item, "/Trash")
    mail.scan()
    mail.client.delete(ALICE, item)
    mail.scan()

    states = get_item(mail, item, date=ALL)

    assert [state["folder"] for state in states] == ["/Inbox", "/Trash", "/Trash"]
    assert [state["deleted"] for state in states] == [False, False, True]
    assert [state["end_date"] for state in states] == [
        states[1]["start_date"],
        states[2]["start_date"],
        None,
    ]
    assert states[2]["subject"] == "Offer"
    (dumped,) = get_item(mail, item, dump_blob=True)
    assert base64.b64decode(dumped["blob_base64"]) == message("Offer")


def test_get_item_shows_a_folder_path_as_it_was_then(mail: Office) -> None:
    mail.client.create_folder(ALICE, "/Old")
    folder = mail.client.create_folder(ALICE, "/Old/Inner")
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Old/Inner")
    mail.scan()
    then = Moment(at=mail.now)
    mail.later(hours=1)
    mail.client.move(ALICE, folder, "/Inbox")
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()

    assert get_item(mail, item, date=then)[0]["folder"] == "/Old/Inner"
    assert get_item(mail, item)[0]["folder"] == "/Inbox/Inner"
    folders = [state["folder"] for state in get_item(mail, item, date=ALL)]
    assert folders == ["/Old/Inner", "/Inbox/Inner"]
    (moved,) = get_item(mail, folder)
    assert (moved["name"], moved["subject"]) == ("Inner", None)


def test_get_item_dumps_the_blob(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()

    (state,) = get_item(mail, item, dump_blob=True)

    assert base64.b64decode(state["blob_base64"]) == message("Offer")


def test_get_item_shows_the_states_even_if_the_blob_is_gone(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()
    (blob,) = mail.backup_path.glob("items/*/*")
    blob.unlink()

    for dump_blob in (False, True):
        with pytest.raises(IncompleteAnswer, match="missing") as incomplete:
            get_item(mail, item, dump_blob=dump_blob)

        (state,) = incomplete.value.response["itemStates"]
        assert (state["subject"], state["blob_path"]) == ("Offer", None)


def test_get_item_shows_an_item_whose_folder_is_damaged(mail: Office) -> None:
    folder = mail.client.create_folder(ALICE, "/Work")
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Work")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{folder}")
    file.write_bytes(file.read_bytes().replace(b"Work", b"Fork", 1))

    assert get_item(mail, item)[0]["subject"] == "Offer"


def test_get_item_says_what_it_does_not_know(mail: Office) -> None:
    mail.scan()
    with pytest.raises(BackupError) as unknown:
        get_item(mail, 9999)
    assert unknown.value.code == "no_such_item"
    assert "items" in unknown.value.hint


def test_an_account_is_known_though_its_mailbox_is_damaged(mail: Office) -> None:
    mail.scan()
    file = mail.backup_path / "accounts" / mail.account_id(ALICE) / "mailbox"
    file.write_bytes(b"x\n" + file.read_bytes())

    (state,) = GetAccountInfo(account=AccountNameOrId(ALICE)).answer(mail)["accountStates"]

    assert (state["name"], state["mailbox_id"]) == (ALICE, None)


def test_available_accounts_tell_deleted_from_living(mail: Office) -> None:
    mail.scan()
    first = to_ms(mail.now - SECOND)
    mail.client.delete_account(BOB)
    mail.scan()

    accounts = GetAvailableAccounts().answer(mail)["accounts"]

    bob = next(each for each in accounts if each["name"] == BOB)
    assert [each["name"] for each in accounts] == [ALICE, BOB, DAVE]
    assert bob == {
        "name": BOB,
        "id": bob["id"],
        "server": "mail1",
        "status": "active",
        "created": first,
        "deleted": to_ms(mail.now - SECOND),
    }
    living = GetAvailableAccounts(hide_deleted=True).answer(mail)["accounts"]
    assert [each["name"] for each in living] == [ALICE, DAVE]


@pytest.mark.parametrize("how", ["emptied", "missing"])
def test_an_account_without_a_readable_entry_is_listed_by_its_id(mail: Office, how: str) -> None:
    mail.scan()
    mail.client.delete_account(DAVE)
    mail.scan()
    # As the first scan of an account begins it.
    (mail.backup_path / "accounts" / "9b2c3f3e-0d5c-4a57-9d3b-0d6f3f1c2a11").mkdir()
    bob = mail.account_id(BOB)
    entry = mail.backup_path / "accounts" / bob / "account"
    entry.write_bytes(b"")
    if how == "missing":
        entry.unlink()

    accounts = GetAvailableAccounts().answer(mail)["accounts"]

    (found,) = (each for each in accounts if each["id"] == bob)
    assert (found["name"], found["status"], found["created"]) == (bob, "unreadable", None)
    info = GetBackupInfo().answer(mail)
    numbers = (info[f"accounts{each}"] for each in ("", "_deleted", "_unreadable"))
    assert tuple(numbers) == (1, 1, 1)


def test_a_backup_reaches_as_far_as_the_scanner_has_seen(mail: Office) -> None:
    mail.scan()
    mail.later(minutes=5)
    follow(mail, mail.client.deliver(ALICE, message("New"), folder="/Inbox"))

    assert GetBackupInfo().answer(mail)["last_moment"] == to_ms(mail.now)


def test_domains_are_listed_as_long_as_they_had_accounts_the_newest_of_a_name(
    mail: Office,
) -> None:
    add_domain(mail, "lost", 1, account=True)
    add_domain(mail, "gone", 2, account=True)
    add_domain(mail, "empty", 3)
    add_domain(mail, "again", 9)
    mail.scan()
    for name in ("lost", "gone", "empty", "again"):
        remove_domain(mail, name)
    mail.client.delete_account("x@gone.example")
    add_domain(mail, "gone", 8)
    add_domain(mail, "again", 4)
    mail.scan()
    remove_domain(mail, "gone")
    mail.scan()
    lost = layout.entry_file(EntryKind.DOMAIN, domain_id(1))
    (mail.backup_path / lost).unlink()

    lookup = GetAvailableDomains(date=LAST, backup_path=mail.backup_path)
    found = {each.pop("name"): each for each in lookup.answer(mail)["domains"]}

    assert list(found) == ["again.example", "example.com", "gone.example", "lost.example"]
    assert (found["again.example"]["id"], found["again.example"]["deleted"]) == (domain_id(4), None)
    nothing = {"id": None, "accounts": 0, "accounts_deleted": 0, "deleted": None}
    assert found["lost.example"] == nothing | {"accounts": 1}
    gone = {"id": domain_id(8), "accounts_deleted": 1, "deleted": to_ms(mail.now - SECOND)}
    assert found["gone.example"] == nothing | gone


def domain_id(number: int) -> str:
    return f"c0ffee00-0000-4000-8000-00000000000{number}"


def add_domain(mail: Office, name: str, number: int, *, account: bool = False) -> None:
    mail.sandbox.add_domain(f"{name}.example", domain_id(number))
    if account:
        mail.client.create_account(f"x@{name}.example")


def remove_domain(mail: Office, name: str) -> None:
    domains = mail.source.entries(EntryKind.DOMAIN)
    mail.sandbox.directory.remove(next(e for e in domains if e.name == f"{name}.example"))


def test_backup_info_counts_what_is_there(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()

    info = GetBackupInfo().answer(mail)

    assert info["path"] == str(mail.backup_path)
    assert (info["format"], info["server_name"], info["initialised"]) == ("1.0", "mail1", True)
    assert (info["accounts"], info["accounts_deleted"], info["blobs"]) == (3, 0, 1)
    saved = (*mail.backup_path.glob("items/*/*"), *mail.backup_path.glob("accounts/*/items/*/*"))
    assert info["size_bytes"] == sum(each.stat().st_size for each in saved)


def test_account_stats_count_the_blobs_that_are_gone(mail: Office) -> None:
    mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()
    (blob,) = mail.backup_path.glob("items/*/*")
    blob.unlink()

    info = GetAccountInfo(account=AccountNameOrId(ALICE), backupstats=True).answer(mail)

    stats = info["backupstats"]
    assert (stats["blobs"], stats["blobs_missing"], stats["blob_bytes_compressed"]) == (1, 1, 0)


def test_a_backup_path_is_initialised_by_the_end_of_its_first_scan(mail: Office) -> None:
    mail.owned_path()

    info = GetBackupInfo().answer(mail)

    assert (info["initialised"], info["size_bytes"], info["last_moment"]) == (False, 0, None)


def test_the_last_moment_is_never_before_the_first(mail: Office) -> None:
    mail.scan()
    for history in mail.backup_path.glob("accounts/*/items/*/*"):
        history.unlink()

    info = GetBackupInfo(backup_path=mail.backup_path).answer(mail)

    assert info["items"] == 0
    assert info["first_moment"] == info["last_moment"]


def test_another_path_can_be_looked_into_and_is_quoted_for_a_shell(
    mail: Office, tmp_path: Path
) -> None:
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()
    elsewhere = mail.backup_path.rename(tmp_path / "bob's copy")

    info = GetBackupInfo(backup_path=elsewhere).answer(mail)
    looked = GetItem(account=AccountNameOrId(ALICE), item=item, backup_path=elsewhere)
    (state,) = looked.answer(mail)["itemStates"]

    assert info["path"] == str(elsewhere)
    assert shlex.split(state["unpack"])[-1] == state["blob_path"]


def test_a_folder_that_is_no_backup_path_is_refused(mail: Office, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(BackupError) as refused:
        GetBackupInfo(backup_path=tmp_path / "other").answer(mail)
    assert refused.value.code == "path_not_a_backup"
    assert refused.value.hint == "Name the folder of a Backup Path."


def test_account_info_tells_the_class_of_each_time_and_why_an_account_was_left_out(
    mail: Office,
) -> None:
    mail.client.set_cos(ALICE, "gold")
    mail.scan()
    mail.later(minutes=5)
    gold = mail.sandbox.directory.find(EntryKind.COS, "gold")
    assert gold is not None
    mail.sandbox.directory.remove(gold)
    mail.client.set_cos(ALICE, "staff")
    mail.scan()

    shown = GetAccountInfo(account=AccountNameOrId(ALICE), date=ALL).answer(mail)["accountStates"]

    assert [each["cos"] for each in shown] == ["gold", None]
    assert [each["deleted_why"] for each in shown] == [None, LEFT_OUT]


def test_a_map_is_shown_as_its_last_lines_say(mail: Office) -> None:
    mail.scan()
    account, server = AccountId(mail.account_id(ALICE)), "11111111-aaef-4736-8964-56a667f1fe12"
    with mail.path as path:
        entries = IdMap(path.tree, server)
        for new in ("one", "two"):
            mapped = Mapped(kind=EntryKind.ACCOUNT, old="old", new=new, name=ALICE, here=ALICE)
            entries.note(mapped, mail.now)
        items = ItemMap(path.tree, account, server_id=server, source=account, mailbox="7")
        for old, new_item in ((9, 301), (3, 302), (9, 303)):
            items.note({ItemId(old): ItemId(new_item)}, mail.now)
        files = [
            path.tree.root / each for each in (layout.map_file(server), layout.id_mapper(account))
        ]

    of_entries, of_items = (GetMap(file_path=each).answer(mail) for each in files)

    assert [each["new"] for each in of_entries["entries"]] == ["two"]
    assert [each["items"] for each in of_items["items"]] == [
        [{"old": 3, "new": 302}, {"old": 9, "new": 303}]
    ]
