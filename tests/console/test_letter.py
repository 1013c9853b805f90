"""What notifications say, and the mails around it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from console import telling
from console.letter import layout, numbers, text
from console.letter.text import ENDED, STARTED, Letter
from console.models import Level, QueuedOperation, State
from tests.console import rows
from tests.console.rows import HOSTILE, losing, restored

TOLD = uuid.UUID("4c2a5e1d-7c1c-4a7b-8f4a-0f0b4b1a2c3d")


@dataclass
class Stats:
    """What a script reads in a mail."""

    numbers: dict[str, int] = field(default_factory=dict)
    unrestored: dict[str, list[int]] = field(default_factory=dict)


def parse(body: str) -> Stats:
    """Read the numbers and the unrestored items of a mail, strictly."""
    found, account = Stats(), ""
    assert body.count("\n- stats -\n") == 1
    for line in body.partition("\n- stats -\n")[2].split("\n"):
        if label := re.fullmatch(r"(Restored|Skipped|Unrestored) Items: ([0-9]+)", line):
            assert label[1] not in found.numbers
            found.numbers[label[1]] = int(label[2])
        elif line.startswith("account: "):
            assert not account
            account = line.removeprefix("account: ")
        elif account:
            ids = re.fullmatch(r"unrestored items: ([0-9]+(?:,[0-9]+)*)", line)
            assert ids
            found.unrestored[account] = [int(item) for item in ids[1].split(",")]
            account = ""
    return found


def letter(row: QueuedOperation, event: str = ENDED) -> Letter:
    return text.compose(row, notification=TOLD, event=event)


def scanned(**report: Any) -> QueuedOperation:
    return rows.ended(rows.scan(), State.SUCCESSFUL, report=rows.SCANNED | report)


ENDS = (
    restored(),
    scanned(),
    scanned(losses=True, unreadable=rows.LOST),
    rows.failed(rows.restore(), message="The server is gone. " * 9, hint="Look at it. " * 12),
    rows.ended(rows.restore(stop_requested_by="admin"), State.STOPPED),
    rows.ended(rows.scan(stop_requested_by="admin", started_at=None), State.REMOVED),
    rows.ended(rows.restore(progress={"phase": "x", "done": 1, "total": 2}), State.INTERRUPTED),
)

# The text


def test_started_says_what_when_by_whom_how_and_how_to_follow_it() -> None:
    found = letter(rows.restore(), STARTED)
    assert found.level == Level.INFORMATION
    assert found.subject == (
        "[Backup NG] mail.example.com: Restore on New Account "
        "a1@example.com → copy@example.com – started"
    )
    assert found.text == (
        "A Restore on New Account has begun. You will get a message at its end.\n"
        "\n"
        "operation      Restore on New Account: a1@example.com → copy@example.com\n"
        "id             30ed9eb9-eb28-4ca6-b65e-9940654b8601\n"
        "server         mail.example.com\n"
        "requested by   admin@example.com (console)\n"
        "\n"
        "queued         12/11/2024 22:00:03 CET\n"
        "started        12/11/2024 22:00:05 CET\n"
        "\n"
        "source_account       a1@example.com\n"
        "destination_account  copy@example.com\n"
        "date                 12/11/2024 21:59:59\n"
        "hide_in_gal          true\n"
        "notify also          ops@example.com\n"
        "apply_hsm false     restore_datasource true     undelete false\n"
        "undelete_start_date first     backup_path the active Backup Path\n"
        "dryrun false\n"
        "\n"
        "follow it      backupng backup monitor 30ed9eb9-eb28-4ca6-b65e-9940654b8601 \\\n"
        "               operation_host mail.example.com\n"
        "\n"
        "Backup NG      0.1.0\n"
        "server         mail.example.com (sandbox)\n"
        f"notification   {TOLD}\n"
    )


def test_the_end_tells_numbers_lists_causes_and_what_to_do() -> None:
    found = letter(restored())
    assert found.level == Level.WARNING
    assert found.subject.endswith(" – completed, 10 items not restored")
    stats = (
        "- stats -\n"
        "Restored Items: 15233\n"
        "Skipped Items: 125\n"
        "Unrestored Items: 10\n"
        "\n"
        "planned 15368 = restored 15233 + skipped 125 + unrestored 10\n"
        "folders 12    tags 3    mountpoints not carried 1    grants not carried 2\n"
        "\n"
        "- unrestored items -\n"
        "account: anna@example.com\n"
        "unrestored items: 1255,1369\n"
        "account: jack@example.com\n"
        "unrestored items: 49965\n"
        "account: john@example.com\n"
        "unrestored items: 856,13339,45200,45655,45656,45657,45658\n"
        "\n"
        "why\n"
        "  invalid item 6: It is intact, but the mail server refuses it.\n"
        "  read error 3: Its metadata or its blob could not be read.\n"
        "  broken item 1: It could be read, but it is not what it claims to be.\n"
    )
    assert stats in found.text


def test_the_first_sentence_is_enough_for_a_glance() -> None:
    first = " ".join(letter(restored()).text.split("\n\n")[0].split("\n"))
    assert first == (
        "The Restore on New Account has ended. 15\u00a0233 items were restored, 125 were there "
        "already. 10 items could not be restored; they are listed below."
    )


def test_a_scan_tells_the_numbers_that_the_engine_counts() -> None:
    assert (
        "- stats -\n"
        "accounts       scanned 245   new 1   updated 11   deleted 0   skipped by COS 4\n"
        "items          checked 5120   updated 61   deleted 9   new 148\n"
        "files          new 131   read errors 0\n"
        "configuration  domains 3   COS 5   lists 22   changed entries 0\n"
        "data           14.2 MB read, 9.6 MB stored\n"
        "\n"
        "nothing to be done\n"
    ) in letter(scanned()).text


def test_a_scan_that_could_not_read_everything_lists_it() -> None:
    found = letter(scanned(losses=True, unreadable={"a@x.org": [[3, "read error"]]}))
    assert found.level == Level.WARNING
    assert "1 item could not be read; it is listed below." in " ".join(found.text.split("\n"))
    assert "- unreadable items -\naccount: a@x.org\nunreadable items: 3\n" in found.text
    assert "The next scan tries them again." in found.text


@pytest.mark.parametrize(
    ("state", "level", "said"),
    [
        (State.FAILED, Level.ERROR, "has failed. It broke."),
        (State.STOPPED, Level.WARNING, "was stopped by admin. What it had done until then stays."),
        (State.REMOVED, Level.WARNING, "was removed from the queue by admin before it began;"),
        (State.INTERRUPTED, Level.ERROR, "was interrupted. It broke."),
    ],
)
def test_every_other_end_is_said_first_and_has_its_level(
    state: State, level: Level, said: str
) -> None:
    error = {"code": "x", "message": "It broke.", "hint": "Mend it."}
    row = rows.ended(rows.restore(stop_requested_by="admin"), state, error=error)
    found = letter(row)
    assert found.level == level
    assert said in " ".join(found.text.split("\n\n")[0].split("\n"))
    assert "- stats -" not in found.text


def test_an_interrupted_one_says_how_far_it_came_and_what_to_do() -> None:
    progress = {"phase": "restoring items", "done": 120, "total": 500}
    row = rows.ended(rows.restore(progress=progress), State.INTERRUPTED)
    said = letter(row).text
    assert "got as far as  restoring items, 120 of 500\n" in said
    assert "The new account is incomplete. Run the same restore again:" in said
    assert "run it again" in said


def test_a_stopped_one_tells_the_numbers_it_had_come_to() -> None:
    counts = {"restored": 120, "skipped": 3, "unrestored": 0}
    progress = {"phase": "restoring items", "done": 123, "total": 500, "counts": counts}
    found = letter(rows.ended(rows.restore(progress=progress), State.STOPPED))
    assert found.counters == counts
    assert parse(found.text).numbers == {"Restored": 120, "Skipped": 3, "Unrestored": 0}


def test_the_hint_of_an_error_is_what_comes_next() -> None:
    said = letter(rows.failed(rows.restore(), message="No.", hint="Do this.")).text
    assert "what next\n  Do this.\n" in said


def test_a_shortfall_without_a_reason_is_not_made_to_add_up() -> None:
    counters = rows.RESTORED["counters"] | {"restored": 15232}
    row = rows.ended(
        rows.restore(), State.SUCCESSFUL, report=rows.RESTORED | {"counters": counters}
    )
    assert "planned 15368 ≠ restored 15232 + skipped 125 + unrestored 10" in letter(row).text


@pytest.mark.parametrize("row", [rows.restore(), *ENDS], ids=telling.what_happened)
def test_lines_are_short_but_for_lists_of_ids(row: QueuedOperation) -> None:
    lines = letter(row, ENDED if row.has_ended else STARTED).text.split("\n")
    long = [line for line in lines if len(line) > 78]
    assert all(re.match(r"(un\w+ items|account): ", line) for line in long)


@pytest.mark.parametrize("row", ENDS, ids=telling.what_happened)
def test_the_blocks_come_in_one_order_with_three_hints_at_most(row: QueuedOperation) -> None:
    said = letter(row).text
    marks = ("operation ", "queued ", "- stats -", "- un", "why", "what next", "Backup NG ")
    found = [said.index(f"\n{mark}") for mark in marks if f"\n{mark}" in said]
    assert found == sorted(found)
    hints = said.partition("what next\n")[2].partition("\n\n")[0].split("\n")
    assert len([line for line in hints if re.match(r"  \S", line)]) <= 3


def test_console_and_command_line_get_the_same_text_but_for_who_asked() -> None:
    console = letter(restored(), ENDED)
    typed = letter(restored(origin="cli", requester_address="", requester_name="root"), ENDED)
    assert console.subject == typed.subject
    assert console.text == typed.text.replace("root (CLI)", "admin@example.com (console)")


def test_times_are_those_of_the_server_with_the_name_of_its_zone() -> None:
    summer = rows.QUEUED - timedelta(days=120)
    assert "queued         15/07/2024 23:00:03 CEST\n" in letter(restored(created_at=summer)).text


@pytest.mark.parametrize(
    ("elapsed", "told"),
    [
        (timedelta(milliseconds=300), "less than a second"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(minutes=6, seconds=3), "6 minutes, 3 seconds"),
        (timedelta(days=1, hours=2, seconds=5), "1 day, 2 hours, 5 seconds"),
    ],
)
def test_a_duration_is_told_in_words(elapsed: timedelta, told: str) -> None:
    assert layout.duration(elapsed) == told


def test_a_line_never_ends_between_a_name_and_its_value() -> None:
    parts = [f"accounts already there {number}" for number in range(20)]

    told = layout.filled("    ".join(parts), first="first ", rest="  ")

    lines = told.removeprefix("first ").split("\n")
    assert [part for line in lines for part in line.strip().split("    ")] == parts
    assert all(len(line) <= layout.WIDTH for line in told.split("\n"))


def test_a_list_of_ids_stays_whole_so_that_it_can_be_pasted() -> None:
    ids = ",".join(map(str, range(1000, 1060)))
    assert ids in layout.block({"item_id": ids})


def test_a_part_longer_than_a_line_is_wrapped() -> None:
    told = layout.filled("short    " + "word " * 30, rest="  ").split("\n")

    assert told[0] == "short"
    assert all(len(line) <= layout.WIDTH and line.startswith("  ") for line in told[1:])
    assert " ".join(told[1:]).split() == ["word"] * 30


def test_a_command_too_long_for_a_line_can_be_copied_as_it_is() -> None:
    block = layout.command("run it", "tool 'a b' " + "word " * 30)
    assert all(len(line) <= 78 for line in block.split("\n"))
    joined = block.removeprefix("run it").replace("\\\n", "")
    assert joined.split() == ["tool", "'a", "b'", *["word"] * 30]


# Numbers


def test_a_script_reads_the_numbers_back() -> None:
    found = parse(letter(restored()).text)
    assert found.numbers == {"Restored": 15233, "Skipped": 125, "Unrestored": 10}
    assert found.unrestored == {
        "anna@example.com": [1255, 1369],
        "jack@example.com": [49965],
        "john@example.com": [856, 13339, 45200, 45655, 45656, 45657, 45658],
    }


def test_every_number_of_the_stats_is_one_of_the_record() -> None:
    found = letter(scanned())
    block = found.text.partition("- stats -\n")[2].partition("\ndata")[0]
    told = [int(number) for number in re.findall(r"\d+", block)]
    assert sorted(told) == sorted(
        number
        for name, number in found.counters.items()
        if name not in {"planned", "restored", "skipped", "unrestored"}
        and not name.startswith("bytes")
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_name_of_an_account_can_forge_a_line(hostile: str) -> None:
    report = rows.RESTORED | {"unrestored": {hostile: [[7, "read error"], [5, "read error"]]}}
    typed = rows.PARAMETERS | {"source_account": hostile}
    row = rows.ended(rows.restore(parameters=typed), State.SUCCESSFUL, report=report)
    found = parse(letter(row).text)
    assert found.numbers == {"Restored": 15233, "Skipped": 125, "Unrestored": 10}
    assert list(found.unrestored.values()) == [[5, 7]]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_reason_can_forge_a_line(hostile: str) -> None:
    said = letter(rows.failed(rows.restore(), message=hostile, hint=hostile)).text
    assert "\n- stats -\n" not in said
    assert not re.search(r"^Unrestored", said, re.MULTILINE)


def test_no_reason_can_be_set_so_that_it_looks_like_the_numbers() -> None:
    message = f"{'x' * 38} - stats - {'y' * 78}"
    assert "\n- stats -\n" not in letter(rows.failed(rows.restore(), message=message)).text


def test_a_mail_stops_after_5000_ids_and_says_how_many_follow() -> None:
    whole = letter(losing(6000)).text
    assert len(parse(whole).unrestored["john@example.com"]) == 6000
    mailed = numbers.shortened(whole)
    assert parse(mailed).unrestored["john@example.com"] == list(range(1, 5001))
    assert ",5000\n1\u00a0000 items more: see the attached table.\n" in mailed


def test_accounts_behind_the_last_mailed_id_are_left_out_with_their_name() -> None:
    lost = {f"{name}@x.org": [[n, "read error"] for n in range(1, 3001)] for name in "abc"}
    report = rows.RESTORED | {"unrestored": lost}
    mailed = numbers.shortened(
        letter(rows.ended(rows.restore(), State.SUCCESSFUL, report=report)).text
    )
    found = {name: len(ids) for name, ids in parse(mailed).unrestored.items()}
    assert found == {"a@x.org": 3000, "b@x.org": 2000}
    assert "account: c@x.org" not in mailed
    assert "\n4\u00a0000 items more" in mailed


def test_a_short_text_is_mailed_as_it_is() -> None:
    assert numbers.shortened(letter(restored()).text) == letter(restored()).text


# The subject


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_subject_is_one_line_of_200_characters_that_ends_with_what_happened(hostile: str) -> None:
    row = restored(parameters={"source_account": hostile, "destination_account": hostile})
    subject = letter(row).subject
    assert len(subject) <= 200
    assert subject.isprintable() or "\u00a0" in subject
    assert subject.startswith("[Backup NG] mail.example.com: Restore on New Account")
    assert subject.endswith(" – completed, 10 items not restored")


def test_what_cannot_be_told_is_said_plainly() -> None:
    found = text.plain(rows.restore(command="doMagic\r\nX: y"), notification=TOLD, event=STARTED)
    assert found.subject == "[Backup NG] mail.example.com: doMagic  X: y – started"
    assert str(rows.ID) in found.text


def test_a_warning_of_the_operation_is_told_as_one_and_leaves_something_to_be_done() -> None:
    found = letter(scanned(warnings=["No longer saved, by their class of service: a@example.com."]))
    assert found.level == Level.WARNING
    assert "\nwarning        No longer saved, by their class of service:" in found.text
    assert "nothing to be done" not in found.text
    assert letter(scanned()).level == Level.INFORMATION


def test_an_account_scan_says_whether_its_account_had_changed() -> None:
    report = rows.SCANNED | {"notes": ["Account a1@example.com, id 5, mailbox id 7; by hand."]}
    asked = {"command": "doAccountScan", "parameters": {"account": "a1@example.com"}}
    row = rows.ended(rows.scan(**asked), State.SUCCESSFUL, report=report)

    found = letter(row)

    assert found.subject.endswith("Account Scan a1@example.com – completed")
    assert found.text.startswith("Account Scan finished in 6 minutes, 3 seconds; the account had")
    assert "mailbox id 7" in found.text
    assert "- stats -" in found.text
