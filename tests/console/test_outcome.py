"""What became of the items of a restore, as the first sentences of mail and page tell it."""

from __future__ import annotations

import uuid

from console import ledger, verdict
from console.letter import text
from console.models import State
from tests.console import rows


def test_what_was_deleted_at_the_destination_is_not_said_to_be_there() -> None:
    counters = {"planned": 9, "restored": 1, "skipped": 8, "deleted_there": 3, "too_large": 1}
    counters["deleted_since"] = 1
    row = rows.ended(rows.restore(), State.SUCCESSFUL, report={"counters": counters})

    mail = text.compose(row, notification=uuid.uuid4(), event=text.ENDED).text
    first = " ".join(mail.split("\n\n")[0].split("\n"))
    shown = verdict.sentence(ledger.waiting(row, now=rows.ENDED))

    assert first == (
        "The Restore on New Account has ended. 1 item was restored, 1 of them was deleted "
        "meanwhile, 4 were there already, 3 had been deleted at the destination before, "
        "1 was too large."
    )
    assert "deleted at the destination: 4." in shown
