"""A scan compares what can have changed; what that does not explain has everything compared."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from backupng.engine.backuppath.layout import item_file
from backupng.engine.mailserver.port import Census
from backupng.engine.model import ItemId, to_ms
from tests.cast import ALICE, Office, message

SUBJECT = "Put back"


def remove(mail: Office, item: int) -> None:
    """Take an item away as no mail server does: it tells nobody."""
    database = mail.sandbox.database
    number = mail.source.mailbox(mail.account_id(ALICE)).mailbox_id
    table = database.table("mboxgroup1", "mail_item")
    database.run(f"DELETE FROM {table} WHERE mailbox_id = ? AND id = ?", number, item)  # noqa: S608


def empty_one(mail: Office) -> ItemId:
    """Let a history lose all its lines, as a damaged disk does."""
    item = mail.client.deliver(ALICE, message("Emptied"), folder="/Inbox")
    mail.scan()
    (mail.backup_path / item_file(mail.account_id(ALICE), item)).write_bytes(b"")
    return item


def mod_of(mail: Office, item: int) -> int:
    return int(mail.history(ALICE, item)[-1].mod)


def test_of_a_mark_from_elsewhere_there_are_no_sums() -> None:
    assert Census.sums_of("1/2/3/4;5") == (1, 2, 3, 4)
    assert Census.sums_of("12/34;5") is None


def test_an_emptied_history_is_written_by_a_deep_scan(mail: Office) -> None:
    item = empty_one(mail)

    mail.scan(deep=True)

    assert mail.history(ALICE, item)[-1].subject == "Emptied"


def test_an_emptied_history_is_written_once_its_account_is_uncertain(mail: Office) -> None:
    item = empty_one(mail)
    with mail.path.writer("scanner") as writer:
        doubt = {"since": to_ms(mail.now), "reason": "recovered"}
        writer.set_scanner({"uncertain": {mail.account_id(ALICE): doubt}})

    mail.scan()

    assert mail.history(ALICE, item)[-1].subject == "Emptied"


def test_a_deletion_is_not_written_with_a_time_before_the_last_state(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    later = replace(mail.history(ALICE, item)[-1], mod=99, start=mail.now + timedelta(hours=1))
    with mail.path.writer("scanner") as writer:
        writer.add_states(mail.account_id(ALICE), [later])
        writer.commit()
    mail.client.delete(ALICE, item)

    mail.scan()

    lines = (mail.backup_path / item_file(mail.account_id(ALICE), item)).read_bytes().splitlines()
    times = [json.loads(line.rpartition(b" #")[0])["t"] for line in lines]
    assert (len(times), times) == (3, sorted(times))


def test_what_has_another_number_below_the_last_scan_s_is_found_all_the_same(mail: Office) -> None:
    first = mail.client.deliver(ALICE, message("First"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Second"), folder="/Inbox")
    mail.scan()
    # As when a row is put back from a copy: no item is new, none has a higher number, none went.
    mail.set_column(ALICE, first, mod_metadata=mod_of(mail, first) + 1, subject=SUBJECT)

    counters = mail.scan()

    assert counters["items_updated"] == 1
    assert mail.history(ALICE, first)[-1].subject == SUBJECT


def test_an_item_that_went_is_missed_although_another_one_came(mail: Office) -> None:
    gone = mail.client.deliver(ALICE, message("Gone"), folder="/Inbox")
    mail.scan()
    remove(mail, gone)
    came = mail.client.deliver(ALICE, message("Came"), folder="/Inbox")

    counters = mail.scan()

    assert (counters["items_new"], counters["items_deleted"]) == (1, 1)
    assert mail.history(ALICE, gone)[-1].deleted
    assert not mail.history(ALICE, came)[-1].deleted


def test_an_item_with_an_old_number_that_the_backup_lacks_is_saved(mail: Office) -> None:
    lost = mail.client.deliver(ALICE, message("Lost"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Newer"), folder="/Inbox")
    mail.scan()
    row = mail.history(ALICE, lost)[-1].row
    remove(mail, lost)
    mail.scan()
    table = mail.sandbox.database.table("mboxgroup1", "mail_item")
    # One that comes back under another id, with a number that was there before.
    mail.sandbox.database.insert(table, {**row, "id": 99_000})

    counters = mail.scan()

    assert counters["items_new"] == 1
    assert mail.history(ALICE, 99_000)[-1].subject == "Lost"
