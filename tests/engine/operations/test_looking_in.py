"""doItemSearch, getAccountInfo, getAvailableAccounts, getAvailableDomains: one office, looked into.

Alice has something of each type; one message, found by its subject, was deleted out of a folder
that got another name later. Bob is gone; `galsync.x1` is the server's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backupng.engine.catalog.spool import Spool
from backupng.engine.errors import BackupError, OperationError
from backupng.engine.model import EntryKind, ItemId, ItemKind, to_ms
from backupng.engine.operations import do_item_search, get_account_info
from backupng.engine.operations.base import IncompleteAnswer, Lookup
from backupng.engine.operations.do_item_search import DoItemSearch
from backupng.engine.operations.get_account_info import GetAccountInfo
from backupng.engine.operations.get_available_accounts import GetAvailableAccounts
from backupng.engine.operations.get_available_domains import GetAvailableDomains
from backupng.engine.operations.words import (
    ALL_DOMAINS,
    LAST,
    AccountNameOrId,
    Domains,
    Moment,
    Words,
)
from tests.cast import ALICE, BOB, DAVE, NOON, Office, message, office
from tests.engine.mailserver.calendars import TASK, WEEKLY, calendar
from tests.engine.mailserver.mailboxes import thread
from tests.engine.restore.migrating import mount

GALSYNC = "galsync.x1@example.com"
ZOE = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoe\r\nN:Neil;Zoe\r\nEND:VCARD\r\n"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("played")) as made:
        made.catalog_file = made.folder / "catalog" / "mail1.sqlite3"
        client = made.client
        client.create_account(GALSYNC)
        work = client.create_folder(ALICE, "/Work")
        offer = client.deliver(ALICE, message("Große Offerte"), folder="/Work")
        client.deliver(ALICE, message("offerte, leise"), folder="/Inbox")
        client.deliver(DAVE, thread("Lunch", "1"), folder="/Inbox")
        client.deliver(DAVE, thread("Re: Lunch", "2", "1"), folder="/Inbox")
        client.add_contact(ALICE, ZOE)
        client.add_calendar_item(ALICE, calendar(WEEKLY), kind=ItemKind.APPOINTMENT)
        client.add_calendar_item(ALICE, calendar(TASK), kind=ItemKind.TASK)
        client.save_document(ALICE, b"text", name="plan.txt")
        mount(made, ALICE, DAVE, "/Shared")
        made.scan()
        made.later(hours=1)
        client.delete(ALICE, offer)
        made.scan()
        made.later(hours=1)
        client.move(ALICE, work, "/Inbox")
        client.delete_account(BOB)
        (domain,) = made.source.entries(EntryKind.DOMAIN)
        gal = made.account_id(GALSYNC).encode()
        made.sandbox.directory.modify(domain, {"zimbraGalAccountId": (gal,)})
        made.scan()
        yield made


def search(office: Office, **wanted: Any) -> list[dict[str, Any]]:
    """Search, by the catalog and then as in a copy without one: both find the same."""
    lookup = DoItemSearch(account=AccountNameOrId(ALICE), **wanted)
    found = list(lookup.answer(office)["items"])
    copy = DoItemSearch(account=AccountNameOrId(ALICE), backup_path=office.backup_path, **wanted)
    assert list(copy.answer(office)["items"]) == found
    return found


def subjects(found: list[dict[str, Any]]) -> list[str]:
    return [each["subject"] or each["name"] for each in found]


def refusal(lookup: Lookup, ctx: Office) -> tuple[str, str]:
    with pytest.raises(BackupError) as refused:
        lookup.answer(ctx)
    return refused.value.code, refused.value.hint


def test_a_search_finds_deleted_messages_where_they_lay_and_when_they_went(
    played: Office,
) -> None:
    (found,) = search(played)

    assert found == {
        "id": found["id"],
        "type": "message",
        "date": to_ms(NOON),
        "folder": "/Work",
        "name": None,
        "subject": "Große Offerte",
        "sender": "Eve <eve@example.org>",
        "deleted": found["deleted"],
        "size": len(message("Große Offerte")),
    }
    assert found["deleted"] == played.history(ALICE, found["id"])[-1].start.timestamp() * 1000


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"search_filter": "not_deleted"}, ["offerte, leise"]),
        ({"search_filter": "all"}, ["Große Offerte", "offerte, leise"]),
        ({"search_filter": "all", "search_string": "Offerte"}, ["Große Offerte"]),
        ({"search_filter": "all", "search_string": "offerte"}, ["offerte, leise"]),
        (
            {"search_filter": "all", "search_string": "OFFERTE", "ignore_case": True},
            ["Große Offerte", "offerte, leise"],
        ),
        ({"search_filter": "all", "search_string": "eve@example.org", "id": 2}, []),
        ({"type": "appointment", "search_filter": "all"}, ["Riunione è"]),
        ({"type": "task", "search_filter": "ALL"}, ["Comprare latte"]),
        ({"type": "document", "search_filter": "all"}, ["plan.txt"]),
        ({"type": "contact", "search_filter": "not_deleted"}, [None]),
        ({"type": "folder", "search_filter": "all", "search_string": "Work"}, ["Work"]),
        ({"search_filter": "all", "after": Moment(at=NOON)}, ["Große Offerte", "offerte, leise"]),
        (
            {"search_filter": "all", "after": Moment(at=NOON), "before": Moment(at=NOON)},
            ["Große Offerte", "offerte, leise"],
        ),
        ({"search_filter": "all", "id": 2**70}, []),
        ({"type": "folder", "search_filter": "all", "search_string": "Theirs"}, ["Theirs"]),
        ({"search_filter": "all", "before": Moment(at=datetime(2026, 3, 2, tzinfo=UTC))}, []),
        ({"search_filter": "all", "search_string": "'; DROP TABLE state; --"}, []),
    ],
)
def test_a_search_finds_what_fits_all_that_is_given(
    played: Office, wanted: dict[str, Any], found: list[str]
) -> None:
    assert subjects(search(played, **wanted)) == found


def test_a_search_shows_the_folder_of_a_living_item_as_it_is(played: Office) -> None:
    (work,) = search(played, type="folder", search_filter="all", search_string="Work")

    assert (work["folder"], work["deleted"], work["size"]) == ("/Inbox", None, None)
    assert (work["name"], work["subject"]) == ("Work", None)


def test_a_search_for_everything_finds_each_item_once_by_id(
    played: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(do_item_search, "_PAGE", 7)

    found = search(played, type="all", search_filter="all")

    with played.path as path:
        assert len(found) == len(list(path.items(played.account_id(ALICE))))
    assert all(one["id"] < other["id"] for one, other in pairwise(found))


def test_a_conversation_is_not_found_its_messages_are(played: Office) -> None:
    lookup = DoItemSearch(
        account=AccountNameOrId(DAVE),
        type="all",
        search_filter="all",
        search_string="Lunch",
    )

    found = list(lookup.answer(played)["items"])

    with played.path as path:
        histories = (
            path.history(played.account_id(DAVE), item) for item in map(ItemId, range(256, 300))
        )
        kinds = [history[-1].kind for history in histories if history]
    assert ItemKind.CONVERSATION in kinds
    assert [each["type"] for each in found] == ["message", "message"]


def test_a_search_shows_the_row_of_the_mail_server_if_it_is_wanted(played: Office) -> None:
    (found,) = search(played, raw_metadata=True)

    raw = found["raw_metadata"]
    assert (raw["row"]["id"], raw["row"]["type"]) == (found["id"], 5)
    assert "raw_metadata" not in search(played)[0]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"type": "letter"}, "bad_value"),
        ({"search_filter": "some"}, "bad_value"),
        ({"after": LAST}, "bad_value"),
        ({"before": Moment(at=datetime(2026, 4, 1, tzinfo=UTC))}, "date_in_future"),
        (
            {
                "after": Moment(at=NOON),
                "before": Moment(at=datetime(2026, 3, 1, tzinfo=UTC)),
            },
            "bad_period",
        ),
    ],
)
def test_a_search_for_the_impossible_is_refused(
    played: Office, wanted: dict[str, Any], code: str
) -> None:
    found, hint = refusal(DoItemSearch(account=AccountNameOrId(ALICE), **wanted), played)

    assert (found, bool(hint)) == (code, True)


def test_a_search_names_what_it_could_not_read(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Offer"), folder="/Inbox")
    mail.scan()
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{item}")
    file.write_bytes(file.read_bytes().replace(b"Offer", b"Buyer", 1))

    with pytest.raises(IncompleteAnswer, match=rf"1 item.* {item}\.") as incomplete:
        DoItemSearch(account=AccountNameOrId(ALICE), search_filter="all").answer(mail)

    assert list(incomplete.value.response["items"]) == []
    other = DoItemSearch(account=AccountNameOrId(ALICE), id=item + 1, search_filter="all")
    assert list(other.answer(mail)["items"]) == []


def test_a_long_answer_does_not_stay_in_memory() -> None:
    rows = ({"id": number, "subject": "\ud83d half\u2028line" * 20} for number in range(5_000))

    spool = Spool(rows)

    assert len(spool) == 5_000
    assert [each["id"] for each in spool] == [each["id"] for each in spool] == list(range(5_000))
    assert next(iter(spool))["subject"].startswith("\ud83d half\u2028")


def test_an_answer_that_finds_no_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool([])
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(spool, "_file", full)

    with full, pytest.raises(OperationError) as refused:
        spool._add({"id": 1})

    assert refused.value.code == "no_space"


# getAccountInfo


def info(office: Office, account: str = ALICE, **wanted: Any) -> dict[str, Any]:
    return GetAccountInfo(account=AccountNameOrId(account), **wanted).answer(office)


def test_account_info_shows_the_last_state(played: Office) -> None:
    found = info(played)

    (state,) = found["accountStates"]
    alice = played.account_id(ALICE)
    mailbox = played.sandbox.mailbox(played.sandbox.account(ALICE))
    assert found["account"] == {"id": alice, "name": ALICE}
    assert state == {
        "start_date": state["start_date"],
        "end_date": None,
        "id": alice,
        "name": ALICE,
        "aliases": [],
        "server": "mail1",
        "mailbox_id": mailbox.mailbox_id,
        "status": "active",
        "cos": "default",
        "created": state["created"],
        "deleted": None,
        "deleted_why": None,
    }
    assert found["first_state_date"] < found["last_state_date"] <= to_ms(played.now)


def test_account_info_shows_all_states_and_those_of_a_date(played: Office) -> None:
    bob = info(played, BOB, date=Moment(keyword="all"))["accountStates"]

    assert [bool(each["deleted"]) for each in bob] == [False, True]
    assert bob[0]["end_date"] == bob[1]["start_date"] == bob[1]["deleted"]
    then = Moment(at=datetime.fromtimestamp(bob[0]["end_date"] // 1000 - 60, UTC))
    assert info(played, BOB, date=then)["accountStates"] == bob[:1]
    least = Moment(keyword="least_recent")
    assert info(played, BOB, date=least)["accountStates"] == bob[:1]
    assert info(played, BOB, date=Moment(keyword="first"))["accountStates"] == bob[:1]
    assert info(played, BOB, date=LAST)["accountStates"] == bob[1:]
    assert {each["created"] for each in bob} == {bob[0]["start_date"]}
    early = GetAccountInfo(account=AccountNameOrId(BOB), date=Moment(at=NOON.replace(year=2025)))
    assert refusal(early, played)[0] == "before_first_backup"


def test_account_stats_are_those_of_the_tree(
    played: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_account_info, "_PAGE", 2)

    stats = info(played, backupstats=True)["backupstats"]

    with played.path as path:
        account = played.account_id(ALICE)
        histories = [path.history(account, item) for item in path.items(account)]
    digests = {
        state.digest: state.size or 0 for each in histories for state in each if state.digest
    }
    files = [played.backup_path / "items" / each[:2] / each for each in digests]
    assert stats["items_deleted"] == sum(each[-1].deleted for each in histories) == 1
    assert stats["items_existing"] == len(histories) - 1
    assert stats["states"] == sum(map(len, histories))
    assert (stats["blobs"], stats["blobs_missing"]) == (len(digests), 0)
    assert stats["blob_bytes"] == sum(digests.values())
    assert stats["blob_bytes_compressed"] == sum(each.stat().st_size for each in files)
    assert stats["last_scan_date"] is not None
    (messages,) = (each for each in stats["types"] if each["type"] == "message")
    assert messages == {
        "type": "message",
        "items_existing": 1,
        "items_deleted": 1,
        "states": 3,
    }


# getAvailableAccounts, getAvailableDomains


def names(office: Office, **wanted: Any) -> list[str]:
    accounts = GetAvailableAccounts(**wanted).answer(office)["accounts"]
    return [each["name"] for each in accounts]


def test_system_accounts_are_hidden_unless_they_are_wanted(played: Office) -> None:
    assert names(played) == [ALICE, BOB, DAVE]
    assert names(played, hide_system_accounts=False) == [ALICE, BOB, DAVE, GALSYNC]


def test_accounts_that_the_mail_server_has_can_be_hidden(played: Office) -> None:
    assert names(played, hide_existing_accounts=True) == [BOB]


def test_sections_and_file_hold_the_accounts_that_are_listed(
    played: Office, tmp_path: Path
) -> None:
    headers = Words(("accountlist", "accountMap", "accountIdList", "accountAndIdList"))
    lookup = GetAvailableAccounts(
        hide_deleted=True,
        domains=Domains(("EXAMPLE.com",)),
        output_headers=headers,
        output_file=tmp_path / "names",
    )

    response = lookup.answer(played)

    ids = {name: played.account_id(name) for name in (ALICE, DAVE)}
    assert response["accountList"] == list(ids)
    assert response["accountIdList"] == list(ids.values())
    assert response["accountMap"] == {account: name for name, account in ids.items()}
    assert response["accountAndIdList"] == [{"name": name, "id": ids[name]} for name in ids]
    document = lookup.document(response)
    assert document is not None
    assert document.content.decode().splitlines() == [
        *("# accountList", ALICE, DAVE),
        *("# accountMap", f"{ids[ALICE]} {ALICE}", f"{ids[DAVE]} {DAVE}"),
        *("# accountIdList", ids[ALICE], ids[DAVE]),
        *("# accountAndIdList", f"{ALICE} {ids[ALICE]}", f"{DAVE} {ids[DAVE]}"),
    ]
    plain = GetAvailableAccounts(output_file=tmp_path / "names", domains=ALL_DOMAINS)
    response = plain.answer(played)
    document = plain.document(response)
    assert response.keys() == {"accounts"}
    assert document is not None
    assert document.content.decode() == f"# accountList\n{ALICE}\n{BOB}\n{DAVE}\n"


def test_a_section_or_domain_that_there_is_not_is_refused(played: Office) -> None:
    odd = GetAvailableAccounts(output_headers=Words(("accounts",)))
    assert refusal(odd, played)[0] == "bad_value"
    elsewhere = GetAvailableAccounts(domains=Domains(("example.org",)))
    assert refusal(elsewhere, played) == ("no_such_domain", "There are: example.com.")


def test_domains_are_listed_with_their_accounts(played: Office) -> None:
    found = GetAvailableDomains(date=LAST, backup_path=played.backup_path).answer(played)
    then = Moment(at=NOON.replace(minute=30))
    before = GetAvailableDomains(date=then, backup_path=played.backup_path).answer(played)

    (domain,) = found["domains"]
    assert domain == {
        "name": "example.com",
        "id": domain["id"],
        "accounts": 3,
        "accounts_deleted": 1,
        "deleted": None,
    }
    assert before["domains"] == [domain | {"accounts": 4, "accounts_deleted": 0}]
