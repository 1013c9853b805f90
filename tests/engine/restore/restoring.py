"""Restores for tests: run one, look at what came back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from backupng.engine.operations.base import Report
from backupng.engine.operations.restore_on_new_account import RestoreOnNewAccount
from backupng.engine.operations.words import LAST, AccountName, AccountNameOrId, Moment
from tests.cast import ALICE, Office

COPY = "copy@example.com"


def restore(
    mail: Office, source: str = ALICE, to: str = COPY, *, date: Moment = LAST, hide: bool = False
) -> Report:
    return mail.run(
        RestoreOnNewAccount(
            source_account=AccountNameOrId(source),
            destination_account=AccountName(to),
            date=date,
            hide_in_gal=hide,
        )
    )


def everything() -> RestoreOnNewAccount:
    """A restore of the last state, and of all that was deleted."""
    return RestoreOnNewAccount(
        source_account=AccountNameOrId(ALICE),
        destination_account=AccountName(COPY),
        date=LAST,
        undelete=True,
    )


def at(moment: datetime) -> Moment:
    return Moment(at=moment.replace(microsecond=0))


def subjects(mail: Office, address: str) -> dict[str, dict[str, Any]]:
    return {
        item["subject"]: item
        for item in mail.client.list(address)["items"]
        if item["type"] == "message"
    }


def assert_balanced(report: Report) -> None:
    counters = report.counters
    parts = ("restored", "skipped", "unrestored")
    assert counters["planned"] == sum(counters[part] for part in parts)
