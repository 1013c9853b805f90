"""What a sandbox tells of deletions: between two change numbers, both included."""

from __future__ import annotations

from pathlib import Path

from backupng.engine.mailserver.sandbox import removal
from backupng.engine.model import AccountId, ItemId
from tests.engine.mailserver.mailboxes import open_box


def test_deletions_are_told_between_two_numbers(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        box.set_mailbox(tracking_sync=1)
        items = [ItemId(box.deliver()) for _ in range(3)]
        numbers = []
        dumpster = box.sandbox.database.table("mboxgroup1", "mail_item_dumpster")
        for item in items:
            row = box.row(item)
            removal.delete(box, item)
            numbers.append(box.mailbox["change_checkpoint"])
            with box.sandbox.database.transaction():
                box.sandbox.database.insert(dumpster, {**row, "mod_metadata": numbers[-1]})
        source = box.sandbox.source()
        mailbox = source.mailbox(AccountId(box.account.entry_id))
        assert mailbox is not None

        middle = source.buried(mailbox, numbers[1], numbers[1])
        dumped = dict(source.dumped(mailbox, numbers[0], numbers[1]))

        assert middle == {items[1]: numbers[1]}
        assert sorted(dumped) == items[:2]
