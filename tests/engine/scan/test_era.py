"""A mailbox that begins anew: other ids, low numbers, and nothing of it is missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backupng.engine.model import ItemId, ItemState
from backupng.engine.scan.era import base_of, era_base
from tests.cast import ALICE, BOB, Office, message

BASE = 1_000_000


def exchange(mail: Office) -> None:
    """Give alice the mailbox of bob: hers was deleted, and this one is new."""
    table = mail.sandbox.database.table("zimbra", "mailbox")
    alice, bob = mail.account_id(ALICE), mail.account_id(BOB)
    with mail.sandbox.database.transaction():
        for old, new in ((alice, "nobody"), (bob, alice)):
            mail.sandbox.database.update(table, {"account_id": new}, account_id=old)


def renumber(mail: Office, by: int) -> None:
    """Move all numbers of alice's mailbox, as an older copy put back does."""
    mailbox = mail.source.mailbox(mail.account_id(ALICE))
    assert mailbox is not None
    database = mail.sandbox.database
    items = database.table(f"mboxgroup{mailbox.group_id}", "mail_item")
    mailboxes = database.table("zimbra", "mailbox")
    with database.transaction():
        database.run(
            f"UPDATE {items} SET mod_metadata = mod_metadata + ? WHERE mailbox_id = ?",  # noqa: S608 - of a test
            by,
            mailbox.mailbox_id,
        )
        database.run(
            f"UPDATE {mailboxes} SET change_checkpoint = change_checkpoint + ? WHERE id = ?",  # noqa: S608 - of a test
            by,
            mailbox.mailbox_id,
        )


def living(mail: Office) -> dict[ItemId, str | None]:
    """Return the messages of alice that live in the backup, and their subjects."""
    with mail.path as path:
        account = mail.account_id(ALICE)
        states = [path.last_state(account, item) for item in path.items(account)]
    return {
        state.item_id: state.subject
        for state in states
        if state is not None and state.digest and not state.deleted
    }


def last(mail: Office, item: int) -> ItemState:
    state: ItemState = mail.history(ALICE, item)[-1]
    return state


@pytest.mark.parametrize("how", ["emptied", "missing"])
def test_a_lost_mailbox_history_hides_no_change_of_a_later_era(mail: Office, how: str) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    mail.scan()
    renumber(mail, 5_000)
    mail.scan()
    renumber(mail, -5_000)
    mail.scan()
    file = mail.backup_path / "accounts" / mail.account_id(ALICE) / "mailbox"
    file.write_bytes(b"")
    if how == "missing":
        file.unlink()
    mail.client.flag(ALICE, item, ["+flagged"])

    mail.scan()

    assert last(mail, item).mod > 2 * BASE
    assert "f" in last(mail, item).flags
    assert mail.scan()["items_updated"] == 0


def test_a_mailbox_made_anew_is_saved_whole_and_the_old_one_is_gone(mail: Office) -> None:
    news = mail.client.deliver(BOB, message("New"), folder="/Inbox")
    olds = [mail.client.deliver(ALICE, message(f"Old {n}"), folder="/Inbox") for n in range(3)]
    mail.scan()
    exchange(mail)

    mail.scan()

    assert living(mail) == {news: "New"}
    assert [state.subject for state in mail.history(ALICE, news)][-2:] == ["Old 0", "New"]
    assert last(mail, olds[-1]).deleted


def test_later_changes_of_a_mailbox_made_anew_are_saved(mail: Office) -> None:
    news = mail.client.deliver(BOB, message("New"), folder="/Inbox")
    for number in range(3):
        mail.client.deliver(ALICE, message(f"Old {number}"), folder="/Inbox")
    mail.scan()
    exchange(mail)
    mail.scan()
    saved = last(mail, news)
    idle = mail.scan()
    mail.client.flag(ALICE, news, ["+flagged"])

    mail.scan()

    assert idle["items_new"] == idle["items_updated"] == idle["items_deleted"] == 0
    assert (saved.mod > BASE, saved.row["mod_metadata"]) == (True, saved.mod - BASE)
    assert (last(mail, news).flags, last(mail, news).mod > saved.mod) == ("f", True)


def test_changes_of_a_mailbox_put_back_from_an_older_copy_are_saved(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    renumber(mail, 500)
    mail.scan()
    renumber(mail, -500)
    mail.client.flag(ALICE, item, ["+flagged"])

    mail.scan()

    assert last(mail, item).flags == "f"
    assert BASE < last(mail, item).mod < BASE + 500


def test_a_checkpoint_that_lags_a_little_begins_no_era(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    mail.scan()
    mailbox = mail.sandbox.mailbox(mail.sandbox.account(ALICE))
    table = mail.sandbox.database.table("zimbra", "mailbox")
    with mail.sandbox.database.transaction():
        mail.sandbox.database.update(table, {"change_checkpoint": 0}, id=mailbox.mailbox_id)

    mail.scan()

    assert last(mail, item).mod < BASE


def test_whoever_asks_next_gets_the_base_that_was_begun(mail: Office) -> None:
    mail.client.deliver(BOB, message("New"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.scan()
    account = mail.account_id(ALICE)
    with mail.path as path, path.writer("scanner") as one, path.writer("scan") as other:
        old = mail.source.mailbox(account)
        assert old is not None
        before = era_base(path, one, old)
        exchange(mail)
        new = mail.source.mailbox(account)
        assert new is not None
        found = [era_base(path, writer, new) for writer in (one, other, one)]
        bases = [base_of(path, account, each.mailbox_id) for each in (old, new)]
        lines = path.mailbox_history(account)

    assert (before, found, bases) == (0, [BASE, BASE, BASE], [0, BASE])
    assert [(line.mark == "", line.start) for line in lines] == [
        (False, lines[0].start),
        (True, lines[0].start),
    ]


def test_of_two_that_begin_an_era_at_once_the_second_writes_nothing(mail: Office) -> None:
    mail.client.deliver(BOB, message("New"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.scan()
    exchange(mail)
    account = mail.account_id(ALICE)
    mailbox = mail.source.mailbox(account)
    assert mailbox is not None
    with mail.path as path, path.writer("scanner") as one, path.writer("scan") as other:
        (before,) = path.mailbox_history(account)
        first = replace(before, mailbox=mailbox, mark="", mod=BASE, base=BASE)
        one.add_mailbox(first)
        other.add_mailbox(replace(first, mod=2 * BASE, base=2 * BASE))

        one.commit()
        other.commit()

        assert path.mailbox_history(account) == (before, first)


def test_an_era_that_a_killed_scan_began_is_gone_on_with(mail: Office) -> None:
    news = mail.client.deliver(BOB, message("New"), folder="/Inbox")
    mail.client.deliver(ALICE, message("Old"), folder="/Inbox")
    mail.scan()
    exchange(mail)
    mailbox = mail.source.mailbox(mail.account_id(ALICE))
    assert mailbox is not None
    with mail.path as path, path.writer("scan") as writer:
        era_base(path, writer, mailbox)

    mail.scan()

    assert living(mail) == {news: "New"}
    assert BASE < last(mail, news).mod < 2 * BASE


def test_the_base_of_an_era_lies_above_all_that_the_scanner_has_written_since(mail: Office) -> None:
    item = mail.client.deliver(ALICE, message("Kept"), folder="/Inbox")
    mail.client.deliver(BOB, message("New"), folder="/Inbox")
    mail.scan()
    with mail.path.writer("scanner") as writer:
        writer.add_states(mail.account_id(ALICE), [replace(last(mail, item), mod=3 * BASE + 7)])
        writer.commit()
    exchange(mail)

    mail.scan()

    assert mail.path.mailbox_history(mail.account_id(ALICE))[-1].base == 4 * BASE
