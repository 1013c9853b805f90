"""Item Restore of a moment, where a copy of the item that looks otherwise is back already."""

from __future__ import annotations

from backupng.engine.model import ItemKind
from tests.cast import ALICE, Office, message
from tests.engine.restore.injecting import EVENT
from tests.engine.restore.restoring import at
from tests.engine.restore.test_item_restore import item_restore


def test_the_state_of_a_moment_comes_beside_a_copy_that_looks_otherwise(mail: Office) -> None:
    kinds = {
        mail.client.deliver(ALICE, message("Mail"), folder="/Inbox"): "message",
        mail.client.save_document(ALICE, b"x", name="plan.txt"): "document",
        mail.client.add_calendar_item(ALICE, EVENT, kind=ItemKind.APPOINTMENT): "appointment",
    }
    flagged(mail, "+flagged", *kinds)
    mail.scan()
    then = mail.now
    mail.later(hours=1)
    flagged(mail, "-flagged", *kinds)
    mail.scan()
    for item in kinds:
        mail.client.delete(ALICE, item)
    mail.scan()
    item_restore(mail, *kinds)
    before = item_restore(mail, *kinds)

    report = item_restore(mail, *kinds, date=at(then))
    again = item_restore(mail, *kinds, date=at(then))

    assert (before.counters["restored"], before.counters["skipped"]) == (0, 3)
    assert (report.counters["restored"], report.counters["unrestored"]) == (3, 0)
    assert (again.counters["restored"], again.counters["skipped"]) == (0, 3)
    found = mail.client.list(ALICE)["items"]
    assert {
        kind: sorted(i["flags"] for i in found if i["type"] == kind) for kind in kinds.values()
    } == {kind: ["", "f"] for kind in kinds.values()}


def flagged(mail: Office, action: str, *items: int) -> None:
    for item in items:
        mail.client.flag(ALICE, item, [action])
