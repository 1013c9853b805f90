"""A dry run foretells: what it counts is what a run right after it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backupng.engine.model import ItemKind
from backupng.engine.operations.base import Report
from backupng.engine.operations.do_item_restore import DoItemRestore
from backupng.engine.operations.do_undelete import DoUndelete
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import (
    FIRST,
    LAST,
    AccountName,
    AccountNameOrId,
    ItemIds,
)
from tests.cast import ALICE, DAVE, Office, message
from tests.engine.restore.injecting import EVENT, Killed, mortal
from tests.engine.restore.migrating import mount, mounted_in
from tests.engine.restore.restoring import COPY, at
from tests.engine.restore.test_new_account_more import at_server

CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann\r\nEND:VCARD"
COUNTED = ("planned", "restored", "skipped", "unrestored", "folders", "tags")


def foretold_and_run(mail: Office, operation: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Run dry, then wet; return the counters of both, the dry run's `restored` as it tells it."""
    before = mail.client.list(ALICE)
    dry = mail.run(replace(operation, dryrun=True))
    assert mail.client.list(ALICE) == before
    wet = mail.run(operation)
    foretold = counted(dry) | {"restored": would(dry)}
    assert dry.counters["restored"] == 0
    assert dry.unrestored == wet.unrestored
    assert dry.counters["items"] <= foretold["restored"]
    return foretold, counted(wet)


def counted(report: Report) -> dict[str, int]:
    return {name: report.counters.get(name, 0) for name in COUNTED}


def would(report: Report) -> int:
    """Return how many items a dry run says would be restored."""
    (said,) = (note for note in report.notes if note.startswith("This was a dry run"))
    word = said.removesuffix(".").split("would restore ")[1].split()[0]
    return 0 if word == "nothing" else int(word)


def undelete(**words: Any) -> DoUndelete:
    return DoUndelete(account=AccountName(ALICE), start_date=FIRST, end_date=LAST, **words)


def item_restore(*items: int, **words: Any) -> DoItemRestore:
    return DoItemRestore(account_name=AccountNameOrId(ALICE), item_id=ItemIds(items), **words)


def new_account(**words: Any) -> RestoreOnNewAccount:
    return RestoreOnNewAccount(
        source_account=AccountNameOrId(ALICE),
        destination_account=AccountName(COPY),
        date=LAST,
        **words,
    )


def grow(mail: Office) -> list[int]:
    """Give alice something of every kind, twins and a tree among it; returns the ids."""
    client = mail.client
    client.create_folder(ALICE, "/Work")
    mount(mail, ALICE, DAVE, "/Shared")
    document = client.save_document(ALICE, b"x", name="plan.txt")
    mail.scan()
    found: list[int] = [
        *(client.deliver(ALICE, message("twin"), folder="/Inbox") for _ in range(2)),
        client.deliver(ALICE, message("Offer"), folder="/Work"),
        client.create_folder(ALICE, "/Work/Deep"),
        client.add_contact(ALICE, CARD),
        client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT),
        document,
        mounted_in(mail, ALICE)[0].item_id,
    ]
    client.tag(ALICE, found[2], "red")
    return found


def delete(mail: Office, items: list[int]) -> None:
    for item in items:
        mail.client.delete(ALICE, item)
    mail.scan()


@pytest.mark.parametrize("original", [True, False])
def test_an_undelete_is_foretold_also_once_a_part_of_it_is_back(
    mail: Office, *, original: bool
) -> None:
    items = grow(mail)
    mail.scan()
    mail.later(minutes=1)
    delete(mail, items[:3])
    first = mail.run(undelete(target_original_folder=original))
    delete(mail, items[3:])

    foretold, done = foretold_and_run(mail, undelete(target_original_folder=original))
    again, _ = foretold_and_run(mail, undelete(target_original_folder=original))

    assert foretold == done
    assert done["skipped"] == first.counters["restored"] == 3
    assert done["restored"] == 5
    assert (again["restored"], again["skipped"]) == (0, 8)


@pytest.mark.parametrize("folder", ["", "/Work/Back"])
def test_an_item_restore_is_foretold(mail: Office, folder: str) -> None:
    items = grow(mail)
    mail.scan()
    mail.later(minutes=1)
    delete(mail, items)
    mail.run(item_restore(*items[:4], restore_folder=folder))

    foretold, done = foretold_and_run(mail, item_restore(*items, restore_folder=folder))

    assert foretold == done
    assert (done["restored"], done["skipped"]) == (4, 4)


@pytest.mark.parametrize("undeleted", [True, False])
def test_a_new_account_is_foretold_and_so_is_going_on_with_it(
    mail: Office, *, undeleted: bool
) -> None:
    items = grow(mail)
    mail.scan()
    delete(mail, items[:1])
    break_blob(mail, items[2])

    foretold, done = foretold_and_run(mail, new_account(undelete=undeleted))

    assert foretold == done
    assert done["unrestored"] == 1


def break_blob(mail: Office, item: int) -> None:
    """Lose the blob of an item."""
    digest = mail.history(ALICE, item)[-1].digest
    (file,) = (each for each in mail.backup_path.rglob("*") if each.name == digest)
    file.unlink()


def test_what_cannot_be_restored_is_counted_beforehand(mail: Office) -> None:
    items: list[int] = [
        mail.client.deliver(ALICE, message(each), folder="/Inbox") for each in ("x", "Bad", "y")
    ]
    mail.scan()
    break_blob(mail, items[0])
    delete(mail, items)
    (file,) = mail.backup_path.glob(f"accounts/{mail.account_id(ALICE)}/items/*/{items[1]}")
    file.write_bytes(file.read_bytes().replace(b"Bad", b"Mad", 1))

    told = item_restore(*items).coming(mail)

    assert (told.items, told.lost) == (1, 2)


def test_a_restore_that_was_cut_off_is_foretold_from_where_it_goes_on(mail: Office) -> None:
    grow(mail)
    mail.scan()
    operation = new_account()
    with pytest.raises(Killed):
        at_server(mail, mortal(mail, 24)).run(operation)

    foretold, done = foretold_and_run(mail, operation)

    assert foretold == done
    assert done["skipped"] > 0


def test_another_state_of_what_is_back_comes_beside_it_and_one_half_made_does_not(
    mail: Office,
) -> None:
    item = mail.client.add_contact(ALICE, CARD)
    mail.scan()
    plain = at(mail.now)
    mail.later(days=1)
    mail.client.flag(ALICE, item, ["+flagged"])
    mail.scan()
    flagged = at(mail.now)
    mail.later(days=1)
    delete(mail, [item])
    beside = mail.run(item_restore(item, date=plain))
    with pytest.raises(Killed):
        at_server(mail, mortal(mail, 1)).run(item_restore(item, date=flagged))

    half = mail.run(item_restore(item, date=flagged))

    assert (beside.counters["restored"], half.counters["restored"]) == (1, 0)
    assert sum(i["type"] == "contact" for i in mail.client.list(ALICE)["items"]) == 2
