"""Coherency Check in the console: its page, its timetable, its mail, what it is started by."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from backupng.engine.errors import BadRequest
from backupng.engine.operations.do_coherency_check import MOVING, READING
from console import connect, properties, queue, roles, scheduling, suspicion
from console.cli import backup
from console.letter import text
from console.models import AuditEntry, Level, Notification, QueuedOperation, Server, State
from console.scanner import switching
from console.scanner.record import Recorder
from tests.console import rows, scanning

PAGE = "/servers/mail1/coherency/"
CHECK = "doCoherencyCheck"
FOUND: dict[str, Any] = {
    "losses": True,
    "counters": {
        "accounts": 245,
        "metadata_files": 512844,
        "states": 612000,
        "blobs": 301220,
        "bytes_read": 142_000_000_000,
        "broken_metadata": 1,
        "missing_blobs": 2,
        "wrong_digests": 0,
        "orphans": 0,
    },
    "unrestored": {},
    "unreadable": {
        "john@example.com": [[856, "broken metadata"]],
        "jack@example.com": [[45200, "missing blob"], [13339, "missing blob"]],
        "checkpoint/x": [[0, "broken metadata"]],
    },
    "notes": [],
}


def browser(role: str) -> Client:
    user = User.objects.create_user(role.lower(), f"{role.lower()}@example.com")
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def checks() -> list[QueuedOperation]:
    return list(QueuedOperation.objects.filter(command=CHECK).order_by("seq"))


def claimed(server: Server, command: str = "doSmartScan", **changes: Any) -> QueuedOperation:
    seq = 500 + QueuedOperation.objects.count()
    return QueuedOperation.objects.create(
        server=server, seq=seq, command=command, state=State.STARTED, **changes
    )


def end(row: QueuedOperation, suspected: dict[str, list[int]]) -> None:
    report = {"suspected": suspected, "counters": {}, "losses": True}
    assert queue.finish(row, {"state": "successful", "error": None, "report": report})


# The page


def test_an_operator_checks_and_moves_nothing(scanned: Server) -> None:
    client = browser("Operator")

    page = client.get(PAGE).content.decode()
    refused = client.post(PAGE, {"fix": "on", "typed": "mail1"})
    asked = client.post(PAGE, {"compare": "on"})

    assert "fixBackup" not in page
    assert refused.status_code == 403
    assert asked.status_code == 303
    (row,) = checks()
    assert row.parameters == {"backup_path": str(scanned.path), "checkZimbra": "true"}


def test_an_administrator_types_the_name_before_anything_is_moved(scanned: Server) -> None:
    client = browser("Administrator")

    unnamed = client.post(PAGE, {"fix": "on", "typed": "mail2", "reason": "the disk failed"})
    unasked = client.post(PAGE, {"fix": "on", "typed": "mail1", "reason": " "})
    named = client.post(PAGE, {"fix": "on", "typed": "mail1", "reason": "the disk failed"})

    assert (unnamed.status_code, unasked.status_code, named.status_code) == (422, 422, 303)
    assert "Reason: Say why something is to be moved." in unasked.content.decode()
    (row,) = checks()
    assert row.parameters["fixBackup"] == "true"
    entry = AuditEntry.objects.get(action=CHECK, result="done")
    assert "the disk failed" in entry.detail


def test_a_check_is_repeated_on_its_own_page_with_the_same_words(scanned: Server) -> None:
    texts = {"backup_path": str(scanned.path), "accounts": "a1@example.com", "fixBackup": "true"}
    row = claimed(scanned, CHECK, parameters=texts)
    queue.finish(row, {"state": "successful", "error": None, "report": FOUND})
    address = f"/operations/{row.pk}/"
    admin, operator = browser("Administrator"), browser("Operator")

    answer = admin.post(f"{address}retry/")

    assert answer["Location"] == f"{PAGE}?accounts=a1%40example.com&fix=true"
    form = admin.get(answer["Location"]).content.decode()
    assert 'value="a1@example.com"' in form
    assert re.search(r'name="fix"[^>]* checked', form)
    assert "Run again" not in operator.get(address).content.decode()
    assert operator.post(f"{address}retry/").status_code == 403
    assert len(checks()) == 1


def test_findings_are_listed_by_class_with_the_path_of_a_file(scanned: Server) -> None:
    row = claimed(scanned, CHECK, parameters={"backup_path": str(scanned.path)})
    queue.finish(row, {"state": "successful", "error": None, "report": FOUND})
    row.refresh_from_db()

    shown = backup.ended_text(row)
    page = browser("Viewer").get(f"/operations/{row.pk}/").content.decode()

    assert "unreadable" not in shown
    assert re.search(r"file +checkpoint/x\n +finding +broken metadata\n", shown)
    assert re.search(r"account +jack@.*\n +finding +missing blob\n +items +13339,45200\n", shown)
    assert ">Findings</h2>" in page
    assert "Items that were lost" not in page
    assert "there are 3 findings" in page


def test_a_viewer_does_not_see_it(scanned: Server) -> None:
    client = browser("Viewer")

    assert client.get(PAGE).status_code == 403
    assert "coherency" not in client.get("/servers/mail1/").content.decode()


def test_an_unknown_account_is_named(scanned: Server) -> None:
    answer = browser("Operator").post(PAGE, {"accounts": "nobody@example.com"})

    assert answer.status_code == 422
    assert "nobody@example.com" in answer.content.decode()
    assert checks() == []


def test_the_last_check_is_shown(scanned: Server) -> None:
    row = claimed(scanned, CHECK, parameters={"backup_path": str(scanned.path)})
    queue.finish(row, {"state": "successful", "error": None, "report": FOUND})

    page = browser("Operator").get(PAGE).content.decode()

    assert f"/operations/{row.pk}/" in page
    assert "broken metadata" in page


def test_a_repair_that_waited_needs_an_administrator_still(scanned: Server) -> None:
    user = User.objects.create_user("op", "op@example.com")
    user.groups.add(Group.objects.get(name="Operator"))
    row = QueuedOperation(server=scanned, command=CHECK, requester=user)

    roles.check_requester(row)
    row.parameters = {"fixBackup": "true"}
    with pytest.raises(BadRequest):
        roles.check_requester(row)


# By itself


def test_no_check_runs_by_itself_unless_that_is_set(scanned: Server) -> None:
    first_of_april = datetime(2026, 4, 1, 4, 0, tzinfo=scanned.zone_info)

    scheduling.check_due(scanned, clock=lambda: first_of_april)
    assert checks() == []
    connect.set_property(scanned, properties.CHECK_SCHEDULER, "true 0 4 1 */3 *")
    scheduling.check_due(scanned, clock=lambda: first_of_april)
    scheduling.check_due(scanned, clock=lambda: first_of_april)

    (row,) = checks()
    assert row.parameters == {"backup_path": str(scanned.path)}


def test_what_a_scan_suspects_is_told_once_and_looked_into(scanned: Server) -> None:
    end(claimed(scanned), {"a1@example.com": [257, 258], "a2@example.com": [300]})

    (row,) = checks()
    told = Notification.objects.get(event=suspicion.SUSPECTED)
    assert (row.state, row.parameters) == (State.QUEUED, {"backup_path": str(scanned.path)})
    assert told.level == Level.WARNING
    assert "a1@example.com: 257,258" in " ".join(told.text.split())
    assert str(row.pk) in told.text


def test_nothing_more_is_queued_while_a_check_waits_nor_for_what_it_has_looked_into(
    scanned: Server,
) -> None:
    end(claimed(scanned), {"a1@example.com": [257]})
    end(claimed(scanned), {"a2@example.com": [300]})
    (row,) = checks()
    row.move(State.QUEUED, State.SUCCESSFUL, started_at=datetime(2026, 4, 1, tzinfo=UTC))

    end(claimed(scanned), {"a1@example.com": [257]})
    assert len(checks()) == 1
    end(claimed(scanned), {"a1@example.com": [257, 999]})

    assert len(checks()) == 2
    assert Notification.objects.filter(event=suspicion.SUSPECTED).count() == 2


def test_a_scan_that_suspects_nothing_queues_nothing(scanned: Server) -> None:
    end(claimed(scanned), {})

    assert checks() == []


def test_what_the_scanner_suspects_is_looked_into(scanned: Server) -> None:
    scanning.scanner(scanned)
    recorder = Recorder(scanned)
    for item in (257, 258):
        recorder.take({"event": "suspicion", "account": "x", "item": item})

    recorder.write()
    recorder.write()

    assert len(checks()) == 1


def test_the_scanner_stands_aside_while_something_is_moved(scanned: Server) -> None:
    row = claimed(scanned, CHECK, progress={"phase": READING})
    assert not switching.stands_aside(scanned)

    QueuedOperation.objects.filter(pk=row.pk).update(progress={"phase": MOVING})
    assert switching.stands_aside(scanned)
    QueuedOperation.objects.filter(pk=row.pk).update(state=State.SUCCESSFUL)
    assert not switching.stands_aside(scanned)


# The mail


def test_the_mail_names_what_was_read_found_and_moved() -> None:
    row = rows.ended(rows.scan(), State.SUCCESSFUL, report=FOUND)
    row.command, row.parameters = CHECK, {"backup_path": "/opt/zimbra/backup/ng"}

    letter = text.compose(row, notification=rows.ID, event=text.ENDED)

    assert letter.level == Level.WARNING
    assert letter.subject.endswith(
        "Coherency Check of /opt/zimbra/backup/ng – completed, 3 findings"
    )
    for line in (
        "read           accounts 245   metadata 512844   blobs 301220   142.0 GB",
        "findings       broken metadata 1   missing blob 2   wrong digest 0   orphans 0",
        "moved          nothing (fixBackup false)",
        "account: jack@example.com\nmissing blobs: 13339,45200",
        "account: john@example.com\nbroken metadata: 856",
        "file: checkpoint/x\nbroken metadata\n",
    ):
        assert line in letter.text
    assert "fixBackup true" in letter.text


def test_the_mail_of_a_scan_that_suspects_something_says_that_a_check_is_queued() -> None:
    report = rows.SCANNED | {"losses": True, "suspected": {"a1@example.com": [257]}}
    row = rows.ended(rows.scan(), State.SUCCESSFUL, report=report)

    letter = text.compose(row, notification=rows.ID, event=text.ENDED)

    assert letter.level == Level.WARNING
    assert "1 item is damaged: a Coherency Check is queued." in " ".join(letter.text.split())


def test_differences_from_the_mail_server_are_findings() -> None:
    counters = dict.fromkeys(FOUND["counters"], 0) | {"differences": 2}
    found = [[857, "not in the backup"], [0, "the account was never scanned"]]
    report = FOUND | {"counters": counters, "unreadable": {"john@example.com": found}}
    row = rows.ended(rows.scan(), State.SUCCESSFUL, report=report)
    row.command, row.parameters = CHECK, {"backup_path": "/opt/zimbra/backup/ng"}

    letter = text.compose(row, notification=rows.ID, event=text.ENDED)

    assert letter.subject.endswith("completed, 2 findings")
    assert "there are 2 findings" in " ".join(letter.text.split())
    assert "not in the backup: 857\n" in letter.text
    assert "the account was never scanned: the account itself\n" in letter.text
    assert "fixBackup true" not in letter.text
    assert "doSmartScan" in letter.text


def test_a_check_without_findings_is_no_warning() -> None:
    counters = dict.fromkeys(FOUND["counters"], 0)
    whole = {"losses": False, "counters": counters, "unreadable": {}, "unrestored": {}, "notes": []}
    row = rows.ended(rows.scan(), State.SUCCESSFUL, report=whole)
    row.command, row.parameters = CHECK, {"backup_path": "/opt/zimbra/backup/ng"}

    letter = text.compose(row, notification=rows.ID, event=text.ENDED)

    assert letter.level == Level.INFORMATION
    assert letter.subject.endswith("completed, no findings")
    assert "everything is as it should be" in " ".join(letter.text.split())
