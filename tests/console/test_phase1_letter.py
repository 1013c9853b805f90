"""Phase 1 Feedback: told once, between the mails of start and end."""

from __future__ import annotations

import pytest

from console import notify
from console.letter import text
from console.models import Level, Notification, QueuedOperation, Server, State
from tests.console import rows, scanning

SAID = {
    "table": {
        "domain": {"created": 1, "already there": 0, "failed": 0},
        "cos": {"created": 2, "already there": 1, "failed": 0},
        "list": {"created": 14, "already there": 0, "failed": 1},
        "account": {"created": 230, "already there": 3, "left out": 12, "failed": 1},
        "aliases": {"created": 311, "already there": 0, "failed": 0},
        "attributes": {"created": 232, "already there": 0, "failed": 1},
    },
    "left_out": [[9, "deleted at the source"], [3, "system account"]],
    "failed": [["list", "board@example.com", "member a: its address has a syntax error"]],
    "items": 15368,
    "bytes": 1_900_000_000,
    "mailboxes": 233,
    "map": "map_544d94c6-aaef-4736-8964-56a667f1fe12",
}


@pytest.fixture
def row(server: Server) -> QueuedOperation:
    return QueuedOperation.objects.create(
        server=server,
        seq=7,
        command="doExternalRestore",
        parameters={"source_path": "/mnt/import"},
        state=State.STARTED,
        created_at=rows.QUEUED,
        started_at=rows.STARTED,
    )


def started(row: QueuedOperation) -> str:
    """Return the mail of the start, its lines joined."""
    told = text.compose(row, notification=rows.ID, event=text.STARTED).text
    return " ".join(told.replace("\\", "").split())


def test_it_is_told_once_and_between_start_and_end(row: QueuedOperation) -> None:
    notify.started(row)
    notify.phase1_done(row, SAID)
    notify.phase1_done(row, SAID)
    row.move(State.STARTED, State.SUCCESSFUL, ended_at=rows.ENDED)
    notify.ended(row)

    told = Notification.objects.filter(operation=row.pk).order_by("created_at")

    assert [each.event for each in told] == [text.STARTED, text.PHASE_1, text.ENDED]
    assert [each.subject.rpartition(" – ")[2] for each in told] == [
        "started",
        "phase 1 done",
        "completed",
    ]
    assert all("External Restore from /mnt/import" in each.subject for each in told)


def test_it_tells_the_table_what_was_left_out_and_what_failed(row: QueuedOperation) -> None:
    notify.phase1_done(row, SAID)

    told = Notification.objects.get(operation=row.pk)

    assert told.level == Level.WARNING
    words = [line.split() for line in told.text.splitlines()]
    assert ["accounts", "230", "3", "12", "1"] in words
    assert "left out: 9 deleted at the source, 3 system account" in told.text
    assert "board@example.com   member a: its address has a syntax error" in told.text
    assert "expected from here on: 15\u00a0368 items, 1.9 GB, in 233 mailboxes" in told.text
    assert "map file: map_544d94c6-aaef-4736-8964-56a667f1fe12" in told.text
    assert all(len(line) <= 78 for line in told.text.splitlines())


def test_what_failed_is_not_said_to_be_in_place(row: QueuedOperation) -> None:
    whole = SAID | {"table": {"list": {"created": 15, "already there": 0, "failed": 0}}}

    lossy, plain = (
        " ".join(
            text.compose(row, notification=rows.ID, event=text.PHASE_1, said=each).text.split()
        )
        for each in (SAID, whole)
    )

    assert lossy.startswith("Not all domains, classes of service, lists and accounts could be")
    assert plain.startswith("Domains, classes of service, lists and accounts are in place. Users")


def test_without_a_loss_it_is_information(row: QueuedOperation) -> None:
    notify.phase1_done(row, SAID | {"failed": []})

    assert Notification.objects.get(operation=row.pk).level == Level.INFORMATION


def test_the_start_tells_of_a_scanner_that_is_on_and_how_to_switch_it_off(
    row: QueuedOperation,
) -> None:
    before = started(row)

    scanning.scanner(row.server)

    assert "RealTimeScanner" not in before
    assert "backup setProperty ZxBackup_RealTimeScanner FALSE" in started(row)
    assert "Accounts can be used after phase 1" in before


def test_with_provisioning_only_no_mail_is_promised(row: QueuedOperation) -> None:
    row.parameters["provisioning_only"] = "true"

    told = text.compose(row, notification=rows.ID, event=text.PHASE_1, said=SAID).text

    assert "no items come, as provisioning_only says." in " ".join(told.split())
    assert "arriving" not in told
    assert "expected" not in told
    assert "not restored: 15\u00a0368 items, 1.9 GB, in 233 mailboxes" in told


def test_an_account_that_could_not_be_imported_is_told_in_the_end(row: QueuedOperation) -> None:
    row.outcome = {"report": {"losses": True, "counters": {"accounts_failed": 1}}}
    row.state, row.losses, row.ended_at = State.SUCCESSFUL, True, rows.ENDED

    told = text.compose(row, notification=rows.ID, event=text.ENDED)

    assert told.level == Level.WARNING
    assert "1 entry of the directory could not be imported." in " ".join(told.text.split())
    assert "nothing to be done" not in told.text


def ended(row: QueuedOperation, **report: object) -> str:
    row.outcome = {"report": {"counters": {}, **report}}
    row.state, row.losses, row.ended_at = State.SUCCESSFUL, "unrestored" in report, rows.ENDED
    return text.compose(row, notification=rows.ID, event=text.ENDED).text


def test_a_lost_item_is_looked_at_in_the_path_it_is_from_and_no_date_is_promised(
    row: QueuedOperation,
) -> None:
    row.parameters["source_path"] = "/mnt/im port"

    told = ended(row, unrestored={"a1@src.org": [[313, "broken item"]]})

    words = " ".join(told.replace("\\\n", " ").split())
    line = "backup getItem a1@src.org 313 backup_path '/mnt/im port' date all"
    assert f"backupng --host {row.server.name} {line}" in words
    assert "as of that moment" not in words


def test_the_start_parts_a_command_from_its_label(row: QueuedOperation) -> None:
    scanning.scanner(row.server)

    assert " switch it off backupng --host" in started(row)


def test_a_command_at_the_end_of_a_warning_can_be_copied(row: QueuedOperation) -> None:
    command = f"backupng --host m4 backup doCoherencyCheck '/mnt/{'x' * 40} y'"

    told = ended(row, warnings=[f"The backup of 3 items is damaged. Look: {command}"])

    lines = told[told.index("warning ") :].split("\n\n")[0].splitlines()
    assert " ".join(lines[0].split()) == "warning The backup of 3 items is damaged. Look:"
    assert all(line.endswith("\\") for line in lines[1:-1])
    assert "".join(line.rstrip("\\") for line in lines[1:]).split() == command.split()
